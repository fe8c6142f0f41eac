"""Reads a vendor's status page: what it says of the components that matter here, and of its open incidents.

Read are the JSON of Statuspage (https://www.atlassian.com/software/statuspage, `/api/v2/summary.json`, which many
others serve as well) and feeds, RSS 2.0 and Atom (RFC 4287). The vendor is down while a component has a partial or
major outage; a degraded component, an open incident and an entry of a feed, which does not say how bad it is, are told,
but no downtime. A page that cannot be read says nothing about the vendor: that is unknown, not down.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field
from yarl import URL

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit
from wcr_watchd.kit.aside import aside
from wcr_watchd.kit.fetch import NotFetchedError, fetch
from wcr_watchd.kit.http import Answer, Request
from wcr_watchd.kit.options import Duration, Options
from wcr_watchd.kit.status_pages import Page, read

LARGEST_PAGE = 1024 * 1024
NAMED = 5
"""Components and incidents that the summary names."""
WORDS = {1: "degraded", 2: "partial outage", 3: "major outage"}
OUT = 2
"""The state of a component from which on it does not do what was promised."""


def _url(url: str) -> str:
    parsed = URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.raw_host or parsed.user:
        raise ValueError('must begin with "http://" or "https://", name a host and hold no password')
    return url


class Vendor(Options):
    """Reads a vendor's status page."""

    type: ClassVar[str] = "vendor"
    target_key: ClassVar[str] = "url"
    every: ClassVar[float] = 300.0
    timeout: ClassVar[float] = 20.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("impact", Unit.COUNT, "The worst state: 0 none, 1 minor, 2 major or partial, 3 critical"),
        MeasurementSpec("incidents", Unit.COUNT, "Open incidents that concern the chosen components"),
        MeasurementSpec("maintenances", Unit.COUNT, "Maintenance that goes on and concerns them"),
        MeasurementSpec(
            "component_state",
            Unit.COUNT,
            "0 operational or maintained, 1 degraded, 2 partial outage, 3 major outage",
            labels=("component",),
        ),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.INFO, "impact > 0 or incidents > 0 or down"),
    )
    example: ClassVar[str] = 'url = "https://www.githubstatus.com/api/v2/summary.json"\ncomponents = ["API Requests"]\n'

    url: Annotated[str, AfterValidator(_url)]
    """The page's `/api/v2/summary.json`, or its feed."""
    components: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=50)] = ()
    """The components that matter here, by name; of a feed, words of which an entry must have one. Default: all."""
    recent: Duration = 2 * 86_400.0
    """Of a feed: how old an entry may be that does not say that it is over."""

    @property
    def target(self) -> str:
        """The page's URL."""
        return self.url

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Fetch the page and say what it says."""
        try:
            # A little before the run's own deadline: a page that does not answer says nothing about the vendor.
            async with asyncio.timeout(run.remaining * 0.95):
                answer = await fetch(run, Request("GET", URL(self.url), max_body=LARGEST_PAGE))
                run.step = "reading the page"
                page = await self._read(answer, run.started)
        except TimeoutError:
            return run.unknown("timeout", f"{self.url}: no answer in time; was {run.step}")
        except NotFetchedError as error:
            return run.unknown(error.reason, f"{self.url}: {error.summary}")
        except (OSError, RuntimeError) as error:
            return run.unknown("exec", f"{self.url}: the page cannot be read: {error}")
        if "trouble" in page:
            return run.unknown("parse", f"{self.url}: {_status(answer)}{page['trouble']}")
        return self._told(run, page)

    async def _read(self, answer: Answer, now: float) -> Page:
        """What the page says; a long one takes longer than a daemon may stand still, so another process reads it."""
        if not answer.complete:
            return {"trouble": f"it is longer than {LARGEST_PAGE // 1024**2} MiB"}
        wanted = {"text": answer.text, "components": self.components, "recent": self.recent, "now": now}
        page: Page = await aside(read, wanted)
        return page

    def _told(self, run: Run, page: Page) -> Observation:
        absent = [name for name in self.components if page["known"] and name not in page["known"]]
        if absent:
            known = ", ".join(sorted(page["known"])[:20])
            return run.unknown("content", f"{page['name']} has no component {', '.join(absent)}; it has {known}")
        for name, state in list(page["components"].items())[:50]:
            run.measure("component_state", state, component=name)
        run.measure("impact", page["impact"])
        run.measure("incidents", len(page["incidents"]))
        run.measure("maintenances", len(page["maintenances"]))
        run.evidence["incidents"] = "\n".join((*page["incidents"], *page["maintenances"]))
        states = sorted(page["components"].items(), key=lambda one: -one[1])
        troubles = [f"{name}: {WORDS[state]}" for name, state in states if state] + page["incidents"]
        if troubles or page["impact"]:
            more = f" and {len(troubles) - NAMED} more" if len(troubles) > NAMED else ""
            said = f"{page['name']} reports {'; '.join(troubles[:NAMED]) or 'trouble'}{more}"
            is_out = any(state >= OUT for _, state in states)
            return run.down("vendor", said) if is_out else run.up(said, reason="vendor")
        busy = f"; maintenance: {'; '.join(page['maintenances'][:NAMED])}" if page["maintenances"] else ""
        return run.up(f"{page['name']} reports no trouble{busy}")


def _status(answer: Answer) -> str:
    return "" if answer.status == 200 else f"it answered {answer.status} {answer.phrase}; "
