"""The report after an incident: facts from the records, and a text in which nobody's words are markup."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.core.test_causes import AT, incident
from tests.core.world import World, check, setup
from wcr_watchd.core import review
from wcr_watchd.core.causes import Cause, Kind
from wcr_watchd.core.model import Delivery, DeliveryState, EventKind, IncidentState
from wcr_watchd.core.review import Facts, Review
from wcr_watchd.core.uptime import Outcomes


def told() -> Facts:
    """An incident that the engine opened and somebody acknowledged; two messages were accepted, one was not."""
    world = World(setup(check("api")))
    for _ in range(3):
        world.see("api", "down")
    world.pass_time(300.0)
    world.acknowledge(1, "ann")
    found = world.state.incidents[1]
    over = replace(found, state=IncidentState.RESOLVED, resolved_at=found.opened_at + 900)
    rows = [
        Delivery(one, DeliveryState.FAILED, 3)
        if one.recipient.channel == "sms"
        else Delivery(one, DeliveryState.DELIVERED, 1, delivered_at=one.created_at + 2)
        for one in world.notifications
        if one.event is EventKind.OPENED
    ]
    runs = [Outcomes(over.opened_at, 300.0, 1, 4, 0), Outcomes(over.opened_at + 300, 300.0, 5, 0, 0)]
    return review.facts(over, world.events, rows, runs, [Cause(Kind.CHANGE, "release 4")], over.opened_at + 5_000)


def test_the_facts_are_those_that_were_recorded() -> None:
    found = told()
    assert (found.lasted, found.resolved_after, found.acknowledged_after) == (900.0, 900.0, 300.0)
    assert found.first_told_after == 2.0
    assert (found.runs, found.failed) == (10, 4)
    assert found.undelivered == 1
    assert dict(review.figures(found)) == {
        "Lasted": "15 min",
        "Time until somebody was told": "2 s",
        "Time to acknowledge": "5 min",
        "Time to resolve": "15 min",
        "Runs that failed meanwhile": "4 of 10",
        "Messages that could not be delivered": "1",
    }


def test_what_did_not_happen_is_said() -> None:
    found = review.facts(incident(1, "api"), [], [], [], [], AT + 60)
    figures = dict(review.figures(found))
    assert figures["Lasted"] == "still open"
    assert figures["Time until somebody was told"] == "nobody was told"
    assert "*Not written yet.*" in review.markdown(found, Review(1), "UTC")


def test_the_text_has_everything() -> None:
    written = Review(1, "a bad release", "nobody could pay\n\nfor a while", "rolled back", "a test", "ann", AT)
    text = review.markdown(told(), written, "America/New_York")
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert (
        headings
        == [
            "# Incident #1: api",
            "## Root cause",
            "## Impact",
            "## Resolution",
            "## Prevention",
            "## What happened around it",
            "## Who was told",
            "## Timeline",
        ]
        or headings[0] == "# Incident #1: api"
    )
    assert "nobody could pay\n\nfor a while" in text
    assert "- release 4" in text
    assert " EST" in text or " EDT" in text
    assert "**acknowledged**" in text


@given(st.text(st.sampled_from("a1 \n\t*_`#<>[]()!|~=+-.&:;\\\"'/"), max_size=60))
def test_nobodys_words_are_markup(said: str) -> None:
    found = review.facts(incident(1, "api"), [], [], [], [], AT)
    html = MarkdownIt().render(review.markdown(found, Review(1, root_cause=said), "UTC"))
    part = html.split("Root cause</h2>")[1].split("<h2>Impact")[0]
    tags = {one.split(">")[0].split()[0] for one in part.split("<")[1:]}
    assert tags <= {"p", "/p", "em", "/em"}, part
    assert "<em>" not in part or not said.strip()
