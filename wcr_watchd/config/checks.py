"""Checks: from tables to core values and probes, with effective intervals, rules and fingerprints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from wcr_watchd.config.faults import Faults, did_you_mean
from wcr_watchd.config.models import CheckTable, Defaults, Watchd, is_loopback
from wcr_watchd.config.positions import Place
from wcr_watchd.config.typed import PROBES, load_type, named_tables, split
from wcr_watchd.config.write import duration_text
from wcr_watchd.core.errors import RuleError
from wcr_watchd.core.model import MeasurementSpec, Retry, Severity
from wcr_watchd.core.protocols import Awaiting, Probe, Recurring
from wcr_watchd.core.rules import Rule, parse_rule
from wcr_watchd.core.setup import OWN, Check, FlapLimits, Policy
from wcr_watchd.core.task import PREFIX, name_of

DEFAULT_POLICY = "default"
SEVERITIES = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)
USUAL_INTERVAL = 60.0
"""Seconds between two runs of a type without a rhythm of its own; `[defaults] every` stands in for it."""
_REPORTED: Mapping[str, list[str]] = {"critical": [], "warning": ["down"]}
"""The rules of a task that its job reports: as bad as every other task that is late or has failed."""


@dataclass(frozen=True, slots=True)
class Checks:
    """All checks that can be read: those that run here, and why others do not."""

    checks: dict[str, Check] = field(default_factory=dict)
    probes: dict[str, Probe] = field(default_factory=dict)
    resting: dict[str, str] = field(default_factory=dict)
    """By check: why it does not run here (``enabled = false``, another location)."""


def read_checks(
    faults: Faults, data: Mapping[str, Any], watchd: Watchd, defaults: Defaults, policies: Mapping[str, Policy]
) -> Checks:
    """Read the sections check and task. What checks refer to (each other, policies) is checked as well."""
    found = Checks()
    reading = _Reading(faults, defaults)
    names = set(names_of_checks(data))
    for name, place, table in _tables(faults, data, watchd.timezone):
        _refuse_quorum(faults, table, place)
        if name == OWN.name:
            faults.add(place, "is what incidents of the daemon itself are called", "choose another name")
        if name in found.checks:
            faults.add(place, f"is the check {name}, which is there already", "choose another name")
        common, probe = reading.options(place, {key: value for key, value in table.items() if key != "quorum"})
        _check_parents(faults, name, place, table, names)
        if common is None or probe is None:
            reading.look_at_the_rest(name, place, table)
            continue
        found.checks[name] = reading.check(name, place, common, probe)
        found.probes[name] = probe
        reason = _why_resting(common, watchd.location)
        if reason:
            found.resting[name] = reason
    _check_policies(faults, data, policies, defaults)
    for circle in _circles({name: check.depends_on for name, check in found.checks.items()}):
        faults.add(
            (*place_of(data, circle[0]), "depends_on"), f"goes round in a circle: {' → '.join((*circle, circle[0]))}"
        )
    return found


def with_runbooks(data: dict[str, Any]) -> dict[str, Any]:
    """The configuration with the URLs that checks name as their runbooks in every check that looks for dead links."""
    written: dict[str, dict[str, Any]] = {
        section: {name: one for name, one in tables.items() if isinstance(one, dict)}
        for section in ("check", "task")
        if isinstance(tables := data.get(section), dict)
    }
    named = {
        (name if section == "check" else PREFIX + name): url
        for section, tables in written.items()
        for name, one in tables.items()
        if isinstance(url := one.get("runbook"), str) and url.startswith(("https://", "http://"))
        if one.get("enabled", True)
    }
    looking = {
        name: one | {"runbooks": named | dict(given)}
        for name, one in written.get("check", {}).items()
        if one.get("type") == "links" and isinstance(given := one.get("runbooks", {}), dict)
    }
    return data | {"check": data["check"] | looking} if named and looking else data


def names_of_checks(data: Mapping[str, Any]) -> Iterator[str]:
    """The names of all checks, as written, those of tasks among them."""
    for section, before in (("check", ""), ("task", PREFIX)):
        tables = data.get(section)
        yield from (before + name for name in tables) if isinstance(tables, Mapping) else ()


def place_of(data: Mapping[str, Any], check: str) -> Place:
    """Where the table of a check stands: in the section check, or, of a task, in that."""
    tasks = data.get("task")
    own = name_of(check)
    return ("task", own) if own != check and isinstance(tasks, Mapping) and own in tasks else ("check", check)


def _tables(faults: Faults, data: Mapping[str, Any], timezone: str) -> Iterator[tuple[str, Place, dict[str, Any]]]:
    """The name, place and table of every check; a table of the section task is a check, too."""
    for name, table in named_tables(faults, data, "check"):
        yield name, ("check", name), table
    for name, table in named_tables(faults, data, "task"):
        if "type" in table:
            faults.add(("task", name, "type"), "a task has no type", "take it out, or write [check.NAME]")
        reports = "key" in table or "ping_key" in table
        kind = "heartbeat" if reports else "task"
        rules = _REPORTED if reports else {}
        yield PREFIX + name, ("task", name), {"timezone": timezone, **rules, **table, "type": kind}


def _refuse_quorum(faults: Faults, table: Mapping[str, Any], place: Place) -> None:
    if "quorum" in table:
        faults.add((*place, "quorum"), "several locations that vote are not in this version", "remove it")


def _why_resting(common: CheckTable, location: str) -> str:
    if not common.enabled:
        return "enabled = false"
    if common.locations is not None and location not in common.locations:
        return f"runs at {', '.join(common.locations) or 'no location'}; this is {location}"
    return ""


class _Reading:
    """Reads one check after the other under the same defaults."""

    def __init__(self, faults: Faults, defaults: Defaults) -> None:
        self._faults = faults
        self._defaults = defaults

    def options(self, place: Place, table: Mapping[str, Any]) -> tuple[CheckTable | None, Probe | None]:
        """The common keys and the probe of a check; None for what cannot be read."""
        kind = load_type(self._faults, PROBES, table, place)
        ours, own = split(table, CheckTable)
        common = self._faults.validate(CheckTable, {"type": "", **ours}, place)
        probe = self._faults.validate(kind, own, place, also=(*CheckTable.model_fields, "quorum")) if kind else None
        return common, probe

    def look_at_the_rest(self, name: str, place: Place, table: Mapping[str, Any]) -> None:
        """Say at once what is wrong besides, in the rules above all: the check is read without its faulty keys.

        Not possible without a key that must be there, nor without a table, which may have named measurements.
        """
        faulty = {str(fault.place[2]) for fault in self._faults.found if fault.place[:2] == place and fault.place[2:]}
        if "type" in faulty or any(isinstance(table.get(key), dict) for key in faulty):
            return
        aside = Faults(self._faults.raw)
        rest = {key: value for key, value in table.items() if key not in faulty and key != "quorum"}
        common, probe = _Reading(aside, self._defaults).options(place, rest)
        if common is not None and probe is not None:
            self.check(name, place, common, probe)

    def check(self, name: str, place: Place, common: CheckTable, probe: Probe) -> Check:
        """The check with its effective settings."""
        every = self._interval(common, probe)
        timeout = self._timeout(common, probe, every)
        if timeout > every:
            self._faults.add(
                (*place, "timeout"),
                f"a run may take {duration_text(timeout)} and the next begins "
                f"after {duration_text(every)} ({self._origin_of_every(common)})",
                "timeout must not be longer than every",
            )
        return Check(
            name=name,
            probe=common.type,
            target=probe.target,
            every=every,
            timeout=timeout,
            rules=tuple(self._rules(place, common, probe)),
            retry=self._retry(common, probe),
            policy=common.policy or self._defaults.policy or DEFAULT_POLICY,
            depends_on=common.depends_on,
            tags=tuple(dict.fromkeys((*self._defaults.tags, *common.tags))),
            owner=common.owner,
            group=common.group,
            runbook=common.runbook,
            vendor=common.vendor,
            month_begins=common.month_begins,
            external=_looks_beyond(probe) if common.external is None else common.external,
            flapping=FlapLimits() if self._flaps(common, probe) else None,
            staged=isinstance(probe, Recurring),
        )

    def _retry(self, common: CheckTable, probe: Probe) -> Retry:
        """What a job has reported is not confirmed by looking again, unless the check itself wants that."""
        if common.retry is None and isinstance(probe, Awaiting | Recurring):
            return Retry(times=0)
        retry = common.retry or self._defaults.retry
        return Retry(retry.times, retry.every)

    def _flaps(self, common: CheckTable, probe: Probe) -> bool:
        """A task that fails again and again is told each time, unless the check itself wants that otherwise."""
        usual = self._defaults.flapping and not isinstance(probe, Recurring)
        return usual if common.flapping is None else common.flapping

    def _interval(self, common: CheckTable, probe: Probe) -> float:
        """The check's own; else the default, unless the type has a rhythm of its own (host, certificates)."""
        if common.every is not None:
            return common.every
        return probe.every if self._defaults.every is None or probe.every != USUAL_INTERVAL else self._defaults.every

    def _timeout(self, common: CheckTable, probe: Probe, every: float) -> float:
        """The check's own; else the default, unless that is too long for the rhythm of the type; else the type's.

        What the check does not say itself is at most its interval, so that a short ``every`` needs no ``timeout``.
        """
        if common.timeout is not None:
            return common.timeout
        default = self._defaults.timeout
        own_rhythm = common.every is None and probe.every != USUAL_INTERVAL
        if default is None or (own_rhythm and default >= probe.every):
            return min(probe.timeout, every)
        return min(default, every)

    def _origin_of_every(self, common: CheckTable) -> str:
        if common.every is not None:
            return "every"
        return "[defaults] every" if self._defaults.every is not None else "the type's own every"

    def _rules(self, place: Place, common: CheckTable, probe: Probe) -> Iterator[Rule]:
        specs = probe.specs()
        for severity in SEVERITIES:
            given: tuple[str, ...] | None = getattr(common, severity.word)
            texts = [text for level, text in probe.default_rules if level is severity] if given is None else given
            for index, text in enumerate(texts):
                try:
                    yield _read_rule(text, severity, specs)
                except RuleError as error:
                    where = "" if given is not None else "the type's own rule "
                    reason = f"{where}{json.dumps(text, ensure_ascii=False)}, column {error.column + 1}: {error.reason}"
                    self._faults.add((*place, severity.word, index), reason, error.suggestion)


@lru_cache(maxsize=1_000)
def _read_rule(text: str, severity: Severity, specs: tuple[MeasurementSpec, ...]) -> Rule:
    """Kept, as most checks have the rules of their type and so share them."""
    return parse_rule(text, severity, specs)


def _looks_beyond(probe: Probe) -> bool:
    """Whether the target is on another machine, so that it is out of reach while this one has no network."""
    if probe.target_key == "name":  # a name is looked up, which no machine can do alone
        return True
    if probe.target_key not in ("url", "address", "host"):
        return False
    target = probe.target
    host = urlsplit(target if "://" in target else f"//{target}").hostname
    return bool(host) and not is_loopback(host or "") and "/" not in (host or "")


# --- what checks refer to ---------------------------------------------------------------------------------------------


def _check_parents(faults: Faults, name: str, place: Place, table: Mapping[str, Any], names: Collection[str]) -> None:
    """As written, so that it is also said of a check that has other faults."""
    given = table.get("depends_on", [])
    for index, parent in enumerate([given] if isinstance(given, str) else given if isinstance(given, list) else []):
        inner = (*place, "depends_on", index)
        if parent == name:
            faults.add(inner, "a check cannot depend on itself")
        elif isinstance(parent, str) and parent not in names:
            faults.add_reference(inner, f'there is no check "{parent}"', did_you_mean(parent, set(names) - {name}))


def _check_policies(
    faults: Faults, data: Mapping[str, Any], policies: Mapping[str, Policy], defaults: Defaults
) -> None:
    """A policy must exist; without any, the built-in default tells nobody, and the dashboard shows all."""
    known = set(policies) or {DEFAULT_POLICY}
    by_default = []
    tables = [(section, *one) for section in ("check", "task") for one in _items(data.get(section))]
    for section, name, table in tables:
        policy = table.get("policy") if isinstance(table, dict) else ""
        if policy is None:
            by_default.append(name)
        elif isinstance(policy, str) and policy and policy not in known:
            hint = did_you_mean(policy, known)
            faults.add_reference((section, name, "policy"), f'there is no policy "{policy}"', hint)
    if defaults.policy is not None and defaults.policy not in known:
        hint = did_you_mean(defaults.policy, known)
        faults.add_reference(("defaults", "policy"), f'there is no policy "{defaults.policy}"', hint)
    elif defaults.policy is None and by_default and DEFAULT_POLICY not in known:
        many = f"{len(by_default)} checks name" if len(by_default) > 1 else f'the check "{by_default[0]}" names'
        faults.add_reference(
            ("policy",),
            f'there is no policy "{DEFAULT_POLICY}", and {many} no other',
            f"add [policy.{DEFAULT_POLICY}.critical], or set policy in [defaults]",
        )


def _items(tables: object) -> Iterable[tuple[str, object]]:
    return tables.items() if isinstance(tables, dict) else ()


def _circles(parents: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Circles of dependencies, each beginning with its first check in the file; no dependency is in two."""
    graph = {name: {one for one in own if one in parents and one != name} for name, own in parents.items()}
    order = {name: number for number, name in enumerate(parents)}
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            parent, child, *_ = error.args[1]
            graph[child].discard(parent)
            circle = error.args[1][:0:-1]  # the error has parents first, and one check twice
            first = circle.index(min(circle, key=lambda name: order[name]))
            yield (*circle[first:], *circle[:first])
        else:
            return


# --- fingerprints -----------------------------------------------------------------------------------------------------


def fingerprint(check: Check, probe: Probe) -> str:
    """A hash over all settings of a check, secrets and defaults included; equal in every process."""
    options = probe.model_dump(by_alias=True) if isinstance(probe, BaseModel) else {}
    settings = {
        "probe": check.probe,
        "options": options,
        "every": check.every,
        "timeout": check.timeout,
        "retry": [check.retry.times, check.retry.every],
        "rules": [[rule.severity, rule.text] for rule in check.rules],
        "policy": check.policy,
        "depends_on": check.depends_on,
        "tags": check.tags,
        "about": [check.owner, check.group, check.runbook, check.vendor, check.month_begins],
        "calm": [check.external, check.flapping is not None],
    }
    text = json.dumps(settings, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, Enum):
        return value.value
    return str(value)
