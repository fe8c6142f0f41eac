"""Opens a page in a real, headless Chromium: how long until it is loaded and painted, and what fails in it.

Sees what scripts do: a page that answers 200 and stays blank. When the page is not as it should be, a picture of it is
kept in the state folder. Chromium must be installed; as root it runs without its sandbox, so let the daemon be no root.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field
from yarl import URL

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration, format_value
from wcr_watchd.kit.asking import Asker, WebUrl
from wcr_watchd.kit.chromium import BrowserError, CallError, DevTools, browser
from wcr_watchd.kit.expectations import Texts
from wcr_watchd.kit.phases import phases
from wcr_watchd.kit.signed import state_folder
from wcr_watchd.kit.threads import Threads

AT_ONCE = 1
"""Browsers at a time; one takes some 200 MiB."""
QUIET = 0.5
"""Seconds without a request after which a loaded page is taken as finished (what scripts load comes after)."""
SETTLING = 5.0
"""Seconds a loaded page may go on asking before it is looked at all the same."""
RESERVE = 4.0
"""Seconds kept back for the picture of a page that did not load in time, and for ending the browser."""
PICTURES = 5
"""Pictures that are kept of a check, the newest."""
MOST_TOLD = 10
"""Errors and failed requests that stand in the evidence."""

_UNASKED = "/favicon.ico"
"""What the browser asks for by itself, whether the page names it or not."""
_REASONS = (("NAME", "dns"), ("CONNECTION", "connect"), ("ADDRESS", "connect"), ("CERT", "tls"), ("SSL", "tls"))
"""What the names of Chromium's network errors begin with after ``net::ERR_``, and what they are about."""

_TIMES = """
new Promise(answer => {
  const first = kind => { const found = performance.getEntriesByType(kind); return found[found.length - 1]; };
  const told = largest => {
    const page = first("navigation").toJSON();
    const paint = performance.getEntriesByName("first-contentful-paint")[0];
    answer(JSON.stringify({page, paint: paint && paint.startTime, largest, title: document.title.slice(0, 200)}));
  };
  const observer = new PerformanceObserver(list => {
    const entries = list.getEntries();
    told(entries[entries.length - 1].startTime);
  });
  observer.observe({type: "largest-contentful-paint", buffered: true});
  setTimeout(() => told(null), 500);
})
"""
"""Navigation Timing 2, Paint Timing and Largest Contentful Paint (w3.org); the first answer of a promise counts."""


class _Turns:
    """Lets a few browsers run at a time."""

    def __init__(self) -> None:
        self.free = asyncio.Semaphore(AT_ONCE)


class BrowserPage(Asker):
    """Options of a check of a page in a browser."""

    type: ClassVar[str] = "browser"
    target_key: ClassVar[str] = "url"
    every: ClassVar[float] = 600.0
    timeout: ClassVar[float] = 60.0
    example: ClassVar[str] = 'url = "https://www.example.org/"\ntext = "Upcoming events"\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("load_time", Unit.SECONDS, "Time until the page and what it names is loaded", topic="speed"),
        MeasurementSpec("first_paint", Unit.SECONDS, "Time until something is seen (FCP)", topic="speed"),
        MeasurementSpec("largest_paint", Unit.SECONDS, "Time until the largest part is seen (LCP)", topic="speed"),
        phases("dns", "connect", "tls", "first_byte", "transfer", "build", "load"),
        MeasurementSpec("status", Unit.COUNT, "Status of the page itself"),
        MeasurementSpec("page_size", Unit.BYTES, "Bytes received for everything", topic="size"),
        MeasurementSpec("requests", Unit.COUNT, "Requests that the page made", topic="requests"),
        MeasurementSpec(
            "requests_failed", Unit.COUNT, "Requests that failed or were answered 4xx, 5xx", topic="requests"
        ),
        MeasurementSpec("console_errors", Unit.COUNT, "Errors of scripts, and those that they log", topic="scripts"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "load_time > 2s for 2x until load_time < 1.5s"),
        (Severity.CRITICAL, "load_time > 5s for 2x until load_time < 4s"),
        (Severity.WARNING, "requests_failed > 0 for 2x"),
        (Severity.INFO, "console_errors > 0 for 2x"),
    )

    url: WebUrl
    """The page."""
    text: Texts = ()
    """Text, or list of texts, that a visitor must see in the page."""
    verify: bool = True
    """Whether the servers' certificates must be right and trusted by the browser."""
    width: Annotated[int, Field(ge=200, le=3840)] = 1280
    """Width of the window in pixels; 390 is a telephone's."""
    program: str = ""
    """The browser; without it, Chromium or Chrome where they are usually installed."""

    @property
    def target(self) -> str:
        """The URL."""
        return self.url

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Start a browser, open the page, look at it, end the browser."""
        port = URL(self.url).port
        # Chromium refuses some ports that other services have; a watcher may be sent to any.
        flags = (f"--window-size={self.width},{self.width * 5 // 8}", f"--explicitly-allowed-ports={port}")
        run.step = "waiting for another check's browser to end"
        try:
            async with run.shared.get(_Turns).free:
                run.step = "starting the browser"
                async with browser(run.shared.get(Threads), self.program, flags) as devtools:
                    return await self._look(run, devtools)
        except BrowserError as error:
            return run.unknown(error.reason, f"{self.url}: {error.summary}")
        except CallError as error:
            return run.unknown("protocol", f"{self.url}: the browser refuses what it is told while {run.step}: {error}")

    async def _look(self, run: Run, devtools: DevTools) -> Observation:
        seen = _Seen(devtools, self.own_headers())
        devtools.told = seen.note
        for domain in ("Page", "Network", "Runtime", "Log"):
            await devtools.call(f"{domain}.enable")
        await self._prepare(devtools)
        run.step = f"waiting for {self.url} to be loaded"
        try:
            async with asyncio.timeout(run.remaining - min(RESERVE, run.timeout * 0.1)):
                gone = await devtools.call("Page.navigate", url=self.url)
                if problem := gone.get("errorText"):
                    return _not_opened(run, self.url, problem)
                while not seen.loaded:
                    await devtools.listen()
        except TimeoutError:
            waiting = ", ".join(list(seen.in_flight.values())[:3]) or "its scripts"
            seen.measure(run)
            return await self._failed(run, devtools, "timeout", f"not loaded in time, still waiting for {waiting}")
        await self._settle(devtools, seen)
        return await self._told(run, devtools, seen)

    async def _prepare(self, devtools: DevTools) -> None:
        if self.own_headers():
            await devtools.call("Fetch.enable", patterns=[{"urlPattern": f"{URL(self.url).origin()}/*"}])
        if not self.verify:
            await devtools.call("Security.setIgnoreCertificateErrors", ignore=True)
        await devtools.call("Page.setDownloadBehavior", behavior="deny")

    async def _settle(self, devtools: DevTools, seen: _Seen) -> None:
        """Wait until the page asks for nothing more, for a while at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLING):
                while True:
                    try:
                        async with asyncio.timeout(QUIET):
                            await devtools.listen()
                    except TimeoutError:
                        if not seen.in_flight:
                            return

    async def _told(self, run: Run, devtools: DevTools, seen: _Seen) -> Observation:
        run.step = f"asking the browser how long {self.url} took"
        seen.measure(run)
        world = await _world(devtools)
        times = json.loads(await _evaluated(devtools, world, _TIMES))
        _measure_times(run, times)
        if seen.status is not None and seen.status >= 400:
            return await self._failed(run, devtools, "status", f"answered {seen.status}")
        for text in self.text:
            shown = f"(document.body ? document.body.innerText : '').includes({json.dumps(text)})"
            if not await _evaluated(devtools, world, shown):
                return await self._failed(run, devtools, "content", f'does not show "{text}"')
        seconds = {one.name: one.value for one in run.measurements}.get("load_time", run.elapsed)
        said = f'"{times["title"] or self.url}" loaded in {format_duration(seconds)}'
        if seen.failed:
            await self._keep_picture(run, devtools)
            return run.up(f"{said}; {len(seen.failed)} of its requests failed: {seen.failed[0]}", "content")
        return run.up(said)

    async def _failed(self, run: Run, devtools: DevTools, reason: str, text: str) -> Observation:
        await self._keep_picture(run, devtools)
        return run.down(reason, f"{self.url}: {text}")

    async def _keep_picture(self, run: Run, devtools: DevTools) -> None:
        """A picture of the page as it is, for whoever looks at the failure; what goes wrong with it is only told."""
        run.step = f"taking a picture of {self.url}"
        try:
            async with asyncio.timeout(min(RESERVE / 2, run.remaining)):
                taken = await devtools.call("Page.captureScreenshot", format="jpeg", quality=60)
            picture = base64.b64decode(taken["data"])
            kept = await run.shared.get(Threads).call(_keep, run.check, run.started, picture)
        except (TimeoutError, CallError, OSError) as error:
            run.evidence["picture"] = f"none could be kept: {error or 'it took too long'}"
        else:
            run.evidence["picture"] = f"{kept} ({format_value(len(picture), Unit.BYTES)})"


# --- what the browser tells -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Seen:
    """What the browser told of the page so far."""

    devtools: DevTools
    headers: Mapping[str, str]
    """What is added to the requests to the page's own server, which wait for it."""
    loaded: bool = False
    status: int | None = None
    requests: int = 0
    size: float = 0.0
    in_flight: dict[str, str] = field(default_factory=dict)
    """Addresses by the number of the request."""
    failed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def note(self, method: str, told: dict[str, Any]) -> None:
        """Take note of an event."""
        match method:
            case "Page.loadEventFired":
                self.loaded = True
            case "Page.javascriptDialogOpening":  # an alert stops everything until somebody answers it
                self.devtools.send("Page.handleJavaScriptDialog", accept=False)
            case "Fetch.requestPaused":
                added = {**told["request"]["headers"], **self.headers}
                headers = [{"name": name, "value": value} for name, value in added.items()]
                self.devtools.send("Fetch.continueRequest", requestId=told["requestId"], headers=headers)
            case "Runtime.exceptionThrown":
                self._error(told["exceptionDetails"])
            case "Runtime.consoleAPICalled" if told["type"] in ("error", "assert"):
                arguments = (str(one.get("value", one.get("description", ""))) for one in told["args"][:5])
                self.errors.append(" ".join(arguments)[:300])
            case "Log.entryAdded" if told["entry"]["level"] == "error" and told["entry"]["source"] != "network":
                self.errors.append(str(told["entry"]["text"])[:300])
            case _ if method.startswith("Network."):
                self._note_request(method, told)

    def _error(self, details: dict[str, Any]) -> None:
        thrown = details.get("exception", {}).get("description") or details.get("text", "")
        self.errors.append(f"{details.get('url', '')}: {thrown}".removeprefix(": ").splitlines()[0][:300])

    def _note_request(self, method: str, told: dict[str, Any]) -> None:
        number = told.get("requestId", "")
        if method == "Network.requestWillBeSent":
            url = str(told["request"]["url"])[:200]
            if not url.endswith(_UNASKED):
                self.requests += number not in self.in_flight  # a redirect goes on under the same number
                self.in_flight[number] = url
        elif number not in self.in_flight:
            return
        elif method == "Network.responseReceived":
            status = int(told["response"]["status"])
            if self.status is None and told.get("type") == "Document":
                self.status = status
            elif status >= 400:
                self.failed.append(f"{str(told['response']['url'])[:200]} answered {status}")
        elif method == "Network.loadingFinished":
            self.size += float(told.get("encodedDataLength", 0))
            del self.in_flight[number]
        elif method == "Network.loadingFailed":
            url = self.in_flight.pop(number)
            if not told.get("canceled"):
                self.failed.append(f"{url}: {_network_error(str(told.get('errorText', '')))}")

    def measure(self, run: Run) -> None:
        """Note what was counted."""
        run.measure_all({"status": self.status, "requests": self.requests, "page_size": self.size})
        run.measure("requests_failed", len(self.failed))
        run.measure("console_errors", len(self.errors))
        for name, lines in (("failed requests", self.failed), ("script errors", self.errors)):
            if lines:
                run.evidence[name] = "\n".join(dict.fromkeys(lines[:MOST_TOLD]))


async def _world(devtools: DevTools) -> int:
    """A place for our own JavaScript, where the page's scripts have changed nothing."""
    frame = (await devtools.call("Page.getFrameTree"))["frameTree"]["frame"]["id"]
    made = await devtools.call("Page.createIsolatedWorld", frameId=frame, worldName="wcr-watchd")
    return int(made["executionContextId"])


async def _evaluated(devtools: DevTools, world: int, expression: str) -> Any:
    """What a JavaScript expression is worth."""
    answer = await devtools.call(
        "Runtime.evaluate", expression=expression, contextId=world, awaitPromise=True, returnByValue=True
    )
    if "exceptionDetails" in answer:
        raise CallError(str(answer["exceptionDetails"].get("text", "")))
    return answer["result"].get("value")


def _measure_times(run: Run, times: dict[str, Any]) -> None:
    """Navigation Timing, in milliseconds since the navigation began; what did not happen has no length."""
    page: dict[str, float] = times["page"]
    run.measure("load_time", page["loadEventEnd"] / 1000)
    for name, value in (("first_paint", times.get("paint")), ("largest_paint", times.get("largest"))):
        if value is not None:
            run.measure(name, value / 1000)
    secure = page["secureConnectionStart"]
    spans = {
        "dns": ("domainLookupStart", "domainLookupEnd"),
        "connect": ("connectStart", "secureConnectionStart" if secure else "connectEnd"),
        "tls": ("secureConnectionStart", "connectEnd" if secure else "secureConnectionStart"),
        "first_byte": ("requestStart", "responseStart"),
        "transfer": ("responseStart", "responseEnd"),
        "build": ("responseEnd", "domContentLoadedEventEnd"),
        "load": ("domContentLoadedEventEnd", "loadEventEnd"),
    }
    for phase, (begin, end) in spans.items():
        if page[end] > page[begin]:
            run.measure("response_phase", (page[end] - page[begin]) / 1000, phase=phase)


def _not_opened(run: Run, url: str, problem: str) -> Observation:
    name = problem.removeprefix("net::ERR_")
    reason = next((reason for begin, reason in _REASONS if name.startswith(begin)), "protocol")
    return run.down(reason, f"{url} cannot be opened: {_network_error(problem)}")


def _network_error(text: str) -> str:
    """``net::ERR_CONNECTION_REFUSED`` in words."""
    return text.removeprefix("net::ERR_").replace("_", " ").lower() or "it failed"


def _keep(check: str, at: float, picture: bytes) -> Path:
    """Keep a picture, and no more than a few of one check. Runs in a thread."""
    folder = state_folder() / "pictures"
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9_-]", "_", check)
    file = folder / f"{name}.{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}.jpg"
    file.write_bytes(picture)
    older: Sequence[Path] = sorted(folder.glob(f"{name}.*.jpg"))[:-PICTURES]
    for one in older:
        one.unlink(missing_ok=True)
    return file
