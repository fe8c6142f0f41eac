"""Links to acknowledge: what is in them, what cannot be forged, and the key that they are signed with."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from wcr_watchd.core.message import digest, facts, links, unattended
from wcr_watchd.core.model import EventKind, Message, Notification, Recipient, Severity
from wcr_watchd.core.sms import fits_sms, sms_text
from wcr_watchd.core.wording import sample
from wcr_watchd.kit.tickets import KEY_BYTES, MOST_INCIDENTS, Ticket, Tickets, kept_key
from wcr_watchd.runtime.links import Links

KEY = bytes(range(KEY_BYTES))
TICKETS = Tickets(KEY)
LEAD = Ticket((42,), "lead", "mail", 1_795_421_520.0)
names = some.text(some.characters(codec="utf-8", exclude_characters="\0"), max_size=50)


@given(
    some.lists(some.integers(0, 2**32 - 1), min_size=1, max_size=MOST_INCIDENTS),
    names,
    names,
    some.integers(0, 2**32 - 1),
    names,
)
def test_a_ticket_reads_as_it_was_written(numbers: list[int], contact: str, channel: str, at: int, way: str) -> None:
    ticket = Ticket(tuple(numbers), contact, channel, float(at), way)
    assert TICKETS.read(TICKETS.write(ticket)) == ticket


@given(some.data())
def test_no_changed_ticket_is_valid(data: some.DataObject) -> None:
    raw = bytearray(base64.urlsafe_b64decode(TICKETS.write(LEAD) + "=="))
    at = data.draw(some.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(some.integers(1, 255))
    assert TICKETS.read(base64.urlsafe_b64encode(raw).rstrip(b"=").decode()) is None


@given(some.text(max_size=80))
def test_nothing_else_is_a_ticket(text: str) -> None:
    assert TICKETS.read(text) is None
    assert TICKETS.read(text + TICKETS.write(LEAD)) in (None, LEAD)


def test_another_key_and_a_part_of_a_ticket_open_nothing() -> None:
    text = TICKETS.write(LEAD)
    assert Tickets(bytes(KEY_BYTES)).read(text) is None
    assert all(TICKETS.read(text[:end]) is None for end in range(len(text)))
    assert TICKETS.read(text * 1000) is None
    assert LEAD.expires_at == LEAD.issued_at + 72 * 3600


@pytest.mark.parametrize("count", [0, MOST_INCIDENTS + 1])
def test_a_ticket_is_for_some_incidents(count: int) -> None:
    with pytest.raises(ValueError, match=f"not {count}"):
        TICKETS.write(replace(LEAD, incidents=tuple(range(count))))


def test_the_key_is_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "links.key"
    key = kept_key(path)
    assert len(key) == KEY_BYTES
    assert path.stat().st_mode & 0o777 == 0o600
    assert kept_key(path) == key
    assert [one.name for one in tmp_path.iterdir()] == ["links.key"]
    assert kept_key(tmp_path / "other.key") != key


def test_half_a_key_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "links.key"
    path.write_bytes(b"half")
    (tmp_path / "links.key.new").write_bytes(b"left by a crash")
    assert kept_key(path) == kept_key(path) != b"half"


BY_MAIL = Recipient("mail", "lead", "lead@example.org")


def notification(message: Message, recipient: Recipient = BY_MAIL) -> Notification:
    return Notification("id", message.incident, message.event, message.severity, recipient, 0.0, 0.0, message)


def linked(message: Message, base: str = "https://watch.example.org/") -> Message:
    return Links(TICKETS, lambda: base).linked(notification(message)).message


def opened(number: int = 42) -> Message:
    return replace(sample(EventKind.OPENED, Severity.CRITICAL), incident=number, ack_url="")


def ticket_of(message: Message) -> Ticket | None:
    assert message.ack_url.startswith("https://watch.example.org/ack/")
    return TICKETS.read(message.ack_url.rpartition("/")[2])


def test_each_recipient_gets_a_link_of_its_own_and_the_same_each_time() -> None:
    message = opened()
    assert ticket_of(linked(message)) == Ticket((42,), "lead", "mail", message.at)
    assert linked(message) == linked(message)
    chat = Links(TICKETS, lambda: "https://watch.example.org").linked(notification(message, Recipient("slack")))
    assert ticket_of(chat.message) == Ticket((42,), "", "slack", message.at)


def test_several_incidents_in_one_message_have_one_link() -> None:
    over = replace(opened(44), event=EventKind.RESOLVED)
    together = digest([opened(42), opened(43), over, opened(42)], 1_795_421_600.0)
    assert unattended(together) == (42, 43)
    found = ticket_of(linked(together))
    assert found is not None
    assert found.incidents == (42, 43)
    assert not linked(digest([opened(n) for n in range(1, MOST_INCIDENTS + 2)], 0.0)).ack_url


@pytest.mark.parametrize("event", list(EventKind))
def test_only_what_waits_for_somebody_has_a_link(event: EventKind) -> None:
    waits = {"opened", "raised", "lowered", "reminded", "escalated", "flapping", "drill"}
    assert bool(linked(replace(opened(), event=event)).ack_url) == (event.value in waits)
    assert not linked(replace(opened(), event=event, incident=0)).ack_url


def test_without_a_public_address_there_are_no_links() -> None:
    assert linked(opened(), "") == opened()


def test_the_link_is_among_the_facts_and_links() -> None:
    message = linked(opened())
    assert [fact.value for fact in facts(message) if fact.label == "Acknowledge"] == [message.ack_url]
    assert links(message)[0].value == message.ack_url
    assert facts(linked(digest([opened(42), opened(43)], 0.0)))[0].label == "Acknowledge"


def test_an_sms_has_the_link_if_enough_of_the_rest_fits_beside_it() -> None:
    message = linked(replace(opened(), watchd="wcr-prod", timezone="America/New_York"))
    text = sms_text(message)
    assert text == f"[CRITICAL] wcr-prod: api: HTTP 500, expected 2xx. Since 03:12 EST. #42 {message.ack_url}"
    assert fits_sms(text)
    for more in range(120):
        long = replace(message, summary=message.summary + "x" * more)
        said = sms_text(long)
        assert fits_sms(said)
        assert "api" in said
        assert "Since 03:12 EST. #42" in said
        assert said.endswith(f" #42 {message.ack_url}")
        assert "HTTP 500, expected 2xx" in said
    named = replace(message, check="a-check-with-a-long-name")
    assert sms_text(replace(named, summary="x" * 10)).endswith(message.ack_url)
    assert sms_text(replace(named, summary="x" * 30)) == sms_text(replace(named, summary="x" * 30, ack_url=""))
    assert "#42" in sms_text(replace(message, summary="ошибка сервера"))
