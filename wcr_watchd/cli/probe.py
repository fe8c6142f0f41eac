"""``wcr-watchd probe``: carry checks out once, and show all that they find."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, get_origin

import click
from rich.markup import escape
from rich.progress import Progress

from wcr_watchd.cli import complete, measurements, render
from wcr_watchd.cli.configuration import must_exist
from wcr_watchd.cli.options import FAILING, FINE, config_file, config_option, exits, json_option
from wcr_watchd.cli.state import FAILURES
from wcr_watchd.cli.times import duration
from wcr_watchd.config import load as loading
from wcr_watchd.config.load import Loaded
from wcr_watchd.config.typed import PROBES
from wcr_watchd.core.units import format_duration
from wcr_watchd.daemon.in_force import read_configuration
from wcr_watchd.daemon.once import run_checks_once
from wcr_watchd.kit.plugins import PluginError
from wcr_watchd.kit.plugins import load as load_plugin
from wcr_watchd.kit.redact import Redactor
from wcr_watchd.web import shapes

FEW = 5
"""Checks that are carried out by hand without a display of how far they are."""


@click.command(
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
        pause = duration(again) if again else 0.0
        found = asyncio.run(run_checks_once(loaded, wanted, redactor, lambda: progress.advance(task), pause))
    results = [
        shapes.observation(loaded.setup, seen) | {"verdict": shapes.verdict(loaded.setup, seen)} for seen in found
    ]
    if json_:
        render.as_json(results)
    else:
        for seen in results:
            _show(seen)
    return FAILING if any(_found_wrong(seen) for seen in results) else FINE


def _show(seen: dict[str, Any]) -> None:
    """What one run found: the verdict of the rules, every measurement, and the evidence."""
    style = {"up": render.STYLES["ok"], "down": render.STYLES["critical"]}.get(seen["outcome"], render.OTHER_STYLE)
    outcome = f"[{style}]{seen['outcome']}[/]"
    took = format_duration(seen["duration"])
    render.console.print(f"{escape(seen['check'])}: {outcome} in {took}: {escape(seen['summary'])}", soft_wrap=True)
    for said in seen["verdict"]:
        render.console.print(f"  {_said(said)}", soft_wrap=True)
    if not seen["verdict"] and seen["outcome"] == "up":
        render.console.print(f"  {render.styled('ok')}: no rule minds")
    for line in measurements.lines(seen["measurements"], render.console.width - 2):
        render.console.print(f"  {escape(line)}" if line else "", soft_wrap=True)
    for name, text in seen["evidence"].items():
        lines = escape(text).splitlines()
        told = lines[0] if len(lines) == 1 else "".join(f"\n    {line}" for line in lines)
        render.console.print(f"  {escape(name)}: {told}", soft_wrap=True)


def _said(said: dict[str, Any]) -> str:
    head = said["severity"] if said["fires"] else f"would be {said['severity']} if it lasted"
    style = render.STYLES[said["severity"]] if said["fires"] else render.OTHER_STYLE
    because = f"{said['because']} ({said['rule']})" if said["because"] != said["rule"] else said["because"]
    return f"[{style}]{head}[/]: {escape(because)}"


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
    must_exist(names, checks)
    if not names:
        raise click.UsageError(
            f"no check has the tag {tag!r}" if tag else "say which checks: names, `all`, --tag or --type"
        )
    return names


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
