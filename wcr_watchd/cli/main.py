"""The ``wcr-watchd`` command.

Exit status: 0 fine, 1 a check is failing, 2 wrong usage or configuration, 3 no daemon.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, get_origin
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import click
from click.shell_completion import get_completion_class
from rich.progress import Progress

from wcr_watchd import __version__
from wcr_watchd.cli import complete, render
from wcr_watchd.cli.access import audit, sign_in_link, user
from wcr_watchd.cli.changes import change
from wcr_watchd.cli.client import call, every, runtime_directory
from wcr_watchd.cli.complete import DEFAULT_CONFIG
from wcr_watchd.cli.contact import contact
from wcr_watchd.cli.drill import drill
from wcr_watchd.cli.knowledge import knowledge, runbook
from wcr_watchd.cli.messages import dead_letters, render_message
from wcr_watchd.cli.options import (
    FAILING,
    FINE,
    by_option,
    config_file,
    config_option,
    done,
    exits,
    json_option,
    socket_option,
)
from wcr_watchd.cli.quiet import maintenance, silence
from wcr_watchd.cli.reasons import policy, why
from wcr_watchd.cli.replay import replay
from wcr_watchd.cli.reports import report
from wcr_watchd.cli.status_page import status_page
from wcr_watchd.cli.task import task
from wcr_watchd.config import discover as discovery
from wcr_watchd.config import load as loading
from wcr_watchd.config import schema as schemas
from wcr_watchd.config import show as showing
from wcr_watchd.config.faults import did_you_mean
from wcr_watchd.config.load import Loaded
from wcr_watchd.config.typed import PROBES
from wcr_watchd.config.warnings import warnings
from wcr_watchd.core.errors import UnitError
from wcr_watchd.core.units import parse_duration
from wcr_watchd.daemon.in_force import read_configuration
from wcr_watchd.daemon.lifecycle import run_daemon
from wcr_watchd.daemon.once import run_checks_once
from wcr_watchd.kit.local_zone import local_timezone
from wcr_watchd.kit.log import configure as configure_logging
from wcr_watchd.kit.plugins import PluginError
from wcr_watchd.kit.plugins import load as load_plugin
from wcr_watchd.kit.redact import Redactor
from wcr_watchd.web import shapes

FAILURES = frozenset({"warning", "critical"})
FEW = 5
"""Checks that are carried out by hand without a display of how far they are."""
MOST_NAMED = 20
"""Checks that are all named to somebody who named one that does not exist."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wcr-watchd", message="%(prog)s %(version)s")
def cli() -> None:
    """Watch a platform, tell the right person, and say when it cannot know."""


cli.add_command(dead_letters)
cli.add_command(render_message)
cli.add_command(silence)
cli.add_command(maintenance)
cli.add_command(change)
cli.add_command(replay)
cli.add_command(report)
cli.add_command(drill)
cli.add_command(why)
cli.add_command(policy)
cli.add_command(task)
cli.add_command(status_page)
cli.add_command(runbook)
cli.add_command(knowledge)
cli.add_command(contact)
cli.add_command(sign_in_link)
cli.add_command(user)
cli.add_command(audit)


def main() -> None:
    """The entry point of the ``wcr-watchd`` command."""
    cli(prog_name="wcr-watchd")


@cli.command()
@config_option
@click.option("--socket", type=click.Path(path_type=Path), help="Unix socket to listen on for commands.")
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Least level that is logged.",
)
@exits
def run(config: Path | None, socket: Path | None, log_level: str) -> int:
    """Run the daemon in the foreground.

    Without a configuration it discovers what stands on this host and watches that.
    """
    path = config_file(config)
    loaded = read_configuration(path)
    redactor = Redactor(loaded.secrets)
    configure_logging(log_level, redactor)
    try:
        asyncio.run(run_daemon(path, loaded, socket or runtime_directory() / "control.sock", redactor))
    except OSError as error:
        render.complain(f"cannot start: {error}; another program may use that address, or [web] listen is wrong")
        return FAILING
    except ExceptionGroup:  # a part failed and has logged why; the service manager starts the daemon again
        return FAILING
    return FINE


@cli.command("check-config")
@config_option
@click.option(
    "--show",
    metavar="NAME",
    shell_complete=complete.checks,
    help="Print the effective settings of one check and where each comes from.",
)
@json_option
@exits
def check_config(config: Path | None, show: str | None, json_: bool) -> None:
    """Say what is wrong with the configuration.

    Prints every mistake at once, with its file and line and what would be right; exit status 2 when there is one.
    """
    path = config or DEFAULT_CONFIG
    loaded = loading.load(path)
    if show:
        _show_check(loaded, show, json_)
        return
    warned = [str(one) for one in warnings(loaded, time.time())]
    summary = {"file": str(path), "checks": len(loaded.setup.checks), "channels": len(loaded.setup.channels)}
    if json_:
        render.as_json(summary | {"warnings": warned})
    else:
        for warning in warned:
            render.complain(f"warning: {warning}")
        click.echo(f"{path}: fine; {summary['checks']} checks, {summary['channels']} channels")


def _show_check(loaded: Loaded, name: str, json_: bool) -> None:
    _must_exist((name,), loaded.every_check.checks)
    settings = showing.effective(loaded, name)
    if json_:
        render.as_json(settings)
    else:
        click.echo(showing.as_toml(settings))


@cli.command()
@exits
def init() -> None:
    """Print a configuration for this host.

    Discovers what stands here (disks, listening servers, certificates, services) and prints a commented file (TOML):
    ``wcr-watchd init > watchd.toml``.
    """
    click.echo(discovery.render(discovery.discover()), nl=False)


@cli.command()
@exits
def schema() -> None:
    """Print the configuration's JSON Schema.

    With it editors complete and check the file.
    """
    render.as_json(schemas.json_schema())


@cli.command()
@json_option
@exits
def version(json_: bool) -> None:
    """Print the version."""
    if json_:
        render.as_json({"name": "wcr-watchd", "version": __version__})
    else:
        click.echo(f"wcr-watchd {__version__}")


@cli.command("list")
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


@cli.command()
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


@cli.command()
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


@cli.command()
@socket_option
@json_option
@exits
def objectives(socket: Path, json_: bool) -> None:
    """What share of runs must be up, how much of the error budget is left, and how fast it goes."""
    rows = call(socket, "GET", "/objectives")["objectives"]
    if json_:
        render.as_json(rows)
    else:
        render.objectives(rows)


@cli.command("on-call")
@click.option("--at", metavar="TIME", help="From this time on: 2026-12-24T18:00 (of this machine), or with an offset.")
@click.option("--next", "ahead", default="7d", show_default=True, help="So far ahead.")
@click.option("--config", "-c", type=click.Path(path_type=Path, dir_okay=False), help="By this file, without a daemon.")
@socket_option
@json_option
@exits
def on_call(at: str | None, ahead: str, config: Path | None, socket: Path, json_: bool) -> None:
    """Who is on call, now and in the next days."""
    start = _moment(at) if at else time.time()
    until = start + _duration(ahead)
    if config:
        schedules = loading.load(config).setup.on_call.values()
        rows = [shapes.on_call(schedule, time.time(), start, until) for schedule in schedules]
    else:
        rows = call(socket, "GET", f"/on-call?{urlencode({'from': start, 'until': until})}")["schedules"]
    if json_:
        render.as_json(rows)
    else:
        render.on_call(rows)


@cli.command()
@click.argument("number", type=int, shell_complete=complete.open_incidents)
@by_option
@click.option("--for", "for_", help="Only for so long (2h); then it is told again.")
@click.option("--sticky", is_flag=True, help="Also when it gets worse.")
@socket_option
@json_option
@exits
def ack(number: int, by: str | None, for_: str | None, sticky: bool, socket: Path, json_: bool) -> None:
    """Take an incident, so that reminders stop.

    Escalation stops as well, until it is over or gets worse; whoever was told learns who has it. NUMBER is the
    incident's, without the #.
    """
    body = {"by": by, "for": for_, "sticky": sticky}
    done(call(socket, "POST", f"/incidents/{number}/acknowledge", body), json_)


@cli.command()
@click.argument("number", type=int, shell_complete=complete.open_incidents)
@by_option
@socket_option
@json_option
@exits
def resolve(number: int, by: str | None, socket: Path, json_: bool) -> None:
    """End an incident by hand.

    It goes on if its check still fails. NUMBER is the incident's, without the #.
    """
    done(call(socket, "POST", f"/incidents/{number}/resolve", {"by": by}), json_)


@cli.command()
@click.argument("number", type=int, shell_complete=complete.open_incidents)
@click.argument("text", nargs=-1, required=True)
@by_option
@socket_option
@json_option
@exits
def note(number: int, text: tuple[str, ...], by: str | None, socket: Path, json_: bool) -> None:
    """Add a line to an incident's timeline."""
    done(call(socket, "POST", f"/incidents/{number}/notes", {"by": by, "text": " ".join(text)}), json_)


@cli.command()
@click.argument("number", type=int, shell_complete=complete.open_incidents)
@click.argument("owner", default="")
@by_option
@socket_option
@json_option
@exits
def assign(number: int, owner: str, by: str | None, socket: Path, json_: bool) -> None:
    """Say who works on an incident.

    Without OWNER: nobody. NUMBER is the incident's, without the #.
    """
    done(call(socket, "POST", f"/incidents/{number}/owner", {"by": by, "owner": owner}), json_)


@cli.command("notify-test")
@click.argument("channel", shell_complete=complete.channels)
@click.argument("who", required=False, default="", shell_complete=complete.people)
@socket_option
@json_option
@exits
def notify_test(channel: str, who: str, socket: Path, json_: bool) -> None:
    """Send a test message over CHANNEL.

    WHO is a contact or an on-call schedule, where the channel needs one.
    """
    done(call(socket, "POST", f"/channels/{quote(channel, safe='')}/test", {"who": who}), json_)


@cli.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": True}
)
@click.argument("names", nargs=-1, shell_complete=complete.checks)
@click.option(
    "--type",
    "type_",
    shell_complete=complete.probe_types,
    help="Probe type, for a check that is not configured: --type http --url …",
)
@click.option("--tag", help="All checks with this tag.")
@click.option(
    "--again", metavar="DURATION", help="Once more after so long, and show that: for differences between two runs."
)
@config_option
@json_option
@exits
def probe(
    names: tuple[str, ...], type_: str | None, tag: str | None, again: str | None, config: Path | None, json_: bool
) -> int:
    """Carry checks out once, now.

    Shows what they find and what their rules make of it; exit status 1 when one is failing. Nobody is told.

    NAMES are checks of the configuration, or of what is discovered without one (``all`` for every one). With --type the
    remaining options are the probe type's own: ``wcr-watchd probe --type tcp --address localhost:22``; given several
    times, one makes a list.
    """
    loaded = _ad_hoc(type_, names) if type_ else read_configuration(config_file(config))
    wanted = ("probe",) if type_ else _wanted(loaded, names, tag)
    quiet = len(wanted) < FEW or json_ or not render.errors.is_terminal
    with Progress(console=render.errors, transient=True, disable=quiet) as progress:
        task = progress.add_task("running checks", total=len(wanted))
        redactor = Redactor(loaded.secrets)
        pause = _duration(again) if again else 0.0
        found = asyncio.run(run_checks_once(loaded, wanted, redactor, lambda: progress.advance(task), pause))
    results = [
        shapes.observation(loaded.setup, seen) | {"verdict": shapes.verdict(loaded.setup, seen)} for seen in found
    ]
    if json_:
        render.as_json(results)
    else:
        for seen in results:
            render.observation(seen)
    return FAILING if any(_found_wrong(seen) for seen in results) else FINE


@cli.command()
@click.argument("check", shell_complete=complete.checks)
@by_option
@socket_option
@json_option
@exits
def accept(check: str, by: str | None, socket: Path, json_: bool) -> int:
    """Take what a check finds now as being right.

    For checks that say what is new or changed since somebody last accepted it: files (integrity), accounts, open ports.
    Exit status 1 when the daemon could not look.
    """
    seen = call(socket, "POST", f"/checks/{quote(check, safe='')}/accept", {"by": by})
    if json_:
        render.as_json(seen)
    else:
        click.echo(seen["summary"])
    return FAILING if seen["outcome"] != "up" else FINE


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


def _moment(text: str) -> float:
    try:
        return shapes.moment(text, ZoneInfo(local_timezone()))
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except UnitError as error:
        raise click.UsageError(str(error)) from None


def _fails(row: dict[str, Any]) -> bool:
    return row["severity"] in FAILURES or row["outcome"] == "down"


def _found_wrong(seen: dict[str, Any]) -> bool:
    fires = any(said["fires"] and said["severity"] in FAILURES for said in seen["verdict"])
    return fires or seen["outcome"] != "up"


def _wanted(loaded: Loaded, names: tuple[str, ...], tag: str | None) -> tuple[str, ...]:
    """The checks to run; a name that does not exist is wrong usage."""
    checks = loaded.setup.checks
    if tag:
        names = (*names, *(name for name, check in checks.items() if tag in check.tags))
    if names == ("all",):
        return tuple(checks)
    _must_exist(names, checks)
    if not names:
        raise click.UsageError(
            f"no check has the tag {tag!r}" if tag else "say which checks: names, `all`, --tag or --type"
        )
    return names


def _must_exist(names: tuple[str, ...], checks: Collection[str]) -> None:
    """What is wrong with a name is wrong usage; with many checks only the one that was meant is named."""
    for name in names:
        if name not in checks:
            hint = did_you_mean(name, checks)
            if not hint.startswith("did") and len(checks) > MOST_NAMED:
                hint = f"there are {len(checks)}"
            raise click.UsageError(f"no check named {name!r} ({hint or 'there is none'})")


def _ad_hoc(type_: str, rest: tuple[str, ...]) -> Loaded:
    """A configuration of one check from command-line options such as ``--url http://…`` or ``--expect.status=200``.

    An option that is given several times is a list: ``--run /bin/df --run /``. One that takes a list may be given once.
    """
    given: dict[str, list[str]] = {}
    words = list(rest)
    while words:
        option = words.pop(0)
        if not option.startswith("--"):
            raise click.UsageError(f"{option!r} is not an option of a probe; with --type write --key value")
        key, _, value = option[2:].partition("=")
        if "=" not in option:
            if not words:
                raise click.UsageError(f"--{key} needs a value")
            value = words.pop(0)
        given.setdefault(key.replace("-", "_"), []).append(_toml_value(value))
    lines = ["[check.probe]", f"type = {json.dumps(type_)}"]
    lists = _lists_of(type_)
    for key, values in given.items():
        single = len(values) == 1 and (key not in lists or values[0].startswith("["))
        lines.append(f"{key} = {values[0]}" if single else f"{key} = [{', '.join(values)}]")
    return loading.loads("\n".join(lines), "the command line")


def _lists_of(type_: str) -> set[str]:
    """The options of a probe type that take a list; none of a type that cannot be loaded, which is said elsewhere."""
    try:
        fields = load_plugin(PROBES, type_).model_fields
    except (KeyError, PluginError, ImportError):
        return set()
    return {info.alias or name for name, info in fields.items() if get_origin(info.annotation) is tuple}


def _toml_value(text: str) -> str:
    """A value as TOML: numbers, booleans and lists as they are written, anything else as a string."""
    if text in {"true", "false"} or text.lstrip("-").isdigit() or text.startswith(("[", "{", '"')):
        return text
    return json.dumps(text)
