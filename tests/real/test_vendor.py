"""Vendors' status pages: pages in the shape that Statuspage documents, RSS and Atom feeds as such services write them.

Served on loopback. Shapes: https://www.githubstatus.com/api and RSS 2.0, RFC 4287.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.real.running import Observe, measured, names
from tests.real.servers.odd import Odd, silence
from wcr_watchd.core.model import Outcome

Serve = Callable[..., Awaitable[Odd]]
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp()


def component(name: str, status: str = "operational", **more: Any) -> dict[str, Any]:
    return {"id": name.lower(), "name": name, "status": status, "group": False, "group_id": None} | more


def summary(**changes: Any) -> dict[str, Any]:
    """``/api/v2/summary.json`` with nothing wrong."""
    return {
        "page": {"id": "kctbh9vrtdwd", "name": "GitHub", "url": "https://www.githubstatus.com"},
        "components": [
            component("Git Operations"),
            component("API Requests"),
            component("Platform", group=True, status="major_outage"),
        ],
        "incidents": [],
        "scheduled_maintenances": [],
        "status": {"indicator": "none", "description": "All Systems Operational"},
    } | changes


def incident(name: str, status: str = "investigating", impact: str = "minor", *about: str) -> dict[str, Any]:
    return {"name": name, "status": status, "impact": impact, "components": [component(one) for one in about]}


def answer(body: str | bytes, status: str = "200 OK") -> bytes:
    raw = body.encode() if isinstance(body, str) else body
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw


@pytest.fixture
def look(odd: Serve, observe: Observe) -> Callable[..., Awaitable[Any]]:
    async def once(page: Any, status: str = "200 OK", **options: Any) -> Any:
        body = page if isinstance(page, str | bytes) else json.dumps(page)
        server = await odd(answer(body, status))
        return await observe("vendor", url=server.url(), started=NOW, **options)

    return once


Look = Callable[..., Awaitable[Any]]


async def test_no_trouble(look: Look) -> None:
    seen = await look(summary())
    assert seen.outcome is Outcome.UP
    assert (seen.reason, seen.summary) == ("", "GitHub reports no trouble")
    assert measured(seen, "impact") == measured(seen, "incidents") == measured(seen, "maintenances") == 0
    assert measured(seen, "component_state", component="API Requests") == 0


async def test_a_component_and_its_incident(look: Look) -> None:
    page = summary(
        components=[component("API Requests", "partial_outage"), component("Actions", "degraded_performance")],
        incidents=[incident("Slow API", "identified", "major", "API Requests"), incident("Old", "resolved")],
        status={"indicator": "major", "description": "Partial System Outage"},
    )
    seen = await look(page)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "vendor"), "what is out is no time up: agreements count it"
    assert seen.summary == "GitHub reports API Requests: partial outage; Actions: degraded; Slow API (identified)"
    assert measured(seen, "impact") == 2
    assert measured(seen, "incidents") == 1
    assert measured(seen, "component_state", component="Actions") == 1


async def test_what_is_slow_or_said_to_be_over_is_no_outage(look: Look) -> None:
    page = summary(
        components=[component("API Requests", "degraded_performance"), component("Actions")],
        incidents=[incident("All was gone", "monitoring", "critical", "Actions")],
        status={"indicator": "critical", "description": "Major System Outage"},
    )
    seen = await look(page)
    assert (seen.outcome, measured(seen, "impact")) == (Outcome.UP, 3)


async def test_of_components_with_one_name_the_worst_counts(look: Look) -> None:
    """A region has its name in the group of every product."""
    page = summary(components=[component("NYC3", "major_outage", group_id="a"), component("NYC3", group_id="b")])
    seen = await look(page, components=["NYC3"])
    assert seen.outcome is Outcome.DOWN
    assert measured(seen, "component_state", component="NYC3") == 3


async def test_only_the_chosen_components_matter(look: Look) -> None:
    page = summary(
        components=[component("API Requests"), component("Actions", "major_outage")],
        incidents=[incident("Actions are down", "investigating", "critical", "Actions"), incident("All slow")],
        status={"indicator": "critical", "description": "Major System Outage"},
    )
    seen = await look(page, components=["API Requests"])
    assert measured(seen, "impact") == 1, "an incident that names no component is about all of them"
    assert measured(seen, "incidents") == 1
    assert "Actions" not in seen.summary
    seen = await look(page, components=["Actions"])
    assert measured(seen, "impact") == 3


async def test_maintenance_is_no_trouble(look: Look) -> None:
    page = summary(
        components=[component("API Requests", "under_maintenance")],
        scheduled_maintenances=[incident("Move", "in_progress", "maintenance"), incident("Later", "scheduled")],
        status={"indicator": "maintenance", "description": "Service Under Maintenance"},
    )
    seen = await look(page)
    assert seen.reason == ""
    assert measured(seen, "maintenances") == 1
    assert "maintenance: Move (in_progress)" in seen.summary


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("", "neither JSON nor a feed"),
        ("<html><body>Sorry</body></html>", "neither RSS 2.0 nor Atom"),
        ("{not json", "no JSON"),
        ("{}", "no summary of Statuspage"),
        ('{"status": {}, "components": []}', "no impact that is known"),
        (summary(components=[component("API", "on_fire")]), "'on_fire'"),
        (summary(status={"indicator": "purple"}), "'purple'"),
        ('{"a":' * 50_000, "no JSON"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><rss><channel/></rss>', "declarations"),
        ("<rss><channel></rss>", "no XML"),
        ("<rss><channel><item><pubDate>soon</pubDate></item></channel></rss>", "'soon'"),
    ],
)
async def test_what_cannot_be_read_is_unknown(look: Look, page: Any, says: str) -> None:
    seen = await look(page)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "parse")
    assert says in seen.summary
    assert names(seen) == set()


async def test_a_page_too_long_is_unknown(look: Look) -> None:
    seen = await look("{" + " " * (1024 * 1024))
    assert seen.outcome is Outcome.UNKNOWN
    assert "longer than 1 MiB" in seen.summary


async def test_the_status_of_an_error_page_is_told(look: Look) -> None:
    seen = await look("<p>Bad gateway", "502 Bad Gateway")
    assert seen.outcome is Outcome.UNKNOWN
    assert "it answered 502 Bad Gateway" in seen.summary


async def test_a_component_that_is_not_there_is_unknown(look: Look) -> None:
    seen = await look(summary(), components=["API", "Git Operations"])
    assert seen.outcome is Outcome.UNKNOWN
    assert "has no component API; it has API Requests, Git Operations" in seen.summary


async def test_a_page_out_of_reach_says_nothing_about_the_vendor(odd: Serve, observe: Observe) -> None:
    seen = await observe("vendor", url="http://127.0.0.1:1/")
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "connect")
    hanging = await odd(silence)
    seen = await observe("vendor", url=hanging.url(), timeout=0.3)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")


# --- feeds ------------------------------------------------------------------------------------------------------------

RSS = """\
<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0"><channel><title>Twilio Status - Incident History</title>
<item><title>SMS delays</title><pubDate>Sat, 28 Nov 2026 11:30:00 +0000</pubDate>
<description>&lt;p&gt;&lt;strong&gt;Identified&lt;/strong&gt; - found&lt;/p&gt;
&lt;strong&gt;Investigating&lt;/strong&gt; - SMS</description></item>
<item><title>Voice down</title><pubDate>Sat, 28 Nov 2026 09:00:00 +0000</pubDate>
<description>&lt;strong&gt;Resolved&lt;/strong&gt; - over.
&lt;strong&gt;Investigating&lt;/strong&gt; - Voice</description></item>
<item><title>[RESOLVED] Increased error rates</title><pubDate>Sat, 28 Nov 2026 08:00:00 +0000</pubDate>
<description>EC2 in us-east-1</description></item>
<item><title>Ancient</title><pubDate>Mon, 02 Nov 2026 08:00:00 +0000</pubDate><description>SMS</description></item>
</channel></rss>
"""
ATOM = """\
<feed xmlns="http://www.w3.org/2005/Atom"><title>Cloud Status</title>
<entry><title>UPDATE: slow disks</title><updated>2026-11-28T06:00:00-05:00</updated>
<content type="html">We are looking into it</content></entry>
<entry><title>RESOLVED: slow disks</title><updated>2026-11-28T10:00:00Z</updated><summary>done</summary></entry>
</feed>
"""


async def test_rss_tells_what_is_not_over(look: Look) -> None:
    seen = await look(RSS)
    assert seen.summary == "Twilio Status - Incident History reports SMS delays (Identified)"
    assert measured(seen, "incidents") == 1


async def test_atom_tells_what_is_not_over(look: Look) -> None:
    seen = await look(ATOM)
    assert seen.summary == "Cloud Status reports UPDATE: slow disks (1 h ago)"


async def test_a_feed_is_narrowed_by_words(look: Look) -> None:
    assert measured(await look(RSS, components=["voice"]), "incidents") == 0
    assert measured(await look(RSS, components=["sms"]), "incidents") == 1
    assert measured(await look(RSS, recent="60d"), "incidents") == 2
