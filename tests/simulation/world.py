"""A simulated world: the daemon lives in it, life after life, while things happen as planned."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import structlog

from tests.simulation.loop import VirtualLoop
from tests.simulation.parts import Accepted, Disk, Records, Seen, Target, Wire
from tests.simulation.plan import BEGIN, Crash, Plan, Wish, configuration
from wcr_watchd.config.load import Loaded, loads
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.matchers import Matcher, Operator
from wcr_watchd.core.model import (
    Delivery,
    DeliveryState,
    Event,
    Incident,
    IncidentState,
    Message,
    Notification,
    Recipient,
)
from wcr_watchd.core.protocols import Batch
from wcr_watchd.core.silence import Silence
from wcr_watchd.daemon import base
from wcr_watchd.daemon.composition import build
from wcr_watchd.daemon.in_force import InForce
from wcr_watchd.daemon.lifecycle import jobs
from wcr_watchd.kit import garbage
from wcr_watchd.kit.redact import Redactor
from wcr_watchd.runtime import dispatcher, keeper, lane, patience, scheduler, standing, tasks, windows
from wcr_watchd.runtime.clock import Clock
from wcr_watchd.store.sqlite import SqliteStore
from wcr_watchd.web.access.own_passwords import OwnPasswords
from wcr_watchd.web.access.sessions import Sessions

RARELY = 300.0
"""Seconds between signs of life; at their real pace they would be nearly all that a simulated day consists of."""
FLUSH_EVERY = 60.0
LOOK_EVERY = 60.0
ARMED_FOR = 1_800.0
"""Seconds after which a crash that waits for a certain step happens anyhow."""
SETTLES_WITHIN = 6 * 3_600.0
SETTLE_LOOK = 600.0
LAST_DELIVERIES = 120.0
"""Seconds that are left to tell of what came to its end last."""
CONCERNED = (
    *("loop lag", "scheduler", "deadlines", "maintenance windows", "hand-overs"),
    *("store", "dispatcher", "standing alerts"),
)
"""The daemon's jobs on the way from a check to a message. The others have nothing to do here, and their looks at the
time would be most of what a simulated day consists of."""
PATIENCE = 1.8
"""Seconds that the store has to take what people are then told all the same: two, by a clock that is put right."""

News = tuple[Recipient, int, float, str, float]
"""Whom, incident, when it was opened, what happened, and when: one piece of news for one recipient."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A crash that happened, when something ran again, and which accepted messages the records did not know of."""

    at: float
    back: float
    unrecorded: frozenset[str]
    forgotten: frozenset[str]
    """Messages that had left although the store had not taken what they are about."""


@dataclass(slots=True)
class Asked:
    """What a person asked for: of which check or incident, from when to when, and whether it was promised.

    ``start`` and ``end`` are by the daemon's clock; ``at`` is when it really was.
    """

    kind: str
    check: str
    start: float
    end: float
    at: float
    incident: int = 0
    promised: bool = False


class Life:
    """One process: from its start until it is gone."""

    def __init__(self, world: World, number: int, crash: Crash | None) -> None:
        self.world = world
        self.number = number
        self.dead = False
        self.gone = asyncio.Event()
        self._crash = crash
        self._armed = False

    def step(self, kind: str) -> None:
        """The daemon comes by a step at which it may be killed."""
        if self._armed and self._crash and self._crash.step == kind:
            self.die()

    def die(self) -> None:
        """From now on nothing it does has an effect."""
        if not self.dead:
            self.dead = True
            self.world.note_death(self)
            self.gone.set()

    async def run(self) -> None:
        """Be a daemon until killed."""
        world = self.world
        loaded = world.configured(self, world.variant)
        async with contextlib.AsyncExitStack() as stack:
            parts = await build(stack, InForce(None, loaded), Redactor())
            self.daemon, self.reload = parts.control, parts.reload
            running = jobs(parts)
            async with asyncio.TaskGroup() as group:
                for name in CONCERNED:
                    group.create_task(tasks.guard(name, running.pop(name)), name=name)
                for job in running.values():
                    job.close()
                group.create_task(world.wish(self), name="wishes")
        raise AssertionError("the daemon ended by itself")

    async def await_death(self) -> None:
        """Wait until the plan kills it."""
        world, crash = self.world, self._crash
        if crash is None:
            await world.until(world.plan.ends)
            # What flapped needs twenty results to be stable again.
            while self.daemon.state.incidents and world.true() < world.plan.ends + SETTLES_WITHIN:
                await asyncio.sleep(SETTLE_LOOK)
            await asyncio.sleep(LAST_DELIVERIES)
            return self.die()
        await world.until(crash.at)
        if crash.step != "moment":
            self._armed = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ARMED_FOR):
                    await self.gone.wait()
        for _ in range(world.chance.randrange(12)):
            await asyncio.sleep(0)
        return self.die()


@dataclass
class World:
    """Everything outside the daemon, and what is known of what it did. Times are seconds since the beginning."""

    plan: Plan
    folder: Path | None = None
    """Where to keep records in SQLite; None: in memory."""
    loop: VirtualLoop = field(default_factory=VirtualLoop)
    slept: float = 0.0
    off: float = 0.0
    variant: int = 0
    blips: dict[str, float] = field(default_factory=dict)
    seen: dict[str, list[Seen]] = field(default_factory=dict)
    accepted: list[Accepted] = field(default_factory=list)
    order: dict[News, int] = field(default_factory=dict)
    decided: dict[tuple[int, float, str, float], float] = field(default_factory=dict)
    """When the daemon came to tell something (see :func:`story`), whomever first."""
    asked: list[Asked] = field(default_factory=list)
    gone: list[Gone] = field(default_factory=list)
    held_up: list[tuple[float, float]] = field(default_factory=list)
    reloads: list[tuple[float, int]] = field(default_factory=lambda: [(0.0, 0)])
    faults: list[str] = field(default_factory=list)
    incidents: dict[int, Incident] = field(default_factory=dict)
    events: dict[int, list[Event]] = field(default_factory=dict)
    rows: dict[str, Delivery] = field(default_factory=dict)
    silences: dict[str, Silence] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chance = Random(f"world {self.plan.seed}")
        self._memory = Records()
        self._stored: set[str] = set()
        self._marked: set[str] = set()
        self._told_unstored: set[str] = set()
        self._wishes = sorted(self.plan.wishes, key=lambda wish: wish.at)

    def true(self) -> float:
        """The time that really passed."""
        return self.loop.at + self.slept

    async def until(self, at: float) -> None:
        """Wait for a true time; a sleep of the machine may go beyond it."""
        while (left := at - self.true()) > 0:
            await asyncio.sleep(left)

    def live(self) -> None:
        """Live through the plan; what is then known is in the fields."""
        with self._surroundings(), asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        jolts = asyncio.create_task(self._jolt())
        crashes: list[Crash | None] = [*self.plan.crashes, None]
        for number, crash in enumerate(crashes):
            self.life = life = Life(self, number, crash)
            running = [asyncio.create_task(life.run()), asyncio.create_task(life.await_death())]
            gone = asyncio.create_task(life.gone.wait())
            await asyncio.wait([gone, running[0]], return_when=asyncio.FIRST_COMPLETED)
            if running[0].done():
                self.faults.append(f"{self.true():.0f}: the daemon ended: {running[0].exception()!r}")
                life.die()
            await _kill({asyncio.current_task(), jolts})
            await self.until(self.true() + (crash.away if crash else 0.0))
            self.gone[-1] = replace(self.gone[-1], back=self.true())
        jolts.cancel()
        await self._read()

    async def _jolt(self) -> None:
        for jolt in sorted(self.plan.jolts, key=lambda one: one.at):
            await self.until(jolt.at)
            if jolt.kind == "off":
                self.off = jolt.seconds
                continue
            begun = self.true()
            if jolt.kind == "slept":
                self.slept += jolt.seconds
            else:
                self.loop.at += jolt.seconds
            self.held_up.append((begun, self.true()))

    async def _read(self) -> None:
        records: Any = self._records()
        with self.loop.hold():
            await records.open()
            self.silences = {one.id: one for one in (await records.restore()).silences}
            self.incidents = {one.id: one for one in await records.incidents(limit=100_000)}
            self.events = {number: list(await records.events(number)) for number in self.incidents}
            self.rows = {row.notification.id: row for row in await records.deliveries(limit=1_000_000)}
            await records.close()

    def _records(self) -> Any:
        return SqliteStore(self.folder / "watchd.db") if self.folder else self._memory

    @contextlib.contextmanager
    def _surroundings(self) -> Iterator[None]:
        """Give the daemon this world's clock, store and chance, and have what it logs as a defect noted."""
        with contextlib.ExitStack() as stack:
            for module, name, value in (
                (base, "Clock", self._clock),
                (base, "from_url", lambda *_, **__: Disk(self.life, self._records())),
                (garbage, "settle", lambda: None),
                (InForce, "look_for_warnings", _nothing_to_say),
                (Sessions, "load", _nobody_signs_in),
                (OwnPasswords, "load", _nobody_signs_in),
                (patience, "_random", self.chance),
                (dispatcher, "REPORT_EVERY", RARELY),
                (lane, "HEARTBEAT", RARELY),
                (scheduler, "HEARTBEAT", RARELY),
                (standing, "LOOK_EVERY", 3_600.0),
                (keeper, "FLUSH_EVERY", FLUSH_EVERY),
                (tasks, "LOOK_EVERY", LOOK_EVERY),
                (tasks, "ABSENCE", LOOK_EVERY + 2.0),
                (windows, "LONGEST_WAIT", RARELY),
            ):
                stack.enter_context(patch.object(module, name, value))
            before = structlog.get_config()
            structlog.configure(
                processors=[self._listen],
                wrapper_class=structlog.make_filtering_bound_logger(40),
                cache_logger_on_first_use=False,
            )
            stack.callback(lambda: structlog.configure(**before))
            yield

    def _listen(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        if event.get("exc_info") and not self.life.dead:
            self.faults.append(f"{self.true():.0f}: {event['event']}: {event}")
        raise structlog.DropEvent

    def _clock(self) -> Clock:
        return Clock(
            wall=lambda: BEGIN + self.true() + self.off, monotonic=lambda: self.loop.at, elapsed=lambda: self.true()
        )

    def configured(self, life: Life, variant: int) -> Loaded:
        """The configuration in force, with targets and channels of this world in place of real ones."""
        loaded = _loaded(variant % 2)
        kinds = loaded.setup.channels
        wires: Any = {name: Wire(life, name, one.type, kinds[name]) for name, one in loaded.channels.items()}
        targets: Any = {name: Target(self, name) for name in loaded.probes}
        return replace(loaded, probes=targets, channels=wires)

    # --- people ---

    async def wish(self, life: Life) -> None:
        """Ask for what the plan has people ask for."""
        while self._wishes:
            await self.until(self._wishes[0].at)
            wish = self._wishes.pop(0)
            with contextlib.suppress(CommandError):
                await self._ask(life, wish)
        await asyncio.Event().wait()

    async def _ask(self, life: Life, wish: Wish) -> None:
        daemon = life.daemon
        now = daemon.now()
        if wish.kind == "silence":
            asked = self._note_asked(wish.kind, wish.check, now, now + wish.seconds)
            matchers = (Matcher("check", Operator.EQUAL, wish.check),)
            wanted = Silence(f"s{len(self.asked)}", matchers, now, now + wish.seconds, "ann", "", now)
            _, said = await daemon.silence(wanted)
            asked.promised = "not stored" not in said
        elif wish.kind == "expire":
            active = [one for one in daemon.state.silences.values() if one.active(now)]
            if active:
                check = active[-1].matchers[0].value
                ended = [one for one in self.asked if one.kind == "silence" and one.check == check]
                for one in ended:
                    one.promised = False
                await daemon.expire(active[-1].id)
        elif wish.kind == "acknowledge":
            open_ones = [one for one in daemon.state.incidents.values() if one.state is IncidentState.OPEN]
            if open_ones:
                incident = self.chance.choice(open_ones)
                until = now + wish.seconds if wish.seconds else None
                asked = self._note_asked(wish.kind, incident.check, now, until or float("inf"), incident.id)
                said = await daemon.acknowledge(incident.id, "ann", until=until)
                asked.promised = "not stored" not in said
        else:
            self.variant += 1
            self.reloads.append((self.true(), self.variant))
            await life.reload.apply(self.configured(life, self.variant))

    def _note_asked(self, kind: str, check: str, start: float, end: float, incident: int = 0) -> Asked:
        asked = Asked(kind, check, start - BEGIN, end - BEGIN, self.true(), incident)
        self.asked.append(asked)
        return asked

    # --- what is watched ---

    def note_decided(self, batch: Batch) -> None:
        """The daemon wants to store this: here the order of news is known."""
        for one in batch.notifications:
            self._note_order(one)

    def _note_order(self, notification: Notification) -> None:
        for item in notification.message.items or (notification.message,):
            self.order.setdefault(news(notification.recipient, item), len(self.order))
            self.decided.setdefault(story(item), self.true())

    def note_stored(self, life: Life, batch: Batch) -> None:
        """It is stored."""
        self._stored.update(one.id for one in batch.notifications)
        self._marked.update(one.notification.id for one in batch.deliveries if one.state is DeliveryState.DELIVERED)
        self._told_unstored -= self._stored

    def note_attempt(self, life: Life, notification: Notification) -> None:
        """A message leaves: it must be stored by now, or the store must have refused it or taken its time."""
        self._note_order(notification)
        if life.dead or notification.id in self._stored:
            return
        waited = life.daemon.now() - notification.created_at
        moods = [s.mood for s in self.plan.store if s.start <= self.true() and s.end > self.true() - waited - 12.0]
        self._told_unstored.add(notification.id)
        if "refuse" not in moods and not (moods and waited >= PATIENCE):
            self.faults.append(f"{self.true():.0f}: {notification.id} leaves before it is stored")

    def note_death(self, life: Life) -> None:
        """What is on its way now may come again."""
        unrecorded = frozenset(one.notification.id for one in self.accepted) - self._marked
        self.gone.append(Gone(self.true(), self.true(), unrecorded, frozenset(self._told_unstored)))
        self._told_unstored = set()


async def _nobody_signs_in(_: Sessions | OwnPasswords) -> None:
    """There are no sessions and passwords to read back."""


async def _nothing_to_say(*_: Any, **__: Any) -> None:
    """Configurations are not what is simulated."""


async def _kill(spared: set[asyncio.Task[Any] | None]) -> None:
    while doomed := asyncio.all_tasks() - spared:
        for task in doomed:
            task.cancel()
        await asyncio.wait(doomed)


@cache
def _loaded(variant: int) -> Loaded:
    return loads(configuration(variant), "the simulation")


def news(recipient: Recipient, item: Message) -> News:
    """What makes a piece of news one and the same."""
    return (recipient, *story(item))


def story(item: Message) -> tuple[int, float, str, float]:
    """What is told, whoever is told: incident, when it was opened, what happened, and when."""
    return (item.incident, item.opened_at, item.event.value, item.at)
