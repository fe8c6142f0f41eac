"""Signs of life for whoever watches this watcher: a request to a URL every so often, while the daemon really works.

Compatible with the healthchecks ping API (https://healthchecks.io/docs/http_api/): a POST or GET means "alive". Nothing
is ever said of trouble; silence is the signal, because what is broken cannot be trusted to complain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Never

import structlog

from wcr_watchd.core.clock import Clock
from wcr_watchd.core.run import Shared
from wcr_watchd.core.setup import Heartbeat
from wcr_watchd.core.view import Counters, HeartbeatCounters
from wcr_watchd.kit.outbound import OutboundHttp, refused

log = structlog.get_logger(__name__)

LOOK_EVERY = 1.0
"""Seconds between looks at what is due, at most; a shorter heartbeat is looked at as often as it wants to beat."""
PATIENCE = 10.0
"""Seconds for one request; it never lasts into the next beat either."""


class Heartbeats:
    """Sends the heartbeats of the configuration in force, each on its own: one that hangs holds up no other.

    ``wanted`` gives them by name, ``works`` says whether the daemon makes progress. What does not arrive is logged once
    and counted; nothing is sent again or made up for.
    """

    def __init__(
        self,
        wanted: Callable[[], Mapping[str, Heartbeat]],
        works: Callable[[], bool],
        clock: Clock,
        shared: Shared,
        counters: Counters,
    ) -> None:
        self._wanted = wanted
        self._works = works
        self._clock = clock
        self._shared = shared
        self._counters = counters
        self._due: dict[str, float] = {}
        self._beating: set[str] = set()
        self._failing: set[str] = set()

    async def serve(self) -> Never:
        """Beat until cancelled; the first time at once."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                wanted = self._wanted()
                self._forget_others(wanted)
                for name, heartbeat in wanted.items() if self._works() else ():
                    if name not in self._beating and self._due.get(name, 0.0) <= self._clock.monotonic():
                        self._due[name] = self._clock.monotonic() + heartbeat.every
                        self._beating.add(name)
                        tasks.create_task(self._beat(name, heartbeat), name=f"heartbeat {name}")
                await asyncio.sleep(min((LOOK_EVERY, *(heartbeat.every for heartbeat in wanted.values()))))

    def _forget_others(self, wanted: Mapping[str, Heartbeat]) -> None:
        counted = self._counters.heartbeats
        for name in [name for name in counted if name not in wanted]:
            del counted[name]
            self._failing.discard(name)
            self._due.pop(name, None)

    async def _beat(self, name: str, heartbeat: Heartbeat) -> None:
        counters = self._counters.heartbeats.setdefault(name, HeartbeatCounters())
        patience = min(PATIENCE, heartbeat.every)
        try:
            async with asyncio.timeout(patience):
                await _send(heartbeat, self._shared)
        except Exception as error:  # noqa: BLE001 - nothing that happens to a heartbeat may stop the daemon
            counters.failed += 1
            if name not in self._failing:
                said = str(error) or f"no answer within {patience:g} s"
                log.warning("heartbeat does not arrive; whoever waits for it may raise an alarm", name=name, error=said)
            self._failing.add(name)
        else:
            counters.sent += 1
            counters.last_success_at = self._clock.now()
            if name in self._failing:
                log.info("heartbeat arrives again", name=name)
            self._failing.discard(name)
        finally:
            self._beating.discard(name)


async def _send(heartbeat: Heartbeat, shared: Shared) -> None:
    """Knock once; raises ``ChannelError`` when the answer is not 2xx, or there is none."""
    reply = await shared.get(OutboundHttp).send(
        heartbeat.url, b"", content_type="text/plain; charset=utf-8", method=heartbeat.method
    )
    if not reply.accepted:
        raise refused(heartbeat.url, reply, reply.text)
