"""What watches: checks run on their schedule, the engine decides, and what it decides is stored and handed over."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from wcr_watchd.core import engine
from wcr_watchd.core.heartbeat import Book
from wcr_watchd.core.task import TaskBook
from wcr_watchd.daemon.base import Base
from wcr_watchd.daemon.in_force import InForce
from wcr_watchd.runtime.changes.desk import ChangeDesk
from wcr_watchd.runtime.changes.hooks import Hooks
from wcr_watchd.runtime.dispatcher import Dispatcher
from wcr_watchd.runtime.modifications import ModificationLog
from wcr_watchd.runtime.monitor import Monitor
from wcr_watchd.runtime.objectives import ObjectiveWatch
from wcr_watchd.runtime.runner import Runner
from wcr_watchd.runtime.runs import FirstRound, Runs
from wcr_watchd.runtime.scheduler import Scheduler
from wcr_watchd.runtime.tasks import LoopLag
from wcr_watchd.runtime.windows import WindowWatch

UNWATCHED = 300.0
"""Seconds between two lives of which nobody can say that staging was green."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Watching:
    """The parts that watch."""

    loop_lag: LoopLag
    runner: Runner
    scheduler: Scheduler
    monitor: Monitor
    windows: WindowWatch
    modifications: ModificationLog
    objectives: ObjectiveWatch
    runs: Runs
    changes: ChangeDesk

    @property
    def summary(self) -> str:
        """How much is watched, and how it is, in a few words for ``systemctl status``."""
        return f"{len(self.monitor.setup.checks)} checks, {len(self.monitor.state.incidents)} open incidents"


async def build_watching(base: Base, force: InForce, dispatcher: Dispatcher) -> Watching:
    """The way from a check to an event, as it was when the last life ended."""
    loaded, clock, restored = force.loaded, base.clock, base.restored
    memories = dict(restored.memories)
    loop_lag = LoopLag(clock, base.counters, lambda seconds: _absent(base, monitor, seconds))
    runner = Runner(
        loaded.probes,
        loaded.setup,
        base.shared,
        base.redactor,
        clock,
        base.counters,
        loop_lag.stalled_since,
        memories,
        lambda: changes.announced(),
    )
    scheduler = Scheduler(clock, lambda name: runs.carry_out(name), base.counters)
    scheduler.set_checks({check.name: check.every for check in loaded.setup.checks.values()})
    monitor = _monitor(base, force, dispatcher, scheduler, memories)
    dispatcher.resume(restored)  # now that it can ask the monitor of which incidents nobody is to be told
    await _take_up(base, force, monitor)
    modifications = ModificationLog(monitor, clock, restored.facts)
    objectives = ObjectiveWatch(monitor, base.store, clock, base.counters)
    see = (monitor.receive, modifications.see, objectives.see, FirstRound(monitor).see)
    runs = Runs(monitor, runner, lambda: force.probes, scheduler.run_soon, see)
    hooks = Hooks(base.shared, base.redactor.text)
    begun = base.started_at if base.started_at - base.since > UNWATCHED else 0.0
    changes = ChangeDesk(monitor, base.store, clock, runs.run_now, hooks, restored.changes, begun)
    windows = WindowWatch(monitor, clock, base.since)
    return Watching(loop_lag, runner, scheduler, monitor, windows, modifications, objectives, runs, changes)


def _monitor(
    base: Base, force: InForce, dispatcher: Dispatcher, scheduler: Scheduler, memories: dict[str, str]
) -> Monitor:
    """The engine with the state of the last life, and what was known of jobs and tasks."""
    restored, setup = base.restored, force.loaded.setup
    state = engine.restore(
        restored.states, (*restored.ended, *restored.incidents), restored.next_incident, restored.silences
    )
    book, tasks = base.shared.get(Book), base.shared.get(TaskBook)
    book.states.update(((one.check, one.job), one) for one in restored.heartbeats)
    tasks.states.update((one.task, one) for one in restored.tasks)
    return Monitor(
        setup,
        state,
        base.store,
        dispatcher,
        base.clock,
        base.counters,
        scheduler.run_soon,
        memories,
        book.states,
        tasks.states,
        restored.changes,
        restored.facts,
    )


async def _take_up(base: Base, force: InForce, monitor: Monitor) -> None:
    """Go on where the last life ended: by today's configuration, and knowing that nobody watched meanwhile."""
    monitor.look_first(base.since)
    await monitor.reload(force.loaded.setup)
    await monitor.refill_histories()
    if base.restored.last_seen_at:
        now = base.clock.now()
        log.info("nobody was watching", seconds=round(max(0.0, now - base.since)))
        monitor.absent(base.since, "the daemon was not running")
        base.shared.get(Book).away = (base.since, now)


def _absent(base: Base, monitor: Monitor, seconds: float) -> None:
    """The process was stopped, or the machine slept."""
    now = base.clock.now()
    monitor.absent(now - seconds, "the machine slept or this process was stopped")
    base.shared.get(Book).away = (now - seconds, now)
