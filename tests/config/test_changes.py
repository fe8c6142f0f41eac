"""Sections change and change_category: what is read, and what is said of what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from wcr_watchd.config.load import loads
from wcr_watchd.core.changes import Hooks, Phase, Step, Tick
from wcr_watchd.core.errors import ConfigError

CHECKS = "".join(
    f'[check.{name}]\ntype = "tcp"\naddress = "127.0.0.1:{port}"\n'
    for port, name in enumerate(("api", "api-2", "web"), 1)
)
CATEGORY = """
[change_category.feature]
worse_by = "40%"
pre = [{ text = "Backup", tick = "backups", within = "2h", required = true }]
during = [{ text = "Update", tick = "updated" }]
post = [{ text = "Logs", tick = "logs", for = "1h" }, { text = "Feedback", evidence = true }]
"""
CHANGE = """
[change.release]
category = "feature"
checks = ["api*"]
verify = ["api*", "web", "api"]
duration = "2h"
on = ["/bin/on", "now"]
off = ["/bin/off"]
"""


def test_a_change_and_its_category() -> None:
    off = '[check.api-3]\ntype = "tcp"\naddress = "127.0.0.1:4"\nenabled = false\n'
    setup = loads(CHECKS + off + CATEGORY + CHANGE, "test").setup
    plan = setup.changes["release"]
    assert plan.category is setup.change_categories["feature"]
    assert plan.category.steps == (
        Step(Phase.PRE, "Backup", Tick.BACKUPS, 7_200.0, required=True),
        Step(Phase.DURING, "Update", Tick.UPDATED),
        Step(Phase.POST, "Logs", Tick.LOGS, 3_600.0),
        Step(Phase.POST, "Feedback", evidence=True),
    )
    assert (plan.category.comparison, plan.category.worse_by) == (3_600.0, 0.4)
    assert (plan.length, plan.hooks) == (7_200.0, Hooks(("/bin/on", "now"), ("/bin/off",)))
    assert plan.verify == ("api", "api-2", "web"), "each once, and none that does not run"
    assert [str(one) for one in plan.matchers] == ['check=~"api.*"']


@pytest.mark.parametrize(
    ("was", "now", "key", "said"),
    [
        (
            '"feature"\nchecks',
            '"faeture"\nchecks',
            "change.release.category",
            'there is no category "faeture" (did you mean',
        ),
        ('verify = ["api*"', 'verify = ["apo"', "change.release.verify[0]", 'there is no check "apo" (did you mean'),
        ('verify = ["api*"', 'verify = ["x*"', "change.release.verify[0]", 'no check has a name like "x*"'),
        ('checks = ["api*"]\n', "", "change.release", "does not say what it touches"),
        ('off = ["/bin/off"]\n', "", "change.release", "`on` and `off` go together"),
        ('duration = "2h"', 'duration = "1s"', "change.release.duration", "must be between 1m and 31d"),
        ('duration = "2h"', 'tell = ["sms:ann"]', "change.release.tell[0]", 'there is no channel "sms"'),
        (', within = "2h"', "", "change_category.feature.pre[0]", "`within` and the tick `backups` go together"),
        ('tick = "updated"', 'for = "1h"', "change_category.feature.during[0]", "`for` goes with the ticks"),
        ('tick = "updated"', "required = true", "change_category.feature", "only a step of `pre` can be required"),
        ('tick = "updated"', 'tick = "upgraded"', "change_category.feature.during[0].tick", 'did you mean "updated"'),
        ('worse_by = "40%"', 'wurse_by = "40%"', "change_category.feature.wurse_by", 'did you mean "worse_by"'),
    ],
)
def test_what_cannot_be_used_is_named_with_its_place(was: str, now: str, key: str, said: str) -> None:
    text = CHECKS + CATEGORY + CHANGE
    assert was in text
    with pytest.raises(ConfigError) as refused:
        loads(text.replace(was, now, 1), "test")
    found = [str(problem) for problem in refused.value.problems if problem.key.startswith(key)]
    assert any(said.replace("`", "") in one.replace("`", "") for one in found), refused.value.problems


def test_a_category_without_steps_is_none() -> None:
    with pytest.raises(ConfigError, match="has no steps"):
        loads('[change_category.feature]\ncomment = "x"\n', "test")


def test_the_guides_three_categories_are_shipped() -> None:
    """By the guide: immediate, scheduled, planned; none starts without a verified backup younger than two hours."""
    root = Path(__file__).parents[2]
    text = (root / "etc" / "conf.d" / "96-changes.toml").read_text().split("[change.release]")[0]
    categories = loads(text, "96-changes.toml").setup.change_categories
    assert list(categories) == ["security", "feature", "performance"]
    for category in categories.values():
        steps = category.steps
        assert {Tick.STAGING, Tick.BACKUPS, Tick.TOLD, Tick.STARTED, Tick.UPDATED, Tick.VERIFIED, Tick.FINISHED,
                Tick.COMPARED, Tick.LOGS} <= {one.tick for one in steps}  # fmt: skip
        assert [(one.tick, one.span) for one in steps if one.required] == [(Tick.BACKUPS, 7_200.0)]
    spans = {
        name: next(one.span for one in some.steps if one.tick is Tick.STAGING) for name, some in categories.items()
    }
    assert spans == {"security": 600.0, "feature": 1_800.0, "performance": 1_800.0}
    assert any(one.tick is Tick.WINDOW for one in categories["feature"].steps)
    assert not any(one.tick is Tick.WINDOW for one in categories["security"].steps)


@pytest.mark.parametrize("category", ["security", "feature", "performance"])
def test_each_category_has_every_step_of_the_guides_update_process_in_its_order(category: str) -> None:
    root = Path(__file__).parents[2]
    text = (root / "etc" / "conf.d" / "96-changes.toml").read_text().split("[change.release]")[0]
    guide = (root / "tests" / "cases" / "system-maintenance-guide.md").read_text()
    steps = loads(text, "96-changes.toml").setup.change_categories[category].steps
    for phase, heading in ((Phase.PRE, "Pre"), (Phase.DURING, "During"), (Phase.POST, "Post")):
        asked = guide.split(f"#### {heading}-Update\n" if phase is not Phase.DURING else "#### During Update\n")[1]
        words = [line.partition(". ")[2] for line in asked.split("\n\n")[0].splitlines()]
        assert len(words) == 5
        ours = [step.text for step in steps if step.phase is phase]
        found = [next(at for at, one in enumerate(ours) if one.startswith(asked)) for asked in words]
        assert found == sorted(found), f"{phase}: {ours}"
