"""The simulated surroundings of a daemon: targets, channels and a store that behave as the plan says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.simulation.plan import mood_at
from wcr_watchd.core.errors import ChannelError, StoreError
from wcr_watchd.core.model import (
    Delivery,
    DeliveryState,
    Event,
    Incident,
    IncidentState,
    MeasurementSpec,
    Message,
    Notification,
    Observation,
)
from wcr_watchd.core.protocols import Batch, Limits, Receipt, Restored, Store
from wcr_watchd.core.run import Run
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.sms import sms_text
from wcr_watchd.core.state import CheckState
from wcr_watchd.core.units import Unit

if TYPE_CHECKING:
    from tests.simulation.world import Life, World

SPECS = (MeasurementSpec("response_time", Unit.SECONDS, "How long the answer took."),)


@dataclass(frozen=True)
class Seen:
    """One run that a target answered."""

    at: float
    outcome: str


class Target:
    """A probe of something that fails when the plan says so."""

    type, target, measurements = "http", "simulated", SPECS

    def __init__(self, world: World, check: str) -> None:
        self._world = world
        self._check = check
        self._blipped: float | None = None

    def specs(self) -> tuple[MeasurementSpec, ...]:
        return SPECS

    async def run(self, run: Run) -> Observation:
        mood = self._mood()
        await asyncio.sleep(100.0 if mood == "hang" else self._world.chance.uniform(0.01, 0.3))
        run.measure("response_time", 2.0 if mood == "slow" else 0.1)
        if mood == "down":
            return run.down("status", "HTTP 500, expected 2xx")
        if mood == "unknown":
            return run.unknown("missing", "the tool is missing")
        return run.up("HTTP 200")

    def _mood(self) -> str:
        world = self._world
        spell = next((one for one in world.plan.spells[self._check] if one.start <= world.true() < one.end), None)
        mood = spell.mood if spell else ""
        if mood == "flap":
            mood = world.chance.choice(("down", ""))
        elif spell and mood == "blip":
            mood, world.blips[self._check] = (
                ("" if world.blips.get(self._check) == spell.start else "down"),
                spell.start,
            )
        world.seen.setdefault(self._check, []).append(Seen(world.true(), mood or "up"))
        return mood


@dataclass(frozen=True)
class Accepted:
    """A message that a provider took."""

    at: float
    life: int
    channel: str
    notification: Notification
    answered: bool
    """Whether the daemon was told that it was taken."""

    @property
    def items(self) -> tuple[Message, ...]:
        """The news in it."""
        return self.notification.message.items or (self.notification.message,)


class Wire:
    """A channel of one life of the daemon whose provider behaves as the plan says."""

    timeout, example, limits = 15.0, "", Limits()

    def __init__(self, life: Life, name: str, kind: str, address_kind: str) -> None:
        self._life = life
        self._name = name
        self.type = kind
        self.address_kind = address_kind

    def render(self, message: Message) -> Mapping[str, str]:
        return {"text": sms_text(message)}

    async def send(self, notification: Notification, parts: Mapping[str, str], shared: object) -> Receipt:
        life, world = self._life, self._life.world
        world.note_attempt(life, notification)
        mood = mood_at(world.plan.outages[self._name], world.true())
        if mood == "flaky":
            mood = world.chance.choice(("", "refuse", "lost"))
        await asyncio.sleep(1_000.0 if mood == "hang" else world.chance.uniform(0.02, 1.5))
        if mood == "limited":
            wait = world.chance.uniform(30, 300)
            raise ChannelError("429", reason="rate_limited", permanent=False, retry_after=wait)
        if mood == "refuse":
            raise ChannelError("503", reason="server", permanent=False)
        life.step("before accept")
        if life.dead:
            raise asyncio.CancelledError
        world.accepted.append(Accepted(world.true(), life.number, self._name, notification, mood != "lost"))
        life.step("after accept")
        if mood == "lost":
            raise ChannelError("the answer got lost", reason="connect", permanent=False)
        return Receipt("taken")


@dataclass
class Records:
    """Everything that is stored, in memory: what a commit brings is there as a whole or not at all."""

    states: dict[str, CheckState] = field(default_factory=dict)
    all_incidents: dict[int, Incident] = field(default_factory=dict)
    timeline: dict[tuple[int, int], Event] = field(default_factory=dict)
    silences: dict[str, Silence] = field(default_factory=dict)
    rows: dict[str, Delivery] = field(default_factory=dict)
    last_seen: float | None = None

    async def open(self) -> None:
        """Nothing is to be opened."""

    async def close(self) -> None:
        """Nothing is to be closed."""

    async def commit(self, batch: Batch) -> None:
        self.states |= {state.check: state for state in batch.states}
        self.all_incidents |= {incident.id: incident for incident in batch.incidents}
        self.timeline |= {(event.incident, event.sequence): event for event in batch.events}
        self.silences |= {silence.id: silence for silence in batch.silences}
        for notification in batch.notifications:
            self.rows.setdefault(notification.id, Delivery(notification))
        self.rows |= {delivery.notification.id: delivery for delivery in batch.deliveries}
        times = [one.at for one in (*batch.observations, *batch.events)]
        times += [one.created_at for one in batch.notifications]
        times += [one.delivered_at for one in batch.deliveries if one.delivered_at is not None]
        self.last_seen = max((self.last_seen or 0.0, *times)) or None

    async def restore(self) -> Restored:
        over = [one for one in self.all_incidents.values() if one.state is IncidentState.RESOLVED]
        return Restored(
            states=tuple(self.states.values()),
            incidents=tuple(one for one in self.all_incidents.values() if one.state is not IncidentState.RESOLVED),
            ended=tuple(sorted(over, key=lambda one: one.resolved_at or 0.0)),
            silences=tuple(self.silences.values()),
            next_incident=max(self.all_incidents, default=0) + 1,
            pending=tuple(row for row in self.rows.values() if row.state is DeliveryState.PENDING),
            last_seen_at=self.last_seen,
        )

    async def forget(self, checks: Sequence[str]) -> None:
        for check in checks:
            self.states.pop(check, None)

    async def incidents(self, **_: Any) -> Sequence[Incident]:
        return list(self.all_incidents.values())

    async def incident(self, number: int) -> Incident | None:
        return self.all_incidents.get(number)

    async def events(self, incident: int) -> Sequence[Event]:
        return [event for (number, _), event in sorted(self.timeline.items()) if number == incident]

    async def deliveries(
        self, *, states: Sequence[DeliveryState] = (), since: float = 0.0, limit: int = 100, **_: Any
    ) -> Sequence[Delivery]:
        found = [row for row in self.rows.values() if not states or row.state in states]
        found = [row for row in found if row.notification.created_at >= since]
        found.sort(key=lambda row: (row.notification.created_at, row.notification.id), reverse=True)
        return found[:limit]

    async def observations(self, check: str, **_: Any) -> Sequence[Observation]:
        return ()


class Disk:
    """The store as one life of the daemon sees it: slow, full, and out of reach once that life is over."""

    def __init__(self, life: Life, records: Store) -> None:
        self._life = life
        self._records = records

    async def commit(self, batch: Batch) -> None:
        life, world = self._life, self._life.world
        world.note_decided(batch)
        mood = mood_at(world.plan.store, world.true())
        takes = world.chance.uniform(0.5, 9.0) if mood == "slow" else world.chance.uniform(0.001, 0.02)
        await asyncio.sleep(takes / 2)
        if mood == "refuse" and not life.dead:
            raise StoreError("disk full")
        life.step("before commit")
        self._refuse_the_dead()
        with world.loop.hold():
            await self._records.commit(batch)
        world.note_stored(life, batch)
        life.step("after commit")
        await asyncio.sleep(takes / 2)

    async def restore(self) -> Restored:
        self._refuse_the_dead()
        with self._life.world.loop.hold():
            return await self._records.restore()

    async def open(self) -> None:
        with self._life.world.loop.hold():
            await self._records.open()

    async def close(self) -> None:
        with self._life.world.loop.hold():
            await self._records.close()

    async def forget(self, checks: Sequence[str]) -> None:
        self._refuse_the_dead()
        with self._life.world.loop.hold():
            await self._records.forget(checks)

    async def deliveries(self, **how: Any) -> Sequence[Delivery]:
        self._refuse_the_dead()
        with self._life.world.loop.hold():
            return await self._records.deliveries(**how)

    async def observations(self, check: str, **how: Any) -> Sequence[Observation]:
        with self._life.world.loop.hold():
            return await self._records.observations(check, **how)

    def _refuse_the_dead(self) -> None:
        if self._life.dead:
            raise StoreError("this process is no more")
