"""The effective settings of one check: every value with where it comes from, secrets hidden."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, SecretStr

from wcr_watchd.config.checks import place_of
from wcr_watchd.config.faults import MASK, by_key, value_at
from wcr_watchd.config.load import Loaded
from wcr_watchd.config.positions import Place, dotted
from wcr_watchd.config.write import commented, duration_text, table_text, value_text
from wcr_watchd.core.model import Severity
from wcr_watchd.kit.options import Duration

LONGEST_LINE = 100
_EMPTY_MEANS_SOMETHING = ("critical", "warning", "info")
_DURATION = get_args(Duration)[1]


def effective(loaded: Loaded, name: str) -> dict[str, Any]:
    """The settings of a check: ``name``, ``target``, ``resting`` (why it does not run here) and ``settings``.

    ``place`` is its table in the file. ``settings`` has by dotted key the ``value`` as it would be written and where it
    comes ``from`` (``file:line``, ``[defaults]`` with file and line, or the default of the type). Raises
    :class:`KeyError` for an unknown check.
    """
    check, probe = loaded.every_check.checks[name], loaded.every_check.probes[name]
    settings = {
        **_origin(loaded, (*place_of(loaded.sources.table, name), "type"), check.probe, "a task"),
        **_options(loaded, name, probe),
        **_common(loaded, name),
    }
    return {
        "name": name,
        "place": place_of(loaded.sources.table, name),
        "target": check.target,
        "resting": loaded.resting.get(name, ""),
        "settings": settings,
        "measurements": {spec.name: {"unit": spec.unit.value, "help": spec.help} for spec in probe.specs()},
    }


def as_toml(settings: Mapping[str, Any]) -> str:
    """What :func:`effective` returned as TOML, with the origin of each value beside it; without empty defaults."""
    rows: Mapping[str, Mapping[str, Any]] = settings["settings"]
    lines = [
        line
        for key, row in rows.items()
        if not (key == "type" and settings["place"][0] == "task")  # its section says so
        if row["value"] not in ("", [], {}) or key in _EMPTY_MEANS_SOMETHING or "default" not in row["from"]
        for line in _written(key, row["value"], row["from"])
    ]
    width = min(max(len(line) for line, origin in lines if origin), 80)
    head = commented(f"does not run here: {settings['resting']}") if settings["resting"] else ""
    body = "".join(f"{line:<{width}}  # {origin}\n" if origin else f"{line}\n" for line, origin in lines)
    return head + table_text(settings["place"], {}) + body


def _written(key: str, value: Any, origin: str) -> Iterator[tuple[str, str]]:
    """The lines of one setting, the first with its origin: a long list has one for each of its values."""
    line = f"{key} = {value_text(value)}"
    if not _can_be_written(value):
        yield f"# {line}", origin
    elif isinstance(value, list) and len(line) > LONGEST_LINE:
        yield f"{key} = [", origin
        yield from ((f"    {value_text(one)},", "") for one in value)
        yield "]", ""
    else:
        yield line, origin


def _can_be_written(value: Any) -> bool:
    """Whether it looks as it would in a file; some defaults are kept in a form of the type's own: lists of pairs."""
    return not (isinstance(value, list) and any(isinstance(one, list) for one in value))


# --- the probe's own --------------------------------------------------------------------------------------------------


def _options(loaded: Loaded, name: str, probe: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    own = place_of(loaded.sources.table, name)
    for place, value in _values(probe, ()):
        found |= _origin(loaded, (*own, *place), value, f"default of {probe.type}")
    return found


def _values(options: BaseModel, place: Place) -> Iterator[tuple[Place, Any]]:
    """Every option with its value; those of a table in a table come one by one, those that are None not at all."""
    for key, field in by_key(type(options)).items():
        name = next(one for one, same in type(options).model_fields.items() if same is field)
        value = getattr(options, name)
        here = (*place, key)
        if isinstance(value, BaseModel):
            yield from _values(value, here)
        elif value is not None:
            as_duration = isinstance(value, int | float) and _is_duration(field.metadata, field.annotation)
            yield here, duration_text(value) if as_duration else _plain(value)


def _is_duration(metadata: list[Any], annotation: Any) -> bool:
    if _DURATION in metadata:
        return True
    return any(_is_duration(list(getattr(part, "__metadata__", ())), part) for part in get_args(annotation))


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool) else str(value)


# --- what all checks have in common -----------------------------------------------------------------------------------


def _common(loaded: Loaded, name: str) -> dict[str, Any]:
    check, defaults = loaded.every_check.checks[name], loaded.defaults
    probe = loaded.every_check.probes[name]
    type_default = f"default of {check.probe}"
    place = place_of(loaded.sources.table, name)
    rules_default = "default of task" if place[0] == "task" else type_default
    found: dict[str, Any] = {}
    for key, seconds, own in (("every", check.every, probe.every), ("timeout", check.timeout, probe.timeout)):
        default = getattr(defaults, key)
        origin = _default_origin(loaded, key) if default is not None and seconds == default != own else type_default
        if key == "timeout" and seconds == check.every < (probe.timeout if default is None else default):
            origin = "not longer than every"
        found |= _origin(loaded, (*place, key), duration_text(seconds), origin)
    retry = {"times": check.retry.times, "every": duration_text(check.retry.every)}
    found |= _origin(loaded, (*place, "retry"), retry, _default_origin(loaded, "retry"))
    for severity in (Severity.CRITICAL, Severity.WARNING, Severity.INFO):
        texts = [rule.text for rule in check.rules if rule.severity is severity]
        found |= _origin(loaded, (*place, severity.word), texts, rules_default)
    found |= _origin(loaded, (*place, "policy"), check.policy, _default_origin(loaded, "policy"))
    found |= _origin(loaded, (*place, "tags"), list(check.tags), _default_origin(loaded, "tags"))
    flaps = check.flapping is not None
    found |= _origin(loaded, (*place, "flapping"), flaps, _default_origin(loaded, "flapping"))
    found |= _origin(loaded, (*place, "external"), check.external, "from its target")
    for key in ("depends_on", "owner", "group", "runbook", "vendor", "month_begins"):
        value = getattr(check, key)
        found |= _origin(loaded, (*place, key), list(value) if isinstance(value, tuple) else value, "default")
    if not check.runbook and (running := loaded.setup.checks.get(name)) and running.runbook:
        found["runbook"] = {"value": running.runbook, "from": "it is about this check"}
    return found


def _default_origin(loaded: Loaded, key: str) -> str:
    if value_at(loaded.sources.table, ("defaults", key)) is None:
        return "default"
    file, line = loaded.sources.locate(("defaults", key))
    return f"[defaults] {file}:{line}"


def _origin(loaded: Loaded, place: Place, value: Any, default: str) -> dict[str, Any]:
    """One row: the value as it is written when it stands in the file, and where it comes from."""
    raw = value_at(loaded.sources.table, place)
    if raw is None:
        return {dotted(place[2:]): {"value": value, "from": default}}
    file, line = loaded.sources.locate(place)
    return {dotted(place[2:]): {"value": _as_written(value, raw), "from": f"{file}:{line}"}}


def _as_written(value: Any, raw: Any) -> Any:
    """What stands in the file, but for secrets that stand there openly."""
    if value == MASK:
        return raw if isinstance(raw, str) and "${" in raw else MASK
    if isinstance(value, Mapping) and isinstance(raw, Mapping):
        return {key: _as_written(value.get(key), one) for key, one in raw.items()}
    return raw
