"""``wcr-watchd status-page``: what the public status page says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import click
from rich.markup import escape
from rich.table import Table

from wcr_watchd.cli import render
from wcr_watchd.cli.client import call, every
from wcr_watchd.cli.options import by_option, done, exits, json_option, socket_option

C = TypeVar("C", bound=Callable[..., Any])
STATES = click.Choice(["investigating", "identified", "monitoring", "resolved"])
IMPACTS = click.Choice(["none", "minor", "major", "critical"])
draft_option = click.option("--draft", is_flag=True, help="Keep it as a draft that somebody publishes later.")


def _common(command: C) -> C:
    for option in (json_option, socket_option, by_option):
        command = option(command)
    return command


@click.group("status-page")
def status_page() -> None:
    """What the public status page says: list, write and publish posts."""


@status_page.command("posts")
@click.option("--open", "open_", is_flag=True, help="Only what is not resolved.")
@socket_option
@json_option
@exits
def posts(open_: bool, socket: Path, json_: bool) -> None:
    """The posts with their drafts, newest first."""
    rows = call(socket, "GET", "/status-posts" + ("?open=1" if open_ else ""))["posts"]
    if json_:
        render.as_json(rows)
        return
    if not rows:
        click.echo("no posts")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("ID", "STATE", "PUBLIC", "TITLE", "COMPONENTS", "SINCE"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        public = "partly" if row["published"] and row["drafts"] else "yes" if row["published"] else "draft"
        since = render.local_time(row["created_at"])
        table.add_row(row["id"], row["state"], public, escape(row["title"]), ", ".join(row["components"]), since)
    render.console.print(table)


@status_page.command("post")
@click.argument("title")
@click.argument("text")
@click.option("--component", "components", multiple=True, help="A component that it concerns, by its NAME.")
@click.option("--impact", type=IMPACTS, default="minor", show_default=True, help="How bad it is for visitors.")
@click.option("--state", type=STATES, default="investigating", show_default=True, help="Where the work stands.")
@draft_option
@_common
@exits
def post(draft: bool, socket: Path, json_: bool, **what: Any) -> None:
    """Begin a post with a TITLE and a first TEXT."""
    done(call(socket, "POST", "/status-posts", {**what, "publish": not draft}), json_)


@status_page.command("update")
@click.argument("id_", metavar="ID")
@click.argument("state", type=STATES)
@click.argument("text")
@draft_option
@_common
@exits
def update(id_: str, draft: bool, socket: Path, json_: bool, **what: Any) -> None:
    """Say in the post ID what the STATE is now."""
    done(call(socket, "POST", f"/status-posts/{quote(id_, safe='')}/updates", {**what, "publish": not draft}), json_)


@status_page.command("publish")
@click.argument("id_", metavar="ID")
@_common
@exits
def publish(id_: str, by: str | None, socket: Path, json_: bool) -> None:
    """Make the drafts of the post ID public; subscribers are told."""
    done(call(socket, "POST", f"/status-posts/{quote(id_, safe='')}/publish", {"by": by}), json_)


@status_page.command("discard")
@click.argument("id_", metavar="ID")
@_common
@exits
def discard(id_: str, by: str | None, socket: Path, json_: bool) -> None:
    """Throw the drafts of the post ID away."""
    done(call(socket, "POST", f"/status-posts/{quote(id_, safe='')}/discard", {"by": by}), json_)


@status_page.command("subscribers")
@click.option("--search", default="", metavar="TEXT", help="Only those with this text in their address.")
@socket_option
@json_option
@exits
def subscribers(search: str, socket: Path, json_: bool) -> None:
    """Who has mails sent about what is published."""
    rows = every(socket, f"/status-subscribers?{urlencode({'q': search})}", "subscribers")
    if json_:
        render.as_json(rows)
    elif not rows:
        click.echo("no subscribers")
    else:
        render.table(
            {
                "ID": [row["id"] for row in rows],
                "ADDRESS": [escape(row["address"]) for row in rows],
                "SINCE": [render.local_time(row["since"]) for row in rows],
            }
        )


@status_page.command("unsubscribe")
@click.argument("id_", metavar="ID")
@socket_option
@json_option
@exits
def unsubscribe(id_: str, socket: Path, json_: bool) -> None:
    """End a subscription by its ID."""
    done(call(socket, "DELETE", f"/status-subscribers/{quote(id_, safe='')}"), json_)
