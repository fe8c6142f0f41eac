"""A small validator for the keywords that our schema uses (JSON Schema 2020-12); unknown keywords are an error."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_ANNOTATIONS = {"title", "description", "examples", "format", "$schema", "$defs"}


def errors(value: Any, schema: Any, root: dict[str, Any], place: str = "") -> Iterator[str]:
    """Everything at which the value does not follow the schema."""
    if isinstance(schema, bool):
        if not schema:
            yield f"{place}: not allowed"
        return
    for keyword, wanted in schema.items():
        if keyword not in _ANNOTATIONS and keyword not in ("additionalProperties", "prefixItems"):
            yield from _check(keyword, wanted, value, schema, root, place)
    if isinstance(value, dict):
        rest = schema.get("additionalProperties", True)
        for key in value.keys() - schema.get("properties", {}).keys():
            if not any(re.search(pattern, key) for pattern in schema.get("patternProperties", {})):
                yield from errors(value[key], rest, root, f"{place}.{key}")


def _check(keyword: str, wanted: Any, value: Any, schema: Any, root: dict[str, Any], place: str) -> Iterator[str]:
    if keyword == "$ref":
        yield from errors(value, _target(root, wanted), root, place)
    elif keyword in ("anyOf", "oneOf"):
        fitting = [one for one in wanted if not any(errors(value, one, root, place))]
        if not fitting or (keyword == "oneOf" and len(fitting) > 1):
            yield f"{place}: {len(fitting)} of {keyword} fit {value!r}"
    elif keyword in _INSIDE:
        for part, one, inner in _INSIDE[keyword](wanted, value):
            yield from errors(part, one, root, f"{place}{inner}")
    elif not _holds(keyword, wanted, value):
        yield f"{place}: {keyword} {wanted!r} does not hold for {value!r}"


def _target(root: Any, reference: str) -> Any:
    for part in reference.removeprefix("#/").split("/"):
        root = root[part]
    return root


def _entries(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


_INSIDE: dict[str, Callable[[Any, Any], list[tuple[Any, Any, str]]]] = {
    "allOf": lambda wanted, value: [(value, one, "") for one in wanted],
    "properties": lambda wanted, value: [
        (inner, wanted[key], f".{key}") for key, inner in _entries(value).items() if key in wanted
    ],
    "patternProperties": lambda wanted, value: [
        (inner, one, f".{key}")
        for key, inner in _entries(value).items()
        for pattern, one in wanted.items()
        if re.search(pattern, key)
    ],
    "propertyNames": lambda wanted, value: [(key, wanted, f".{key} (name)") for key in _entries(value)],
    "items": lambda wanted, value: [
        (inner, wanted, f"[{index}]") for index, inner in enumerate(value if isinstance(value, list) else [])
    ],
}


def _holds(keyword: str, wanted: Any, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if keyword == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        return any(
            isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool)) for kind in kinds
        )
    checks = {
        "const": lambda: value == wanted,
        "enum": lambda: value in wanted,
        "required": lambda: not isinstance(value, dict) or all(key in value for key in wanted),
        "pattern": lambda: not isinstance(value, str) or bool(re.search(wanted, value)),
        "minLength": lambda: not isinstance(value, str) or len(value) >= wanted,
        "maxLength": lambda: not isinstance(value, str) or len(value) <= wanted,
        "minItems": lambda: not isinstance(value, list) or len(value) >= wanted,
        "maxItems": lambda: not isinstance(value, list) or len(value) <= wanted,
        "minProperties": lambda: not isinstance(value, dict) or len(value) >= wanted,
        "maxProperties": lambda: not isinstance(value, dict) or len(value) <= wanted,
        "minimum": lambda: not number or value >= wanted,
        "maximum": lambda: not number or value <= wanted,
        "exclusiveMinimum": lambda: not number or value > wanted,
        "exclusiveMaximum": lambda: not number or value < wanted,
        "uniqueItems": lambda: not isinstance(value, list) or len({str(one) for one in value}) == len(value),
    }
    return bool(checks[keyword]())
