"""``wcr-watchd runbook`` and ``knowledge``: what to do about a check, and all that is written down."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click
from rich.markup import escape

from wcr_watchd.cli import complete, render
from wcr_watchd.cli.client import call, every
from wcr_watchd.cli.options import FAILING, FINE, exits, json_option, socket_option
from wcr_watchd.config import load as loading
from wcr_watchd.core.guidance import guidance_for_check
from wcr_watchd.core.knowledge import EntryKind
from wcr_watchd.core.units import format_duration
from wcr_watchd.web import shapes

Json = dict[str, Any]

config_option = click.option(
    "--config", "-c", type=click.Path(path_type=Path, dir_okay=False), help="By this file, without a daemon."
)


@click.command()
@click.argument("check", metavar="CHECK|INCIDENT", shell_complete=complete.checks)
@config_option
@socket_option
@json_option
@exits
def runbook(check: str, config: Path | None, socket: Path, json_: bool) -> int:
    """What to do about CHECK or INCIDENT (its number), and whom to ask.

    From the knowledge folder; exit status 1 when nothing is written down. With an incident also what is known of what
    it says.
    """
    if config:
        setup = loading.load(config).setup
        if check not in setup.checks:
            raise click.UsageError(f"no check named {check!r} in {config}")
        known = setup.checks[check]
        found = shapes.guidance(guidance_for_check(setup, known), known.runbook, time.time())
    elif (number := check.removeprefix("#")).isdecimal():
        found = call(socket, "GET", f"/incidents/{number}/guidance")
    else:
        found = call(socket, "GET", f"/checks/{quote(check, safe='')}/guidance")
    if json_:
        render.as_json(found)
    else:
        _show(found, check)
    return FINE if found["runbooks"] or found["runbook"] else FAILING


def _show(found: Json, check: str) -> None:
    if found["runbook"].startswith(("https://", "http://")):
        click.echo(f"{check}: {found['runbook']}")
    elif not found["runbooks"]:
        render.complain(f"no runbook is about {check}; write one into the knowledge folder, or set `runbook`")
    for entry in (*found["runbooks"], *found["vendors"]):
        _show_entry(entry)
    for entry in found["related"]:
        click.echo(f"see also the {entry['kind']} {entry['name']}: {entry['title']}")


def _show_entry(entry: Json) -> None:
    due = (", to be read again" if entry["reviewed"] else ", not read yet") if entry["due"] else ""
    render.console.print(f"[bold]{escape(entry['title'])}[/bold]")
    render.console.print(escape(f"{entry['kind']} {entry['file']}, kept by {entry['owner'] or 'nobody'}{due}"))
    support = entry["support"] or {"escalation": ()}
    for label, name in (("support", "address"), *((one, one) for one in ("hours", "account", "agreement"))):
        if support.get(name):
            render.console.print(escape(f"{label}: {support[name]}"))
    for level in support["escalation"]:
        render.console.print(escape(f"after {format_duration(level['after'])}: {level['contact']}"))
    click.echo(f"\n{entry['text']}\n")


@click.command()
@click.argument("name", required=False)
@click.option("--kind", type=click.Choice([kind.value for kind in EntryKind]), help="Only of this kind.")
@click.option("--find", "text", help="Only those with this text.")
@click.option("--due", is_flag=True, help="Only those that are to be read, for the first time or again.")
@socket_option
@json_option
@exits
def knowledge(name: str | None, kind: str | None, text: str | None, due: bool, socket: Path, json_: bool) -> None:
    """What is written down: runbooks, vendors, risks and articles; with NAME, that entry."""
    if name:
        found = call(socket, "GET", f"/knowledge/{quote(name, safe='')}")
        if json_:
            render.as_json(found)
        else:
            _show_entry(found)
        return
    asked = {"kind": kind, "q": text, "due": "1" if due else None}
    query = urlencode({key: value for key, value in asked.items() if value})
    rows = every(socket, f"/knowledge?{query}", "entries")
    if json_:
        render.as_json(rows)
        return
    columns = {
        "NAME": [escape(row["name"]) for row in rows],
        "KIND": [row["kind"] for row in rows],
        "TITLE": [escape(row["title"]) for row in rows],
        "OWNER": [escape(row["owner"]) for row in rows],
        "LAST READ": [
            row["reviewed"] + (", due" if row["due"] else "") if row["reviewed"] else "not yet" for row in rows
        ],
    }
    render.table(columns)
