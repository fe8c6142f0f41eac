"""``wcr-watchd dead-letters``: messages that could not be delivered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wcr_watchd.cli import render
from wcr_watchd.cli.client import call
from wcr_watchd.cli.options import by_option, done, exits, json_option, socket_option


@click.group("dead-letters", invoke_without_command=True)
@click.pass_context
@socket_option
@json_option
def dead_letters(context: click.Context, socket: Path, json_: bool) -> None:
    """Messages that could not be delivered.

    Without a command: which, why, and how often each was tried.
    """
    context.obj = socket
    if context.invoked_subcommand is None:
        _list(socket, json_)


@exits
def _list(socket: Path, json_: bool) -> None:
    rows = call(socket, "GET", "/dead-letters")["dead_letters"]
    if json_:
        render.as_json(rows)
    else:
        render.dead_letters(rows)


ids_argument = click.argument("ids", nargs=-1, metavar="[ID]...")
all_option = click.option("--all", "all_", is_flag=True, help="All that are on the list.")


@dead_letters.command()
@ids_argument
@all_option
@json_option
@click.pass_obj
@exits
def resend(socket: Path, ids: tuple[str, ...], all_: bool, json_: bool) -> None:
    """Send messages again, under the same key, so that nobody is told twice of what was taken after all."""
    done(call(socket, "POST", "/dead-letters/resend", _chosen(ids, all_)), json_)


@dead_letters.command()
@ids_argument
@all_option
@by_option
@json_option
@click.pass_obj
@exits
def discard(socket: Path, ids: tuple[str, ...], all_: bool, by: str | None, json_: bool) -> None:
    """Take messages off the list that need not be told any more."""
    body = _chosen(ids, all_) | ({"by": by} if by else {})
    done(call(socket, "POST", "/dead-letters/discard", body), json_)


def _chosen(ids: tuple[str, ...], all_: bool) -> dict[str, Any]:
    if bool(ids) == all_:
        raise click.UsageError("say which: an ID or several, or --all")
    return {"all": True} if all_ else {"ids": list(ids)}
