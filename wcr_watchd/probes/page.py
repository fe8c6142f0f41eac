"""Loads a page with the style sheets, scripts and pictures that it names, as a visitor's browser does.

A page can answer 200 while the site is blank, because its scripts do not. Each asset must answer 200 and be what it is
loaded as. The time counts everything, six assets at once, each over a connection of its own; what scripts load later is
not seen (the probe ``browser`` sees it).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import Field
from yarl import URL

from wcr_watchd.core.model import MeasurementSpec, Observation, Outcome, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration, format_value
from wcr_watchd.kit.asking import Asking, NoAnswerError, WebUrl, ask
from wcr_watchd.kit.http import Answer, Exchange
from wcr_watchd.kit.markup import Asset, Page, PageTooSlowError, page_of
from wcr_watchd.kit.threads import StillBlockedError, Threads

LARGEST_PAGE = 2 * 1024 * 1024
LARGEST_ASSET = 4 * 1024 * 1024
"""Bytes of an asset that are read; of a larger one, that is also what its size is taken for."""
AT_ONCE = 6
"""Assets that are loaded side by side, as browsers do from one host."""
MOST_ASSETS = 100
_MIME = {
    "css": ("text/css",),
    "js": ("text/javascript", "application/javascript", "application/x-javascript", "application/ecmascript"),
    "image": ("image/",),
}
"""What an asset may say that it is (HTML standard, 4.2.4, 4.12.1); browsers refuse other style sheets and modules."""
_KINDS = ("html", *_MIME)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """How an asset was loaded; ``problem`` says what is wrong with it (empty: nothing)."""

    asset: Asset
    seconds: float
    size: int
    problem: str
    unknown: bool = False


class WebPage(Asking):
    """Options of a check of a page with its assets."""

    type: ClassVar[str] = "page"
    target_key: ClassVar[str] = "url"
    every: ClassVar[float] = 300.0
    timeout: ClassVar[float] = 30.0
    example: ClassVar[str] = 'url = "https://www.example.org/"\nexclude = ["https://stats.example.net/"]\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("page_time", Unit.SECONDS, "Time until the page and all its assets were there", topic="speed"),
        MeasurementSpec("response_time", Unit.SECONDS, "Time until the HTML was there", topic="speed"),
        MeasurementSpec(
            "slowest_time",
            Unit.SECONDS,
            "Time of the slowest file by kind: html, css, js, image",
            labels=("kind",),
            topic="speed",
        ),
        MeasurementSpec("page_size", Unit.BYTES, "Size of page and assets, after decompression", topic="size"),
        MeasurementSpec("size", Unit.BYTES, "Size by kind: html, css, js, image", labels=("kind",), topic="size"),
        MeasurementSpec("assets", Unit.COUNT, "Assets that the page names", topic="assets"),
        MeasurementSpec("assets_failed", Unit.COUNT, "Assets not answered 200 or not of their kind", topic="assets"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "page_time > 2s for 2x until page_time < 1.5s"),
        (Severity.CRITICAL, "page_time > 5s for 2x until page_time < 4s"),
        (Severity.WARNING, "assets_failed > 0"),
    )

    url: WebUrl
    """The page."""
    exclude: tuple[str, ...] = ()
    """Beginnings of URLs of assets that are not looked at, such as those of a counter of visits."""
    max_assets: Annotated[int, Field(ge=0, le=MOST_ASSETS)] = MOST_ASSETS
    """Most assets that are loaded, in the page's order; a page with more is said to have them."""

    @property
    def target(self) -> str:
        """The URL."""
        return self.url

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Load the page, then what it names."""
        exchange = Exchange(self.request(URL(self.url), headers={"Accept": "text/html"}, max_body=LARGEST_PAGE))
        begun = run.clock()
        try:
            answer = await ask(run, exchange)
        except NoAnswerError as error:
            return error.observation(run, self.url)
        seconds = run.clock() - begun
        run.measure("response_time", seconds)
        run.measure("slowest_time", seconds, kind="html")
        run.measure("size", len(answer.body), kind="html")
        if (wrong := _wrong_page(answer)) is not None:
            run.evidence["body"] = answer.text[:512]
            return run.down(wrong[0], f"{self.url} answered {answer.status}, {wrong[1]}")
        if not answer.complete:
            most = format_value(LARGEST_PAGE, Unit.BYTES)
            return run.unknown("too_large", f"the HTML of {self.url} has more than {most}, too much to look for assets")
        run.step = f"looking for the assets of {self.url}"
        try:
            page = await run.shared.get(Threads).run(f"page of {run.check}", _page, answer)
        except (PageTooSlowError, StillBlockedError) as error:
            return run.unknown("parse", f"the assets of {self.url} cannot be told: {error}")
        loaded = await self._load(run, page)
        return self._told(run, page, loaded, len(answer.body), run.clock() - begun)

    async def _load(self, run: Run, page: Page) -> list[_Loaded]:
        """All assets, some side by side; what is running is ended with this."""
        wanted = [asset for asset in page.assets if not asset.url.startswith(self.exclude)][: self.max_assets]
        run.step = f"loading {len(wanted)} assets of {self.url}"
        turn = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._load_one(run, asset, turn)) for asset in wanted]
        return [task.result() for task in tasks]

    async def _load_one(self, run: Run, asset: Asset, turn: asyncio.Semaphore) -> _Loaded:
        async with turn:
            request = self.request(URL(asset.url), max_body=LARGEST_ASSET)
            if request.url.origin() != URL(self.url).origin():
                request = replace(request, headers={})
            begun = run.clock()
            try:
                answer = await ask(run, Exchange(request))
            except NoAnswerError as error:
                unknown = error.outcome is Outcome.UNKNOWN
                return _Loaded(asset, run.clock() - begun, 0, error.summary, unknown)
            return _Loaded(asset, run.clock() - begun, len(answer.body), _wrong_asset(asset.kind, answer))

    def _told(self, run: Run, page: Page, loaded: Sequence[_Loaded], html: int, seconds: float) -> Observation:
        run.measure("page_time", seconds)
        size = html + sum(one.size for one in loaded)
        run.measure("page_size", size)
        for kind in _MIME:
            if same := [one for one in loaded if one.asset.kind == kind]:
                run.measure("slowest_time", max(one.seconds for one in same), kind=kind)
                run.measure("size", sum(one.size for one in same), kind=kind)
        failed = [one for one in loaded if one.problem and not one.unknown]
        run.measure("assets", len(page.assets))
        run.measure("assets_failed", len(failed))
        if failed:
            run.evidence["failed assets"] = "\n".join(f"{one.asset.url[:300]}: {one.problem}" for one in failed[:20])
        slowest = sorted(loaded, key=lambda one: one.seconds, reverse=True)[:10]
        run.evidence["slowest assets"] = "\n".join(
            f"{format_duration(one.seconds)}, {format_value(one.size, Unit.BYTES)}: {one.asset.url[:200]}"
            for one in slowest
        )
        said = (
            f'"{" ".join(page.title.split()) or self.url}" with {len(loaded)} of {len(page.assets)} assets '
            f"({format_value(size, Unit.BYTES)}) loaded in {format_duration(seconds)}"
        )
        if failed:
            return run.up(f"{said}; {len(failed)} failed, {failed[0].asset.url[:120]}: {failed[0].problem}", "content")
        return run.up(said)


def _page(answer: Answer) -> Page:
    """Title and assets; a page may name a character set that takes long to decode, so that is done here, too."""
    return page_of(answer.text, answer.url)


def _wrong_page(answer: Answer) -> tuple[str, str] | None:
    kind = answer.headers.get("content-type", ("nothing",))[0]
    if answer.status != 200:
        return "status", "expected 200"
    if "html" not in kind:
        return "content", f"but it is {kind}, expected an HTML page"
    return None


def _wrong_asset(kind: str, answer: Answer) -> str:
    """What is wrong with an asset (empty: nothing)."""
    if answer.status != 200:
        return f"answered {answer.status}, expected 200"
    said = answer.headers.get("content-type", ("nothing",))[0].partition(";")[0].strip().lower()
    if not said.startswith(_MIME[kind]):
        return f"is {said}, expected {' or '.join(_MIME[kind][:2])}"
    return ""
