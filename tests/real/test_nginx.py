"""The nginx probe on the logs of a real nginx, and on lines as it writes them where a test needs other times."""

from __future__ import annotations

import asyncio
import errno
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.real.running import Observe, Watch, carry_out, measured, names, new_run, probe_of
from tests.real.servers.nginx import Nginx, Site
from wcr_watchd.core.model import Observation, Outcome
from wcr_watchd.kit.logs import access_log
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.probes import nginx as probe

StartNginx = Callable[..., Nginx]
WatchOf = Callable[..., Watch]
NOW = 1_795_881_094.0
"""28 November 2026, 15:51:34 UTC."""
LOCATIONS = """
location /api/ { return 200 "ok"; }
location /broken { return 503; }
location / { return 404; }
"""


def get(url: str, agent: str = "test") -> None:
    request = urllib.request.Request(url, headers={"User-Agent": agent})
    try:
        urllib.request.urlopen(request, timeout=20).close()
    except urllib.error.HTTPError as error:
        error.close()


def lines_come(log: Path, count: int) -> None:
    """nginx writes a line when the visitor has his answer."""
    deadline = time.monotonic() + 20
    while log.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def line(
    status: int = 200, path: str = "/", at: str = "28/Nov/2026:15:51:30 +0000", end: str = "", client: str = ""
) -> str:
    return f'{client or "192.0.2.1"} - - [{at}] "GET {path} HTTP/1.1" {status} 10 "-" "agent"{end}\n'


async def after(watch: Watch, log: Path, *lines: str, span: float = 60.0, started: float = NOW) -> Observation:
    """What a run tells of these lines, ``span`` seconds after the run before, which is made if there was none."""
    if watch.memory == "{}":
        log.touch()
        await watch.run(started=started - span)
    with log.open("a") as file:
        file.writelines(lines)
    return await watch.run(started=started)


# --- real logs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("log_format", ["combined", "timed", "json", "short"])
async def test_the_log_of_a_real_nginx(log_format: str, nginx: StartNginx, watch: WatchOf, tmp_path: Path) -> None:
    log = tmp_path / "site.log"
    server = nginx(Site(LOCATIONS, settings=f"access_log {log} {log_format};"))
    own = {"format": "$msec|$status|$request_method $request_uri|$request_time"} if log_format == "short" else {}
    check = watch("nginx", path=str(log), paths={"api": "/api/", "rest": "~ ^/(?!api)"}, **own)
    get(server.url("/api/before"))
    lines_come(log, 1)
    first = await check.run()
    assert (first.outcome, names(first)) == (Outcome.UP, set()), "what was there before is not counted"
    for path in ("/api/a?secret=1", "/api/b", "/broken", "/nothing", "/nothing"):
        get(server.url(path), 'an "agent"')
    lines_come(log, 6)
    seen = await check.run(started=time.time() + 10)
    assert seen.outcome is Outcome.UP, seen.summary
    assert [measured(seen, "answers", status=status) for status in ("2xx", "3xx", "4xx", "5xx")] == [2, 0, 2, 1]
    assert measured(seen, "server_error_share", path="all") == pytest.approx(0.2)
    assert measured(seen, "client_error_share", path="rest") == pytest.approx(2 / 3)
    assert measured(seen, "success_share", path="api") == 1
    assert measured(seen, "requests", path="api") == pytest.approx(0.2, rel=0.1)
    assert seen.evidence["failed"].endswith(" x 503 GET /broken")
    assert "secret" not in str(seen.evidence)
    if log_format == "combined":
        assert not {name for name in names(seen) if name.startswith("response_time")} | names(seen) & {"slow_requests"}
        assert "add $request_time" in seen.evidence["absent"]
    else:
        assert 0 <= measured(seen, "response_time_p95", path="api") < 5
        assert measured(seen, "slow_requests") == 0
    assert measured(seen, "silence") == pytest.approx(10, abs=5)
    assert measured(seen, "unreadable") == 0


async def test_a_rotated_log_is_followed(nginx: StartNginx, watch: WatchOf, tmp_path: Path) -> None:
    log = tmp_path / "site.log"
    server = nginx(Site(LOCATIONS, settings=f"access_log {log};"))
    check = watch("nginx", path=str(log))
    get(server.url("/api/"))
    lines_come(log, 1)
    await check.run()
    get(server.url("/broken"))
    lines_come(log, 2)
    log.rename(tmp_path / "site.log.1")
    os.utime(tmp_path / "site.log.1", (0, 0))  # long since nobody writes into it any more
    log.write_text(line(500))
    seen = await check.run()
    assert measured(seen, "answers", status="5xx") == 2


# --- what is counted --------------------------------------------------------------------------------------------------


async def test_times_by_path(watch: WatchOf, tmp_path: Path) -> None:
    log = tmp_path / "log"
    check = watch("nginx", path=str(log), paths={"api": ["/api/", "/v2/"], "assets": "~ \\.(css|js)$"})
    lines = [line(path="/api/x", end=f" 0.{number:03d}") for number in range(1, 101)]
    lines += [
        line(path="/v2/y", end=" rt=3.500 uct=0.001"),
        line(path="/a/b.css", end=" 0.250"),
        line(101, end=" 900.000"),
    ]
    seen = await after(check, log, *lines)
    assert measured(seen, "response_time_p50", path="api") == pytest.approx(0.051)
    assert measured(seen, "response_time_p95", path="api") == pytest.approx(0.096)
    assert measured(seen, "response_time_p99", path="api") == pytest.approx(0.1)
    assert measured(seen, "response_time_mean", path="api") == pytest.approx((sum(range(1, 101)) / 1000 + 3.5) / 101)
    assert measured(seen, "response_time_p99", path="assets") == 0.25
    assert "response_time_p99" not in {one.name for one in seen.measurements if ("path", "other") in one.labels}
    assert measured(seen, "requests", path="other") == pytest.approx(1 / 60), "a WebSocket is a request without a time"
    assert measured(seen, "slow_requests") == 1
    assert seen.evidence["slowest"].splitlines()[:2] == ["3.5 s 200 GET /v2/y", "250 ms 200 GET /a/b.css"]
    assert measured(seen, "sent") == pytest.approx(103 * 10 / 60)


@pytest.mark.parametrize(
    "at", ["28/Nov/2026:15:51:24 +0000", "28/Nov/2026:17:51:24 +0200", "28/Nov/2026:10:21:24 -0530"]
)
async def test_the_zone_of_the_log(at: str, watch: WatchOf, tmp_path: Path) -> None:
    seen = await after(watch("nginx", path=str(tmp_path / "log")), tmp_path / "log", line(at=at))
    assert measured(seen, "silence") == 10


@pytest.mark.parametrize(
    ("text", "epoch"),
    [
        ("2026-11-28T15:51:34+00:00", NOW),
        ("2026-11-28T16:51:34+01:00", NOW),
        ("1795881094.250", NOW + 0.25),
        ("28/Nil/2026:15:51:34 +0000", None),
        ("31/Nov/2026:15:51:34 +0000", None),
        ("2026-11-28T15:51:34", None),
        ("yesterday", None),
    ],
)
def test_times_as_they_are_written(text: str, epoch: float | None) -> None:
    assert access_log.moment(text) == epoch


async def test_counters_go_on_and_rates_begin_anew(watch: WatchOf, tmp_path: Path) -> None:
    log, check = tmp_path / "log", watch("nginx", path=str(tmp_path / "log"))
    await after(check, log, line(500), line(302), line(401))
    seen = await after(check, log, line(500), line(304), started=NOW + 30)
    assert measured(seen, "answers", status="5xx") == 2
    assert measured(seen, "answers", status="3xx") == 2
    assert measured(seen, "requests", path="all") == pytest.approx(2 / 30)
    assert measured(seen, "success_share", path="all") == 0.5
    quiet = await check.run(started=NOW + 60)
    assert measured(quiet, "requests", path="all") == 0
    assert "server_error_share" not in names(quiet), "a share of nothing is absent"
    assert measured(quiet, "answers", status="5xx") == 2
    assert quiet.summary == "no request within 30 s"


async def test_clients_within_five_minutes(watch: WatchOf, tmp_path: Path) -> None:
    log, check = tmp_path / "log", watch("nginx", path=str(tmp_path / "log"))
    for minute in range(4):
        seen = await after(check, log, line(client=f"192.0.2.{minute}"), line(), started=NOW + 60 * minute)
        assert "clients" not in names(seen), "not yet five minutes"
    seen = await after(check, log, line(client="192.0.2.9"), started=NOW + 240)
    assert measured(seen, "clients") == 5  # 192.0.2.0, .1, .2, .3, .9
    seen = await after(check, log, started=NOW + 300)
    assert measured(seen, "clients") == 4, "the first minute is over, but .1 came later, too"


def test_many_clients_are_estimated() -> None:
    tallies = access_log.Tallies("auto", {})
    tallies.add_block("".join(line(client=f"10.0.{n // 250}.{n % 250}") for n in range(20_000)).encode())
    sketch = tallies.told()["clients"]
    assert len(sketch) == access_log.SKETCH
    assert access_log.distinct([sketch, sketch]) == pytest.approx(20_000, rel=0.2)


async def test_only_the_newest_of_too_much_is_read(
    watch: WatchOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "MOST", 50 * len(line()))
    lines = [line(at=f"28/Nov/2026:15:50:{second:02d} +0000") for second in range(60) for _ in range(5)]
    seen = await after(watch("nginx", path=str(tmp_path / "log")), tmp_path / "log", *lines, span=7_200)
    assert measured(seen, "answers", status="2xx") == pytest.approx(50, abs=1)
    assert measured(seen, "requests", path="all") == pytest.approx(5, rel=0.2), "the log's own clock tells the span"
    assert "of older lines were not read" in seen.evidence["skipped"]


async def test_some_lines_are_no_log(watch: WatchOf, tmp_path: Path) -> None:
    log = tmp_path / "log"
    odd = [
        "\n",
        "nonsense\n",
        '{"status": []}\n',
        "[" * 50_000 + "\n",
        line(999),
        '{"status": "200", "request": "\\u0000"}\n',
    ]
    odd.append(line(500, path="/\u2028\x85\x0b"))  # one line, though not for Python's splitlines()
    seen = await after(watch("nginx", path=str(log)), log, *odd, line(400, path="\\x16\\x03\\x22"))
    assert seen.outcome is Outcome.UP
    assert measured(seen, "unreadable") == 5
    assert measured(seen, "answers", status="2xx") == 1
    assert measured(seen, "answers", status="4xx") == 1
    assert measured(seen, "answers", status="5xx") == 1
    assert "unreadable line" in seen.evidence


# --- when it cannot tell ----------------------------------------------------------------------------------------------


async def test_a_log_of_another_format_is_unknown(watch: WatchOf, tmp_path: Path) -> None:
    log = tmp_path / "log"
    seen = await after(watch("nginx", path=str(log), format="$msec $status"), log, line(), line())
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "parse")
    assert "none of the 2 new lines" in seen.summary
    assert not names(seen)


async def test_what_cannot_be_read_is_unknown(observe: Observe, tmp_path: Path) -> None:
    missing = await observe("nginx", path=str(tmp_path / "log"))
    assert (missing.outcome, missing.reason) == (Outcome.UNKNOWN, "missing")
    assert "does not exist" in missing.summary
    folder = await observe("nginx", path=str(tmp_path))
    assert (folder.outcome, folder.reason) == (Outcome.UNKNOWN, "missing")
    os.mkfifo(tmp_path / "pipe")
    pipe = await observe("nginx", path=str(tmp_path / "pipe"))
    assert "no regular file" in pipe.summary


async def test_a_log_that_may_not_be_read(observe: Observe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root, who runs the tests, may read everything, so the refusal of the system is put in its place."""

    async def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(probe, "aside", refused)
    seen = await observe("nginx", path=str(tmp_path / "log"))
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "permission")
    assert "add this user to its group" in seen.summary


async def test_an_expression_that_never_ends_is_cut_off(shared: SharedHelpers, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    check = probe_of("nginx", {"path": str(log), "paths": {"evil": "~ (a+)+$"}})
    run = new_run(shared)
    await carry_out(check, run)
    memory = run.memory
    log.write_text(line(path="/" + "a" * 60 + "!"))
    run = new_run(shared, timeout=1.0)
    run.memory = memory
    seen = await carry_out(check, run)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")
    assert str(log) in seen.summary
    assert not ours(), "the process that reads goes with the run"


async def test_cancelling_leaves_nothing_behind(shared: SharedHelpers, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    running = asyncio.create_task(carry_out(probe_of("nginx", {"path": str(log)}), new_run(shared)))
    while not ours():
        await asyncio.sleep(0.002)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not ours()


def ours() -> list[psutil.Process]:
    """Processes of ours that read a log."""
    return [one for one in psutil.Process().children() if "wcr_watchd.kit.logs.access_log" in " ".join(one.cmdline())]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "$remote_addr $request"}, "without \\$status"),
        ({"paths": {"api": "api/"}}, "write a prefix"),
        ({"paths": {"api": "~ ("}}, "not a regular expression"),
        ({"paths": {"all": "/"}}, "paths"),
    ],
)
def test_options_that_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        probe_of("nginx", {"path": "/log", **options})
