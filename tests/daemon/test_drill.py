"""Rehearsals against real receivers: what arrives, what is refused, who answers; and canaries of dead channels."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.harness import RunningDaemon, eventually, make_daemon
from tests.daemon.test_journeys import Receivers, receivers
from tests.real.servers.providers import Slack
from wcr_watchd.core.drill_report import DrillReport, DrillState
from wcr_watchd.store.recorded import Recorded

__all__ = ["make_daemon", "receivers"]

Daemons = Callable[..., RunningDaemon]

NIGHT = """
[contact.second]
phone = "+15550102"
[policy.night.critical]
tell = ["slack", "mail:lead"]
escalate = [{ after = "10m", tell = ["sms:second"] }]
repeat = "1m"
"""


def drilling(daemon: RunningDaemon, *options: str) -> subprocess.Popen[str]:
    """``wcr-watchd drill`` beside the test."""
    command = [sys.executable, "-m", "wcr_watchd", "drill", "--policy", "night", "--socket", str(daemon.socket)]
    return subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=daemon.folder
    )


def kept(daemon: RunningDaemon) -> tuple[DrillReport, ...]:
    """The drills in the records of a running daemon."""
    with Recorded(daemon.database) as records:
        return records.drills()


def test_a_drill_walks_the_escalation_until_somebody_acknowledges_it(
    make_daemon: Daemons, receivers: Receivers
) -> None:
    daemon = make_daemon(receivers.config() + NIGHT)
    drill = drilling(daemon, "--speed", "120", "--by", "ann")
    eventually(receivers.texts, "the second step is told")
    subject = receivers.subjects()[0]
    assert subject.startswith("[DRILL] prod: drill: this is a drill by ann")
    assert receivers.texts()[0].startswith("[DRILL] prod: drill: this is a drill")
    assert "[DRILL]" in str(receivers.slack.accepted[0].fields)
    number = subject.rpartition("#")[2]
    assert daemon.command("drill").returncode == 2, "one at a time"
    acknowledged = daemon.command("ack", number, "--by", "second")
    assert "drill #" in acknowledged.stdout, acknowledged.stderr
    said, _ = drill.communicate(timeout=60)
    assert drill.returncode == 0, said
    assert "at once: lead by mail: accepted in" in said
    assert "after 10 min: second by sms: accepted in" in said
    assert "messages were accepted; second acknowledged after" in said
    report = daemon.api("GET", f"/drills/{number}")
    assert (report["state"], report["acknowledged_by"]) == ("acknowledged", "second")
    assert daemon.incidents() == []
    assert daemon.command("ack", number).returncode == 2, "the drill is over"
    eventually(lambda: kept(daemon), "it is in the records")
    [over] = kept(daemon)
    assert (over.number, over.state, over.by, over.acknowledged_by) == (
        int(number),
        DrillState.ACKNOWLEDGED,
        "ann",
        "second",
    )
    assert [one.channel for one in over.messages if one.accepted].count("sms") == 1


def test_a_drill_says_what_was_not_accepted_and_that_nobody_answered(
    make_daemon: Daemons, receivers: Receivers, slack: Slack
) -> None:
    slack.archived = True
    daemon = make_daemon(receivers.config() + NIGHT)
    said, _ = (drill := drilling(daemon, "--speed", "10000", "--wait", "100ms")).communicate(timeout=60)
    assert drill.returncode == 1, said
    assert "slack: NOT accepted: " in said
    assert said.rstrip().endswith("nobody acknowledged")
    alone = daemon.command("drill", "--policy", "night", "--contact", "second", "--speed", "10000", "--wait", "100ms")
    assert "second by sms: accepted" in alone.stdout
    assert "slack" not in alone.stdout
    for wrong in (("--policy", "none"), ("--contact", "nobody"), ("--speed", "0"), ("--severity", "info")):
        refused = daemon.command("drill", *(("--policy", "night") if wrong[0] != "--policy" else ()), *wrong)
        assert refused.returncode == 2, refused.stdout


def test_a_canary_opens_an_incident_until_the_channel_delivers_again(
    make_daemon: Daemons, receivers: Receivers, slack: Slack
) -> None:
    config = receivers.config().replace('type = "slack"\n', 'type = "slack"\ncanary = "1s"\n')
    daemon = make_daemon(config)
    eventually(lambda: slack.accepted, "a canary arrives")
    assert "[TEST]" in str(slack.accepted[0].fields)
    assert daemon.incidents() == []
    slack.archived = True
    eventually(receivers.subjects, "somebody is told that the channel is dead")
    assert "wcr-watchd channel slack: the channel slack does not deliver: " in receivers.subjects()[0]
    (incident,) = daemon.incidents(open_only=True)
    assert (incident["check"], incident["subject"]) == ("wcr-watchd", "channel slack")
    slack.archived = False
    eventually(lambda: not daemon.incidents(open_only=True), "it delivers again")
    eventually(lambda: len(receivers.subjects()) == 2, "that is told as well")
    assert receivers.subjects()[1].startswith("[RESOLVED]")


@pytest.mark.parametrize(
    ("canary", "said"),
    [
        ('canary = "1d"\n', "channel.mail.canary"),
        ('canary = "1d"\ncanary_to = "leed"\n', 'did you mean "lead"'),
        ('canary = "10ms"\ncanary_to = "lead"\n', "must be at least 1s"),
    ],
)
def test_a_canary_needs_somebody_to_go_to(
    make_daemon: Daemons, receivers: Receivers, canary: str, said: str, tmp_path: Path
) -> None:
    daemon = make_daemon(receivers.config().replace('type = "email"\n', f'type = "email"\n{canary}'), start=False)
    checked = daemon.command("check-config", "-c", str(daemon.config))
    assert checked.returncode == 2
    assert said in checked.stderr
