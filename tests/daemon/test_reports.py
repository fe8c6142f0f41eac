"""Reports of a running daemon: asked for, sent by mail with their pictures, kept, and missed when they fail."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.core.world import check, setup
from tests.daemon.harness import RunningDaemon, eventually
from tests.real.servers.mail import MailRelay
from tests.real.servers.providers import WEBHOOK_SECRET, Accepted, WebhookReceiver
from wcr_watchd.cli.client import RefusedError
from wcr_watchd.core import engine, notices
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.model import EventKind, Notification
from wcr_watchd.core.protocols import Batch
from wcr_watchd.core.report import Audience, Document, Filed, ReportKind, ReportPlan
from wcr_watchd.core.state import State
from wcr_watchd.runtime import reports
from wcr_watchd.runtime.reports import Records, Reporter

Daemons = Callable[..., RunningDaemon]

CONFIG = """
[channel.mail]
type = "email"
servers = ["{relay}"]
from = "watch@example.org"
tls = "none"
[contact.ann]
email = "ann@example.org"
[report.weekly]
schedule = "Mon 09:00"
tell = ["mail:ann"]
[check.here]
type = "certfile"
path = "/none"
[check.gone]
type = "tcp"
address = "127.0.0.1:9"
every = "1s"
timeout = "1s"
retry.times = 0
"""


@pytest.fixture
def relay() -> Iterable[MailRelay]:
    server = MailRelay(None)
    server.start()
    yield server
    server.stop()


def test_a_report_is_written_kept_and_sent(make_daemon: Daemons, relay: MailRelay, tmp_path: Path) -> None:
    daemon = make_daemon(CONFIG.format(relay=relay.url))
    eventually(lambda: daemon.outcome("here"), "the first result")
    done = daemon.command("report", "weekly", "--send")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("prod: weekly report\n")
    mail = eventually(lambda: relay.mails, "the mail")[0].message
    assert mail["Subject"].strip().startswith("[REPORT] prod: Week ")
    assert mail["To"] == "ann@example.org"
    parts = {part.get_content_type() for part in mail.walk()}
    assert {"multipart/mixed", "multipart/related", "text/plain", "text/html", "image/png"} <= parts
    pictures = {part["Content-ID"] for part in mail.walk() if part.get_content_type() == "image/png"}
    assert pictures == {"<days>"}
    assert [part.get_filename() for part in mail.iter_attachments()] == ["weekly.html"]

    daemon.environment["TZ"] = "Asia/Kolkata"
    made = datetime.fromisoformat(daemon.api("GET", "/reports")["reports"][0]["made_at"])
    shown = daemon.command("report", "list").stdout
    assert f"{made.astimezone(ZoneInfo('Asia/Kolkata')):%Y-%m-%d %H:%M}" in shown, "times are of the terminal's zone"
    [row] = daemon.command_json("report", "list")
    assert (row["number"], row["name"], row["scheduled"]) == (1, "weekly", False)
    assert daemon.command("report", "show", "1", "--as", "csv").stdout.startswith("check,group,availability")
    pdf = tmp_path / "report.pdf"
    assert daemon.command("report", "show", "1", "--as", "pdf", "-o", str(pdf)).returncode == 0
    refused = daemon.command("report", "show", "1", "--as", "csv", "-o", str(tmp_path / "none" / "report.csv"))
    assert refused.returncode == 2
    assert (
        "report.csv cannot be: No such file or directory; name another file: wcr-watchd report show 1" in refused.stderr
    )
    assert pdf.read_bytes().startswith(b"%PDF-")
    status, page = daemon.get("/reports")
    assert status == 200
    assert row["title"] in page
    assert daemon.get("/reports/1")[1].startswith("<!doctype html>")

    stakeholders = daemon.command("report", "write", "monthly", "--audience", "stakeholders", "--as", "json")
    assert "components" in json.loads(stakeholders.stdout)
    for words, said in (
        (("report", "write", "often"), "there is no report 'often'; there are: weekly, monthly"),
        (("report", "write", "monthly", "--send"), "nobody is told of the report monthly"),
        (("report", "show", "77"), "there is no report 77"),
    ):
        refused = daemon.command(*words)
        assert refused.returncode == 2
        assert said in refused.stderr
    daemon.kill()
    daemon.start()
    assert [one["number"] for one in daemon.command_json("report", "list")] == [2, 1]


def test_the_report_of_an_incident_is_sent_to_whom_somebody_says(make_daemon: Daemons, relay: MailRelay) -> None:
    daemon = make_daemon(CONFIG.format(relay=relay.url))
    number = str(eventually(daemon.incidents, "what is missing is an incident")[0]["id"])
    done = daemon.command("report", "incident", number, "--audience", "stakeholders", "--tell", "mail:ann")
    assert done.returncode == 0, done.stderr
    sent = eventually(lambda: relay.mails, "the report of the incident")[0]
    assert sent.message["Subject"].strip().startswith("[REPORT] prod: Disturbance of the platform on ")
    assert "It goes on" in sent.part("plain")
    assert "127.0.0.1" not in sent.message.as_string(), "what is inside is not told"
    assert "It goes on" in sent.part("html")
    assert [part.get_filename() for part in sent.message.iter_attachments()] == [f"incident-{number}.html"]
    for asked, said in (
        ({"report": "weekly", "tell": ["fax:ann"]}, 'there is no channel "fax"; there are: mail'),
        ({"report": "incident", "incident": int(number), "tell": ["mail:bob"]}, "nobody can be told: mail:bob"),
        ({"report": "incident", "incident": int(number), "send": True}, "say whom, such as --tell mail:ops"),
    ):
        with pytest.raises(RefusedError, match=re.escape(said)):
            daemon.api("POST", "/reports", asked)
    daemon.api("POST", "/reports", {"report": "monthly", "tell": ["mail:ann"]})
    eventually(lambda: len(relay.mails) == 2, "a report that nobody has on a list goes to whom it is sent")


PLANTED = """
[channel.zqx-mail]
type = "email"
servers = ["{relay}"]
from = "watch@example.org"
tls = "none"
[channel.board]
type = "webhook"
url = "{hook}"
secret = "{secret}"
[contact.zqx-ann]
email = "board@example.org"
[defaults]
policy = "zqx-policy"
[policy.zqx-policy.critical]
tell = ["board"]
[on_call.zqx-rota]
rotation = ["zqx-ann"]
handover = "Mon 09:00"
[check.zqx-check]
type = "command"
run = ["/bin/sh", "-c", "echo 'zqx-output of zqx-host'; exit 2"]
every = "1s"
timeout = "1s"
retry.times = 0
group = "zqx-group"
owner = "zqx-ann"
tags = ["zqx-tag"]
runbook = "https://zqx-runbook.example/"
[objective.zqx-objective]
checks = ["zqx-check"]
target = "99%"
comment = "zqx-comment"
[task.zqx-task]
schedule = "0 10 1 * *"
tags = ["rehearsal"]
owner = "zqx-ann"
about = "zqx-about"
[maintenance.zqx-window]
when = "Tue 03:00-05:00"
checks = ["*"]
comment = "zqx-comment"
[report.zqx-report]
kind = "monthly"
audience = "stakeholders"
schedule = "0 9 1 * *"
tell = ["zqx-mail:zqx-ann", "board"]
[status_page]
title = "Example status"
[status_page.component.shop]
name = "Shop"
checks = ["zqx-check"]
"""


def test_stakeholders_are_sent_nothing_of_what_is_inside(
    make_daemon: Daemons, relay: MailRelay, webhook_receiver: WebhookReceiver
) -> None:
    """Every name and every text in the configuration and the records has the same letters, which are not sent.

    But for the name of a channel: whoever is at its end reads it in the key of idempotency.
    """
    config = PLANTED.format(relay=relay.url, hook=webhook_receiver.url, secret=WEBHOOK_SECRET)
    daemon = make_daemon(config, start=False)
    daemon.watchd = 'location = "zqx-location"\n'
    daemon.write(config)
    daemon.config.write_text(daemon.config.read_text().replace('name = "prod"', 'name = "zqx-name"'))
    daemon.start()
    number = eventually(daemon.incidents, "what is planted fails")[0]["id"]
    said = {"by": "zqx-ann", "note": "zqx-note"}
    daemon.api("POST", f"/incidents/{number}/acknowledge", {"by": "zqx-ann"})
    daemon.api("POST", f"/incidents/{number}/notes", {"by": "zqx-ann", "text": "zqx-text"})
    daemon.api(
        "POST", f"/incidents/{number}/follow-ups", {"text": "More room", "owner": "zqx-ann", "due": "2030-01-01"}
    )
    daemon.api("POST", "/tasks/zqx-task/done", {**said, "evidence": ["https://zqx-evidence.example/"]})
    to = {"audience": "stakeholders", "tell": ["zqx-mail:zqx-ann", "board"]}
    asked = (
        {"report": "zqx-report", "send": True},
        {"report": "weekly", **to},
        {"report": "drill", **to},
        {"report": "incident", "incident": number, **to},
    )
    numbers = [daemon.api("POST", "/reports", wish)["number"] for wish in asked]

    def hooked() -> list[Accepted]:
        return [one for one in webhook_receiver.accepted if one.fields["event"] == "report"]

    eventually(lambda: len(relay.mails) == len(hooked()) == len(asked), "all are sent")
    found = {f"hook {at}": f"{one.headers} {one.fields}" for at, one in enumerate(hooked())}
    for at, mail in enumerate(relay.mails):
        for part in mail.message.walk():
            text = str(part.get_content()) if part.get_content_maintype() == "text" else ""
            found[f"mail {at} {part.get_content_type()} {part.get_filename()}"] = f"{part.items()} {text}"
    for written in numbers:
        for form in ("html", "txt", "json", "csv"):
            found[f"report {written} {form}"] = daemon.get(f"/reports/{written}/{form}")[1]
    leaks = [
        (name, found[name][max(0, at.start() - 60) : at.end() + 40])
        for name in found
        for at in re.finditer("zqx", found[name])
    ]
    assert leaks == []
    assert sum("Shop" in text for text in found.values()) > len(asked)


# --- on a schedule, by a virtual clock --------------------------------------------------------------------------------


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York")).timestamp()


@dataclass
class Desk:
    """A reporter on a clock of its own, with a writer that answers at once."""

    monkeypatch: pytest.MonkeyPatch
    begin: float
    plan: ReportPlan
    written: list[tuple[float, float, float]] = field(default_factory=list)
    kept: list[Filed] = field(default_factory=list)
    owed: list[Notification] = field(default_factory=list)
    events: list[EventKind] = field(default_factory=list)
    broken: str = ""

    def __post_init__(self) -> None:
        self.setup = setup(check("api"))
        self.state = State()
        self.time = self.begin

        async def write(wanted: reports.Wanted) -> Document:
            if self.broken:
                raise CommandError(self.broken)
            self.written.append((self.time, wanted.since, wanted.until))
            times = (wanted.now, wanted.since, wanted.until)
            return Document(wanted.name, wanted.kind, wanted.audience, "title", "summary", *times)

        self.monkeypatch.setattr(reports, "_written", write)
        self.reporter = Reporter(
            lambda: {self.plan.name: self.plan},
            dict,
            self,
            Records(self, Path("/none")),
            self,
            self.now,
            self.begin,  # type: ignore[arg-type]
        )

    def now(self) -> float:
        return self.time

    async def run(self, until: float) -> None:
        while self.time < until:
            self.time = min(until, self.time + await self.reporter.look())

    async def reports(self, *, name: str | None = None, limit: int = 100) -> list[Filed]:
        return self.kept[::-1][:limit]

    async def commit(self, batch: Batch) -> None:
        self.kept += batch.reports

    def owe(self, notifications: Iterable[Notification]) -> None:
        self.owed += notifications

    def report_fails(self, report: str, why: str) -> None:
        self._take(notices.report_fails(self.setup, self.state, report, why, self.time))

    def report_is_written(self, report: str) -> None:
        self._take(notices.report_is_written(self.setup, self.state, report, self.time))

    def _take(self, decision: engine.Decision) -> None:
        engine.apply(self.state, decision)
        self.events += [event.kind for event in decision.events]


WEEKLY = ReportPlan("weekly", ReportKind.WEEKLY, Audience.TEAM, "0 9 * * 1", "America/New_York")


async def test_a_year_of_weeks_has_each_day_once_also_when_clocks_change(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, at("2027-01-01 00:00"), WEEKLY)
    await desk.run(at("2028-03-10 00:00"))
    assert len(desk.written) == 62
    zone = ZoneInfo("America/New_York")
    for when, since, until in desk.written:
        local = datetime.fromtimestamp(when, zone)
        assert (local.weekday(), local.hour, local.minute) == (0, 9, 0)
        assert datetime.fromtimestamp(since, zone).hour == datetime.fromtimestamp(until, zone).hour == 0
    ends = [until for _, _, until in desk.written]
    assert [since for _, since, _ in desk.written][1:] == ends[:-1], "no day is missing and none is told twice"


async def test_months_of_a_leap_year(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(WEEKLY, name="monthly", kind=ReportKind.MONTHLY, schedule="0 9 1 * *")
    desk = Desk(monkeypatch, at("2028-01-01 12:00"), plan)
    await desk.run(at("2029-01-02 00:00"))
    days = [round((until - since) / 86_400) for _, since, until in desk.written]
    assert days == [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]


async def test_one_that_was_due_while_nobody_ran_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, at("2026-11-01 00:00"), WEEKLY)
    desk.time = at("2026-11-26 12:00")  # three Mondays later
    await desk.run(at("2026-11-29 00:00"))
    assert [(since, until) for _, since, until in desk.written] == [(at("2026-11-16 00:00"), at("2026-11-23 00:00"))]


async def test_one_that_cannot_be_written_is_an_incident_until_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, at("2026-11-23 08:00"), WEEKLY, broken="cannot read the records")
    await desk.run(at("2026-11-23 12:00"))
    assert desk.events == [EventKind.OPENED], "told once, however often it is tried"
    [incident] = desk.state.incidents.values()
    assert "the report weekly cannot be written: cannot read the records" in incident.summary
    desk.broken = ""
    await desk.run(at("2026-11-23 13:00"))
    assert desk.events == [EventKind.OPENED, EventKind.RESOLVED]
    assert len(desk.written) == 1
