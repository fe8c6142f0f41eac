"""``wcr-watchd report``: write a report now, or read one that was written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from wcr_watchd.cli import render
from wcr_watchd.cli.client import call, fetch
from wcr_watchd.cli.options import exits, json_option, socket_option
from wcr_watchd.core.errors import CommandError

WRITTEN_WITHIN = 150.0
"""Seconds; a month of 500 checks takes some."""
FORMS = ("txt", "html", "json", "csv", "pdf")

form_option = click.option(
    "--as", "form", type=click.Choice(FORMS), default="txt", show_default=True, help="In which form."
)
output_option = click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="File to write it to; default: here."
)
tell_option = click.option("--tell", multiple=True, metavar="CHANNEL:CONTACT", help="Send it to these: mail:ops.")


class _Reports(click.Group):
    """The name of a report in place of a command writes it."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = args[0] in self.commands or args[0].startswith("-")
        return super().resolve_command(ctx, args if known else ["write", *args])


@click.group(cls=_Reports)
def report() -> None:
    """Write a report of a week, month or quarter, or read one: `wcr-watchd report weekly` writes one and shows it."""


@report.command("write")
@click.argument("name")
@click.option("--audience", type=click.Choice(["team", "stakeholders"]), help="For whom; default: as configured.")
@click.option("--send", is_flag=True, help="Send it to whom its [report.NAME] tells.")
@tell_option
@form_option
@output_option
@socket_option
@exits
def write(
    name: str,
    audience: str | None,
    send: bool,
    tell: tuple[str, ...],
    form: str,
    output: Path | None,
    socket: Path,
) -> None:
    """Write the report NAME (weekly, monthly, drill, or a configured one) of the time up to now, and show it."""
    body: dict[str, Any] = {"report": name, "send": send, "tell": tell} | ({"audience": audience} if audience else {})
    _show(socket, call(socket, "POST", "/reports", body, WRITTEN_WITHIN)["number"], form, output)


@report.command("incident")
@click.argument("incident", type=click.IntRange(min=1))
@click.option("--audience", type=click.Choice(["team", "stakeholders"]), default="team", help="For whom.")
@tell_option
@form_option
@output_option
@socket_option
@exits
def incident(incident: int, audience: str, tell: tuple[str, ...], form: str, output: Path | None, socket: Path) -> None:
    """Write the report of the INCIDENT of this number: facts, the four texts of its review, follow-ups; and show it."""
    body = {"report": "incident", "incident": incident, "audience": audience, "tell": tell}
    _show(socket, call(socket, "POST", "/reports", body, WRITTEN_WITHIN)["number"], form, output)


@report.command("show")
@click.argument("number", type=int)
@form_option
@output_option
@socket_option
@exits
def show(number: int, form: str, output: Path | None, socket: Path) -> None:
    """Show the report NUMBER."""
    _show(socket, number, form, output)


@report.command("list")
@socket_option
@json_option
@exits
def list_(socket: Path, json_: bool) -> None:
    """The reports that are kept."""
    rows = call(socket, "GET", "/reports")["reports"]
    if json_:
        render.as_json(rows)
        return
    for row in rows:
        made = render.local_time(row["made_at"])
        click.echo(f"{row['number']:>5}  {made}  {row['name']:<12}  {row['title']}: {row['summary']}")
    if not rows:
        click.echo("no reports so far; write one: wcr-watchd report write weekly")


def _show(socket: Path, number: int, form: str, output: Path | None) -> None:
    content = fetch(socket, f"/reports/{number}/{form}")
    if output is not None:
        try:
            output.write_bytes(content)
        except OSError as error:
            raise CommandError(
                f"report {number} is written and kept, but {output} cannot be: {error.strerror}; "
                f"name another file: wcr-watchd report show {number} --as {form} -o FILE"
            ) from error
        click.echo(f"report {number} is in {output}")
    else:
        sys.stdout.buffer.write(content)
