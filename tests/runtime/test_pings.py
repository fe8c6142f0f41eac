"""The desk that takes signals: stored before they are confirmed, judged at once, and silence at its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.real.running import probe_of
from wcr_watchd.core.heartbeat import Book, Door, HeartbeatState, Phase, Ping, PingKind, Standing
from wcr_watchd.kit.redact import Redactor
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.runtime.pings import GONE_AFTER, LONGEST_TEXT, PingDesk

KEY, OTHER, PING_KEY = "6d2f1d3e-1c0b-4d0a-9a55-0f2a7e3c9b11", "11111111-1111-4111-8111-111111111111", "k" * 22
SECRET = "hunter2-hunter2"


class Bench:
    """A desk with everything around it in hand."""

    def __init__(self, shared: SharedHelpers) -> None:
        self.at = 1_000_000.0
        self.book = Book()
        self.pings: list[Ping] = []
        self.runs: list[str] = []
        self.stored = True
        self.desk = PingDesk(self.book, self, self, shared, Redactor([SECRET]).text, self._run_soon)

    def now(self) -> float:
        return self.at

    def heard(self, state: HeartbeatState, ping: Ping | None = None) -> None:
        self.book.states[state.check, state.job] = state
        if ping is not None:
            self.pings.append(ping)

    async def flush(self) -> bool:
        await asyncio.sleep(0)
        return self.stored

    def _run_soon(self, check: str, delay: float) -> None:
        assert delay == 0.0
        self.runs.append(check)

    def watch(self, **checks: Any) -> None:
        kinds = {name: "heartbeats" if "most" in options else "heartbeat" for name, options in checks.items()}
        self.desk.replace({name: probe_of(kinds[name], options) for name, options in checks.items()})

    async def hear(self, kind: PingKind = PingKind.SUCCESS, key: str = KEY, body: bytes = b"") -> bool:
        (door,) = self.desk.doors(key)
        return await self.desk.take(door, Ping(kind, body=body))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    shared = SharedHelpers()
    yield Bench(shared)
    await shared.close()


DAILY = {"key": KEY, "period": "1d", "grace": "1h"}


async def test_a_signal_is_judged_at_once(bench: Bench) -> None:
    bench.watch(job=DAILY)
    assert await bench.hear(PingKind.FAIL)
    assert bench.runs == ["job"]
    assert bench.book.of("job").standing is Standing.DOWN


async def test_what_is_not_stored_is_not_confirmed_but_holds(bench: Bench) -> None:
    bench.watch(job=DAILY)
    bench.stored = False
    assert not await bench.hear()
    assert bench.book.of("job").standing is Standing.UP
    assert bench.runs == ["job"]


async def test_silence_is_judged_at_its_deadline(bench: Bench) -> None:
    bench.watch(job=DAILY)
    await bench.hear()
    wait = await bench.desk._pass_deadlines()
    assert wait == 60.0
    bench.at += 90_000 - 5
    assert await bench.desk._pass_deadlines() == pytest.approx(5.0)
    assert bench.runs == ["job"]
    bench.at += 5
    await bench.desk._pass_deadlines()
    assert bench.runs == ["job", "job"]
    known = bench.book.of("job")
    assert (known.down_at, known.down_by) == (bench.at, Phase.OVERDUE)


async def test_the_serving_task_wakes_for_a_new_deadline(bench: Bench) -> None:
    bench.watch(job={"key": KEY, "period": "1h", "grace": "60ms"})
    serving = asyncio.create_task(bench.desk.serve())
    await asyncio.sleep(0)
    await bench.hear(PingKind.START)
    bench.at += 1.0
    async with asyncio.timeout(5):
        while bench.book.of("job").down_by is not Phase.HUNG:
            await asyncio.sleep(0.01)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_a_deadline_that_passed_while_nobody_looked_counts_before_the_signal(bench: Bench) -> None:
    bench.watch(job=DAILY)
    await bench.hear()
    bench.at += 200_000
    await bench.hear(PingKind.START)
    assert bench.book.of("job").standing is Standing.DOWN


async def test_secrets_in_a_body_are_kept_and_not_shown(bench: Bench) -> None:
    bench.watch(job=DAILY)
    await bench.hear(body=b"x" * 50_000 + f"\npassword={SECRET}\n".encode() + b"y" * (LONGEST_TEXT - 10))
    assert SECRET.encode() in bench.pings[-1].body
    (heard,) = bench.book.of("job").heard
    assert len(heard.text) == LONGEST_TEXT
    assert "***" in heard.text
    assert "hunter" not in heard.text


async def test_signals_at_the_same_time_are_counted_one_by_one(bench: Bench) -> None:
    bench.watch(job={"key": KEY, "schedule": "02:00", "timezone": "UTC"})
    await asyncio.gather(*(bench.hear() for _ in range(10)))
    assert [one.number for one in bench.pings] == list(range(1, 11))


async def test_another_configuration_opens_and_closes_doors(bench: Bench) -> None:
    bench.watch(job=DAILY, named={"ping_key": PING_KEY, "slug": "db", "period": "1d"})
    await bench.hear()
    assert bench.desk.doors(PING_KEY, "db") == [Door("named")]
    assert not bench.desk.doors(PING_KEY)
    assert not bench.desk.doors(PING_KEY, "*")
    bench.watch(job=DAILY | {"key": OTHER, "grace": "2h"})
    assert not bench.desk.doors(KEY)
    assert bench.desk.doors(OTHER) == [Door("job")]
    assert not bench.desk.doors(PING_KEY, "db")
    await bench.desk._pass_deadlines()
    bench.at += 90_001
    await bench.desk._pass_deadlines()
    assert bench.book.of("job").standing is Standing.UP, "the new grace period holds"


async def test_a_name_that_is_not_set_comes_from_the_check(bench: Bench) -> None:
    bench.watch(**{"Back up: db": {"ping_key": PING_KEY, "period": "1d"}})
    assert bench.desk.doors(PING_KEY, "Back-up-db") == [Door("Back up: db")]


async def test_jobs_announce_themselves_up_to_a_limit(bench: Bench) -> None:
    bench.watch(all={"ping_key": PING_KEY, "most": 2}, db={"ping_key": PING_KEY, "period": "1d"})
    assert bench.desk.doors(PING_KEY, "db") == [Door("db")], "what is configured goes before"
    for name in ("a", "b"):
        (door,) = bench.desk.doors(PING_KEY, name)
        assert not door.known
        assert bench.desk.has_room(door)
        await bench.desk.take(door, Ping(PingKind.SUCCESS))
    assert bench.desk.doors(PING_KEY, "a") == [Door("all", "a")]
    assert not bench.desk.has_room(Door("all", "c"))
    bench.at += 90_001
    bench.desk.replace(bench.desk._probes)
    await bench.desk._pass_deadlines()
    assert [state.down_by for state in bench.book.jobs("all")] == [Phase.OVERDUE, Phase.OVERDUE]


async def test_a_job_that_is_gone_for_good_makes_room(bench: Bench) -> None:
    bench.watch(all={"ping_key": PING_KEY, "most": 1, "forget": "10d"}, job=DAILY)
    await bench.hear()
    await bench.desk.take(Door("all", "old", known=False), Ping(PingKind.SUCCESS))
    bench.at += 10 * 86_400 + GONE_AFTER - 1
    await bench.desk._pass_deadlines()
    assert not bench.desk.has_room(Door("all", "new"))
    bench.at += 1
    await bench.desk._pass_deadlines()
    assert bench.desk.has_room(Door("all", "new"))
    assert bench.book.of("job").standing is Standing.DOWN, "what is configured is never taken for gone"
