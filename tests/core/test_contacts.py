"""Contacts are asked by each of their ways whether these still reach them, besides whom the policy tells."""

from __future__ import annotations

from dataclasses import replace

from tests.core.test_engine import STAGES
from tests.core.world import World, setup
from wcr_watchd.core.contacts import QUESTION, way_words, ways
from wcr_watchd.core.local_time import Hours
from wcr_watchd.core.message import facts, links
from wcr_watchd.core.model import Recipient, Severity
from wcr_watchd.core.setup import Contact, Escalation, Policy, Setup, Target
from wcr_watchd.core.sms import fits_sms, sms_text

POLICY = Policy(
    "default",
    {
        Severity.INFO: Escalation((Target("mail", "lead"), Target("slack")), digest=3_600.0),
        Severity.WARNING: Escalation((Target("slack"),), repeat=600.0),
    },
)
BY_SMS = Recipient("sms", "second", "+15550102")
BY_MAIL = Recipient("mail", "second", "second@example.org")


def world(asks: str = "second", **changes: object) -> World:
    return World(replace(setup(replace(STAGES, asks=asks), policy=POLICY), **changes))  # type: ignore[arg-type]


def see(one: World, seconds: float) -> list[str]:
    return one.see("duty", "up", ("response_time", seconds, ""))


def questions(one: World) -> list[Recipient]:
    return [owed.recipient for owed in one.notifications if owed.message.summary == QUESTION]


def test_they_are_asked_at_each_stage_and_by_no_reminder() -> None:
    one = world()
    see(one, 2.0)
    assert questions(one) == [BY_SMS, BY_MAIL]
    assert one.told() == ["mail:lead", "slack", "sms:second", "mail:second"]
    assert len({owed.id for owed in one.notifications}) == 4
    see(one, 6.0)
    assert len(questions(one)) == 4
    one.see("duty", "down")
    assert len(questions(one)) == 6
    one.pass_time(3_000)
    assert "reminded" in [event.kind.value for event in one.events[3:]]
    assert len(questions(one)) == 6
    see(one, 0.0)
    assert one.told("resolved") == ["mail:lead", "slack"], "who was only asked is not told of the end"


def test_each_of_several_numbers_is_asked_in_a_message_of_its_own() -> None:
    one = world()
    numbers = ("+15550102", "+15550103")
    one.setup = replace(one.setup, contacts={"second": Contact("second", {"phone": numbers})})
    see(one, 2.0)
    owed = [each for each in one.notifications if each.message.summary == QUESTION]
    assert [each.recipient.address for each in owed] == list(numbers)
    assert len({each.id for each in owed}) == 2


def test_a_question_goes_by_its_own_way_at_once_and_by_no_other() -> None:
    one = world()
    see(one, 2.0)
    for owed in one.notifications[2:]:
        assert (owed.fallbacks, owed.digest, owed.wait, owed.not_before) == ((), False, 0.0, one.now)


def test_who_would_be_told_is_asked_instead() -> None:
    one = world("lead")
    see(one, 2.0)
    assert one.told() == ["slack", "sms:lead", "mail:lead"]
    assert [who.channel for who in questions(one)] == ["sms", "mail"]


def test_an_sms_that_asks_has_its_link_whole() -> None:
    one = world(name="a-watcher-with-quite-a-long-name-of-sixty-four-characters-in-all")
    see(one, 2.0)
    for letters in (40, 90, 120):
        link = "https://watch.example.org/ack/".ljust(letters, "x")
        text = sms_text(replace(one.notifications[2].message, ack_url=link))
        assert text.endswith(f" {link}")
        assert fits_sms(text)
    short = sms_text(replace(one.notifications[2].message, watchd="prod", ack_url="https://w.example/ack/x"))
    assert short == "prod: does this still reach you? Please say so by the link https://w.example/ack/x"


def test_in_a_mail_a_question_is_answered() -> None:
    one = world()
    see(one, 2.0)
    message = replace(one.notifications[3].message, ack_url="https://w.example/ack/x")
    assert next(fact.label for fact in links(message)) == "Answer"
    assert "Acknowledge" not in [fact.label for fact in facts(message)]


def test_a_question_waits_for_the_end_of_quiet_hours() -> None:
    always = Hours("UTC", ((0, 10_000),))
    one = world()
    one.setup = replace(one.setup, contacts={"second": replace(one.setup.contacts["second"], quiet=always)})
    see(one, 2.0)
    assert all(owed.not_before > one.now for owed in one.notifications if owed.recipient.contact == "second")


def test_without_an_address_of_the_dashboard_there_is_no_link_and_no_question() -> None:
    one = world(public_url="")
    see(one, 2.0)
    assert questions(one) == []


def test_ways_are_those_that_a_channel_can_use() -> None:
    def of(contact: Contact) -> tuple[Setup, str]:
        return replace(setup(), contacts={contact.name: contact}), contact.name

    two = of(Contact("ann", {"phone": ("+15550101", "+15550102"), "pager": ("7",)}))
    first, second = Recipient("sms", "ann", "+15550101"), Recipient("sms", "ann", "+15550102")
    assert ways(*two) == (first, second)
    assert [way_words(two[0], one) for one in (first, second)] == ["sms", "sms (number 2)"]
    assert ways(setup(), "nobody") == ()
