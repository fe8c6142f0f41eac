"""What is recorded of why somebody was or was not told, the answer made of it, and what would follow an incident."""

from __future__ import annotations

from dataclasses import replace

from tests.core.world import PEOPLE, POLICY, World, check, setup
from wcr_watchd.core.local_time import Hours
from wcr_watchd.core.matchers import parse_matchers
from wcr_watchd.core.model import Delivery, DeliveryState, EventKind, Recipient, Severity
from wcr_watchd.core.on_call import OnCallSchedule, Override
from wcr_watchd.core.outlook import Telling, outlook
from wcr_watchd.core.setup import Contact, Escalation, Policy, Setup, Step, Target
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.why import Answer, why

ALWAYS = Hours("UTC", ((0, 7 * 1440 - 1),))
"""Quiet nearly all week."""


def down(world: World, name: str = "api") -> None:
    for _ in range(3):
        world.see(name, "down")


def asked(world: World, contact: str = "", **became: str) -> Answer:
    """The answer when every message was accepted a second later, or ``became`` something else by channel."""
    rows = []
    for one in world.notifications:
        state = DeliveryState(became.get(one.recipient.channel, "delivered"))
        at = one.created_at + 1 if state is DeliveryState.DELIVERED else None
        error = "refused: no such number" if state is DeliveryState.FAILED else ""
        rows.append(Delivery(one, state, 1, last_error=error, delivered_at=at, fell_back=bool(error)))
    incident = world.state.incidents[1]
    return why(world.setup, world.setup.checks[incident.check], incident, world.events, rows, contact)


def quiet_setup() -> Setup:
    """Warnings go to ann, who sleeps, and to nobody's schedule; repeated every minute."""
    policy = Policy(
        "default", {Severity.WARNING: Escalation((Target("mail", "ann"), Target("mail", "gap")), repeat=60.0)}
    )
    made = setup(check("api", critical="", warning="down"), policy=policy)
    ann = Contact("ann", {"email": ("ann@example.org",)}, quiet=ALWAYS)
    gap = OnCallSchedule("gap", "UTC", (), (Override(0.0, 1.0, ("lead",)),))
    return replace(made, contacts={**PEOPLE, "ann": ann}, on_call={**made.on_call, "gap": gap})


def test_an_event_says_who_of_several_could_not_be_told_and_whom_quiet_hours_hold_back() -> None:
    world = World(quiet_setup())
    down(world)
    opened = world.events[0].reason
    assert "mail:gap: nobody is on call" in opened
    assert "held back by quiet hours: mail:ann until" in opened
    world.pass_time(60.0)
    assert world.events[-1].kind is EventKind.REMINDED
    assert "not told in their quiet hours: mail:ann until" in world.events[-1].reason
    assert len(world.notifications) == 1
    assert "held back until" in asked(world, "ann", mail="pending").steps[0].deliveries[0][1]


def test_an_event_says_that_the_policy_names_nobody() -> None:
    world = World(setup(check("api"), policy=Policy("default", {})))
    down(world)
    assert "the policy default tells nobody at once of critical" in world.events[0].reason


def test_somebody_who_was_told() -> None:
    world = World(setup(check("api")))
    down(world)
    world.pass_time(900.0)
    answer = asked(world, "lead", sms="failed")
    assert answer.sentence.startswith("lead was told of #1 2 times, first by mail 13:47 UTC")
    sentences = [sentence for step in answer.steps for _, sentence in step.deliveries]
    assert sentences[0] == (
        "lead by sms could not be told in 1 attempt; refused: no such number; the next in line was told as well"
    )
    assert sentences[1] == "lead by mail was accepted 13:47 UTC, 1.0 s after it was owed"


def test_somebody_who_was_not_told_learns_who_was_and_who_was_on_call() -> None:
    world = World(setup(check("api")))
    down(world)
    answer = asked(world, "second")
    assert answer.sentence == "second was not told of #1: told were lead; lead (rotation) on call for ops"
    world.pass_time(900.0)
    escalated = asked(world, "second").steps[-1]
    assert escalated.deliveries[0][1].startswith("second by sms was accepted")
    stranger = asked(world, "kim")
    assert stranger.sentence == "there is no contact kim, so nobody of that name was told of #1"
    assert "the policy default does not name kim for critical" in stranger.steps[0].not_told


def test_what_was_muted_is_answered_with_the_mute() -> None:
    world = World(setup(check("api")))
    silence = Silence("s", parse_matchers('check="api"'), world.now, world.now + 3600, "ann", "known", world.now)
    world.state.silences["s"] = silence
    down(world)
    assert asked(world, "lead").sentence == "lead was not told of #1: nobody was told of this"
    assert "silenced by ann: known" in asked(world).sentence


# --- what would follow ---


def _recipients(telling: Telling) -> list[Recipient]:
    return [one.recipient for one in telling.notifications]


def test_the_outlook_walks_steps_reminders_and_the_end_of_the_policy() -> None:
    made = setup(check("api"))
    found = outlook(made, made.checks["api"], Severity.CRITICAL, 1_000_000.0, 1_003_000.0)
    told = [
        (
            one.at - 1_000_000.0,
            one.kind.value,
            [f"{n.recipient.channel}:{n.recipient.contact}" for n in one.notifications],
        )
        for one in found.tellings
    ]
    assert told[:4] == [
        (0.0, "opened", ["sms:lead", "mail:lead"]),
        (600.0, "reminded", ["sms:lead", "mail:lead"]),
        (900.0, "escalated", ["sms:second"]),
        (1200.0, "reminded", ["sms:lead", "mail:lead", "sms:second"]),
    ]
    assert "has run out" in found.tellings[4].reason
    assert found.tellings[0].on_call == (("ops", ("lead",)),)
    assert found.afterwards.startswith("and so on (next in ")


def test_the_outlook_sees_parents_as_fine_and_severity_rise() -> None:
    policy = replace(
        POLICY,
        by_severity={
            **POLICY.by_severity,
            Severity.WARNING: Escalation((Target("slack"),), (Step(300.0, raise_to=Severity.CRITICAL),)),
        },
    )
    made = setup(check("database"), check("api", depends_on=("database",)), policy=policy)
    found = outlook(made, made.checks["api"], Severity.WARNING, 0.0, 600.0)
    assert [(one.at, one.kind, one.severity) for one in found.tellings] == [
        (0.0, EventKind.OPENED, Severity.WARNING),
        (300.0, EventKind.RAISED, Severity.CRITICAL),
    ]


def test_the_outlook_of_what_is_silenced() -> None:
    made = setup(check("api"))
    silence = Silence("s", parse_matchers('check="api"'), 0.0, 100.0, "ann", "", 0.0)
    found = outlook(made, made.checks["api"], Severity.CRITICAL, 0.0, 90.0, [silence])
    assert [len(one.notifications) for one in found.tellings] == [0]
    assert found.afterwards == "still nobody is told then: silenced by ann"
    later = outlook(made, made.checks["api"], Severity.CRITICAL, 0.0, 150.0, [silence])
    assert [len(one.notifications) for one in later.tellings] == [0, 2]
