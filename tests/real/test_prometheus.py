"""The prometheus probe on a real Prometheus' own metrics, and on a peer that answers as exporters do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from tests.real.ports import free_port
from tests.real.running import Observe, Watch, measured, names, probe_of
from tests.real.servers.odd import Odd
from tests.real.servers.prometheus import Prometheus
from wcr_watchd.core.model import Outcome
from wcr_watchd.core.units import Unit
from wcr_watchd.kit.scrape import Chosen, ExpositionError, matchers, read

StartOdd = Callable[..., Awaitable[Odd]]
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
REQUESTS = """\
# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{code="200",method="GET"} 100
http_requests_total{code="500",method="GET"} 7
http_requests_total{code="503",method="POST"} 3
# TYPE names gauge
names{name="web",value="1",self="x"} 5
# TYPE queue_length gauge
queue_length{queue="mail"} 4
queue_length{queue="pay\\"\\\\x"} 9
# TYPE memory_bytes gauge
memory_bytes 2.5e+09
nothing_yet NaN
plain 1 1795881094000
"""


def answer(body: str | bytes, kind: str = TEXT, status: str = "200 OK") -> bytes:
    content = body.encode() if isinstance(body, str) else body
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


# --- what it reads ----------------------------------------------------------------------------------------------------


async def test_the_metrics_of_a_real_prometheus(
    prometheus: Callable[..., Prometheus], watch: Callable[..., Watch]
) -> None:
    server = prometheus(free_port())
    check = watch(
        "prometheus",
        url=f"http://127.0.0.1:{server.port}/metrics",
        values={
            "goroutines": "go_goroutines",
            "memory": "process_resident_memory_bytes",
            "cpu": "process_cpu_seconds_total",
            "answers": 'prometheus_http_requests_total{handler="/-/ready"}',
            "versions": {"metric": "prometheus_build_info", "by": ["version"]},
        },
    )
    first = await check.run(started=1000)
    assert first.outcome is Outcome.UP, first.summary
    assert measured(first, "goroutines") > 5
    assert measured(first, "memory") > 2**20
    assert measured(first, "samples") > 100
    assert measured(first, "scrape_size") > 10_000
    assert not {"cpu", "answers"} & names(first), "one look gives no rate"
    await server.api("query", query="up")
    second = await check.run(started=1010)
    assert 0 <= measured(second, "cpu") < 10
    assert measured(second, "answers") >= 0
    assert sum(one.name == "versions" for one in second.measurements) == 1


async def test_numbers_by_name_and_labels(odd: StartOdd, observe: Observe) -> None:
    server = await odd(answer(REQUESTS))
    seen = await observe(
        "prometheus",
        url=server.url("/metrics"),
        values={
            "failed": {"metric": 'http_requests_total{code=~"5.."}', "rate": False},
            "failed_get": {"metric": 'http_requests_total{code=~"5..",method!="POST"}', "rate": False},
            "posted": {"metric": 'http_requests_total{method="POST"}', "rate": False},
            "longest": {"metric": "queue_length", "combine": "max"},
            "shortest": {"metric": "queue_length", "combine": "min"},
            "usual": {"metric": "queue_length", "combine": "mean"},
            "queue": {"metric": "queue_length", "by": ["queue"]},
            "memory": "memory_bytes",
            "named": {"metric": "names", "by": ["name", "value", "self"]},
            "timed": "plain",
            "yet": "nothing_yet",
        },
    )
    assert seen.outcome is Outcome.UP, seen.summary
    values = {name: measured(seen, name) for name in names(seen) - {"queue", "named", "response_time", "scrape_size"}}
    assert values == {
        "failed": 10,
        "failed_get": 7,
        "posted": 3,
        "longest": 9,
        "shortest": 4,
        "usual": 6.5,
        "memory": 2.5e9,
        "timed": 1,
        "samples": 9,
        "metrics": 6,
    }
    (named,) = (one for one in seen.measurements if one.name == "named")
    assert named.labels == (("name", "web"), ("self", "x"), ("value", "1")), "labels of any name"
    assert measured(seen, "queue", queue="mail") == 4
    assert measured(seen, "queue", queue='pay"\\x') == 9
    assert seen.evidence["absent"] == "yet: there is no such series"
    assert "does not show yet" in seen.summary
    assert server.requests[0].count("Accept:") == 1
    assert "openmetrics" in server.requests[0]


@pytest.mark.parametrize("kind", [TEXT, OPEN])
async def test_both_formats(kind: str, odd: StartOdd, watch: Callable[..., Watch]) -> None:
    registry = CollectorRegistry()
    jobs = Counter("jobs", "Jobs.", ["result"], registry=registry)
    Gauge("age_seconds", "Age.", registry=registry).set(12.5)
    duration = Histogram("duration_seconds", "Time.", registry=registry)
    generate = generate_openmetrics if kind == OPEN else generate_latest
    check = watch(
        "prometheus",
        url=(await odd(answer(generate(registry), kind))).url(),
        values={"jobs": 'jobs_total{result="good"}', "age": "age_seconds", "busy": "duration_seconds_sum"},
    )
    jobs.labels("good").inc(5)
    check.options["url"] = (await odd(answer(generate(registry), kind))).url()
    seen = await check.run(started=1000)
    assert measured(seen, "age") == 12.5
    jobs.labels("good").inc(30)
    duration.observe(3)
    check.options["url"] = (await odd(answer(generate(registry), kind))).url()
    seen = await check.run(started=1060)
    assert measured(seen, "jobs") == 0.5
    assert measured(seen, "busy") == pytest.approx(0.05)


async def test_a_counter_that_began_anew(odd: StartOdd, watch: Callable[..., Watch]) -> None:
    check = watch("prometheus", url="http://x", values={"sold": {"metric": "sold_total", "by": ["shop"]}})

    async def shows(at: float, **shops: float) -> Any:
        lines = "".join(f'sold_total{{shop="{shop}"}} {number}\n' for shop, number in shops.items())
        check.options["url"] = (await odd(answer("# TYPE sold_total counter\n" + lines))).url()
        return await check.run(started=at)

    await shows(1000, a=90, b=5)
    seen = await shows(1010, a=20, b=25, c=1_000)
    assert measured(seen, "sold", shop="a") == 2, "what it shows has come since it began anew"
    assert measured(seen, "sold", shop="b") == 2
    assert [one for one in seen.measurements if ("shop", "c") in one.labels] == [], "what is new has not grown yet"
    seen = await shows(1020, c=1_010)
    assert measured(seen, "sold", shop="c") == 1


def test_units_come_from_the_names() -> None:
    def unit(metric: str, **more: Any) -> Unit:
        return Chosen(metric=metric, **more).spec("x").unit

    assert unit("a_seconds") is Unit.SECONDS
    assert unit("a_bytes") is Unit.BYTES
    assert unit("a_ratio") is Unit.RATIO
    assert unit("a_timestamp_seconds") is Unit.TIMESTAMP
    assert unit("a") is Unit.COUNT
    assert unit("a_total") is Unit.PER_SECOND
    assert unit("a_bytes_total") is Unit.BYTES_PER_SECOND
    assert unit("a_seconds_sum") is Unit.SECONDS_PER_SECOND
    assert unit("a_seconds_count") is Unit.PER_SECOND
    assert unit("a_total", rate=False) is Unit.COUNT
    assert Chosen(metric="a_total", rate=False).spec("x").counter


# --- when it fails ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "outcome", "reason", "words"),
    [
        (answer("nope", status="503 Service Unavailable"), "down", "status", "answered 503"),
        (answer("<html>", "text/html"), "down", "content", "shows a web page"),
        (answer("this is {no exposition\n"), "down", "parse", "no proper exposition"),
        (answer('good 1\na{b="c} 1\n'), "down", "parse", 'line 2, a{b="c} 1'),
        (answer("good 1\nbad x\n"), "down", "parse", 'line 2, bad x: could not convert string to float: "x"'),
        (answer("a\u2028" * 10_000 + " 1\n"), "down", "parse", "line 1 has more than 16384 characters"),
        (answer("a 1\n", OPEN), "down", "parse", "no proper exposition"),
        (answer("a" * 20_000 + " 1\n"), "down", "parse", "more than 16384 characters"),
        (answer("x 1\n" * 400), "unknown", "too_large", "raise max_body"),
        (answer("other 1\n"), "unknown", "missing", "none of the metrics chosen: load"),
        (b"\x00\x01garbage\r\n\r\n", "down", "protocol", "not proper HTTP"),
    ],
)
async def test_odd_answers(said: bytes, outcome: str, reason: str, words: str, odd: StartOdd, observe: Observe) -> None:
    server = await odd(said)
    size = 1000 if b"x 1\nx 1" in said else 100_000
    seen = await observe("prometheus", url=server.url(), values={"load": "node_load5"}, max_body=size)
    assert (seen.outcome.value, seen.reason) == (outcome, reason), seen.summary
    assert words in seen.summary


async def test_a_large_exposition(odd: StartOdd, observe: Observe) -> None:
    server = await odd(answer("".join(f'a_metric{{number="{n}"}} {n}\n' for n in range(30_000))))
    seen = await observe("prometheus", url=server.url(), values={"top": {"metric": "a_metric", "combine": "max"}})
    assert measured(seen, "top") == 29_999


async def test_many_series_are_bounded(odd: StartOdd, observe: Observe) -> None:
    server = await odd(answer("".join(f'a{{n="{n}"}} {n}\n' for n in range(1_000))))
    seen = await observe("prometheus", url=server.url(), values={"a": {"metric": "a", "by": ["n"]}})
    assert sum(one.name == "a" for one in seen.measurements) == 200
    assert seen.evidence["series of a"].startswith("1000;")


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ("1a", "write a metric"),
        ("a{b}", 'expected label="value"'),
        ('a{b="c"', "write a metric"),
        ('a{b=~"(x+)+"}', "only letters, digits"),
        ('a{b=~"[ab]"}', "only letters, digits"),
    ],
)
def test_selectors_that_are_refused(selector: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        matchers(selector)


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("5..", ["500", "503"]),
        ("api.*|GET", ["GET", "api", "api/x"]),
        ("api.+", ["api/x"]),
        ("a\\.b", ["a.b"]),
    ],
)
def test_patterns(pattern: str, fits: list[str]) -> None:
    texts = ["500", "503", "5000", "GET", "api", "api/x", "a.b", "axb"]
    body = "".join(f'm{{l="{text}"}} 1\n' for text in texts).encode()
    for sign, wanted in (("=~", fits), ("!~", [text for text in texts if text not in fits])):
        found = read(body, False, {"v": Chosen(metric=f'm{{l{sign}"{pattern}"}}', by=("l",))}).series["v"]
        assert [dict(labels)["l"] for labels, _, _ in found] == wanted


@pytest.mark.parametrize("openmetrics", [False, True])
@pytest.mark.parametrize(
    "body", [b"\xff\xfe{", b"# TYPE a\n", b"# TYPE a counter\na{", b"a 1 2 3 4\n{", b'{"a",b="c"} x\n']
)
def test_whatever_the_readers_raise_at_nonsense_becomes_one_error(body: bytes, openmetrics: bool) -> None:
    with pytest.raises(ExpositionError, match=r"\w"):
        read(body, openmetrics, {})


def test_names_that_are_taken() -> None:
    with pytest.raises(ValueError, match="rename it"):
        probe_of("prometheus", {"url": "http://x/metrics", "values": {"samples": "a"}})
