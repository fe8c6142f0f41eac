"""The promql probe on a real Prometheus that scrapes itself, and on what no Prometheus answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.real.ports import free_port
from tests.real.running import Observe, measured, names, probe_of
from tests.real.servers.odd import Odd
from tests.real.servers.prometheus import Prometheus
from wcr_watchd.core.model import Outcome
from wcr_watchd.core.units import Unit

StartOdd = Callable[..., Awaitable[Odd]]


def answer(body: str, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


async def test_queries_of_a_real_prometheus(prometheus: Callable[..., Prometheus], observe: Observe) -> None:
    """One server for all queries, as it takes a second to come up."""
    server = prometheus(free_port())  # nobody listens where it scrapes
    await server.wait_for("up == 0")
    url = f"http://127.0.0.1:{server.port}/"
    seen = await observe(
        "promql",
        url=url,
        values={
            "answer": "vector(42)",
            "plain": "scalar(vector(7))",
            "share": {"query": "vector(0.25)", "unit": "ratio"},
            "by_job": {"query": "up", "by": ["job", "instance"]},
            "none": "up == 17",
            "zero": {"query": "count(up == 17)", "when_empty": 0},
            "no_number": "vector(0) / 0",
        },
    )
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "answer") == 42
    assert measured(seen, "plain") == 7
    assert measured(seen, "share") == 0.25
    assert [(dict(one.labels)["job"], one.value) for one in seen.measurements if one.name == "by_job"] == [
        ("watchd", 0)
    ]
    assert measured(seen, "zero") == 0
    assert not {"none", "no_number"} & names(seen)
    assert seen.evidence["absent"] == "none: the query finds nothing"
    assert (measured(seen, "targets"), measured(seen, "targets_down")) == (1, 1)
    assert 0 < measured(seen, "response_time") < 30
    assert "1 of its 1 targets are down" in seen.summary
    for query, reason, words in (
        ("sum(", "parse", "does not take the query"),
        ("up[5m]", "content", "finds a matrix"),
        ('label_replace(vector(1), "a", "b", "", "") or vector(2)', "content", "finds 2 series, expected one"),
    ):
        wrong = await observe("promql", url=url, values={"x": query})
        assert (wrong.outcome, wrong.reason) == (Outcome.UNKNOWN, reason), wrong.summary
        assert words in wrong.summary
        assert "query for x" in wrong.summary
    twice = {"query": 'label_replace(vector(1), "a", "b", "", "") or vector(2)', "by": ["none"]}
    wrong = await observe("promql", url=url, values={"x": twice})
    assert "several series have the same none" in wrong.summary


@pytest.mark.parametrize(
    ("said", "outcome", "reason", "words"),
    [
        (answer("<html>"), "down", "content", "does not answer as a Prometheus"),
        (answer("[1]"), "down", "content", "does not answer as a Prometheus"),
        (
            answer('{"status": "success", "data": {"resultType": "vector", "result": [{"metric": 1}]}}'),
            "down",
            "content",
            "not",
        ),
        (answer('{"status": "success", "data": {"resultType": "scalar", "result": [1]}}'), "down", "content", "not"),
        (answer('{"status": "success"}'), "down", "content", "is the URL right?"),
        (answer('{"status": "error", "error": "busy"}', "503 Service Unavailable"), "down", "status", "busy"),
        (answer("no", "401 Unauthorized"), "down", "status", "answered 401"),
        (answer("[" * 100_000), "down", "content", "does not answer as a Prometheus"),
        (answer(" " * 3_000_000), "unknown", "too_large", "aggregate it"),
    ],
)
async def test_odd_answers(said: bytes, outcome: str, reason: str, words: str, odd: StartOdd, observe: Observe) -> None:
    server = await odd(said)
    seen = await observe("promql", url=server.url())
    assert (seen.outcome.value, seen.reason) == (outcome, reason), seen.summary
    assert words in seen.summary


async def test_many_series_are_bounded(odd: StartOdd, observe: Observe) -> None:
    series = ",".join(f'{{"metric": {{"n": "{n}"}}, "value": [1, "{n}"]}}' for n in range(500))
    server = await odd(answer(f'{{"status": "success", "data": {{"resultType": "vector", "result": [{series}]}}}}'))
    probe = {"url": server.url(), "values": {"x": {"query": "x", "by": ["n"]}}}
    seen = await observe("promql", **probe)
    assert seen.reason == "content", "what is asked about targets finds 500 series here, too"
    assert "finds 500 series" in seen.summary


def test_units_and_names() -> None:
    values = {"x": {"query": "y", "unit": "bytes_per_second"}}
    specs = {spec.name: spec for spec in probe_of("promql", {"url": "http://x", "values": values}).specs()}
    assert specs["x"].unit is Unit.BYTES_PER_SECOND
    with pytest.raises(ValueError, match="rename it"):
        probe_of("promql", {"url": "http://x", "values": {"targets": "y"}})
