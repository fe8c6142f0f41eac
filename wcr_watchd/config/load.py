"""From the configuration file to everything the daemon is built from, or to every reason why it cannot be used.

The effective interval of a check is its own ``every``; else the type's own where that is not the usual minute (the host
is read every 15 s, certificates every hour); else ``[defaults] every``. The timeout is the check's, else that of
``[defaults]`` if a type with a rhythm of its own has time for it, else the type's own. ``info``, ``warning`` and
``critical`` replace the type's rules of that severity.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr

from wcr_watchd.config.access import read_access
from wcr_watchd.config.changes import read_changes
from wcr_watchd.config.checks import DEFAULT_POLICY, Checks, fingerprint, names_of_checks, read_checks, with_runbooks
from wcr_watchd.config.contacts import asking, with_verifications
from wcr_watchd.config.faults import Faults, did_you_mean
from wcr_watchd.config.follow_ups import read_follow_ups
from wcr_watchd.config.knowledge import read_knowledge
from wcr_watchd.config.maintenance import Known, read_windows
from wcr_watchd.config.models import (
    Alerts,
    Defaults,
    HeartbeatTable,
    Probing,
    Retention,
    Store,
    Watchd,
    Web,
)
from wcr_watchd.config.objectives import read_objectives
from wcr_watchd.config.people import People, read_people
from wcr_watchd.config.reports import read_reports
from wcr_watchd.config.secrets import Secrets, passwords_in
from wcr_watchd.config.sources import Source, Sources
from wcr_watchd.config.status_page import read_status_page
from wcr_watchd.config.typed import named_tables
from wcr_watchd.core.access import AccessSettings
from wcr_watchd.core.errors import ConfigError, Problem
from wcr_watchd.core.guidance import with_runbook
from wcr_watchd.core.knowledge import Book
from wcr_watchd.core.model import Severity
from wcr_watchd.core.protocols import Channel, Probe
from wcr_watchd.core.report import ReportPlan
from wcr_watchd.core.setup import AlertSettings, Canary, Check, Heartbeat, Policy, Setup
from wcr_watchd.core.silence import Window
from wcr_watchd.core.status import StatusPage
from wcr_watchd.kit.blackbox_modules import Module, ModulesError, read_modules
from wcr_watchd.kit.redact import Redactor
from wcr_watchd.kit.templates import Wording

M = TypeVar("M", bound=BaseModel)

SECTIONS = (
    "watchd",
    "store",
    "web",
    "user",
    "token",
    "oidc",
    "defaults",
    "channel",
    "contact",
    "on_call",
    "policy",
    "check",
    "task",
    "maintenance",
    "heartbeat",
    "alerts",
    "probe",
    "change",
    "change_category",
    "objective",
    "report",
    "status_page",
    "knowledge",
    "contacts",
    "follow_ups",
)
LATER_SECTIONS = {
    "places": "several locations",
    "place": "several locations",
}
"""Sections of the interface that later versions bring."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """``[store]``: the URL, and how long history is kept, in seconds."""

    url: str
    retention: Retention


@dataclass(frozen=True, slots=True)
class WebSettings:
    """``[web]``: listen addresses as host and port, URL, certificate and key (None: no TLS), and who is let in."""

    listen: tuple[tuple[str, int], ...]
    public_url: str
    certificate: tuple[Path, Path] | None
    access: AccessSettings


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """``[probe]``: blackbox_exporter's modules by name, the networks that may use them, the offset in seconds."""

    modules: Mapping[str, Module]
    allow: tuple[IPv4Network | IPv6Network, ...]
    timeout_offset: float


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration.

    ``channel_caps`` are messages and seconds of each channel's ``limit``, ``wordings`` the own words of those that have
    some, ``canaries`` how often which prove that they deliver. ``resting`` says by name which configured checks do
    not run here, and why; they are not in ``setup``. ``secrets`` must never be shown. ``files`` were read.
    """

    setup: Setup
    probes: Mapping[str, Probe]
    channels: Mapping[str, Channel]
    channel_caps: Mapping[str, tuple[int, float]]
    wordings: Mapping[str, Wording]
    canaries: Mapping[str, Canary]
    heartbeats: Mapping[str, Heartbeat]
    reports: Mapping[str, ReportPlan]
    store: StoreSettings
    web: WebSettings
    probe: ProbeSettings | None
    status_page: StatusPage | None
    secrets: frozenset[str]
    files: tuple[str, ...]
    resting: Mapping[str, str]
    defaults: Defaults
    every_check: Checks
    sources: Sources
    resolved: Mapping[str, Any]
    """What stands in the sources with what its references stand for; it must never be shown."""


def load(path: Path) -> Loaded:
    """Read a configuration file and those it includes. Raises :class:`ConfigError` with all that is wrong."""
    sources = Sources()
    sources.read(path)
    return _loaded(sources)


def loads(text: str, name: str) -> Loaded:
    """Read a configuration from a text that is called ``name`` in problems. Raises :class:`ConfigError`."""
    sources = Sources()
    sources.take(Source(name, text, None))
    return _loaded(sources)


def _loaded(sources: Sources) -> Loaded:
    faults = Faults(sources.table, incomplete=sources.incomplete)
    secrets = Secrets(faults, sources.folder)
    resolved = secrets.resolve(sources.table)
    _check_sections(faults, resolved)
    data = with_runbooks(with_verifications(faults, resolved))
    watchd = _single(faults, data, "watchd", Watchd)
    store = _single(faults, data, "store", Store)
    web = _single(faults, data, "web", Web)
    defaults = _single(faults, data, "defaults", Defaults)
    alerts = _single(faults, data, "alerts", Alerts)
    probing = _probing(faults, _single(faults, data, "probe", Probing))
    people = read_people(faults, data, watchd.timezone)
    access, credentials = read_access(faults, data, web, alerts, people.contacts, watchd.timezone)
    checks = asking(read_checks(faults, data, watchd, defaults, people.policies), data, people.contacts)
    _check_controls(faults, watchd, checks)
    _check_alerts(faults, alerts, people)
    follow_ups = read_follow_ups(faults, data, people, defaults)
    known = _known(data, defaults)
    windows = read_windows(faults, data, watchd.timezone, known, time.time())
    running = checks.checks.keys() - checks.resting.keys()
    plans, categories = read_changes(faults, data, people, known, running)
    objectives = read_objectives(faults, data, watchd.timezone, known.checks, running)
    heartbeats = _heartbeats(faults, data)
    reports = read_reports(faults, data, watchd.timezone, people, known)
    status_page = read_status_page(faults, data, watchd.timezone, web.public_url or "", people, known)
    knowledge = read_knowledge(faults, sources, data, known)
    if faults.found or sources.problems:
        raise ConfigError(_problems(sources, faults, secrets.values))
    options = (*people.channels.values(), *checks.probes.values(), *heartbeats.values(), *credentials, web)
    hidden = secrets.values.union(*map(_literal_secrets, options))
    redactor = Redactor(hidden)
    checks = replace(checks, checks={name: _presentable(one, redactor) for name, one in checks.checks.items()})
    return Loaded(
        setup=replace(
            _setup(watchd, web, people, checks, windows, _readable(knowledge, redactor)),
            alerts=_alert_settings(alerts, defaults),
            changes=MappingProxyType(plans),
            change_categories=MappingProxyType(categories),
            objectives=MappingProxyType(objectives),
            follow_ups=follow_ups,
        ),
        probes=MappingProxyType({name: one for name, one in checks.probes.items() if name not in checks.resting}),
        channels=MappingProxyType(people.channels),
        channel_caps=MappingProxyType(people.caps),
        wordings=MappingProxyType(people.wordings),
        canaries=MappingProxyType(people.canaries),
        heartbeats=MappingProxyType({name: _heartbeat(table) for name, table in heartbeats.items()}),
        reports=MappingProxyType(reports),
        store=StoreSettings(store.url, store.retention),
        web=WebSettings(web.listen, web.public_url or "", _certificate(web), access),
        probe=probing,
        status_page=status_page,
        secrets=frozenset(hidden),
        files=tuple(source.name for source in sources.files),
        resting=MappingProxyType(checks.resting),
        defaults=defaults,
        every_check=checks,
        sources=sources,
        resolved=resolved,
    )


def _check_sections(faults: Faults, data: Mapping[str, Any]) -> None:
    for section in data:
        if section in LATER_SECTIONS:
            faults.add((section,), f"{LATER_SECTIONS[section]} are not in this version", "remove the section")
        elif section not in SECTIONS:
            faults.add((section,), f'unknown section "{section}"', did_you_mean(section, (*SECTIONS, "include")))


def _single(faults: Faults, data: Mapping[str, Any], section: str, model: type[M]) -> M:
    """A section that exists once; its defaults when it cannot be read, so that the rest can be looked at."""
    found = faults.validate(model, data.get(section, {}), (section,))
    return found if found is not None else model()


def _heartbeats(faults: Faults, data: Mapping[str, Any]) -> dict[str, HeartbeatTable]:
    read = (
        (name, faults.validate(HeartbeatTable, table, ("heartbeat", name)))
        for name, table in named_tables(faults, data, "heartbeat")
    )
    return {name: table for name, table in read if table is not None}


def _heartbeat(table: HeartbeatTable) -> Heartbeat:
    return Heartbeat(table.url.get_secret_value(), table.every, table.method)


def _probing(faults: Faults, section: Probing) -> ProbeSettings | None:
    if section.modules is None:
        return None
    try:
        modules = read_modules(section.modules)
    except ModulesError as error:
        for problem in str(error).splitlines():
            faults.add(("probe", "modules"), problem, "it must be a module file of blackbox_exporter")
        return None
    return ProbeSettings(MappingProxyType(modules), section.allow, section.timeout_offset)


def _certificate(web: Web) -> tuple[Path, Path] | None:
    return (Path(web.certificate), Path(web.key)) if web.certificate and web.key else None


def _check_controls(faults: Faults, watchd: Watchd, checks: Checks) -> None:
    for index, name in enumerate(watchd.control):
        if name not in checks.checks:
            hint = did_you_mean(name, checks.checks)
            faults.add_reference(("watchd", "control", index), f'there is no check "{name}"', hint)


def _check_alerts(faults: Faults, alerts: Alerts, people: People) -> None:
    known = set(people.policies) or {DEFAULT_POLICY}
    if alerts.policy is not None and alerts.policy not in known:
        hint = did_you_mean(alerts.policy, known)
        faults.add_reference(("alerts", "policy"), f'there is no policy "{alerts.policy}"', hint)


def _alert_settings(alerts: Alerts, defaults: Defaults) -> AlertSettings | None:
    if not alerts.enabled:
        return None
    usual = {word: Severity.of(word) for word in ("info", "warning", "critical")}
    return AlertSettings(
        alerts.policy or defaults.policy or DEFAULT_POLICY,
        alerts.resolve_timeout,
        MappingProxyType(usual | {word.lower(): Severity.of(known) for word, known in alerts.severity.items()}),
        Severity.of(alerts.default),
    )


def _known(data: Mapping[str, Any], defaults: Defaults) -> Known:
    """What windows can refer to: also what has other faults is there."""
    tags = {*defaults.tags}
    for section in ("check", "task"):
        tables = data.get(section)
        for table in tables.values() if isinstance(tables, Mapping) else ():
            given = table.get("tags") if isinstance(table, Mapping) else None
            tags.update(tag for tag in (given if isinstance(given, list) else [given]) if isinstance(tag, str))
    return Known(tuple(names_of_checks(data)), tuple(tags))


def _setup(
    watchd: Watchd, web: Web, people: People, checks: Checks, windows: tuple[Window, ...], knowledge: Book
) -> Setup:
    running = {name: check for name, check in checks.checks.items() if name not in checks.resting}
    complete = {}
    for name, check in running.items():
        parents = tuple(parent for parent in check.depends_on if parent in running)
        known = replace(check, depends_on=parents)
        complete[name] = replace(known, fingerprint=fingerprint(known, checks.probes[name]))
    setup = Setup(
        name=watchd.name,
        location=watchd.location,
        timezone=watchd.timezone,
        public_url=web.public_url or "",
        windows=windows,
        controls=tuple(name for name in watchd.control if name in complete),
        reopen_within=watchd.reopen_within,
        tell_absence=watchd.tell_absence,
        checks=MappingProxyType(complete),
        policies=MappingProxyType(people.policies or {"default": Policy("default")}),
        contacts=MappingProxyType(people.contacts),
        on_call=MappingProxyType(people.schedules),
        channels=MappingProxyType({name: people.kinds[name] or "" for name in people.channels}),
        units=MappingProxyType(
            {name: {spec.name: spec.unit.value for spec in checks.probes[name].specs()} for name in complete}
        ),
        knowledge=knowledge,
    )
    return replace(setup, checks=MappingProxyType({one.name: with_runbook(setup, one) for one in complete.values()}))


def _presentable(check: Check, redactor: Redactor) -> Check:
    """The check without secrets in what is shown everywhere: a key in a URL, a password among a program's words."""
    return replace(
        check,
        target=redactor.text(check.target),
        tags=tuple(map(redactor.text, check.tags)),
        owner=redactor.text(check.owner),
        group=redactor.text(check.group),
        runbook=redactor.text(check.runbook),
    )


def _readable(book: Book, redactor: Redactor) -> Book:
    """The book without secrets, which somebody may have written into it."""
    entries = {name: replace(one, text=redactor.text(one.text)) for name, one in book.entries.items()}
    return replace(book, entries=MappingProxyType(entries))


def _problems(sources: Sources, faults: Faults, hidden: set[str]) -> tuple[Problem, ...]:
    """All problems in file order; a secret that found its way into a sentence is masked."""
    redact = Redactor(hidden).text
    found = (sources.problem(fault.place, redact(fault.reason), redact(fault.suggestion)) for fault in faults.found)
    return sources.in_order([*sources.problems, *found])


SHORTEST_LITERAL = 8


def _literal_secrets(options: object) -> Iterator[str]:
    """Secrets that stand in the file after all: they are hidden, too, unless they look like a word or an address.

    Headers and fields of forms are secret as a precaution only: hiding ``www.example.org`` everywhere helps nobody.
    """
    for name in type(options).model_fields if isinstance(options, BaseModel) else ():
        value = getattr(options, name)
        if isinstance(value, BaseModel):
            yield from _literal_secrets(value)
        elif isinstance(value, SecretStr):
            text = value.get_secret_value()
            yield from passwords_in(text)
            if len(text) >= SHORTEST_LITERAL and ("://" not in text or text.startswith(("http://", "https://"))):
                yield text
