"""Maintenance windows: what is written, when it is, what it covers, and what is refused."""

from __future__ import annotations

from datetime import datetime
from itertools import islice

import pytest
import time_machine

from wcr_watchd.config.load import loads
from wcr_watchd.config.warnings import warnings
from wcr_watchd.core.errors import ConfigError
from wcr_watchd.core.silence import Window, covers

NOW = "2026-11-28T12:00:00+00:00"  # a Saturday
BASE = """
[watchd]
timezone = "America/New_York"
[check.api]
type = "tcp"
address = "127.0.0.1:1"
tags = ["web"]
[check.database]
type = "tcp"
address = "127.0.0.1:2"
"""


def window(text: str) -> Window:
    with time_machine.travel(NOW, tick=False):
        (found,) = loads(f"{BASE}[maintenance.m]\n{text}", "w.toml").setup.windows
    return found


def coming(text: str, count: int = 3) -> list[str]:
    """The next windows, as local times."""
    found = window(text)
    moment = datetime.fromisoformat(NOW).timestamp()
    zone = found.timezone
    return [" to ".join(_local(one, zone) for one in span) for span in islice(found.spans.after(moment), count)]


def _local(moment: float, zone: str) -> str:
    from zoneinfo import ZoneInfo

    return datetime.fromtimestamp(moment, ZoneInfo(zone)).strftime("%a %d.%m. %H:%M")


def warned(text: str) -> list[str]:
    with time_machine.travel(NOW, tick=False):
        loaded = loads(f"{BASE}[maintenance.m]\n{text}", "w.toml")
    return [str(one) for one in warnings(loaded, datetime.fromisoformat(NOW).timestamp())]


def problems(text: str) -> list[str]:
    with time_machine.travel(NOW, tick=False), pytest.raises(ConfigError) as error:
        loads(f"{BASE}[maintenance.m]\n{text}", "w.toml")
    return [f"{one.key}: {one.reason} ({one.suggestion})" for one in error.value.problems]


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ('when = "Tue 03:00-05:00"', ["Tue 01.12. 03:00 to Tue 01.12. 05:00", "Tue 08.12. 03:00 to Tue 08.12. 05:00"]),
        (
            'when = "Mon-Fri 22:00-02:00"',
            ["Mon 30.11. 22:00 to Tue 01.12. 02:00", "Tue 01.12. 22:00 to Wed 02.12. 02:00"],
        ),
        (
            'when = "Sat,Sun 00:00-24:00"',
            ["Sat 05.12. 00:00 to Mon 07.12. 00:00", "Sat 12.12. 00:00 to Mon 14.12. 00:00"],
        ),
        (
            'rrule = "FREQ=MONTHLY;BYDAY=1TU"\nstart = "03:00"\nduration = "2h"',
            ["Tue 01.12. 03:00 to Tue 01.12. 05:00", "Tue 05.01. 03:00 to Tue 05.01. 05:00"],
        ),
        (
            'rrule = "RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=SA"\nstart = 2026-11-14T23:00:00\nduration = "3h"',
            ["Sat 28.11. 23:00 to Sun 29.11. 02:00", "Sat 12.12. 23:00 to Sun 13.12. 02:00"],
        ),
        (
            'rrule = "FREQ=DAILY;COUNT=3"\nstart = "2026-11-29T01:00"\nduration = "30h"',
            ["Sun 29.11. 01:00 to Wed 02.12. 07:00"],
        ),
        (
            'rrule = "FREQ=WEEKLY;UNTIL=20261206T060000Z"\nstart = "2026-11-29T01:00"\nduration = "2h"',
            ["Sun 29.11. 01:00 to Sun 29.11. 03:00", "Sun 06.12. 01:00 to Sun 06.12. 03:00"],  # 01:00 there
        ),
        (
            'rrule = "FREQ=WEEKLY;UNTIL=20261206T055959Z"\nstart = "2026-11-29T01:00"\nduration = "2h"',
            ["Sun 29.11. 01:00 to Sun 29.11. 03:00"],
        ),
        (
            'rrule = "FREQ=WEEKLY;UNTIL=20261206"\nstart = "2026-11-29T01:00"\nduration = "2h"',
            ["Sun 29.11. 01:00 to Sun 29.11. 03:00", "Sun 06.12. 01:00 to Sun 06.12. 03:00"],
        ),
        ("from = 2026-12-24T18:00:00\nuntil = 2026-12-27T06:00:00", ["Thu 24.12. 18:00 to Sun 27.12. 06:00"]),
        (
            'from = "2026-12-24T18:00:00Z"\nuntil = "2026-12-24T20:00:00Z"',
            ["Thu 24.12. 13:00 to Thu 24.12. 15:00"],
        ),
        (
            'timezone = "UTC"\nwhen = "Tue 03:00-05:00"',
            ["Tue 01.12. 03:00 to Tue 01.12. 05:00", "Tue 08.12. 03:00 to Tue 08.12. 05:00"],
        ),
        (
            'intervals = [{ days_of_month = [-1], times = [{ start_time = "22:00", end_time = "24:00" }] }]',
            ["Mon 30.11. 22:00 to Tue 01.12. 00:00", "Thu 31.12. 22:00 to Fri 01.01. 00:00"],
        ),
        (
            'intervals = [{ weekdays = "saturday", times = ["23:00-01:00"], location = "Europe/Berlin" }]',
            ["Sat 28.11. 17:00 to Sat 28.11. 19:00", "Sat 05.12. 17:00 to Sat 05.12. 19:00"],
        ),
    ],
)
def test_when_it_is(text: str, spans: list[str]) -> None:
    assert coming(text + '\nchecks = ["*"]', count=2) == spans


@pytest.mark.parametrize(
    ("text", "covered"),
    [
        ('checks = ["*"]', ["api", "database"]),
        ('checks = "api"', ["api"]),
        ('checks = ["data*"]', ["database"]),
        ('tags = ["web"]', ["api"]),
        ("match = ['severity!=\"info\"', 'check=~\"d.*\"']", ["database"]),
        ('checks = ["*"]\ntags = "web"', ["api"]),
    ],
)
def test_what_it_covers(text: str, covered: list[str]) -> None:
    found = window('when = "Tue 03:00-05:00"\n' + text)
    facts = {"api": {"check": ("api",), "tag": ("web",)}, "database": {"check": ("database",)}}
    assert [name for name, known in facts.items() if covers(found.matchers, known)] == covered


def test_notice_and_comment() -> None:
    found = window('when = "Tue 03:00-05:00"\nchecks = "api"\nnotice = ["1h", "7d"]\ncomment = "kernels"')
    assert (found.notice, found.comment, found.when) == ((3_600.0, 604_800.0), "kernels", "Tue 03:00-05:00")


def test_a_window_that_is_over_is_warned_of() -> None:
    over = 'from = 2026-01-01T00:00:00\nuntil = 2026-01-02T00:00:00\nchecks = ["*"]'
    assert warned(over) == ["w.toml:11: maintenance.m: is over and does not come again (remove it)"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('checks = ["*"]', "maintenance.m: does not say when it is"),
        ('when = "Tue 03:00-05:00"', "maintenance.m: does not say what it covers"),
        ('when = "Tue 03:00-05:00"\nfrom = 2026-01-01T00:00:00\nchecks = "api"', "has `when` and `from`"),
        ('when = "00:00-24:00"\nchecks = "api"', "is the whole week"),
        ('when = "Tue 03:00-05:00"\nchecks = ["apo"]', 'there is no check "apo" (did you mean "api"?)'),
        ('when = "Tue 03:00-05:00"\ntags = ["wed"]', 'no check has the tag "wed" (did you mean "web"?)'),
        ('when = "Tue 03:00-05:00"\nmatch = "check~api"', "maintenance.m.match: column 6: expected =, !=, =~ or !~"),
        ("from = 2026-01-02T00:00:00\nuntil = 2026-01-01T00:00:00\nchecks = 'api'", "m.until: is not after `from`"),
        ("from = 2026-01-02T00:00:00\nchecks = 'api'", "`from` and `until` go together"),
        ('rrule = "FREQ=DAILY"\nchecks = "api"', "`rrule`, `start` and `duration` go together"),
        ('rrule = "FREQ=DAILY;INTERVAL=2"\nstart = "01:00"\nduration = "1h"\nchecks = "api"', "counts (INTERVAL), but"),
        ('rrule = "FREQ=HOURLY"\nstart = "01:00"\nduration = "1h"\nchecks = "api"', "does not say how often"),
        ('rrule = "every day"\nstart = "01:00"\nduration = "1h"\nchecks = "api"', "is no recurrence rule"),
        ('rrule = "FREQ=DAILY;BYHOUR=1"\nstart = "01:00"\nduration = "1h"\nchecks = "api"', "has BYHOUR"),
        ('rrule = "FREQ=MONTHLY;BYDAY=9ZZ"\nstart = "01:00"\nduration = "1h"\nchecks = "api"', "invalid 'BYDAY': 9ZZ"),
        ('rrule = "FREQ=DAILY;UNTIL=2026"\nstart = "01:00"\nduration = "1h"\nchecks = "api"', "UNTIL must be a day"),
        ('rrule = "FREQ=DAILY"\nstart = "noon"\nduration = "1h"\nchecks = "api"', "m.start: is no time"),
        ('rrule = "FREQ=DAILY"\nstart = "01:00"\nduration = "24h"\nchecks = "api"', "goes on for 370 d"),
        ('intervals = [{ months = ["martius"] }]\nchecks = "api"', '"martius" is no month'),
        ('intervals = [{}]\nchecks = "api"', "without a break"),
        ('when = "Tue 03:00-05:00"\nchecks = "api"\nnotice = ["1s"]', "m.notice[0]: must be between 1m and 90d"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    assert said in "\n".join(problems(text))


def test_a_rule_that_never_comes_is_not_looked_for_for_ever() -> None:
    rule = 'rrule = "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"\nstart = "01:00"\nduration = "1h"\nchecks = "api"'
    assert warned(rule) == ["w.toml:11: maintenance.m: is over and does not come again (remove it)"]
