"""The report of an incident: facts, the four texts, follow-ups; for the team, and without internals."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

from tests.store.samples import MAIL, NOW, an_event, an_incident
from wcr_watchd.core.causes import Cause, Kind
from wcr_watchd.core.follow_up import FollowUp
from wcr_watchd.core.model import IncidentState
from wcr_watchd.core.report import Audience, Document, IncidentWanted
from wcr_watchd.core.review import Affected, Facts, Review, Told
from wcr_watchd.core.similar import Earlier
from wcr_watchd.reports.incident import document

DAY = 86_400.0
WRITTEN = Review(
    7,
    root_cause="The disk was full.\nNobody had looked <b>at it</b>.",
    impact="No orders for two hours.",
    resolution="Old backups were removed.",
    by="ann",
    at=NOW + 9_000,
    follow_ups=(
        FollowUp(7, 1, "Move the backups away", "ben", NOW + 9 * DAY, "ann", NOW + 9_000),
        FollowUp(7, 2, "Lower the threshold", "ann", NOW + DAY, "ann", NOW + 9_000, NOW + 10_000, "ann", "now 80 %"),
    ),
)


def wanted(audience: Audience = Audience.TEAM) -> IncidentWanted:
    incident = an_incident(
        7,
        summary="GET http://db-internal-7/ answered 502",
        state=IncidentState.RESOLVED,
        resolved_at=NOW + 7_200,
        acknowledged_by="ann",
    )
    facts = Facts(
        incident=incident,
        lasted=7_200.0,
        acknowledged_after=240.0,
        resolved_after=7_200.0,
        first_told_after=3.0,
        told=(Told(f"{MAIL.contact} by {MAIL.channel}", NOW + 3, 2),),
        undelivered=0,
        runs=120,
        failed=118,
        timeline=(an_event(7),),
        causes=(Cause(Kind.CHANGE, "package openssl was changed 4 min before"),),
    )
    return IncidentWanted(
        name="incident-7",
        audience=audience,
        watchd="wcr-prod",
        location="nyc3",
        timezone="UTC",
        url="https://watch.example.org",
        now=NOW + 2 * DAY,
        facts=facts,
        written=WRITTEN,
        earlier=(Earlier(replace(incident, id=3), True, "", ()),),
        recent=2,
        affected=(Affected("shop-web", (8,)),),
        components=("Shop",),
    )


def forms(one: Document) -> str:
    return " ".join((one.title, one.summary, one.html, one.mail, one.text, one.json, one.csv))


def test_all_facts_are_filled_in() -> None:
    found = document(wanted())
    assert found.title == "Incident #7: api"
    assert found.summary == "It lasted 2 h, critical at worst; not written yet: prevention; 1 follow-up to do"
    for said in (
        "GET http://db-internal-7/ answered 502",
        "package openssl was changed 4 min before",
        "shop-web",
        "ops by mail",
        "confirmed after 3 of 3",
        "118 of 120",
        "Move the backups away",
        "Not written yet",
        "2 times in 90 days",
    ):
        assert said in found.html, said
    known = json.loads(found.json)
    assert (known["seconds_to_tell"], known["seconds_to_acknowledge"], known["seconds"]) == (3.0, 240.0, 7_200.0)
    assert known["follow_ups"][0]["task"] == "follow-up-7-1"
    assert known["affected"] == [{"check": "shop-web", "incidents": [8]}]
    [row] = csv.DictReader(io.StringIO(found.csv))
    assert row["what"] == "confirmed after 3 of 3"
    assert "<b>at it" not in found.html + found.mail
    assert "ben had until" not in found.text
    assert "Lower the threshold: done by ann" in found.text


def test_every_form_says_what_failed_and_from_when_to_when() -> None:
    """The mail had neither, and the plain text no end: who reads it on a telephone did not know what it was about."""
    found = document(wanted())
    for form in (found.html, found.mail, found.text):
        for said in ("answered 502", "Sep 21 14:13", "Sep 21 16:13", "Acknowledged by"):
            assert said in form, said


def test_stakeholders_read_the_four_texts_and_nothing_of_what_is_inside() -> None:
    found = document(wanted(Audience.STAKEHOLDERS))
    assert found.title.startswith("Disturbance of Shop on ")
    for said in (
        "The disk was full.",
        "No orders for two hours.",
        "Old backups were removed.",
        "It is being looked into",
    ):
        assert said in found.html, said
    assert "Move the backups away" in found.mail
    for secret in ("db-internal-7", "api", "ann", "ben", "ops", "openssl", "shop-web", "nyc3", "502", "now 80 %"):
        assert not re.search(rf"\b{re.escape(secret)}\b", forms(found)), secret


def test_what_goes_on_and_has_no_review_is_a_report_too() -> None:
    given = wanted()
    open_one = replace(given.facts.incident, state=IncidentState.OPEN, resolved_at=None)
    going_on = replace(
        given,
        facts=replace(given.facts, incident=open_one, resolved_after=None, told=()),
        written=Review(7),
        earlier=(),
    )
    found = document(going_on)
    assert found.summary.startswith("It goes on, for 2 h so far")
    assert "None was agreed on." in found.html
    public = document(replace(going_on, audience=Audience.STAKEHOLDERS, components=()))
    assert public.title.startswith("Disturbance of the platform")
