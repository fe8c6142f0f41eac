"""On-call schedules, further addresses and quiet hours: what is written, what it means, what is warned of."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from pathlib import Path

import pytest

from tests.config.test_wrong import PEOPLE
from wcr_watchd.config.load import loads
from wcr_watchd.config.warnings import warnings
from wcr_watchd.core.escalation import other_addresses, recipients
from wcr_watchd.core.local_time import Hours
from wcr_watchd.core.model import Recipient
from wcr_watchd.core.on_call import Duty, Layer, OnCallSchedule, Override, on_call_at, weekly
from wcr_watchd.core.setup import Target
from wcr_watchd.kit.refused import RefusedError
from wcr_watchd.kit.week_hours import read_hours

DAY = 24 * 60
NOW = "2026-11-28T12:00:00+00:00"


def at(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


def ops(text: str) -> OnCallSchedule:
    return loads(PEOPLE + text, "w.toml").setup.on_call["ops"]


def warned(text: str) -> list[str]:
    return [str(one) for one in warnings(loads(text, "w.toml"), at(NOW))]


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("09:00-17:00", tuple((day * DAY + 540, day * DAY + 1020) for day in range(7))),
        ("Mon-Tue 09:00-17:00", ((540, 1020), (DAY + 540, DAY + 1020))),
        ("monday, Wednesday 9:00 - 17:00", ((540, 1020), (2 * DAY + 540, 2 * DAY + 1020))),
        ("Sun 22:00-07:00", ((6 * DAY + 1320, 7 * DAY + 420),)),
        ("Sat,Sun", ((5 * DAY, 7 * DAY),)),
        ("Sat-Mon", ((5 * DAY, 8 * DAY),)),
        ("Mon-Wed,Fri 12:00-24:00", tuple((day * DAY + 720, (day + 1) * DAY) for day in (0, 1, 2, 4))),
        ("Fri 17:00-Mon 09:00", ((4 * DAY + 1020, 7 * DAY + 540),)),
        ("Mon 09:00-Mon 09:00", ((0, 7 * DAY),)),
        (["Mon 09:00-12:00", "Mon 12:00-17:00"], ((540, 1020),)),
        ("00:00-24:00", ((0, 7 * DAY),)),
    ],
)
def test_hours_of_the_week(text: object, spans: tuple[tuple[int, int], ...]) -> None:
    assert read_hours(text) == spans


@pytest.mark.parametrize("text", ["", "Mon 09:00", "09:00", "25:00-26:00", "24:01-25:00", "Mon-", "9-17", None, {}])
def test_what_are_no_hours(text: object) -> None:
    with pytest.raises(RefusedError):
        read_hours(text)


def test_the_simple_form_is_one_layer_by_the_week() -> None:
    assert ops('[on_call.ops]\ntimezone = "UTC"\nrotation = ["lead", "second"]\n') == weekly(
        "ops", "UTC", ("lead", "second")
    )
    assert ops('[on_call.ops]\ntimezone = "UTC"\nrotation = "lead"\nhandover = "Fri 17:30"\n') == weekly(
        "ops", "UTC", ("lead",), 4, time(17, 30)
    )


def test_layers_and_overrides() -> None:
    text = """\
[on_call.ops]
timezone = "Europe/Berlin"
overrides = [
    { start = 2026-12-24T18:00:00, end = "2026-12-26T09:00:00Z", who = ["second", "lead"] },
    { start = "2027-03-28 02:30", end = 2027-03-28T12:00:00+02:00, who = "lead" },
]
[[on_call.ops.layers]]
rotation = ["lead", ["second", "lead"]]
[[on_call.ops.layers]]
name = "office"
rotation = "second"
turn = "1d"
handover = "08:00"
hours = "Mon-Fri 09:00-17:00"
start = 2026-12-02
[[on_call.ops.layers]]
rotation = "lead"
turn = "2w"
handover = "Fri 17:00"
start = "2026-12-02"
"""
    hours = Hours("Europe/Berlin", tuple((day * DAY + 540, day * DAY + 1020) for day in range(5)))
    assert ops(text) == OnCallSchedule(
        "ops",
        "Europe/Berlin",
        (
            Layer("layer 1", (("lead",), ("second", "lead")), first=datetime.fromisoformat("1970-01-05T09:00")),
            Layer(
                "layer office",
                (("second",),),
                turn=86_400.0,
                first=datetime.fromisoformat("2026-12-02T08:00"),
                starts=True,
                hours=hours,
            ),
            Layer(
                "layer 3",
                (("lead",),),
                turn=1_209_600.0,
                first=datetime.fromisoformat("2026-12-04T17:00"),
                starts=True,
            ),
        ),
        (
            Override(at("2026-12-24T18:00:00+01:00"), at("2026-12-26T09:00:00+00:00"), ("second", "lead")),
            Override(at("2027-03-28T03:00:00+02:00"), at("2027-03-28T12:00:00+02:00"), ("lead",)),
        ),
    )


def test_several_addresses_and_quiet_hours() -> None:
    text = PEOPLE.replace('phone = "+15550101"', 'phone = ["+1 555 0101", "+15550109"]\nquiet = "Sun 22:00-07:00"')
    setup = loads('[watchd]\ntimezone = "America/New_York"\n' + text, "w.toml").setup
    first, *rest = recipients(setup, (Target("sms", "lead"),), 0.0)
    assert (first, rest) == (Recipient("sms", "lead", "+15550101"), [])
    assert other_addresses(setup, first) == (Recipient("sms", "lead", "+15550109"),)
    assert setup.contacts["lead"].quiet == Hours("America/New_York", ((6 * DAY + 1320, 7 * DAY + 420),))
    assert setup.contacts["second"].quiet is None


def test_quiet_hours_in_the_contact_s_own_zone() -> None:
    text = PEOPLE + 'quiet = ["22:00-07:00", "Sat,Sun"]\ntimezone = "Asia/Tokyo"\n'
    quiet = loads(text, "w.toml").setup.contacts["second"].quiet
    assert quiet is not None
    assert (quiet.timezone, quiet.spans[-1]) == ("Asia/Tokyo", (4 * DAY + 1320, 7 * DAY + 420))


def test_no_warning_where_somebody_always_is() -> None:
    assert warned(PEOPLE + '[on_call.ops]\nrotation = ["lead", "second"]\n') == []


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (
            'layers = [{ rotation = "lead", hours = "Mon-Fri 09:00-17:00" }]\n',
            "nobody is on call from now to Mon 2026-11-30 09:00, and 64 times more; looked 90 days ahead",
        ),
        (
            'layers = [{ rotation = "lead", start = 2026-12-07 }]\n',
            "nobody is on call from now to Mon 2026-12-07 09:00; looked 90 days ahead",
        ),
        (
            'overrides = [{ start = 2026-11-28T00:00:00, end = 2026-12-01T00:00:00, who = "lead" }]\n',
            "nobody is on call from Tue 2026-12-01 00:00 on; looked 90 days ahead",
        ),
        (
            'overrides = [{ start = 2025-11-28T00:00:00, end = 2025-12-01T00:00:00, who = "lead" }]\n',
            "nobody is on call from now on; looked 90 days ahead",
        ),
    ],
)
def test_gaps_are_found_when_the_file_is_read(schedule: str, said: str) -> None:
    text = PEOPLE + '[on_call.ops]\ntimezone = "UTC"\n' + schedule
    assert warned(text) == [f"w.toml:13: on_call.ops: {said} (add a layer or an override that covers it)"]


def test_a_contact_who_cannot_be_told_anything_is_warned_of() -> None:
    assert warned("[contact.lead]\n") == [
        'w.toml:1: contact.lead: has no address, so nobody can tell them anything (add phone = "+15550100" or email)'
    ]


def test_the_examples_of_the_documentation_can_be_used() -> None:
    text = (Path(__file__).parents[2] / "docs" / "on-call.md").read_text()
    contact, simple, layered = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    others = "".join(
        f'[contact.{name}]\nemail = "{name}@example.org"\n' for name in ("second", "third", "fourth", "fifth")
    )
    assert warned(contact + others + simple) == []
    loaded = loads(contact + others + layered, "w.toml")
    assert warnings(loaded, at(NOW)) == ()
    schedule = loaded.setup.on_call["ops"]
    assert on_call_at(schedule, at("2026-12-08T11:00:00-05:00")) == Duty(("second", "fifth"), "layer trainee")
    assert on_call_at(schedule, at("2026-12-25T11:00:00-05:00")) == Duty(("second",), "override")
    assert on_call_at(schedule, at("2026-12-12T11:00:00-05:00")).why == "layer nights and weekends"


def test_a_signing_secret_that_no_button_can_use_is_warned_of() -> None:
    slack = '[channel.slack]\ntype = "slack"\nwebhook = "https://hooks.example/x"\nsigning_secret = "a-secret"\n'
    assert warned(slack) == [
        "w.toml:1: channel.slack: has a signing secret, but without public_url in [web] its messages have no button "
        "to answer with (set public_url in [web])"
    ]
    assert warned(slack + '[web]\npublic_url = "https://watch.example.org"\n') == []
