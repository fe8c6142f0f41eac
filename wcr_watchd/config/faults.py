"""Collecting what is wrong with a configuration, in words that say what would be right."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from wcr_watchd.config.positions import Place
from wcr_watchd.kit.refused import did_you_mean as did_you_mean

M = TypeVar("M", bound=BaseModel)

LONGEST_VALUE = 80
MASK = "***"
_URL_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@/\s]+@")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong at a place of the merged configuration; where that stands in which file is found out later."""

    place: Place
    reason: str
    suggestion: str = ""


@dataclass(slots=True)
class Faults:
    """All that is wrong. ``raw`` is the merged configuration as written, with ``${…}`` unresolved."""

    raw: Mapping[str, Any]
    found: list[Fault] = field(default_factory=list)
    unresolved: set[Place] = field(default_factory=set)
    """Values whose secret is missing; what else is wrong with them cannot be told."""
    incomplete: bool = False
    """Whether a file could not be read, so that what others refer to may stand in it."""

    def add(self, place: Place, reason: str, suggestion: str = "") -> None:
        """Note a fault. A single text that stands for a list of one has no positions in it."""
        while place and isinstance(place[-1], int) and not isinstance(value_at(self.raw, place[:-1]), list):
            place = place[:-1]
        if place not in self.unresolved:
            self.found.append(Fault(place, reason, suggestion))

    def add_reference(self, place: Place, reason: str, suggestion: str = "") -> None:
        """Note that something refers to what does not exist, or not in a way that fits."""
        if not self.incomplete:
            self.add(place, reason, suggestion)

    def add_unresolved(self, place: Place, reason: str, suggestion: str = "") -> None:
        """Note a secret that could not be had."""
        self.found.append(Fault(place, reason, suggestion))
        self.unresolved.add(place)

    def validate(self, model: type[M], table: object, place: Place, also: Iterable[str] = ()) -> M | None:
        """Read a table with a model; None when it cannot be, with every reason noted.

        ``also`` are keys that are right at this place although the model does not know them.
        """
        if not isinstance(table, Mapping):
            self.add(place, f"must be a table{_got(table)}", f"write [{'.'.join(map(str, place))}]")
            return None
        try:
            return model.model_validate(dict(table))
        except ValidationError as error:
            for fault in _translated(error, model, place, self.raw, tuple(also)):
                self.add(fault.place, fault.reason, fault.suggestion)
            return None


# --- what pydantic says, in the words of whoever writes TOML ----------------------------------------------------------

_MUST_BE = {
    "string": "text in quotes",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "dict": "a table",
    "model": "a table",
    "dataclass": "a table",
}


_BOUNDS = {
    "greater_than_equal": "must be at least",
    "less_than_equal": "must be at most",
    "greater_than": "must be more than",
    "less_than": "must be less than",
}


def _translated(
    error: ValidationError, model: type[BaseModel], place: Place, raw: Mapping[str, Any], also: tuple[str, ...]
) -> Iterator[Fault]:
    """One fault per place: the alternatives of a union that all fail at it become one sentence."""
    by_place: dict[Place, list[Fault]] = {}
    for details in error.errors(include_url=False):
        fault = _fault(details, model, place, raw, also)
        by_place.setdefault(fault.place, []).append(fault)
    for where, faults in by_place.items():
        reasons = list(dict.fromkeys(fault.reason for fault in faults))
        yield Fault(where, " or ".join(reasons), next((one.suggestion for one in faults if one.suggestion), ""))


def _fault(
    details: ErrorDetails, model: type[BaseModel], place: Place, raw: Mapping[str, Any], also: tuple[str, ...]
) -> Fault:
    kind, loc = details["type"], details["loc"]
    if kind == "extra_forbidden":
        inner = _navigable(value_at(raw, place), loc[:-1])
        known = (*_keys(_annotation(model, inner)), *(also if not inner else ()))
        key = str(loc[-1])
        return Fault((*place, *inner, key), f'unknown key "{key}"', did_you_mean(key, known))
    if kind == "missing":
        inner = _navigable(value_at(raw, place), loc[:-1])
        return Fault((*place, *inner, str(loc[-1])), "is missing", _description(model, (*inner, loc[-1])))
    inner = _navigable(value_at(raw, place), loc)
    value = value_at(raw, (*place, *inner))
    error = details.get("ctx", {}).get("error")
    reason, suggestion = _reason(details), getattr(error, "suggestion", "")
    if kind == "literal_error":
        close = did_you_mean(str(value), _choices(details))
        suggestion = close if close.startswith("did") else ""
    if is_secret(model, inner):
        reason = reason.replace(str(value), MASK) if isinstance(value, str) and value else reason
    elif not isinstance(value, Mapping) and inner:
        named = isinstance(value, str) and (f'"{value}"' in reason or f"'{value}'" in reason)
        reason += "" if named else _got(value)
    return Fault((*place, *inner), reason, suggestion)


def _reason(details: ErrorDetails) -> str:
    kind = details["type"]
    if kind == "value_error":
        return str(details["ctx"]["error"])
    if kind == "literal_error":
        choices = [f'"{choice}"' for choice in _choices(details)]
        return f"must be {' or '.join(filter(None, (', '.join(choices[:-1]), choices[-1])))}"
    family, _, problem = kind.partition("_")
    if problem in ("type", "parsing", "attributes_type", "from_float", "sub_type") and family in _MUST_BE:
        return f"must be {_MUST_BE[family]}"
    if kind in _BOUNDS:
        return f"{_BOUNDS[kind]} {next(iter(details['ctx'].values()))}"
    if kind in ("too_short", "string_too_short"):
        least = details["ctx"]["min_length"]
        return "must not be empty" if least == 1 else f"must be at least {least} long"
    return details["msg"].replace("Input should", "must").replace("Value should", "must")


def _choices(details: ErrorDetails) -> list[str]:
    """The literals out of ``'a', 'b' or 'c'``."""
    return [part.strip(" '") for part in str(details["ctx"]["expected"]).replace("' or '", "', '").split("', '")]


def _navigable(table: object, loc: Iterable[str | int]) -> Place:
    """The part of a pydantic location that exists in the data; the rest names types and union members."""
    place: list[str | int] = []
    for part in loc:
        inner = _inside(table, part)
        if inner is not None:
            table = inner
            place.append(part)
    return tuple(place)


def value_at(table: object, place: Place) -> Any:
    """The value at a place; None when there is none."""
    for part in place:
        table = _inside(table, part)
    return table


def _inside(table: object, part: str | int) -> Any:
    """TOML has no null, so None means that there is nothing."""
    if isinstance(table, Mapping):
        return table.get(part)
    return table[part] if isinstance(table, list) and isinstance(part, int) and part < len(table) else None


# --- what a model knows -----------------------------------------------------------------------------------------------


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _annotation(model: Any, place: Place) -> Any:
    """The type of the value at a place inside a model, as far as it can be told."""
    annotation = model
    for part in place:
        if isinstance(part, int):
            continue
        fields = {key: field for one in _models(annotation) for key, field in by_key(one).items()}
        if part not in fields:
            return annotation  # inside a dictionary: the same type tells of secrets
        annotation = fields[part].annotation
    return annotation


def by_key(model: type[BaseModel]) -> dict[str, Any]:
    """A model's fields by the key that is written in the file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _keys(annotation: Any) -> tuple[str, ...]:
    return tuple(key for model in _models(annotation) for key in by_key(model))


def _description(model: type[BaseModel], place: Place) -> str:
    for one in _models(_annotation(model, place[:-1])):
        field = by_key(one).get(str(place[-1]))
        if field is not None and field.description:
            first: str = field.description.split("\n\n")[0].replace("\n", " ")
            return first.rstrip(".")
    return ""


def is_secret(model: type[BaseModel], place: Place) -> bool:
    """Whether the value at a place inside a model must not be shown."""
    annotation = _annotation(model, place)
    return annotation is not model and "SecretStr" in repr(annotation) and not any(_models(annotation))


# --- words ------------------------------------------------------------------------------------------------------------


def written(value: object) -> str:
    """A value as it could stand in TOML, shortened."""
    if isinstance(value, str):
        text = _URL_PASSWORD.sub(rf"\1{MASK}@", json.dumps(value, ensure_ascii=False))
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, date | time):
        text = value.isoformat()
    elif isinstance(value, Mapping):
        return "a table"
    elif isinstance(value, list):
        text = f"[{', '.join(map(written, value))}]"
    else:
        text = str(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def _got(value: object) -> str:
    return f"; got {written(value)}"
