"""One life of the daemon: it is built, everything runs until it is told to stop, and what is left is stored."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import structlog

from wcr_watchd.config.load import Loaded
from wcr_watchd.core import health
from wcr_watchd.core.errors import StoreDamagedError, StoreError
from wcr_watchd.daemon.composition import Composition, build
from wcr_watchd.daemon.in_force import InForce
from wcr_watchd.daemon.serving import say_how_to_sign_in, served
from wcr_watchd.kit import descriptors, garbage
from wcr_watchd.kit.redact import Redactor
from wcr_watchd.kit.systemd import notify, watchdog_interval
from wcr_watchd.runtime.tasks import guard

log = structlog.get_logger(__name__)

UPKEEP_EVERY = 300.0
"""Seconds between two times at which old records go and the configuration is looked at again."""
WATCHDOG_EVERY = 20.0
"""Seconds for which a look at whether every part moves holds good, where systemd does not say."""


async def run_daemon(path: Path | None, loaded: Loaded, socket: Path, redactor: Redactor) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP reads the configuration again.

    ``path`` is the configuration file (None: what was discovered), ``loaded`` what it says, ``socket`` the Unix socket
    for commands. Raises ``StoreError`` when the records cannot be opened, ``SocketUnusableError`` when the socket
    cannot be, and ``OSError`` when an address is taken.
    """
    descriptors.allow_enough()
    stopping = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        parts = await build(stack, InForce(path, loaded), redactor)
        garbage.settle()
        _handle_signals(stack, parts, stopping)
        await stack.enter_async_context(served(parts, socket))
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(guard(name, job), name=name) for name, job in jobs(parts).items()]
            await _say_ready(parts)
            await stopping.wait()
            notify("STOPPING=1")
            log.info("stopping")
            for task in running:
                task.cancel()
        await parts.watching.monitor.flush()
        await parts.outside.access.sessions.keep()


def jobs(parts: Composition) -> dict[str, Coroutine[Any, Any, None]]:
    """Everything that runs until the daemon stops; the end of any of them ends the daemon."""
    watching, telling, desks, outside = parts.watching, parts.telling, parts.desks, parts.outside
    return {
        "loop lag": watching.loop_lag.serve(),
        "store": watching.monitor.serve_store(),
        "dispatcher": telling.dispatcher.run(),
        "standing alerts": telling.standing.serve(),
        "deadlines": watching.monitor.serve_deadlines(),
        "scheduler": watching.scheduler.serve(),
        "hand-overs": telling.duty.serve(),
        "maintenance windows": watching.windows.serve(),
        "heartbeats": outside.heartbeats.serve(),
        "pings": desks.pings.serve(),
        "tasks": desks.tasks.serve(),
        "follow-ups": desks.follow_ups.serve(),
        "drills": telling.drills.serve(),
        "canaries": telling.canaries.serve(),
        "changes": watching.changes.serve(),
        "objectives": watching.objectives.serve(),
        "reports": desks.reporter.serve(),
        "status page": outside.status_page.serve(),
        "mails to subscribers": outside.status_mails.serve(),
        "upkeep": _serve_upkeep(parts),
        "watchdog": _serve_watchdog(parts),
        **({"certificate of the listener": outside.certificate.watch()} if outside.certificate else {}),
    }


async def _say_ready(parts: Composition) -> None:
    notify("READY=1", f"STATUS={parts.watching.summary}")
    await parts.force.look_for_warnings(parts.control.now(), log_them=True)
    await parts.reload.look_back()
    log.info("watching", checks=len(parts.control.setup.checks), dashboard=", ".join(parts.force.addresses))
    say_how_to_sign_in(parts)


async def _serve_upkeep(parts: Composition) -> None:
    store, clock = parts.base.store, parts.base.clock
    while True:
        await asyncio.sleep(UPKEEP_EVERY)
        garbage.collect()
        await parts.force.look_for_warnings(clock.now())
        await parts.outside.access.sessions.keep()
        try:
            await store.prune(clock.now())
        except StoreDamagedError as error:
            parts.watching.monitor.damaged(error)
        except StoreError as error:
            log.warning("old records stay until the store works again", error=str(error))


async def _serve_watchdog(parts: Composition) -> None:
    """Tell systemd that we live, only while every part really makes progress (sd_watchdog_enabled(3))."""
    interval = watchdog_interval()
    while True:
        await asyncio.sleep((interval or WATCHDOG_EVERY) / 2)
        if health.moving(parts.control):
            notify("WATCHDOG=1", f"STATUS={parts.watching.summary}")
        else:
            ailing = [f"{part.name}: {part.detail}" for part in health.parts(parts.control) if not part.ok]
            log.error("the watchdog is not fed", ailing=ailing)


def _handle_signals(stack: contextlib.AsyncExitStack, parts: Composition, stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()

    async def reload_and_record() -> None:
        problems = await parts.reload.reload()
        result = f"refused: {problems[0]}" if problems else "done"
        await parts.outside.access.audit.note(None, "", "signal", "reload", result=result)

    def reload() -> None:
        task = loop.create_task(reload_and_record(), name="reload")
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    handlers: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGTERM: stopping.set,
        signal.SIGINT: stopping.set,
        signal.SIGHUP: reload,
    }
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
        stack.callback(loop.remove_signal_handler, number)
