"""Commands that say what is watched, how it is, and what happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from wcr_watchd.cli import complete, render
from wcr_watchd.cli.client import call, every
from wcr_watchd.cli.options import FAILING, FINE, exits, json_option, socket_option

FAILURES = frozenset({"warning", "critical"})


@click.command("list")
@socket_option
@json_option
@exits
def list_(socket: Path, json_: bool) -> None:
    """What is watched."""
    rows = every(socket, "/checks", "checks")
    if json_:
        render.as_json(rows)
    else:
        render.targets(rows)


@click.command()
@socket_option
@json_option
@exits
def status(socket: Path, json_: bool) -> int:
    """How it is now.

    Exit status 1 when a check is failing, else 0.
    """
    now = call(socket, "GET", "/status")
    rows = every(socket, "/checks", "checks")
    if json_:
        render.as_json(now | {"all": rows})
    else:
        for problem in now["reload_problems"]:
            render.complain(f"the last reload was refused: {problem}")
        for warning in now["warnings"]:
            render.complain(f"warning: {warning}")
        render.checks(rows)
    return FAILING if any(_fails(row) for row in rows) else FINE


@click.command()
@socket_option
@click.option("--all", "all_", is_flag=True, help="Also those that are over.")
@click.option("--check", shell_complete=complete.checks, help="Only of this check.")
@json_option
@exits
def incidents(socket: Path, all_: bool, check: str | None, json_: bool) -> None:
    """What happened: open incidents, or --all."""
    wanted = {"limit": "200"} | ({} if all_ else {"open": "1"}) | ({"check": check} if check else {})
    rows = call(socket, "GET", f"/incidents?{urlencode(wanted)}")["incidents"]
    if json_:
        render.as_json(rows)
    else:
        render.incidents(rows)


@click.command()
@socket_option
@json_option
@exits
def objectives(socket: Path, json_: bool) -> None:
    """What share of the time must be up, how much of the error budget is left, and how fast it goes."""
    rows = call(socket, "GET", "/objectives")["objectives"]
    if json_:
        render.as_json(rows)
    else:
        render.objectives(rows)


@click.command()
@click.argument("check", required=False, shell_complete=complete.checks)
@socket_option
@json_option
@exits
def forecast(check: str | None, socket: Path, json_: bool) -> None:
    """When what rules have a forecast of meets their limits: disks, databases, budgets; of all checks or one."""
    asked = f"/forecasts?{urlencode({'check': check})}" if check else "/forecasts"
    rows = every(socket, asked, "forecasts")
    if json_:
        render.as_json(rows)
    else:
        render.forecasts(rows)


def _fails(row: dict[str, Any]) -> bool:
    return row["severity"] in FAILURES or row["outcome"] == "down"
