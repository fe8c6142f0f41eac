"""What messages say, and that an SMS always says the essential in one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import OPENED, make_message
from wcr_watchd.core.message import clock_time, digest, facts, headline, long_text, redirected, trial
from wcr_watchd.core.model import EventKind, Message, Severity
from wcr_watchd.core.sms import fits_sms, gsm7_septets, plain, sms_text

LATER = OPENED + 12 * 60


def test_an_sms_says_what_where_since_when_and_the_number() -> None:
    assert sms_text(make_message()) == "[CRITICAL] wcr-prod: api: HTTP 500, expected 2xx. Since 03:12 EST. #42"


def test_an_sms_of_the_end_says_how_long_it_lasted() -> None:
    text = sms_text(make_message(event=EventKind.RESOLVED, at=LATER, summary="HTTP 200 again"))
    assert text == "[RESOLVED] wcr-prod: api: HTTP 200 again after 12 min #42"


@pytest.mark.parametrize(
    ("changes", "beginning"),
    [
        ({"event": EventKind.REMINDED}, "[STILL CRITICAL] "),
        ({"event": EventKind.ESCALATED}, "[CRITICAL, ESCALATED] "),
        ({"event": EventKind.LOWERED, "severity": Severity.WARNING}, "[WARNING LOWERED] "),
        ({"event": EventKind.RAISED}, "[CRITICAL RAISED] "),
        ({"event": EventKind.ACKNOWLEDGED, "by": "ann"}, "[ACKNOWLEDGED] wcr-prod: api: by ann. "),
        ({"event": EventKind.DRILL}, "[DRILL] "),
        ({"event": EventKind.DRILL, "incident": 0}, "[TEST] "),
    ],
)
def test_every_event_has_its_word(changes: dict[str, object], beginning: str) -> None:
    assert sms_text(make_message(**changes)).startswith(beginning)


def test_a_beginning_on_another_day_has_its_date() -> None:
    assert "Since Nov 23 03:12 EST. #42" in sms_text(make_message(event=EventKind.REMINDED, at=OPENED + 86400))


def test_times_follow_daylight_saving_of_the_message_s_zone() -> None:
    assert clock_time(1783062720.0, "America/New_York", 1783062720.0) == "03:12 EDT"


TEXTS = st.text(max_size=400)


@given(
    name=TEXTS,
    check=TEXTS,
    summary=TEXTS,
    note=st.sampled_from(["", "sent here because mail could not deliver"]),
    severity=st.sampled_from([Severity.CRITICAL, Severity.WARNING, Severity.INFO]),
    event=st.sampled_from(
        [
            kind
            for kind in EventKind
            if kind not in (EventKind.DIGEST, EventKind.DRILL, EventKind.HANDOVER, EventKind.PLANNED)
        ]
    ),
    number=st.integers(1, 10_000_000),
    age=st.floats(0, 10 * 86400),
)
def test_an_sms_always_fits_and_keeps_severity_and_number(
    name: str, check: str, summary: str, note: str, severity: Severity, event: EventKind, number: int, age: float
) -> None:
    message = make_message(
        watchd=name,
        check=check,
        summary=summary,
        note=note,
        severity=severity,
        event=event,
        incident=number,
        at=OPENED + age,
        by="ann",
    )
    text = sms_text(message)
    assert fits_sms(text), (len(text), text)
    assert text.endswith(f" #{number}")
    assert "\n" not in text
    if event not in (EventKind.RESOLVED, EventKind.ACKNOWLEDGED, EventKind.NOTED, EventKind.REPORT):
        assert severity.name in text.partition("]")[0]


def test_the_summary_is_cut_before_the_names() -> None:
    text = sms_text(make_message(summary="x" * 500))
    assert gsm7_septets(text) == 160
    assert text.startswith("[CRITICAL] wcr-prod: api: xxx")
    assert text.endswith("x... Since 03:12 EST. #42")


def test_characters_of_the_extension_table_count_double() -> None:
    assert gsm7_septets("a€[b]") == 2 + 3 * 2


def test_typography_is_written_plainly_rather_than_costing_a_second_sms() -> None:
    assert plain("“slow” – 3 × 2…\N{NO-BREAK SPACE}é ő ✅") == '"slow" - 3 x 2... é o '
    assert gsm7_septets(plain("“slow” – 3 × 2… é ő ✅")) is not None


def test_another_script_is_kept_and_costs_length() -> None:
    text = sms_text(make_message(summary="Ошибка сервера " * 10))
    assert gsm7_septets(text) is None
    assert "Ошибка" in text
    assert len(text.encode("utf-16-be")) // 2 <= 70
    assert text.endswith("#42")


def test_the_headline_is_one_line_whatever_a_server_said() -> None:
    message = make_message(summary="500\r\nBcc: everybody\x00@example.org")
    assert headline(message) == "[CRITICAL] wcr-prod: api: 500 Bcc: everybody @example.org #42"


def test_a_headline_that_is_cut_keeps_its_number() -> None:
    line = headline(make_message(summary="x" * 900), 100)
    assert len(line) == 100
    assert line.endswith("xxx... #42")


def test_the_long_text_says_everything_there_is() -> None:
    text = long_text(make_message(previous_severity=Severity.WARNING))
    for said in (
        "Check: api",
        "Target: http://localhost:5001/health",
        "Severity: critical (was warning)",
        "Since: 03:12 EST",
        "Why you are told: confirmed after 3 of 3",
        "response_time 213 ms",
        'disk_used{mount="/"} 93.1 %',
        "Owner: platform",
        "Runbook: https://wiki.example.org/runbooks/api",
        "Incident: https://watch.example.org/incidents/42",
    ):
        assert said in text


def test_a_fallback_says_why_it_is_used_in_every_medium() -> None:
    message = redirected(make_message(), "sms")
    assert "sent here because sms could not deliver" in long_text(message)
    assert "(sent here because sms could not deliver)" in sms_text(message)


def _batch() -> list[Message]:
    return [
        make_message(at=OPENED + 5, event=EventKind.RESOLVED, incident=43, check="database"),
        make_message(),
        make_message(at=OPENED + 9, severity=Severity.WARNING, incident=44, check="host", subject="disk /data"),
    ]


def test_a_digest_counts_and_lists_oldest_first() -> None:
    message = digest(_batch(), OPENED + 60)
    assert (
        message.summary == "3 messages: 1 critical, 1 warning, 1 resolved: api #42, database #43, host disk /data #44"
    )
    assert [item.incident for item in message.items] == [42, 43, 44]
    assert message.severity is Severity.CRITICAL
    assert facts(message)[0].value == headline(make_message())
    assert sms_text(message).startswith("[CRITICAL] wcr-prod: 3 messages: 1 critical")


def test_news_of_one_incident_stay_in_order_when_the_clock_was_set_back() -> None:
    taken = make_message(incident=8, event=EventKind.ACKNOWLEDGED, at=OPENED + 60)
    over = make_message(incident=8, event=EventKind.RESOLVED, at=OPENED + 54)
    another = make_message(incident=9, at=OPENED + 57)
    told = digest([taken, over, another], OPENED + 70).items
    assert [(item.incident, item.event.value) for item in told] == [
        (9, "opened"),
        (8, "acknowledged"),
        (8, "resolved"),
    ]


def test_digests_are_taken_apart_when_they_are_put_together() -> None:
    first = digest(_batch(), OPENED + 60)
    assert len(digest([first, make_message(at=OPENED + 99)], OPENED + 100).items) == 4


def test_a_digest_stays_bounded_and_still_counts_all() -> None:
    many = digest([make_message(incident=number) for number in range(1, 1001)], OPENED)
    assert len(many.items) == 100
    assert many.summary.startswith("1000 messages: 1000 critical: api #1, ")
    assert many.summary.endswith("api #12 and 988 more")
    assert fits_sms(sms_text(many))


def test_a_trial_says_that_there_is_nothing_to_do() -> None:
    message = trial(watchd="wcr-prod", location="", timezone="UTC", at=OPENED)
    assert sms_text(message) == "[TEST] wcr-prod: this channel works; sent 08:12 UTC, nothing to do"
