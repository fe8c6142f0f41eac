"""The section objective: what is read, and what is said of what cannot be."""

from __future__ import annotations

import pytest

from wcr_watchd.config.load import loads
from wcr_watchd.core.errors import ConfigError
from wcr_watchd.core.objectives import DAY, Objective

CHECKS = """
[check.api]
type = "tcp"
address = "127.0.0.1:1"
[check.api-2]
type = "tcp"
address = "127.0.0.1:2"
[check.api-3]
type = "tcp"
address = "127.0.0.1:3"
enabled = false
"""


def test_an_objective_counts_the_checks_that_run() -> None:
    text = '[objective.api]\nchecks = ["api*", "api"]\ntarget = "99.9%"\n'
    text += 'period = "28d"\nleast_failures = 5\ncomment = "x"\n'
    (found,) = loads(CHECKS + text, "test").setup.objectives.values()
    assert found == Objective("api", ("api", "api-2"), 0.999, 28 * DAY, 5, "x")


def test_an_objective_over_the_month_of_a_bill() -> None:
    text = '[watchd]\ntimezone = "Europe/Berlin"\n' + CHECKS
    text += '[objective.a]\nchecks = ["api"]\ntarget = "99%"\nmonth_begins = 15\n'
    (found,) = loads(text, "test").setup.objectives.values()
    assert (found.month_begins, found.timezone, found.over) == (15, "Europe/Berlin", "a month from day 15")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('checks = ["api"]\ntarget = "99%"\nperiod = "30d"\nmonth_begins = 1', "a month or a period, not both"),
        ('checks = ["api"]\ntarget = "99%"\nmonth_begins = 32', "month_begins"),
        ('checks = ["apo"]\ntarget = "99%"', 'there is no check "apo" (did you mean'),
        ('checks = ["x*"]\ntarget = "99%"', 'no check has a name like "x*"'),
        ('checks = ["api"]\ntarget = "100%"', "must be from 50% to below 100%"),
        ('checks = ["api"]\ntarget = "99%"\nperiod = "1d"', "must be between 7d and 92d"),
        ('checks = ["api"]', "is missing"),
    ],
)
def test_what_cannot_be_used_says_why(line: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loads(f"{CHECKS}[objective.api]\n{line}\n", "test")
    assert said in str(refused.value)
