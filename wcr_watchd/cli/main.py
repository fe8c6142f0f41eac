"""The ``wcr-watchd`` command.

Exit status: 0 fine, 1 a check is failing, 2 wrong usage or configuration, 3 no daemon.
"""

from __future__ import annotations

import importlib

import click
from click.shell_completion import get_completion_class

from wcr_watchd import __version__
from wcr_watchd.cli import render
from wcr_watchd.cli.options import exits, json_option

COMMANDS = {
    "accept": "try_out.accept",
    "ack": "incident.ack",
    "assign": "incident.assign",
    "audit": "access.audit",
    "change": "changes.change",
    "check-config": "configuration.check_config",
    "contact": "contact.contact",
    "dead-letters": "dead_letters.dead_letters",
    "drill": "drill.drill",
    "forecast": "state.forecast",
    "incidents": "state.incidents",
    "init": "configuration.init",
    "knowledge": "knowledge.knowledge",
    "list": "state.list_",
    "maintenance": "quiet.maintenance",
    "note": "incident.note",
    "notify-test": "try_out.notify_test",
    "objectives": "state.objectives",
    "on-call": "on_call.on_call",
    "policy": "reasons.policy",
    "probe": "probe.probe",
    "render": "messages.render_message",
    "replay": "replay.replay",
    "report": "reports.report",
    "resolve": "incident.resolve",
    "run": "run.run",
    "runbook": "knowledge.runbook",
    "schema": "configuration.schema",
    "sign-in-link": "access.sign_in_link",
    "silence": "quiet.silence",
    "status": "state.status",
    "status-page": "status_page.status_page",
    "task": "task.task",
    "user": "access.user",
    "why": "reasons.why",
}
"""Module and name of each command; a module is imported when its command is used, since the daemon's take a second."""


class _Commands(click.Group):
    """The commands of :data:`COMMANDS` beside those that are added here."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, name = COMMANDS[cmd_name].split(".")
        command: click.Command = getattr(importlib.import_module(f"wcr_watchd.cli.{module}"), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wcr-watchd", message="%(prog)s %(version)s")
def cli() -> None:
    """Watch a platform, tell the right person, and say when it cannot know."""


def main() -> None:
    """The entry point of the ``wcr-watchd`` command."""
    cli(prog_name="wcr-watchd")


@cli.command()
@json_option
@exits
def version(json_: bool) -> None:
    """Print the version."""
    if json_:
        render.as_json({"name": "wcr-watchd", "version": __version__})
    else:
        click.echo(f"wcr-watchd {__version__}")


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@exits
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    For bash: ``wcr-watchd completion bash > ~/.local/share/bash-completion/completions/wcr-watchd``.
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(found(cli, {}, "wcr-watchd", "_WCR_WATCHD_COMPLETE").source())
