"""``wcr-watchd change``: updates with a checklist, a window, and a comparison of before and after."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import click
from rich.markup import escape

from wcr_watchd.cli import render
from wcr_watchd.cli.client import call
from wcr_watchd.cli.options import FAILING, FINE, by_option, exits, json_option, socket_option
from wcr_watchd.core.errors import UnitError
from wcr_watchd.core.units import parse_duration

C = TypeVar("C", bound=Callable[..., Any])
PATIENCE = 900.0
"""Seconds to wait for an answer where programs and checks are run."""


def _common(command: C) -> C:
    for option in (json_option, socket_option, by_option):
        command = option(command)
    return command


def _number(command: C) -> C:
    return click.argument("number", type=int, metavar="ID")(_common(command))


def _wish(command: C) -> C:
    """What a change is about."""
    options = (
        click.argument("name", default=""),
        click.option("--category", default="", help="For a change that is not in the configuration: its category."),
        click.option("--title", default="", help="What exactly is done: 'release 2.3'."),
        click.option("--version", default="", help="Which version is to run afterwards; staging must run it: 2.3."),
        click.option("--check", multiple=True, help="A check that it touches; * stands for any part of its name."),
        click.option("--tag", multiple=True, help="All checks with this tag."),
        click.option("--match", "matchers", multiple=True, help="Matchers such as 'group=\"web\"'."),
        click.option("--for", "for_", help="How long its window is open: 2h; default: as configured, or 1h."),
    )
    command = _common(command)
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def change() -> None:
    """Updates: checklist, window, maintenance mode, and whether it is worse than before.

    NAME is a table [change.NAME] of the configuration, ID the number of a change.
    """


@change.command("prepare")
@_wish
@exits
def prepare(socket: Path, json_: bool, **what: Any) -> None:
    """Begin the checklist of a change, without starting it."""
    _done(call(socket, "POST", "/changes", _body(**what)), json_)


@change.command("start")
@_wish
@click.option("--override", default="", help="The reason to start although a required step is not done.")
@exits
def start(name: str, override: str, by: str | None, socket: Path, json_: bool, **what: Any) -> None:
    """Start a change: NAME, the ID of a prepared one, or --category with what it touches.

    Its window opens, so that nobody is told of what it covers, and maintenance mode is switched on.
    """
    if name.isdecimal():
        path, body = f"/changes/{name}/start", {"by": by, "override": override}
    else:
        path, body = "/changes/start", _body(name=name, by=by, **what) | {"override": override}
    _done(call(socket, "POST", path, body, PATIENCE), json_)


@change.command("verify")
@_number
@exits
def verify(number: int, by: str | None, socket: Path, json_: bool) -> int:
    """Run the checks of a change now, and compare with before it began.

    Exit status 1 when a check is not green or something is worse than before.
    """
    answer = call(socket, "POST", f"/changes/{number}/verify", {"by": by}, PATIENCE)
    _done(answer, json_)
    found = answer["change"]
    bad = not all(one["good"] for one in found["verified"])
    return FAILING if bad or any(one["finding"] == "worse" for one in found["compared"]) else FINE


@change.command("finish")
@_number
@click.option("--override", default="", help="The reason to finish although maintenance mode cannot be switched off.")
@exits
def finish(number: int, by: str | None, override: str, socket: Path, json_: bool) -> int:
    """End a change: maintenance mode off, window closed; what is still broken is told then.

    Exit status 1 when something is still bad.
    """
    answer = call(socket, "POST", f"/changes/{number}/finish", {"by": by, "override": override}, PATIENCE)
    _done(answer, json_)
    return FAILING if "still bad" in answer["done"] else FINE


@change.command("tick")
@_number
@click.argument("step", type=int)
@click.argument("text", nargs=-1)
@exits
def tick(number: int, step: int, text: tuple[str, ...], by: str | None, socket: Path, json_: bool) -> None:
    """Say that a STEP of the checklist is done, with evidence or a reason where it asks for one."""
    _done(call(socket, "POST", f"/changes/{number}/tick", {"by": by, "step": step, "text": " ".join(text)}), json_)


@change.command("tell")
@_number
@exits
def tell(number: int, by: str | None, socket: Path, json_: bool) -> None:
    """Tell those who must know that a change is about to begin."""
    _done(call(socket, "POST", f"/changes/{number}/tell", {"by": by}), json_)


@change.command("extend")
@_number
@click.option("--for", "for_", required=True, help="For how much longer: 30m.")
@exits
def extend(number: int, for_: str, by: str | None, socket: Path, json_: bool) -> None:
    """Keep the window of a change open for longer."""
    _done(call(socket, "POST", f"/changes/{number}/extend", {"by": by, "for": for_}), json_)


@change.command("abandon")
@_number
@click.argument("why", nargs=-1)
@exits
def abandon(number: int, why: tuple[str, ...], by: str | None, socket: Path, json_: bool) -> None:
    """Give up a change that did not start."""
    _done(call(socket, "POST", f"/changes/{number}/abandon", {"by": by, "text": " ".join(why)}), json_)


@change.command("note")
@click.argument("words", nargs=-1, required=True, metavar="[ID] TEXT")
@_common
@exits
def note(words: tuple[str, ...], by: str | None, socket: Path, json_: bool) -> None:
    """Write something into the log of a change or, without ID, into the log of modifications."""
    of_change = words[0].isdecimal() and len(words) > 1
    path = f"/changes/{words[0]}/notes" if of_change else "/modifications"
    _done(call(socket, "POST", path, {"by": by, "text": " ".join(words[1:] if of_change else words)}), json_)


@change.command("list")
@click.option("--all", "all_", is_flag=True, help="Also those that are over.")
@socket_option
@json_option
@exits
def list_(all_: bool, socket: Path, json_: bool) -> None:
    """The changes that are prepared or run."""
    rows = call(socket, "GET", "/changes" + ("?all=1" if all_ else ""))["changes"]
    if json_:
        render.as_json(rows)
    else:
        _print_list(rows)


@change.command("show")
@click.argument("number", type=int, metavar="ID")
@socket_option
@json_option
@exits
def show(number: int, socket: Path, json_: bool) -> None:
    """One change: its checklist, what was found, and its log."""
    found = call(socket, "GET", f"/changes/{number}")
    if json_:
        render.as_json(found)
    else:
        _print(found)


@change.command("log")
@click.option("--since", default="7d", show_default=True, help="So far back.")
@socket_option
@json_option
@exits
def log(since: str, socket: Path, json_: bool) -> None:
    """What became different: packages, images, files, certificates, settings, the configuration, and notes."""
    try:
        seconds = parse_duration(since)
    except UnitError as error:
        raise click.UsageError(str(error)) from None
    now = datetime.fromisoformat(call(socket, "GET", "/status")["now"]).timestamp()
    wanted = urlencode({"since": now - seconds, "limit": 1000})
    rows = call(socket, "GET", f"/modifications?{wanted}")["modifications"]
    if json_:
        render.as_json(rows)
    else:
        _print_log(rows)


def _print_list(rows: list[dict[str, Any]]) -> None:
    """A table of changes."""
    if not rows:
        render.console.print("no changes are prepared or run")
        return
    render.table(
        {
            "ID": [str(row["id"]) for row in rows],
            "STATE": [
                row["state"] + (" (overruns)" if row["overran"] and row["state"] == "running" else "") for row in rows
            ],
            "CHANGE": [escape(row["plan"]) for row in rows],
            "CATEGORY": [escape(row["category"]) for row in rows],
            "STEPS": [f"{row['steps_done']}/{row['steps_total']}" for row in rows],
            "STARTED": [render.local_time(row["started_at"]) for row in rows],
            "UNTIL": [render.local_time(row["finished_at"] or row["ends_at"]) for row in rows],
            "BY": [escape(row["by"]) for row in rows],
            "TITLE": [escape(row["title"]) for row in rows],
        }
    )


def _print(found: dict[str, Any]) -> None:
    """One change: the checklist with what each step waits for, what was found, and the log."""
    out = render.console
    out.print(
        f"[bold]{escape(found['name'])}[/], {found['state']}, category {escape(found['category'])}", soft_wrap=True
    )
    phase = ""
    for step in found["steps"]:
        if step["phase"] != phase:
            phase = step["phase"]
            out.print(f"{phase}:")
        out.print(f"  {'[green]✓[/]' if step['done_at'] else ' '} {_step(step)}", soft_wrap=True)
    for one in found["verified"]:
        if not one["good"]:
            state = one["severity"] if one["severity"] != "ok" else one["outcome"]
            out.print(f"  [red]{state}[/] {escape(one['check'])}: {escape(one['summary'])}", soft_wrap=True)
    for one in found["compared"]:
        if one["finding"] == "worse":
            out.print(f"  [red]worse[/] {escape(one['text'])}", soft_wrap=True)
    out.print("log:")
    for entry in found["log"]:
        by = f"{escape(entry['by'])}: " if entry["by"] else ""
        out.print(f"  {render.local_time(entry['at'])}  {by}{escape(entry['text'])}", soft_wrap=True)


def _step(step: dict[str, Any]) -> str:
    text = f"{step['number']}. {escape(step['text'])}"
    if step["done_at"]:
        note = f": {escape(step['note'])}" if step["note"] else ""
        return f"{text} ({escape(step['done_by'] or 'by itself')}{note})"
    return f"{text}{' [bold](required)[/]' if step['required'] else ''}: {escape(step['waits_for'])}"


def _print_log(rows: list[dict[str, Any]]) -> None:
    """A table of modifications."""
    if not rows:
        render.console.print("nothing became different")
        return
    render.table(
        {
            "AT": [render.local_time(row["at"]) for row in rows],
            "NOTICED BY": [escape(row["source"]) for row in rows],
            "WHAT": [escape(row["text"]) for row in rows],
        }
    )


def _body(name: str, for_: str | None, **what: Any) -> dict[str, Any]:
    """What :func:`_wish` was given, as the API takes it."""
    return {**what, "plan": name, "for": for_}


def _done(answer: dict[str, Any], json_: bool) -> None:
    """Say what came of a command, and what is still to be done."""
    if json_:
        render.as_json(answer)
        return
    click.echo(answer["done"])
    for line in answer.get("lines", ()):
        click.echo(f"  {line}")
