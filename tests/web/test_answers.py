"""Acknowledging from outside: links, Slack's button and command, SMS; and that nothing without a signature gets in."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import aiohttp
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from tests.real.servers.providers import Provider
from tests.web.access import access_for
from tests.web.showcase import NOW, Showcase
from tests.web.test_web import Served, serve
from wcr_watchd.channels.slack import Slack
from wcr_watchd.channels.sms import Sms
from wcr_watchd.core.drill_report import DrillReport, DrillState
from wcr_watchd.core.errors import CommandError, StoreError
from wcr_watchd.core.model import Event, EventKind, Incident, IncidentState, Severity
from wcr_watchd.core.protocols import Channel
from wcr_watchd.core.setup import Check, Contact
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.kit.tickets import KEY_BYTES, VALID_FOR, Ticket, Tickets, way_of
from wcr_watchd.web.access.allowance import Allowance
from wcr_watchd.web.answers import Doors
from wcr_watchd.web.app import MAX_BODY

PUBLIC = "https://watch.example.org"
SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
AUTH_TOKEN = "12345-twilio-token"
LEAD = Ticket((42,), "lead", "mail", NOW - 690)
TICKETS = Tickets(b"k" * KEY_BYTES)


class HandClock:
    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at


class Outside(Served):
    """What a browser, Slack or Twilio does with the application; ``hooks`` is Slack's own server."""

    hooks: Provider
    clock: HandClock

    async def press(self, **more: Any) -> aiohttp.ClientResponse:
        """A press of the button in Slack, as Slack would report it."""
        return await self.slack({"payload": json.dumps(pressed(**more))})

    async def slack(
        self, form: dict[str, str], secret: str = SIGNING_SECRET, at: float = NOW, body: bytes | None = None
    ) -> aiohttp.ClientResponse:
        """A request that is signed as Slack signs; ``body`` is sent in place of what was signed."""
        raw = urlencode(form).encode()
        signed = hmac.new(secret.encode(), f"v0:{int(at)}:".encode() + raw, hashlib.sha256).hexdigest()
        headers = {
            "X-Slack-Signature": f"v0={signed}",
            "X-Slack-Request-Timestamp": str(int(at)),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return await self.session.post(self.base + "/answer/slack", data=body or raw, headers=headers)

    async def text(
        self, body: str, sender: str = "+15550101", token: str = AUTH_TOKEN, sid: str = "", url: str = ""
    ) -> aiohttp.ClientResponse:
        """A text message that Twilio passes on."""
        sid = sid or "SM" + hashlib.sha256(f"{body}{sender}".encode()).hexdigest()[:32]
        form = {"From": sender, "To": "+15550100", "Body": body, "MessageSid": sid, "AccountSid": "AC1", "NumMedia": ""}
        signed = (url or f"{PUBLIC}/answer/sms") + "".join(name + form[name] for name in sorted(form))
        signature = base64.b64encode(hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()).decode()
        return await self.session.post(self.base + "/answer/sms", data=form, headers={"X-Twilio-Signature": signature})


class Watched(Showcase):
    """A daemon that takes acknowledgements and knows what is over."""

    def __init__(self) -> None:
        super().__init__()
        self.over: dict[int, Incident] = {}
        self.store_works = True
        self.setup = replace(
            self.setup,
            public_url=PUBLIC + "/",
            channels={"slack": "", "sms": "phone", "mail": "email"},
            contacts={"lead": Contact("lead", {"phone": ("+15550109", "+15550101")}), "ann": Contact("ann", {})},
        )

    async def acknowledge(self, incident: int, by: str, *, until: float | None = None, sticky: bool = False) -> str:
        found = self.state.incidents.get(incident)
        if found is not None and found.state is IncidentState.ACKNOWLEDGED:
            raise CommandError(f"incident #{incident} is already acknowledged by {found.acknowledged_by}")
        said = await super().acknowledge(incident, by, until=until, sticky=sticky)
        self.state.incidents[incident] = replace(
            self.state.incidents[incident], state=IncidentState.ACKNOWLEDGED, acknowledged_by=by, acknowledged_at=NOW
        )
        return said

    async def incident(self, number: int) -> Incident | None:
        if not self.store_works:
            raise StoreError("the disk is gone")
        return self.over.get(number)

    async def events(self, incident: int) -> Sequence[Event]:
        noted = (
            Event(incident, 2, EventKind.NOTED, NOW, Severity.INFO, "", said[3], by=said[2])
            for said in self.asked
            if said[:2] == ("note", incident)
        )
        return (*await super().events(incident), *noted)

    def end(self, number: int) -> None:
        ended = replace(self.state.incidents.pop(number), state=IncidentState.RESOLVED, resolved_at=NOW - 60)
        self.over[number] = ended


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    hooks, clock, shared = Provider(), HandClock(), SharedHelpers()
    hooks.take = lambda request, raw: (json.loads(raw), aiohttp.web.Response(text="ok"))  # type: ignore[method-assign]
    hooks.start()
    channels: dict[str, Channel] = {
        "slack": Slack(webhook=SecretStr(hooks.base + "/services/x"), signing_secret=SecretStr(SIGNING_SECRET)),
        "deaf": Slack(webhook=SecretStr(hooks.base + "/services/x")),
        "sms": Sms.model_validate({"account_sid": "AC1", "auth_token": AUTH_TOKEN, "from": "+15550100"}),
        "gateway": Sms.model_validate({"provider": "http", "url": "http://localhost/", "body": {"to": "{to}"}}),
    }
    doors = Doors(TICKETS, lambda: channels, shared, Allowance(clock.monotonic))
    async for one in serve(access_for(), doors=doors, control=Watched()):
        made = Outside(one.app, one.control, one.access, one.base, one.session)
        made.hooks, made.clock = hooks, clock
        yield made
    await shared.close()
    hooks.stop()


def watched(outside: Outside) -> Watched:
    assert isinstance(outside.control, Watched)
    return outside.control


def pressed(
    ticket: Ticket = LEAD, reply_to: str = "", action: str = "acknowledge", user: str = "ann"
) -> dict[str, Any]:
    return {
        "type": "block_actions",
        "user": {"id": "U1", "username": user, "team_id": "T1"},
        "response_url": reply_to,
        "actions": [{"type": "button", "block_id": "b", "action_id": action, "value": TICKETS.write(ticket)}],
    }


def link(ticket: Ticket = LEAD) -> str:
    return f"/ack/{TICKETS.write(ticket)}"


# --- links -------------------------------------------------------------------------------------------------------


async def test_a_look_at_the_page_changes_nothing_and_its_button_acknowledges(outside: Outside) -> None:
    for _ in range(3):
        status, page = await outside.get(link())
        assert status == 200
    async with outside.session.head(outside.base + link()) as answer:
        assert answer.status == 200
    assert "Acknowledge #42?" in page
    assert "GET http://localhost:5001/health answered 503" in page
    assert "As lead." in page
    assert watched(outside).acknowledged == []

    (form,) = re.findall(r"<form[^>]*>", page)
    assert form == '<form method="post" class="confirm">'
    assert not re.search(r"<script(?! src=)", page)
    status, _ = await outside.post(link())
    assert status == 303
    assert watched(outside).acknowledged == [(42, "lead by mail link")]
    _, page = await outside.get(link())
    assert re.search(r"Acknowledged by lead by mail link at <time [^>]*>13:", page)
    assert "<form" not in page


async def test_pressing_twice_or_after_somebody_else_is_no_error(outside: Outside) -> None:
    await watched(outside).acknowledge(42, "kim")
    assert (await outside.post(link()))[0] == 303
    assert watched(outside).acknowledged == [(42, "kim")]
    assert "Acknowledged by kim" in (await outside.get(link()))[1]


async def test_what_is_over_is_said_to_be_over(outside: Outside) -> None:
    watched(outside).end(42)
    status, page = await outside.get(link())
    assert status == 200
    assert "Over since " in page
    assert "after 10 min 40 s" in page
    assert "<form" not in page
    assert (await outside.post(link()))[0] == 303
    assert watched(outside).acknowledged == []


async def test_an_incident_that_nobody_remembers(outside: Outside) -> None:
    forgotten = link(replace(LEAD, incidents=(7,)))
    for works in (True, False):
        watched(outside).store_works = works
        status, page = await outside.get(forgotten)
        assert status == 200
        assert "Nothing to acknowledge" in page
        assert "1 of the incidents in that message is no longer in the records" in page


async def test_a_number_that_began_again_is_another_incident(outside: Outside) -> None:
    old = link(replace(LEAD, issued_at=NOW - 86_400))
    assert "Nothing to acknowledge" in (await outside.get(old))[1]
    assert (await outside.post(old))[0] == 303
    assert watched(outside).acknowledged == []


async def test_a_drill_is_answered_like_the_real_thing(outside: Outside) -> None:
    drill = DrillReport(50, "night", Severity.CRITICAL, DrillState.RUNNING, NOW - 700)
    watched(outside).drills[50] = drill
    path = link(replace(LEAD, incidents=(50,)))
    _, page = await outside.get(path)
    assert "Acknowledge #50?" in page
    assert "drill · policy night" in page
    assert "this is a drill" in page
    ends = {"acknowledged_at": NOW, "ended_at": NOW}
    watched(outside).drills[50] = replace(drill, state=DrillState.ACKNOWLEDGED, acknowledged_by="lead", **ends)
    assert "Acknowledged by lead" in (await outside.get(path))[1]
    watched(outside).drills[50] = replace(drill, state=DrillState.UNANSWERED, ended_at=NOW)
    assert "Over since" in (await outside.get(path))[1]


async def test_one_link_for_several(outside: Outside) -> None:
    both = link(replace(LEAD, incidents=(42, 41)))
    _, page = await outside.get(both)
    assert "Acknowledge 2 incidents?" in page
    assert page.count('<section class="incident') == 2
    await watched(outside).acknowledge(42, "kim")
    assert "Acknowledge #41?" in (await outside.get(both))[1]
    await outside.post(both)
    assert watched(outside).acknowledged == [(42, "kim"), (41, "lead by mail link")]


async def test_a_chat_s_link_says_which_chat(outside: Outside) -> None:
    await outside.post(link(replace(LEAD, contact="", channel="slack")))
    assert watched(outside).acknowledged == [(42, "somebody by slack link")]


async def test_what_targets_say_is_escaped(outside: Outside) -> None:
    state = watched(outside).state
    state.incidents[42] = replace(
        state.incidents[42], summary="<script>alert(1)</script>", check="<b>", subject="<i>", muted_by="<u>"
    )
    _, page = await outside.get(link())
    for tag in ("<script>", "<b>", "<i>", "<u>"):
        assert tag not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    await watched(outside).acknowledge(42, "<s>")
    assert "<s>" not in (await outside.get(link()))[1]


async def test_an_expired_link_shows_nothing_of_the_incident(outside: Outside) -> None:
    expired = link(replace(LEAD, issued_at=NOW - VALID_FOR - 2))
    for status, page in (await outside.get(expired), await outside.post(expired)):
        assert status == 410
        assert "This link has expired" in page
        assert "wcr-prod" not in page
        assert "api" not in page
    assert watched(outside).acknowledged == []
    assert (await outside.get(link(replace(LEAD, issued_at=NOW - VALID_FOR + 2))))[0] == 200


@pytest.mark.parametrize("ticket", ["x", "%00", "%ff", "%ed%a0%80", "a" * 3000, TICKETS.write(LEAD)[:-1], "é" * 100])
async def test_an_invalid_link_gives_nothing_away(outside: Outside, ticket: str) -> None:
    for status, page in (await outside.get(f"/ack/{ticket}"), await outside.post(f"/ack/{ticket}")):
        assert status == 404
        assert "This link is not valid" in page
        for secret in ("wcr-prod", "nyc3", "#42", "0.1.0"):
            assert secret not in page
    assert watched(outside).acknowledged == []


async def test_a_link_ends_with_its_contact(outside: Outside) -> None:
    gone = link(replace(LEAD, contact="somebody-who-left"))
    assert (await outside.post(gone))[0] == 404
    assert watched(outside).acknowledged == []


async def test_a_link_opens_nothing_else(outside: Outside) -> None:
    await outside.get(link())
    for path in ("/", "/incidents/42", "/api/v1/incidents", "/ack", "/answer", "/ack/../", "/acknowledge"):
        status, page = await outside.get(path)
        assert status in (303, 401, 404)
        assert "api" not in page or status == 401
    status, _ = await outside.post("/incidents/42/acknowledge")
    assert status == 303
    assert watched(outside).acknowledged == []


@pytest.mark.parametrize("prefix", ["/ack/..", "/answer/..", "/ack/%2e%2e", "/ack/x/..", "//ack/..", "/ack/x/../.."])
@pytest.mark.parametrize("path", ["/", "/incidents/42", "/api/v1/incidents", "/incidents/42/acknowledge"])
async def test_no_way_of_writing_a_path_leads_past_the_door(outside: Outside, prefix: str, path: str) -> None:
    host, port = outside.base.removeprefix("http://").split(":")
    for method in ("GET", "POST"):
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"{method} {prefix}{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        async with asyncio.timeout(30):
            answer = (await reader.read()).decode()
        writer.close()
        assert answer.split()[1] in ("303", "401", "404", "405"), answer
        assert "answered 503" not in answer
    assert watched(outside).acknowledged == []


async def test_invalid_requests_are_limited_and_valid_ones_never(outside: Outside) -> None:
    refused = [(await outside.get("/ack/x"))[0] for _ in range(40)]
    assert refused == [404] * 30 + [429] * 10
    assert (await outside.post("/answer/slack"))[0] == 429
    assert (await outside.post("/answer/none"))[0] == 429
    assert (await outside.get(link()))[0] == 200
    assert (await outside.press()).status == 200
    outside.clock.at += 4.0
    assert [(await outside.get("/ack/x"))[0] for _ in range(3)] == [404, 404, 429]


# --- Slack -------------------------------------------------------------------------------------------------------


async def test_slack_s_button_acknowledges_and_tells_who_pressed_it(outside: Outside) -> None:
    reply_to = outside.hooks.base + "/actions/T1/1/x"
    answer = await outside.press(reply_to=reply_to)
    assert (answer.status, await answer.text()) == (200, "")
    assert watched(outside).acknowledged == [(42, "ann by Slack")]
    await outside.press(reply_to=reply_to, user="kim")
    assert watched(outside).acknowledged == [(42, "ann by Slack")]
    assert [message.fields for message in outside.hooks.accepted] == [
        {"response_type": "ephemeral", "replace_original": False, "text": said}
        for said in (
            "incident #42 is acknowledged by ann by Slack",
            "incident #42 is already acknowledged by ann by Slack",
        )
    ]


@pytest.mark.parametrize("reply_to", ["http://127.0.0.1:1/", "", "no url", "http://[", "file:///etc/passwd"])
async def test_nothing_is_sent_but_to_slack_itself(outside: Outside, reply_to: str) -> None:
    assert (await outside.press(reply_to=reply_to)).status == 200
    assert watched(outside).acknowledged == [(42, "ann by Slack")]
    assert outside.hooks.requests == 0


async def test_an_answer_that_slack_does_not_take_changes_nothing(outside: Outside) -> None:
    outside.hooks.stop()
    try:
        assert (await outside.press(reply_to=outside.hooks.base + "/x")).status == 200
        assert watched(outside).acknowledged == [(42, "ann by Slack")]
    finally:
        outside.hooks.start()


@pytest.mark.parametrize(
    ("ticket", "said"),
    [
        (replace(LEAD, issued_at=NOW - VALID_FOR - 2), "This button has expired"),
        (replace(LEAD, incidents=(7,)), "is over and forgotten"),
    ],
)
async def test_a_button_that_is_no_good_any_more(outside: Outside, ticket: Ticket, said: str) -> None:
    await outside.press(ticket=ticket, reply_to=outside.hooks.base + "/x")
    assert said in outside.hooks.accepted[0].fields["text"]
    assert watched(outside).acknowledged == []


async def test_a_button_of_another_watcher(outside: Outside) -> None:
    payload = pressed(reply_to=outside.hooks.base + "/x")
    payload["actions"][0]["value"] = Tickets(bytes(KEY_BYTES)).write(LEAD)
    assert (await outside.slack({"payload": json.dumps(payload)})).status == 200
    assert "another watcher" in outside.hooks.accepted[0].fields["text"]
    assert watched(outside).acknowledged == []


@pytest.mark.parametrize(
    "form",
    [
        {"payload": json.dumps(pressed(action="open"))},
        {"payload": json.dumps({"type": "view_submission", "actions": []})},
        {"payload": "{"},
        {"payload": "[]"},
        {"payload": "{}"},
        {"ssl_check": "1"},
        {},
    ],
)
async def test_what_slack_sends_besides_is_taken_and_ignored(outside: Outside, form: dict[str, str]) -> None:
    answer = await outside.slack(form)
    assert (answer.status, await answer.text()) == (200, "")
    assert watched(outside).acknowledged == []


async def test_the_slash_command(outside: Outside) -> None:
    form = {"command": "/watchd", "text": "ack 42 <on it>", "user_name": "ann", "user_id": "U1"}
    answer = await outside.slack(form)
    assert answer.content_type == "application/json"
    assert await answer.json() == {
        "response_type": "ephemeral",
        "text": "incident #42 is acknowledged by ann by Slack",
    }
    assert ("note", 42, "ann by Slack", "<on it>") in watched(outside).asked
    help_ = await (await outside.slack({**form, "text": ""})).json()
    assert help_["text"] == "Answer ACK and the incident's number, such as: ACK 42. Open: #41 host"
    unknown = await (await outside.slack({**form, "text": "ack 7"})).json()
    assert unknown["text"] == "there is no open incident #7"


@pytest.mark.parametrize("late", [-301, 301, -86_400])
async def test_an_old_request_is_a_copy(outside: Outside, late: float) -> None:
    answer = await outside.slack({"payload": json.dumps(pressed())}, at=NOW + late)
    assert answer.status == 403
    assert watched(outside).acknowledged == []


@pytest.mark.parametrize("late", [-299, 299])
async def test_clocks_may_differ(outside: Outside, late: float) -> None:
    assert (await outside.slack({"payload": json.dumps(pressed())}, at=NOW + late)).status == 200


async def test_requests_that_slack_did_not_sign(outside: Outside) -> None:
    form = {"payload": json.dumps(pressed())}
    other = urlencode({"payload": json.dumps(pressed(user="eve"))}).encode()
    answers = [await outside.slack(form, secret="wrong"), await outside.slack(form, body=other)]
    for headers in (
        {},
        {"X-Slack-Signature": "v0=", "X-Slack-Request-Timestamp": str(int(NOW))},
        {"X-Slack-Signature": "v0=é", "X-Slack-Request-Timestamp": str(int(NOW))},
        {"X-Slack-Signature": "v0=00", "X-Slack-Request-Timestamp": "now"},
        {"X-Slack-Signature": "v0=00", "X-Slack-Request-Timestamp": "9" * 400},
    ):
        url = outside.base + "/answer/slack"
        answers.append(await outside.session.post(url, data=urlencode(form), headers=headers))
    urls = (f"{outside.base}/answer/{channel}" for channel in ("deaf", "gateway", "mail", "none", "sms", "%00"))
    answers += [await outside.session.post(url, data=urlencode(form)) for url in urls]
    assert {answer.status for answer in answers} == {403}
    assert {await answer.text() for answer in answers} == {"this request does not bear a valid signature\n"}
    assert watched(outside).acknowledged == []


# --- SMS ---------------------------------------------------------------------------------------------------------


async def answer_to(answer: aiohttp.ClientResponse) -> list[str]:
    assert (answer.status, answer.content_type) == (200, "text/xml")
    root = ElementTree.fromstring(await answer.text())
    assert root.tag == "Response"
    assert all(child.tag == "Message" for child in root)
    return [child.text or "" for child in root]


async def test_an_sms_acknowledges(outside: Outside) -> None:
    assert await answer_to(await outside.text("ACK 42")) == ["incident #42 is acknowledged by lead by SMS"]
    assert watched(outside).acknowledged == [(42, "lead by SMS")]
    assert await answer_to(await outside.text("ack")) == ["incident #41 is acknowledged by lead by SMS"]
    assert await answer_to(await outside.text("Ack")) == ["No incident waits for an acknowledgement"]
    assert await answer_to(await outside.text("ack 42")) == ["incident #42 is already acknowledged by lead by SMS"]


async def test_an_answer_fits_into_one_sms_and_is_escaped(outside: Outside) -> None:
    state = watched(outside).state
    state.incidents[42] = replace(state.incidents[42], check="<&>" * 60)
    (said,) = await answer_to(await outside.text("ACK"))
    assert said.startswith("Open: #42 <&><&>")
    assert len(said) == 160


async def test_a_number_that_is_no_contact_s_gets_no_answer(outside: Outside) -> None:
    with capture_logs() as logs:
        assert await answer_to(await outside.text("ACK 42", sender="+15559999")) == []
    assert watched(outside).acknowledged == []
    assert [row["log_level"] for row in logs] == ["warning"]
    assert await answer_to(await outside.text("ACK 42", sender="")) == []
    assert watched(outside).acknowledged == []


async def test_a_message_that_was_here_before_is_not_obeyed_again(outside: Outside) -> None:
    assert (await outside.text("ACK 42", sid="SM1")).status == 200
    watched(outside).acknowledged.clear()
    assert (await outside.text("ACK 42", sid="SM1")).status == 403
    assert watched(outside).acknowledged == []


async def test_texts_that_twilio_did_not_sign(outside: Outside) -> None:
    answers = [
        await outside.text("ACK 42", token="wrong"),
        await outside.text("ACK 42", url="https://elsewhere.example.org/answer/sms"),
        await outside.session.post(outside.base + "/answer/sms", data={"From": "+15550101", "Body": "ACK 42"}),
        await outside.session.post(outside.base + "/answer/sms", data=b"\xff\xfe"),
    ]
    assert {answer.status for answer in answers} == {403}
    assert watched(outside).acknowledged == []


@pytest.mark.parametrize(
    "headers",
    [
        b"X-Slack-Signature: v0=\xff\r\nX-Slack-Request-Timestamp: %d" % NOW,
        b"X-Slack-Request-Timestamp: \xff",
        b"X-Twilio-Signature: \xff\xfe",
        b"Authorization: Bearer \xff",
        b"Cookie: watchd_session=\xff",
    ],
)
async def test_headers_that_are_no_text_are_no_signature(outside: Outside, headers: bytes) -> None:
    host, port = outside.base.removeprefix("http://").split(":")
    for path in (b"/answer/slack", b"/answer/sms", b"/ack/x", b"/api/v1/checks"):
        reader, writer = await asyncio.open_connection(host, int(port))
        head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n" % path
        writer.write(head + headers + b"\r\n\r\n")
        async with asyncio.timeout(30):
            status = (await reader.readline()).split()[1]
        writer.close()
        assert status in (b"400", b"401", b"403", b"404", b"405")


# --- bounds ------------------------------------------------------------------------------------------------------


async def test_a_body_is_bounded(outside: Outside) -> None:
    async with outside.session.post(outside.base + "/answer/sms", data=b"x" * (MAX_BODY + 1)) as answer:
        assert answer.status == 413


async def test_a_body_that_does_not_come_is_not_waited_for(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wcr_watchd.web.answers.BODY_WITHIN", 0.05)
    host, port = outside.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /answer/sms HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    async with asyncio.timeout(30):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
    writer.close()


async def test_who_answered_from_outside_is_in_the_audit_log(outside: Outside) -> None:
    await outside.get(link())
    await outside.post(link())
    await outside.press(reply_to=outside.hooks.base + "/actions/T1/1/x")
    await outside.text("ACK 41")
    await outside.text("ACK 41", sender="+15559999")
    found = [(one.who, one.means, one.action, one.target) for one in reversed(await outside.access.audit.entries())]
    assert found == [
        ("lead", "mail link", "acknowledge", "42"),
        ("ann", "Slack", "answer by channel slack", ""),
        ("lead", "SMS", "answer by channel sms", "ACK 41"),
    ]
    assert "+1555" not in str(await outside.access.audit.entries())


VERIFY = Check(
    "task.verify-lead", probe="task", target="90 d", every=60.0, timeout=10.0, rules=(), asks="lead", flapping=None
)


def asked(outside: Outside, contact: Contact) -> dict[str, str]:
    """Paths of the links by which that contact is asked whether they can be reached, by channel."""
    control = outside.control
    control.setup = replace(
        control.setup,
        contacts={contact.name: contact},
        checks={**control.setup.checks, VERIFY.name: replace(VERIFY, asks=contact.name)},
    )
    control.state.incidents[7] = Incident(
        7, VERIFY.name, "", Severity.INFO, Severity.INFO, IncidentState.OPEN, NOW - 900, NOW - 900, summary="is due"
    )
    return {
        channel: f"/ack/{TICKETS.write(Ticket((7,), contact.name, channel, NOW - 800))}" for channel in ("mail", "sms")
    }


async def test_a_contact_says_by_each_link_that_it_reaches_them_and_is_verified(outside: Outside) -> None:
    links = asked(outside, Contact("lead", {"phone": ("+15550101",), "email": ("lead@example.org",)}))
    status, page = await outside.get(links["mail"])
    assert status == 200
    assert "Does this reach you, lead?" in page
    assert outside.control.asked == [], "to look at it says nothing: mail scanners do"
    assert (await outside.post(links["mail"], {}))[0] == 303
    assert outside.control.asked == [("note", 7, "lead by mail link", "this still reaches me")]
    page = (await outside.get(links["mail"]))[1]
    assert "Thank you, lead" in page
    assert "the link of the other message as well: sms" in page
    assert (await outside.post(links["mail"], {}))[0] == 303
    assert len(outside.control.asked) == 1, "said twice is said once"
    assert "Does this reach you" in (await outside.get(links["sms"]))[1]
    await outside.post(links["sms"], {})
    assert outside.control.asked[1:] == [
        ("note", 7, "lead by sms link", "this still reaches me"),
        ("verify-lead done by lead by sms link: said so by the links sent over mail, sms", ()),
    ]


async def test_a_link_of_a_channel_by_which_nobody_is_asked_says_thank_you_as_well(outside: Outside) -> None:
    asked(outside, Contact("lead", {"phone": ("+15550101",), "email": ("lead@example.org",)}))
    other = f"/ack/{TICKETS.write(Ticket((7,), 'lead', 'second-mail', NOW - 800))}"
    await outside.post(other, {})
    assert "It is written down that second-mail reaches you" in (await outside.get(other))[1]
    await outside.post(other, {})
    assert outside.control.asked == [("note", 7, "lead by second-mail link", "this still reaches me")]


async def test_each_number_of_a_contact_is_its_own_question(outside: Outside) -> None:
    numbers = ("+15550101", "+15550102")
    asked(outside, Contact("lead", {"phone": numbers}))
    first, second = (f"/ack/{TICKETS.write(Ticket((7,), 'lead', 'sms', NOW - 800, way_of(one)))}" for one in numbers)
    await outside.post(second, {})
    assert outside.control.asked == [("note", 7, "lead by sms (number 2) link", "this still reaches me")]
    page = (await outside.get(second))[1]
    assert "It is written down that sms (number 2) reaches you" in page
    assert "the link of the other message as well: sms." in page
    assert "Does this reach you" in (await outside.get(first))[1], "to say so of one says nothing of the other"
    await outside.post(first, {})
    assert outside.control.asked[1:] == [
        ("note", 7, "lead by sms link", "this still reaches me"),
        ("verify-lead done by lead by sms link: said so by the links sent over sms, sms (number 2)", ()),
    ]


async def test_a_number_that_is_gone_meanwhile_is_not_taken_for_another(outside: Outside) -> None:
    asked(outside, Contact("lead", {"phone": ("+15550102",)}))
    gone = f"/ack/{TICKETS.write(Ticket((7,), 'lead', 'sms', NOW - 800, way_of('+15550101')))}"
    assert (await outside.post(gone, {}))[0] == 303
    assert outside.control.asked == []


async def test_a_link_of_somebody_else_only_acknowledges_and_an_old_one_does_nothing(outside: Outside) -> None:
    asked(outside, Contact("lead", {"phone": ("+15550101",)}))
    outside.control.setup = replace(
        outside.control.setup, contacts={**outside.control.setup.contacts, "ann": Contact("ann")}
    )
    other = f"/ack/{TICKETS.write(Ticket((7,), 'ann', 'mail', NOW - 800))}"
    assert "Acknowledge #7?" in (await outside.get(other))[1]
    old = f"/ack/{TICKETS.write(Ticket((7,), 'lead', 'sms', NOW - VALID_FOR - 1))}"
    assert (await outside.post(old, {}))[0] == 410
    forged = f"/ack/{Tickets(bytes(KEY_BYTES)).write(Ticket((7,), 'lead', 'sms', NOW - 800))}"
    assert (await outside.post(forged, {}))[0] == 404
    assert outside.control.asked == []
