"""The OpenAPI 3.1 document of the API, made from what its handlers declare.

https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from wcr_watchd.web.access.roles import needed
from wcr_watchd.web.api.forms import Answer
from wcr_watchd.web.api.models.common import ProblemAnswer
from wcr_watchd.web.api.operations import JSON, OPERATIONS, Operation, operation
from wcr_watchd.web.api.problems import MEDIA, PREFIX
from wcr_watchd.web.health import CONTROL

PATH = PREFIX + "openapi.json"
_REFERENCE = "#/components/schemas/{model}"
_PART = re.compile(r"\{(\w+)(?::((?:[^{}]|\{[^{}]*\})+))?\}")
DOCUMENT = web.AppKey("openapi", dict[str, Any])

ERRORS = {
    "400": "the request does not make sense",
    "401": "no credential",
    "403": "the role does not allow it",
    "404": "there is no such thing",
    "409": "it cannot be done as things stand",
    "415": "the body is not JSON",
    "422": "the request does not have the form that is declared",
    "503": "the records cannot be read or written",
}


def add_routes(app: web.Application) -> None:
    """Put the document's route into the application."""
    app.router.add_get(PATH, show)


@operation("about", media=JSON)
async def show(request: web.Request) -> web.Response:
    """This document.

    Written from the same declarations that requests are checked by.
    """
    made = request.app[DOCUMENT]
    if not made:  # when somebody asks first: it takes a tenth of a second, which a start has not
        made.update(await asyncio.to_thread(document, request.app))
    return web.json_response(made | {"info": _info(request.app[CONTROL].version)})


def set_up(app: web.Application) -> None:
    """See that all routes of the API are declared. Raises ``LookupError`` for one that is not."""
    app[DOCUMENT] = {}
    _declared(app)


def _declared(app: web.Application) -> list[tuple[str, web.AbstractRoute, Operation]]:
    """Method, route and declaration of each operation. Raises ``LookupError`` for a route that declares nothing."""
    found = []
    for route in app.router.routes():
        path = route.resource.canonical if route.resource else ""
        if path.startswith(PREFIX) and route.method != "HEAD":
            if route.handler not in OPERATIONS:
                raise LookupError(f"{route.method} {path} is in the API and declares nothing: @operation(...)")
            found.append((route.method, route, OPERATIONS[route.handler]))
    return found


def document(app: web.Application) -> dict[str, Any]:
    """The whole document. Raises ``LookupError`` for a route of the API that declares nothing."""
    found = _declared(app)
    models = {model for *_, one in found for model in (one.answer, one.body) if model is not None} | {ProblemAnswer}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(model, "validation") for model in ordered], ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for method, route, one in found:
        path, parameters = _path(_pattern_of(route))
        described = _operation(one, method, path, parameters, needed(method, route.handler).word)
        paths.setdefault(path, {})[method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": _info(""),
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"session": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "watchd_session"},
            },
        },
    }


def _info(version: str) -> dict[str, str]:
    return {
        "title": "wcr-watchd",
        "version": version or "0",
        "description": "What the dashboard and the command line use; for scripts, bots and other dashboards.",
    }


def _pattern_of(route: web.AbstractRoute) -> str:
    """A route's path with the patterns of its parts, as it was added."""
    info = route.resource.get_info() if route.resource else {}
    if "pattern" not in info:
        return str(info.get("path", ""))
    formatter, pattern = str(info["formatter"]), info["pattern"].pattern
    for name, part in re.findall(r"\(\?P<(\w+)>((?:[^()]|\([^()]*\))+)\)", pattern):
        formatter = formatter.replace(f"{{{name}}}", f"{{{name}:{part}}}")
    return formatter


def _path(pattern: str) -> tuple[str, list[dict[str, Any]]]:
    parameters = []
    for name, part in _PART.findall(pattern):
        schema: dict[str, Any] = {"type": "string", "minLength": 1}
        if part.startswith("\\d"):
            schema = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
        elif re.fullmatch(r"\w+(\|\w+)+", part):
            schema = {"type": "string", "enum": part.split("|")}
        elif part and not part.startswith("[^"):
            schema = {"type": "string", "pattern": f"^{part}$"}
        parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
    return _PART.sub(r"{\1}", pattern), parameters


def _operation(one: Operation, method: str, path: str, parameters: list[dict[str, Any]], role: str) -> dict[str, Any]:
    known: dict[str, Any] = {
        "operationId": _identifier(method, path),
        "tags": [one.tag],
        "summary": one.summary,
        "description": "\n\n".join(filter(None, (one.text, f"Needs the role {role}."))),
        "parameters": [*parameters, *_in_query(one.query)],
        "responses": {
            str(one.status): {"description": "as asked", "content": {one.media: {"schema": _schema(one.answer)}}},
            **{status: _problem(text) for status, text in ERRORS.items()},
        },
    }
    if one.body is not None:
        required = any(field.is_required() for field in one.body.model_fields.values())
        known["requestBody"] = {"required": required, "content": {JSON: {"schema": _reference(one.body)}}}
    return known


def _identifier(method: str, path: str) -> str:
    return method.lower() + re.sub(r"\W+", "_", path.removeprefix(PREFIX.rstrip("/"))).rstrip("_")


def _in_query(model: type[BaseModel] | None) -> list[dict[str, Any]]:
    if model is None:
        return []
    schema = model.model_json_schema(ref_template=_REFERENCE)
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": about.pop("description", ""),
            "schema": _of_query(about),
        }
        for name, about in schema["properties"].items()
    ]


def _of_query(about: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is not there is no null."""
    kinds = [one for one in about.get("anyOf", ()) if one.get("type") != "null"]
    if len(kinds) == 1:
        about = {**{key: value for key, value in about.items() if key not in ("anyOf", "default")}, **kinds[0]}
    return {key: value for key, value in about.items() if key != "title"}


def _problem(text: str) -> dict[str, Any]:
    return {"description": text, "content": {MEDIA: {"schema": _reference(ProblemAnswer)}}}


def _schema(model: type[Answer] | None) -> dict[str, Any]:
    return _reference(model) if model is not None else {}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.replace("{model}", model.__name__)}
