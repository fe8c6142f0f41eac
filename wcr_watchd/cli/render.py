"""What the command line prints: tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

STYLES = {"ok": "green", "info": "blue", "warning": "yellow", "critical": "bold red", "down": "red"}
OTHER_STYLE = "magenta"
"""Of the states in which nothing is certain: ``unknown``, ``confirming``, ``new``."""

WIDE = 10_000
"""Columns when no terminal shows it: programs read lines, and a folded one is two."""

console = Console(highlight=False, emoji=False)
if not console.is_terminal and "COLUMNS" not in os.environ:
    console.width = WIDE
errors = Console(stderr=True, highlight=False, emoji=False)


def as_json(value: Any) -> None:
    """Print for a program: one JSON document, no colour, no folding."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def complain(text: str) -> None:
    """Say on standard error what went wrong."""
    errors.print(escape(text), soft_wrap=True)


def checks(rows: list[dict[str, Any]]) -> None:
    """A table of checks with their state."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("STATE", "CHECK", "TYPE", "SINCE", "RESULT"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        word = row["state"]
        table.add_row(
            f"[{STYLES.get(word, OTHER_STYLE)}]{word}[/]",
            escape(row["name"]),
            row["type"],
            local_time(row["since"]),
            escape(row["summary"]),
        )
    console.print(table)


def targets(rows: list[dict[str, Any]]) -> None:
    """A table of what is watched."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("CHECK", "TYPE", "EVERY", "TARGET", "DEPENDS ON", "OWNER"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        every = f"{row['every']:g} s"
        depends = ", ".join(row["depends_on"])
        table.add_row(escape(row["name"]), row["type"], every, escape(row["target"]), escape(depends), row["owner"])
    console.print(table)


def incidents(rows: list[dict[str, Any]]) -> None:
    """A table of incidents."""
    if not rows:
        console.print("no incidents")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("ID", "SEVERITY", "STATE", "CHECK", "OPENED", "RESOLVED", "SUMMARY"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        where = " ".join(filter(None, (row["check"], row["subject"])))
        table.add_row(
            str(row["id"]),
            f"[{STYLES[row['severity']]}]{row['severity']}[/]",
            row["state"] + (f" ({row['acknowledged_by']})" if row["acknowledged_by"] else ""),
            escape(where),
            local_time(row["opened_at"]),
            local_time(row["resolved_at"]),
            escape(row["summary"]),
        )
    console.print(table)


def observation(seen: dict[str, Any]) -> None:
    """What one run found, with every measurement."""
    style = {"up": STYLES["ok"], "down": STYLES["critical"]}.get(seen["outcome"], OTHER_STYLE)
    outcome = f"[{style}]{seen['outcome']}[/]"
    console.print(f"{escape(seen['check'])}: {outcome} in {seen['duration']:.3f} s: {escape(seen['summary'])}")
    for said in seen["verdict"]:
        head = said["severity"] if said["fires"] else f"would be {said['severity']} if it lasted"
        style = STYLES[said["severity"]] if said["fires"] else OTHER_STYLE
        because = f"{said['because']} ({said['rule']})" if said["because"] != said["rule"] else said["because"]
        console.print(f"  [{style}]{head}[/]: {escape(because)}", soft_wrap=True)
    table = Table(box=None, pad_edge=False, show_header=False)
    for one in seen["measurements"]:
        labels = ", ".join(f'{key}="{value}"' for key, value in one["labels"].items())
        name = one["name"] + (f"{{{labels}}}" if labels else "")
        table.add_row("  " + escape(name), f"{one['value']:.6g}", one["unit"])
    if seen["measurements"]:
        console.print(table)
    for name, text in seen["evidence"].items():
        console.print(f"  {escape(name)}: {escape(text)}", soft_wrap=True)


def local_time(text: str | None) -> str:
    """A time of the API in this machine's zone; empty for none."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S") if text else ""
