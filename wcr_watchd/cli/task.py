"""``wcr-watchd task``: what is due, how it went, and signing off or running what recurs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import click

from wcr_watchd.cli import complete, render
from wcr_watchd.cli.client import call
from wcr_watchd.cli.options import FAILING, FINE, by_option, done, exits, json_option, socket_option
from wcr_watchd.kit.local_zone import local_timezone

NOT_DONE = frozenset({"overdue", "failed"})


@click.group()
def task() -> None:
    """Work that recurs.

    It is run by the daemon, reported by its job, or done by a person and signed off.
    """


@task.command("list")
@click.argument("name", required=False, shell_complete=complete.tasks)
@socket_option
@json_option
@exits
def task_list(name: str | None, socket: Path, json_: bool) -> int:
    """All tasks, what is due first; with NAME, that task and how it ended the last times.

    Exit status 1 when one is overdue or has failed.
    """
    path = f"/tasks/{quote(name, safe='')}" if name else "/tasks"
    answer = call(socket, "GET", f"{path}?timezone={quote(local_timezone())}")
    rows = [answer] if name else answer["tasks"]
    if json_:
        render.as_json(answer if name else rows)
    else:
        render.tasks(rows)
        if name:
            render.task_details(answer)
    return FAILING if any(row["phase"] in NOT_DONE for row in rows) else FINE


@task.command("done")
@click.argument("name", shell_complete=complete.tasks)
@click.option("--note", default="", help="What was done, what was found.")
@click.option("--evidence", multiple=True, help="What shows it: a link, a file's name, a ticket; may be repeated.")
@by_option
@socket_option
@json_option
@exits
def task_done(name: str, note: str, evidence: tuple[str, ...], by: str | None, socket: Path, json_: bool) -> None:
    """Sign the task NAME off: somebody has done it."""
    body = {"by": by, "note": note, "evidence": list(evidence)}
    done(call(socket, "POST", f"/tasks/{quote(name, safe='')}/done", body), json_)


@task.command("add")
@click.argument("text")
@click.option("--incident", type=click.IntRange(min=1), required=True, help="The incident that it follows.")
@click.option("--owner", required=True, shell_complete=complete.people, help="Who does it.")
@click.option("--due", required=True, help="Until when: a date such as 2026-12-10.")
@by_option
@socket_option
@json_option
@exits
def task_add(text: str, incident: int, owner: str, due: str, by: str | None, socket: Path, json_: bool) -> None:
    """Plan TEXT as something to do after an incident: a task that comes once."""
    body = {"by": by, "text": text, "owner": owner, "due": due}
    done(call(socket, "POST", f"/incidents/{incident}/follow-ups", body), json_)


@task.command("run")
@click.argument("name", shell_complete=complete.tasks)
@by_option
@socket_option
@json_option
@exits
def task_run(name: str, by: str | None, socket: Path, json_: bool) -> None:
    """Have the daemon run the task NAME now, whatever its schedule and window say."""
    done(call(socket, "POST", f"/tasks/{quote(name, safe='')}/run", {"by": by}), json_)
