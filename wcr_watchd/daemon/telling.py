"""Whom it is told, and how: what is owed is delivered, tried out, and looked after when it could not be."""

from __future__ import annotations

from dataclasses import dataclass

from wcr_watchd.daemon.base import Base
from wcr_watchd.daemon.in_force import InForce
from wcr_watchd.runtime.canary import Canaries
from wcr_watchd.runtime.dead_letters import DeadLetters
from wcr_watchd.runtime.dispatcher import Dispatcher
from wcr_watchd.runtime.drill import Drills
from wcr_watchd.runtime.duty import DutyWatch
from wcr_watchd.runtime.links import Links
from wcr_watchd.runtime.monitor import Monitor
from wcr_watchd.runtime.reports import Enclosures
from wcr_watchd.runtime.standing import Standing


@dataclass(frozen=True, slots=True)
class Telling:
    """The parts that tell people."""

    dispatcher: Dispatcher
    dead_letters: DeadLetters
    standing: Standing
    duty: DutyWatch
    drills: Drills
    canaries: Canaries


def build_dispatcher(base: Base, force: InForce) -> Dispatcher:
    """What delivers; it goes on with what the last life still owed."""
    loaded = force.loaded
    return Dispatcher(
        loaded.channels,
        base.store,
        base.clock,
        base.shared,
        base.counters,
        loaded.channel_caps,
        base.redactor.text,
        loaded.wordings,
        Links(base.tickets, lambda: force.loaded.web.public_url).linked,
        Enclosures(base.store).enclosed,
    )


async def build_telling(base: Base, force: InForce, dispatcher: Dispatcher, monitor: Monitor) -> Telling:
    """What surrounds the dispatcher."""
    dead_letters = DeadLetters(base.store, dispatcher, base.counters)
    await dead_letters.count()
    standing = Standing(
        lambda: force.loaded.channels,
        lambda: force.loaded.wordings,
        lambda: monitor.state.incidents,
        base.store,
        base.shared,
    )
    duty = DutyWatch(monitor, base.clock, base.since)
    drills = Drills(dispatcher.send_test, base.clock.now, base.store)
    canaries = Canaries(lambda: force.loaded.canaries, monitor, dispatcher.send_test, base.clock.now, base.counters)
    return Telling(dispatcher, dead_letters, standing, duty, drills, canaries)
