"""What readers see of the running daemon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from wcr_watchd import __version__
from wcr_watchd.config import show
from wcr_watchd.core import changes
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.heartbeat import Ping
from wcr_watchd.core.model import EventKind, MeasurementSpec, Observation, Severity
from wcr_watchd.core.modifications import Mark, grouped
from wcr_watchd.core.protocols import Store
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.state import State
from wcr_watchd.core.task import TaskRecord, TaskView, reported
from wcr_watchd.core.view import ChannelView, Counters, Touched
from wcr_watchd.core.wording import made_up
from wcr_watchd.daemon.base import DAY, Base
from wcr_watchd.daemon.desks import Desks
from wcr_watchd.daemon.in_force import InForce
from wcr_watchd.daemon.telling import Telling
from wcr_watchd.daemon.watching import Watching
from wcr_watchd.runtime.changes.desk import ChangeDesk
from wcr_watchd.runtime.objectives import ObjectiveWatch
from wcr_watchd.runtime.runs import must_be_configured

LONGEST_CHANGE = 31 * DAY
"""Seconds before a span in which a change may have begun that still went on in it."""


class DaemonView:
    """The :class:`~wcr_watchd.core.view.View` that web, API and metrics work with."""

    version = __version__

    def __init__(self, force: InForce, base: Base, watching: Watching, telling: Telling, desks: Desks) -> None:
        self._force = force
        self._base = base
        self._watching = watching
        self._telling = telling
        self._desks = desks

    @property
    def setup(self) -> Setup:
        """The configuration in force."""
        return self._watching.monitor.setup

    @property
    def state(self) -> State:
        """What the engine remembers."""
        return self._watching.monitor.state

    @property
    def latest(self) -> Mapping[str, Observation]:
        """The newest observation of each check that has one."""
        return self._watching.monitor.latest

    @property
    def specs(self) -> Mapping[str, tuple[MeasurementSpec, ...]]:
        """What each check measures."""
        return self._force.specs

    @property
    def counters(self) -> Counters:
        """Numbers about the daemon itself."""
        return self._base.counters

    @property
    def store(self) -> Store:
        """History, incidents and deliveries."""
        return self._base.store

    @property
    def started_at(self) -> float:
        """When this life began (epoch seconds)."""
        return self._base.started_at

    @property
    def reload_problems(self) -> tuple[str, ...]:
        """Why the last reload was refused, if it was."""
        return self._force.reload_problems

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be said of the configuration in force."""
        return self._force.warnings

    @property
    def files(self) -> Sequence[str]:
        """The files of the configuration in force."""
        return [str(file) for file in self._force.loaded.files]

    def channels(self) -> Sequence[ChannelView]:
        """The configured channels."""
        loaded = self._force.loaded
        return [
            ChannelView(
                name,
                channel.type,
                channel.address_kind,
                channel.limits.rate,
                loaded.channel_caps.get(name),
                loaded.canaries.get(name),
            )
            for name, channel in loaded.channels.items()
        ]

    def now(self) -> float:
        """The daemon's time (epoch seconds)."""
        return self._base.clock.now()

    def monotonic(self) -> float:
        """The daemon's monotonic clock (seconds)."""
        return self._base.clock.monotonic()

    def touched(self) -> AsyncIterator[tuple[Touched, ...]]:
        """Batches of what was touched from now on."""
        return self._watching.monitor.touched()

    async def marks(self, since: float, until: float) -> Sequence[Mark]:
        """Changes and modifications of a span of time, oldest first."""
        found = await self.store.modifications(since=since, until=until)
        begun = {one.id: one for one in (*await self.store.changes(since=since - LONGEST_CHANGE), *self.changes.known)}
        marked = (*changes.marks(begun.values()), *grouped(found))
        held = (one for one in marked if one.at < until and (one.at >= since or (one.change and not _over(one, since))))
        return tuple(sorted(held, key=lambda one: one.at))

    @property
    def objectives(self) -> ObjectiveWatch:
        """Error budgets and burn rates."""
        return self._watching.objectives

    def recent(self, check: str) -> tuple[tuple[float, float | None], ...]:
        """The last runs of a check."""
        return self._watching.monitor.recent(check)

    def rendered(self, channel: str, check: str | None, event: EventKind, severity: Severity) -> Mapping[str, str]:
        """A made-up message as it would look on a channel, part by part, without secrets."""
        loaded = self._force.loaded
        if channel not in loaded.channels:
            raise CommandError(f"there is no channel named {channel!r}; configured: {', '.join(loaded.channels)}")
        if check is not None:
            must_be_configured(self.setup, check)
        message = made_up(self.setup, check, event, severity)
        wording = loaded.wordings.get(channel)
        parts = loaded.channels[channel].render(wording.of(message) if wording else message)
        return {name: self._base.redactor.text(part) for name, part in parts.items()}

    def settings(self, check: str) -> str:
        """The effective settings of a check as TOML, with where each comes from."""
        return self._base.redactor.text(show.as_toml(show.effective(self._force.loaded, check)))

    async def tasks(self, timezone: str = "") -> Sequence[TaskView]:
        """Every task as it stands now."""
        return (*await self._desks.tasks.views(self.setup, timezone), *await self._desks.follow_ups.views(timezone))

    async def task_times(self, check: str, until: float) -> Sequence[float]:
        """When a task is due from now until then."""
        if self._desks.follow_ups.has(check):
            return self._desks.follow_ups.times(check, until)
        return await self._desks.tasks.times(check, until)

    async def task_records(self, check: str) -> Sequence[TaskRecord]:
        """How a task ended the last times, newest first; of one that its job reports, what that reported."""
        if self._desks.follow_ups.has(check):
            return self._desks.follow_ups.records(check)
        if check in self.setup.checks and self.setup.checks[check].probe == "task":
            return await self.store.task_records(check)
        return tuple(filter(None, map(reported, await self.pings(check))))

    @property
    def changes(self) -> ChangeDesk:
        """Updates in progress."""
        return self._watching.changes

    async def pings(self, check: str) -> Sequence[Ping]:
        """The last signals of a check's jobs, newest first, without secrets."""
        kept = await self.store.pings(check)
        return await asyncio.to_thread(lambda: [replace(one, body=self._redacted(one.body)) for one in kept])

    def _redacted(self, body: bytes) -> bytes:
        return self._base.redactor.text(body.decode(errors="replace")).encode()

    async def acknowledge(self, incident: int, by: str, *, until: float | None = None, sticky: bool = False) -> str:
        """Acknowledge an incident, or answer the drill of that number; returns a sentence."""
        if self._telling.drills.runs(incident):
            return self._telling.drills.acknowledge(by)
        return await self._watching.monitor.acknowledge(incident, by, until=until, sticky=sticky)


def _over(mark: Mark, since: float) -> bool:
    """Whether a change was over by then."""
    return mark.until is not None and mark.until < since
