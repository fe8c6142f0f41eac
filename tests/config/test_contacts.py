"""The section contacts: a task for each contact, unless somebody wrote one."""

from __future__ import annotations

import pytest

from wcr_watchd.config.load import loads
from wcr_watchd.core.errors import ConfigError
from wcr_watchd.core.protocols import Recurring
from wcr_watchd.core.task import TaskKind, TaskTerms

DAY = 86_400.0
PEOPLE = '[contact.ann]\nemail = "ann@example.org"\n[contact.ben]\nemail = "ben@example.org"\n'


def test_without_the_section_nobody_asks() -> None:
    assert loads(PEOPLE, "test").setup.checks == {}


def test_every_contact_has_a_task_that_comes_so_long_after_it_was_done() -> None:
    loaded = loads(PEOPLE + '[contacts]\nowner = "lead"\n', "test")
    assert list(loaded.setup.checks) == ["task.verify-ann", "task.verify-ben"]
    check, probe = loaded.setup.checks["task.verify-ann"], loaded.probes["task.verify-ann"]
    assert (check.owner, check.tags, check.target) == ("lead", ("contacts",), "90 d after it was last done")
    assert isinstance(probe, Recurring)
    assert probe.terms == TaskTerms(TaskKind.SIGNED, 14 * DAY, 7 * DAY, drifting=True)


def test_the_task_asks_its_contact() -> None:
    own = '[contacts]\n[task.verify-ben]\nschedule = "0 9 1 * *"\n[task.other]\nschedule = "0 9 1 * *"\n'
    checks = loads(PEOPLE + own, "test").setup.checks
    assert {name: one.asks for name, one in checks.items()} == {
        "task.verify-ann": "ann",
        "task.verify-ben": "ben",
        "task.other": "",
    }
    without = loads(PEOPLE + '[task.verify-ben]\nschedule = "0 9 1 * *"\n', "test").setup.checks
    assert without["task.verify-ben"].asks == ""


def test_how_often_is_said_and_a_task_of_ones_own_stands_in_its_place() -> None:
    own = '[contacts]\nverify_every = "30d"\ngrace = "1d"\n[task.verify-ben]\nschedule = "0 9 1 * *"\nowner = "ann"\n'
    checks = loads(PEOPLE + own, "test").setup.checks
    assert checks["task.verify-ann"].target.startswith("30 d after")
    assert checks["task.verify-ben"].owner == "ann"


def test_what_is_wrong_is_said_once_and_where_it_stands() -> None:
    with pytest.raises(ConfigError) as refused:
        loads('[contacts]\nverify_evry = "30d"\n[contact."a b"]\nemail = "a@example.org"\n', "test")
    assert [str(one) for one in refused.value.problems] == [
        'test:2: contacts.verify_evry: unknown key "verify_evry" (did you mean "verify_every"?)',
        'test:3: contact."a b": is no usable name (use letters, digits, dot, dash and underscore, at most 100)',
    ]
    with pytest.raises(ConfigError) as refused:
        loads('[contacts]\n[contact."a b"]\nemail = "a@example.org"\n', "test")
    assert len(refused.value.problems) == 1
