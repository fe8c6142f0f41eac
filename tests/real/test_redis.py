"""The redis probe against a real Redis."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from tests.real.running import Observe, measured, names, probe_of
from tests.real.servers.redis import RedisServer
from wcr_watchd.core.model import Outcome

Make = Callable[..., RedisServer]


async def test_an_answering_server_is_up_with_its_numbers(redis_server: RedisServer, observe: Observe) -> None:
    redis_server.say("SET a 1", "GET a", "GET b")
    seen = await observe("redis", url=redis_server.url)
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "clients") >= 1
    assert 0 < measured(seen, "clients_used") < 0.1
    assert measured(seen, "keyspace_hits") == 1
    assert measured(seen, "keyspace_misses") == 1
    assert measured(seen, "rdb_saved") == 1
    assert "memory_used" not in names(seen), "without maxmemory there is no share of it"
    assert "aof_written" not in names(seen)


async def test_share_of_a_memory_limit(make_redis: Make, observe: Observe) -> None:
    server = make_redis(maxmemory="10mb", appendonly="yes")
    seen = await observe("redis", url=server.url)
    assert 0.01 < measured(seen, "memory_used") < 0.9
    assert measured(seen, "aof_written") == 1


async def test_a_replica_without_its_master_says_so(make_redis: Make, observe: Observe) -> None:
    master = make_redis()
    replica = make_redis(replicaof=f"127.0.0.1 {master.port}")
    master.stop()
    seen = await observe("redis", url=replica.url)
    assert seen.outcome is Outcome.UP
    assert measured(seen, "replication_link") == 0


async def test_a_stopped_server_is_down(redis_server: RedisServer, observe: Observe) -> None:
    redis_server.stop()
    seen = await observe("redis", url=redis_server.url)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "connect")
    why = "connection refused: nothing listens there, or a firewall rejects it"
    assert seen.summary == f"{redis_server.url}: no connection: {why}"


async def test_a_frozen_server_is_down_within_the_deadline(redis_server: RedisServer, observe: Observe) -> None:
    redis_server.freeze()
    seen = await observe("redis", url=redis_server.url, timeout=0.5)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "timeout")
    assert seen.duration < 5


async def test_wrong_and_right_passwords(make_redis: Make, observe: Observe) -> None:
    server = make_redis(requirepass="a-secret-word")
    without = await observe("redis", url=server.url)
    assert (without.outcome, without.reason) == (Outcome.DOWN, "auth")
    wrong = await observe("redis", url=server.url, password="wrong-word")
    assert (wrong.outcome, wrong.reason) == (Outcome.DOWN, "auth")
    assert "wrong-word" not in wrong.summary
    right = await observe("redis", url=server.url, password="a-secret-word")
    assert right.outcome is Outcome.UP, right.summary


async def test_numbers_are_absent_where_info_is_forbidden(make_redis: Make, observe: Observe) -> None:
    server = make_redis()
    server.say("ACL SETUSER watch on >word +ping")
    seen = await observe("redis", url=server.url, username="watch", password="word")
    assert seen.outcome is Outcome.UP
    assert names(seen) == {"connect_time", "response_time"}
    assert "+info" in seen.evidence["absent"]


async def test_something_else_that_listens_there_is_down(nginx: Callable[..., object], observe: Observe) -> None:
    server = nginx()
    seen = await observe("redis", url=f"redis://127.0.0.1:{server.port}/0", timeout=5)  # type: ignore[attr-defined]
    assert seen.outcome is Outcome.DOWN


@pytest.mark.parametrize("url", ["http://localhost", "redis://:word@localhost/0"])
def test_urls_that_are_none_or_hold_a_password_are_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        probe_of("redis", {"url": url})
