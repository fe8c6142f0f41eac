"""The JSON Schema of the configuration, for editors (draft 2020-12)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from wcr_watchd.config.access import OidcTable, TokenTable, UserTable
from wcr_watchd.config.changes import CategoryTable, ChangeTable
from wcr_watchd.config.contacts import ContactsTable
from wcr_watchd.config.follow_ups import FollowUpsTable
from wcr_watchd.config.knowledge import KnowledgeTable
from wcr_watchd.config.maintenance import MaintenanceTable
from wcr_watchd.config.models import (
    Alerts,
    ChannelTable,
    CheckTable,
    ContactTable,
    Defaults,
    HeartbeatTable,
    PlanTable,
    Probing,
    Store,
    Watchd,
    Web,
)
from wcr_watchd.config.objectives import ObjectiveTable
from wcr_watchd.config.reports import ReportTable
from wcr_watchd.config.schedules import OnCallTable
from wcr_watchd.config.status_page import StatusPageTable
from wcr_watchd.config.typed import CHANNELS, PROBES
from wcr_watchd.kit.plugins import load, names

_NAMES = {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"}


def json_schema() -> dict[str, Any]:
    """The schema of a whole file, with all probe and channel types that are installed. Imports all of them."""
    definitions: dict[str, Any] = {}
    sections: dict[str, Any] = {
        "include": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Files to read as well, relative to this one; * stands for any part of a name.",
        },
        "watchd": _of(Watchd, "watchd", definitions),
        "store": _of(Store, "store", definitions),
        "web": _of(Web, "web", definitions),
        "user": _by_name(_of(UserTable, "user", definitions), "Who signs in."),
        "token": _by_name(_of(TokenTable, "token", definitions), "What programs show."),
        "oidc": _of(OidcTable, "oidc", definitions),
        "alerts": _of(Alerts, "alerts", definitions),
        "probe": _of(Probing, "probe", definitions),
        "status_page": _of(StatusPageTable, "status_page", definitions),
        "defaults": _of(Defaults, "defaults", definitions),
        "channel": _by_name(_typed(CHANNELS, ChannelTable, "channel", definitions), "How people are told."),
        "contact": _by_name(_of(ContactTable, "contact", definitions), "People."),
        "on_call": _by_name(_of(OnCallTable, "on_call", definitions), "Who is on call now."),
        "policy": _policies(definitions),
        "check": _by_name(_typed(PROBES, CheckTable, "check", definitions), "What is watched."),
        "task": _by_name(_tasks(definitions), "Work that recurs: run here, reported, or signed off by a person."),
        "heartbeat": _by_name(
            _of(HeartbeatTable, "heartbeat", definitions), "Signs of life to whoever watches this daemon."
        ),
        "maintenance": _by_name(
            _of(MaintenanceTable, "maintenance", definitions), "Planned times in which nobody is told."
        ),
        "follow_ups": _of(FollowUpsTable, "follow_ups", definitions),
        "contacts": _of(ContactsTable, "contacts", definitions),
        "knowledge": _of(KnowledgeTable, "knowledge", definitions),
        "report": _by_name(_of(ReportTable, "report", definitions), "Reports that are written and sent by themselves."),
        "change": _by_name(_of(ChangeTable, "change", definitions), "Kinds of updates."),
        "objective": _by_name(_of(ObjectiveTable, "objective", definitions), "What share of the time must be up."),
        "change_category": _by_name(
            _of(CategoryTable, "change_category", definitions), "Categories of updates, with their checklists."
        ),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "wcr-watchd configuration",
        "type": "object",
        "additionalProperties": False,
        "properties": sections,
        "$defs": definitions,
    }


def _by_name(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "propertyNames": dict(_NAMES),
        "additionalProperties": schema,
    }


def _policies(definitions: dict[str, Any]) -> dict[str, Any]:
    plan = _of(PlanTable, "plan", definitions)
    severities = dict.fromkeys(("critical", "warning", "info"), plan)
    policy = {"type": "object", "additionalProperties": False, "properties": severities}
    return _by_name(policy, "Whom to tell, by severity.")


def _typed(package: str, common: type[BaseModel], prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """One of the types of a package, told apart by ``type``; each has the common keys as well."""
    shared = _plain_schema(common, f"{prefix}.common", definitions)
    choices = []
    for name in names(package):
        kind = load(package, name)
        own = _plain_schema(kind, f"{prefix}.{name}", definitions)
        own["title"] = name
        own["properties"] = {
            "type": {"const": name, "description": shared["properties"]["type"].get("description", "")},
            **own.get("properties", {}),
            **{key: value for key, value in shared["properties"].items() if key != "type"},
        }
        own["required"] = ["type", *own.get("required", [])]
        definitions[f"{prefix}.{name}"] = own
        choices.append({"$ref": f"#/$defs/{prefix}.{name}"})
    return {"oneOf": choices}


def _tasks(definitions: dict[str, Any]) -> dict[str, Any]:
    """A task is a check of type task or heartbeat that does not say so."""
    choices = []
    for name in ("task", "heartbeat"):
        own = definitions[f"check.{name}"]
        properties = {key: value for key, value in own["properties"].items() if key != "type"}
        required = [key for key in own["required"] if key != "type"]
        reports = {"anyOf": [{"required": ["key"]}, {"required": ["ping_key"]}]} if name == "heartbeat" else {}
        definitions[f"task.{name}"] = {**own, "properties": properties, "required": required, **reports}
        choices.append({"$ref": f"#/$defs/task.{name}"})
    return {"oneOf": choices}


def _of(model: type[BaseModel], prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    definitions[prefix] = _plain_schema(model, prefix, definitions)
    return {"$ref": f"#/$defs/{prefix}"}


def _plain_schema(model: type[BaseModel], prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """A model's schema; the definitions it needs move to the document's, under names of their own.

    Defaults are left out: they are values after reading (seconds), not what one would write, and absent keys (TOML has
    no null) need no null.
    """
    schema = model.model_json_schema(by_alias=True, ref_template=f"#/$defs/{prefix}.{{model}}")
    for name, definition in schema.pop("$defs", {}).items():
        definitions[f"{prefix}.{name}"] = _without_noise(definition)
    cleaned: dict[str, Any] = _without_noise(schema)
    return cleaned


def _without_noise(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_noise(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    cleaned = {key: _without_noise(value) for key, value in schema.items() if key not in ("default", "writeOnly")}
    alternatives = cleaned.get("anyOf")
    if isinstance(alternatives, list) and {"type": "null"} in alternatives:
        rest = [one for one in alternatives if one != {"type": "null"}]
        del cleaned["anyOf"]
        cleaned = {**(rest[0] if len(rest) == 1 else {"anyOf": rest}), **cleaned}
    return cleaned
