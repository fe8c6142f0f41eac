"""Contacts that are verified: on the page, in the API, and by the command."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.config import knowledge
from tests.core.world import PEOPLE
from tests.web.access import SECRETS, access_for
from tests.web.showcase import NOW, Showcase, example_tasks
from tests.web.test_web import Served, serve
from wcr_watchd.cli.main import cli
from wcr_watchd.core.task import TaskOutcome, TaskPhase, TaskRecord, TaskView

DAY = 86_400.0


class WithContacts(Showcase):
    """Of two contacts one was verified, the other is asked for nothing."""

    phase = TaskPhase.WAITING

    def __init__(self) -> None:
        super().__init__()
        self.setup = replace(self.setup, contacts=PEOPLE)

    async def tasks(self, timezone: str = "") -> Sequence[TaskView]:
        usual = next(example_tasks())
        done = TaskRecord("task.verify-lead", 1, TaskOutcome.DONE, NOW - DAY, by="ann", note="called; new <phone>")
        more = {"check": "task.verify-lead", "last": done, "last_success_at": NOW - DAY, "phase": self.phase}
        return (replace(usual, name="verify-lead", **more),)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    control = WithContacts()
    control.setup = replace(control.setup, knowledge=knowledge.loaded(tmp_path, bad="x").setup.knowledge)
    async for one in serve(access_for(), control=control, signed_in=True):
        yield one


async def test_the_page_says_who_was_verified_and_takes_it(served: Served) -> None:
    _, page = await served.get("/on-call")
    assert '<th scope="row">lead</th><td><span class="label">told by </span>phone, email</td>' in page
    assert "ann: called; new &lt;phone&gt;" in page
    assert '<span class="badge ok">verified</span>' in page
    assert "not asked for" in page
    status, _ = await served.post("/on-call/verified", {"contact": "lead", "note": "called"})
    assert status == 303
    assert served.control.asked == [("verify-lead done by operator: called", ())]


async def test_who_only_reads_sees_no_button_and_may_not_say_so(served: Served) -> None:
    viewer = {"Authorization": f"Bearer {SECRETS['viewer']}"}
    assert "/on-call/verified" not in (await served.get("/on-call", **viewer))[1]
    assert (await served.post("/on-call/verified", {"contact": "lead"}, **viewer))[0] == 403
    assert served.control.asked == []


async def test_the_api_lists_contacts_and_takes_a_verification(served: Served) -> None:
    _, text = await served.get("/api/v1/contacts")
    lead, second = json.loads(text)["contacts"]
    assert (lead["addresses"], lead["state"], lead["verified_by"]) == (["phone", "email"], "waiting", "ann")
    assert (second["state"], second["verified_at"], second["due"]) == (None, None, None)
    assert "+15550101" not in text
    status, text = await served.post("/api/v1/contacts/lead/verified", {"by": "kim", "note": "by mail"})
    assert (status, served.control.asked) == (200, [("verify-lead done by kim: by mail", ())])
    assert (await served.post("/api/v1/contacts/nobody/verified", {}))[0] == 404


async def command(socket: Path, *words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, cli, [*words, "--socket", str(socket)])


async def test_the_commands_ask_the_daemon(tmp_path: Path) -> None:
    control, socket = WithContacts(), tmp_path / "socket"
    control.setup = replace(control.setup, knowledge=knowledge.loaded(tmp_path, bad="x").setup.knowledge)
    async for _ in serve(access_for(), socket, control=control, signed_in=True):
        listed = await command(socket, "contact", "list")
        assert listed.exit_code == 0, listed.output
        assert "ann called; new <phone>" in listed.stdout
        control.phase = TaskPhase.OVERDUE
        assert (await command(socket, "contact", "list", "--json")).exit_code == 1
        said = await command(socket, "contact", "verified", "lead", "--by", "kim", "--note", "met him")
        assert "verify-lead is done" in said.stdout
        assert control.asked == [("verify-lead done by kim: met him", ())]
        book = await command(socket, "knowledge", "--due")
        assert "hosting" in book.stdout
        assert "database" not in book.stdout
        one = await command(socket, "knowledge", "hosting")
        assert "account: customer 4711" in one.stdout
        assert (await command(socket, "runbook", "mail")).exit_code == 1
        # An article that is about what an incident says is found by its number only.
        found = control.state.incidents[42]
        control.state.incidents[42] = replace(found, summary="FATAL: sorry, too many clients already")
        assert "article connections: What ate" not in (await command(socket, "runbook", "api")).stdout
        assert "article connections: What ate" in (await command(socket, "runbook", "#42")).stdout
        assert "there is no incident #77" in (await command(socket, "runbook", "77")).stderr
