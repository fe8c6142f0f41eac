"""The browser probe with a real Chromium on pages of a real nginx."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from tests.real.running import Observe, carry_out, descriptors, measured, names, new_run, none_left_open, probe_of
from tests.real.servers.certificates import Authority
from tests.real.servers.nginx import Nginx, Site
from tests.real.servers.odd import Odd, silence
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.probes import browser as probe

StartNginx = Callable[..., Nginx]
StartOdd = Callable[..., Awaitable[Odd]]
GOOD = """<!doctype html><title>Events</title><link rel="stylesheet" href="/main.css"><h1>Hello</h1><p id="x"></p>
<script src="/app.js"></script>"""
BAD = """<!doctype html><title>Broken</title><script src="/none.js"></script><script>
console.error("no", 42); console.warn("not an error"); undefinedFunction();</script><p>blank</p>"""
FILES = {
    "good.html": GOOD,
    "bad.html": BAD,
    "main.css": "h1 {font-size: 40px}",
    "app.js": "alert('stop'); fetch('/data.json').then(a => a.json()).then(d => x.textContent = d.text)",
    "data.json": '{"text": "made by a script"}',
}
TYPES = """types { text/html html; text/css css; application/javascript js; application/json json; }
location /broken { default_type text/html; return 500 "<title>Oops</title>Sorry"; }"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder of the tests."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    """No process and no folder of a browser outlives its run."""
    yield
    assert not browsers()
    assert not list(Path(tempfile.gettempdir()).glob(f"watchd-browser-{os.getpid()}-*"))


def browsers() -> list[psutil.Process]:
    """Processes that belong to a browser of ours."""
    return [one for one in psutil.Process().children(recursive=True) if "watchd-browser-" in " ".join(one.cmdline())]


@pytest.fixture
def site(nginx: StartNginx) -> Nginx:
    """A site with a good and a bad page."""
    server = nginx(Site(TYPES))
    for name, content in FILES.items():
        (server.folder / name).write_text(content)
    return server


async def test_a_page_that_scripts_make(site: Nginx, observe: Observe, state: Path) -> None:
    seen = await observe("browser", url=site.url("/good.html"), text="made by a script", headers={"X-Key": "k"})
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), (seen.summary, seen.evidence)
    assert seen.summary.startswith('"Events" loaded in ')
    assert measured(seen, "status") == 200
    assert measured(seen, "requests") == 4
    assert (measured(seen, "requests_failed"), measured(seen, "console_errors")) == (0, 0)
    assert 0 < measured(seen, "load_time") < 60
    assert 0 < measured(seen, "first_paint") <= measured(seen, "largest_paint") < 60
    assert 0 < measured(seen, "response_phase", phase="first_byte") < measured(seen, "load_time")
    assert measured(seen, "page_size") > sum(map(len, FILES.values())) - len(BAD)
    assert not state.exists(), "no picture of what is well"


async def test_a_page_with_failures_is_told_and_kept(site: Nginx, observe: Observe, state: Path) -> None:
    seen = await observe("browser", url=site.url("/bad.html"))
    assert (seen.outcome, seen.reason) == (Outcome.UP, "content")
    assert measured(seen, "requests_failed") == 1
    assert seen.evidence["failed requests"] == f"{site.url('/none.js')} answered 404"
    assert measured(seen, "console_errors") == 2
    first, second = seen.evidence["script errors"].splitlines()
    assert first == "no 42"
    assert "ReferenceError: undefinedFunction is not defined" in second
    (picture,) = (state / "pictures").iterdir()
    assert str(picture) in seen.evidence["picture"]
    assert picture.read_bytes().startswith(b"\xff\xd8"), "a JPEG"


async def test_a_page_that_is_not_as_it_should_be(site: Nginx, observe: Observe, state: Path) -> None:
    seen = await observe("browser", url=site.url("/broken"))
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "status")
    assert seen.summary.endswith("answered 500")
    assert measured(seen, "status") == 500
    (state / "pictures").rename(state / "before")
    (state / "pictures").touch()  # where no folder can be made
    seen = await observe("browser", url=site.url("/bad.html"), text=["blank", "Upcoming"])
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "content")
    assert seen.summary.endswith('does not show "Upcoming"')
    assert seen.evidence["picture"].startswith("none could be kept")


async def test_a_page_that_is_never_loaded(nginx: StartNginx, odd: StartOdd, observe: Observe, state: Path) -> None:
    silent = await odd(silence)
    server = nginx(
        Site(f'location / {{ default_type text/html; return 200 "<p>x</p><img src={silent.url("/slow")}>"; }}')
    )
    seen = await observe("browser", url=server.url(), timeout=8.0)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "timeout")
    assert silent.url("/slow") in seen.summary
    assert measured(seen, "requests") == 2
    assert list((state / "pictures").iterdir())


async def test_keys_go_to_the_own_server_only(nginx: StartNginx, odd: StartOdd, observe: Observe) -> None:
    other = await odd(b"HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nContent-Length: 0\r\n\r\n")
    page = f"<link rel=stylesheet href={other.url('/a.css')}><link rel=stylesheet href=/away.css><p>$http_x_key</p>"
    server = nginx(
        Site(
            f"location / {{ default_type text/html; return 200 '{page}'; }}\n"
            f"location /away.css {{ return 302 {other.url('/b.css')}; }}"
        )
    )
    seen = await observe("browser", url=server.url(), headers={"X-Key": "geheim"}, text="geheim")
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), seen.summary
    assert len(other.requests) == 2
    assert "geheim" not in "".join(other.requests)


async def test_certificates_count(nginx: StartNginx, authority: Authority, observe: Observe) -> None:
    server = nginx(Site(certificate=authority.issue("localhost")))
    url = server.url("/", scheme="https", host="localhost")
    refused = await observe("browser", url=url)
    assert (refused.outcome, refused.reason) == (Outcome.DOWN, "tls")
    assert "cert authority invalid" in refused.summary
    assert not names(refused)
    taken = await observe("browser", url=url, verify=False)
    assert taken.outcome is Outcome.UP, taken.summary
    assert measured(taken, "response_phase", phase="tls") > 0


async def test_a_page_that_floods_the_browser(nginx: StartNginx, observe: Observe) -> None:
    flood = "<script>console.error('x'.repeat(9000000))</script>"
    server = nginx(Site(f'location / {{ default_type text/html; return 200 "{flood}"; }}'))
    seen = await observe("browser", url=server.url())
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "load_time") > 0


@pytest.mark.parametrize(
    ("program", "reason", "words"),
    [
        ("/no/such/browser", "missing", "apt-get install chromium"),
        ("/bin/false", "exec", "does not come up"),
        ("/bin/ls", "exec", "unrecognized option"),
    ],
)
async def test_without_a_browser_nothing_is_known(program: str, reason: str, words: str, observe: Observe) -> None:
    seen = await observe("browser", url="http://127.0.0.1:1/", program=program)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, reason)
    assert words in seen.summary
    assert not names(seen)


async def test_cancelling_ends_all_its_processes(odd: StartOdd, shared: SharedHelpers) -> None:
    silent = await odd(silence)
    before = descriptors()
    running = asyncio.create_task(carry_out(probe_of("browser", {"url": silent.url()}), new_run(shared)))
    async with asyncio.timeout(60):
        while not silent.connections:
            await asyncio.sleep(0.01)
    assert len(browsers()) > 2
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not browsers()
    async with asyncio.timeout(60):
        while silent.open:
            await asyncio.sleep(0.01)
    await none_left_open(before)


def test_few_pictures_are_kept(state: Path) -> None:
    for number in range(8):
        probe._keep("the/shop", 1_795_881_094.0 + number, b"x")
    probe._keep("the/shop.2", 0.0, b"x")
    kept = sorted(path.name for path in (state / "pictures").iterdir())
    newest = [f"the_shop.20261128T1551{second}Z.jpg" for second in range(37, 42)]
    assert kept == [*newest, "the_shop_2.19700101T000000Z.jpg"]
