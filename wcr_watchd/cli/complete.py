"""Names for the shell's completion: of checks, channels, types and incidents.

Whatever goes wrong here offers nothing and says nothing: somebody is in the middle of a line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from wcr_watchd.cli.client import NoDaemonError, RefusedError, call, default_socket
from wcr_watchd.cli.options import DEFAULT_CONFIG
from wcr_watchd.kit.plugins import names


def checks(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Checks of the configuration file, else of the running daemon."""
    found = _configured(context, "check") or [row["name"] for row in _asked(context, "/checks", "checks")]
    return _beginning(found, incomplete)


def tasks(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Tasks of the configuration file, else of the running daemon."""
    found = _configured(context, "task") or [row["name"] for row in _asked(context, "/tasks", "tasks")]
    return _beginning(found, incomplete)


def channels(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Channels of the configuration file."""
    return _beginning(_configured(context, "channel"), incomplete)


def people(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Contacts and on-call schedules of the configuration file."""
    return _beginning([*_configured(context, "contact"), *_configured(context, "on_call")], incomplete)


def probe_types(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Probe types that are installed."""
    return _beginning(names("wcr_watchd.probes"), incomplete)


def open_incidents(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Numbers of open incidents, with their checks."""
    rows = _asked(context, "/incidents?open=1", "incidents")
    return [CompletionItem(str(row["id"]), help=row["check"]) for row in rows if str(row["id"]).startswith(incomplete)]


def _beginning(found: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def _configured(context: click.Context, section: str) -> list[str]:
    """The names in a section as they are written; what else is wrong with the file does not matter here."""
    # Reading TOML takes a fifth of a second to import, and every command refers to this module.
    from wcr_watchd.config.sources import Sources  # noqa: PLC0415

    sources = Sources()
    sources.read(Path(context.params.get("config") or os.environ.get("WATCHD_CONFIG") or DEFAULT_CONFIG))
    table = sources.table.get(section)
    return list(table) if isinstance(table, dict) else []


def _asked(context: click.Context, path: str, key: str) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = call(Path(context.params.get("socket") or default_socket()), "GET", path)[key]
    except (NoDaemonError, RefusedError):
        return []
    return rows
