"""``wcr-watchd silence`` and ``wcr-watchd maintenance``: tell nobody, for a stated time and reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click

from wcr_watchd.cli import render
from wcr_watchd.cli.client import call
from wcr_watchd.cli.options import by_option, done, exits, json_option, socket_option

C = TypeVar("C", bound=Callable[..., Any])


def what_and_how_long(command: C) -> C:
    """The options that say what is covered, for how long and why."""
    options = (
        click.argument("matchers", nargs=-1),
        click.option("--check", multiple=True, help="A check; * stands for any part of its name."),
        click.option("--tag", multiple=True, help="All checks with this tag."),
        click.option("--for", "for_", required=True, help="For how long: 2h, 1d."),
        click.option("--from", "from_", help="When it begins (2026-12-01T03:00:00-05:00); default: now."),
        click.option("--comment", default="", help="Why."),
        by_option,
        socket_option,
        json_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def silence() -> None:
    """Tell nobody of a known problem.

    For a stated time; measuring goes on, and what is still wrong at the end is told then.
    """


@silence.command("add")
@what_and_how_long
@exits
def silence_add(socket: Path, json_: bool, **what: Any) -> None:
    """Silence what all of these cover: --check, --tag and MATCHERS such as 'group="web"' or 'severity!="critical"'."""
    done(call(socket, "POST", "/silences", _body(**what)), json_)


@silence.command("list")
@click.option("--all", "all_", is_flag=True, help="Also those that are over.")
@socket_option
@json_option
@exits
def silence_list(all_: bool, socket: Path, json_: bool) -> None:
    """The silences that hold or are to come."""
    rows = call(socket, "GET", "/silences" + ("?all=1" if all_ else ""))["silences"]
    if json_:
        render.as_json(rows)
    else:
        render.silences(rows, "no silences")


@silence.command("expire")
@click.argument("id_", metavar="ID")
@socket_option
@json_option
@exits
def silence_expire(id_: str, socket: Path, json_: bool) -> None:
    """End the silence ID now; its first characters will do. What is still broken is told."""
    done(call(socket, "DELETE", f"/silences/{quote(id_, safe='')}"), json_)


@click.group()
def maintenance() -> None:
    """Announce work, and see what is planned."""


@maintenance.command("start")
@what_and_how_long
@exits
def maintenance_start(socket: Path, json_: bool, **what: Any) -> None:
    """Start maintenance of what all of these cover: --check, --tag and MATCHERS such as 'group="web"'."""
    done(call(socket, "POST", "/maintenance", _body(**what)), json_)


@maintenance.command("stop")
@click.argument("id_", metavar="ID|NAME")
@by_option
@socket_option
@json_option
@exits
def maintenance_stop(id_: str, by: str | None, socket: Path, json_: bool) -> None:
    """End maintenance now: started with this ID, or the planned window NAME for this time."""
    done(call(socket, "DELETE", f"/maintenance/{quote(id_, safe='')}", {"by": by}), json_)


@maintenance.command("list")
@click.option("--all", "all_", is_flag=True, help="Also what was started and is over.")
@socket_option
@json_option
@exits
def maintenance_list(all_: bool, socket: Path, json_: bool) -> None:
    """The planned windows with their next times, and what was started by hand."""
    answer = call(socket, "GET", "/maintenance" + ("?all=1" if all_ else ""))
    if json_:
        render.as_json(answer)
        return
    render.windows(answer["windows"])
    render.silences(answer["started"], "nothing was started by hand")


def _body(for_: str, from_: str | None, **what: Any) -> dict[str, Any]:
    """What :func:`what_and_how_long` was given, as the API takes it."""
    return {**what, "for": for_, "starts_at": from_}
