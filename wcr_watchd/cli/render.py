"""What the command line prints: tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wcr_watchd.core.burning import times_as_fast
from wcr_watchd.core.errors import Problem
from wcr_watchd.core.message import measured
from wcr_watchd.core.objectives import budget_left, over, promised
from wcr_watchd.core.units import format_availability, format_duration

STYLES = {"ok": "green", "info": "blue", "warning": "yellow", "critical": "bold red", "down": "red"}
STYLES |= {"waiting": "green", "done": "green", "soon": "blue", "due": "yellow", "overdue": "red", "failed": "bold red"}
OTHER_STYLE = "magenta"
"""Of the states in which nothing is certain: ``unknown``, ``confirming``, ``new``."""

WORST_FIRST = ("critical", "warning", "info", "down", "confirming", "unknown", "new", "ok")
TASKS_FIRST = ("failed", "overdue", "due", "soon", "running", "waiting")
TASK_KINDS = {"run": "daemon", "reported": "its job", "signed": "a person"}
SHOWN_LINES = 10
"""Lines from the end of what a run wrote that are shown."""
FOLDED = frozenset({"CHECK", "TASK", "TARGET", "DEPENDS ON", "OWNER", "RESULT", "SUMMARY", "WHEN", "WHY"})
"""Columns that give way where there is little room."""
NARROW = 110
"""Columns of a terminal below which tables leave out what matters least."""
NARROW_NAME = 26

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


def problems(found: Iterable[Problem], json_: bool) -> None:
    """Everything wrong with a configuration: a line each for people, one document for programs."""
    found = list(found)
    if json_:
        as_json({"problems": [asdict(problem) for problem in found]})
        return
    for problem in found:
        complain(str(problem))
    complain(f"{len(found)} problem{'s' if len(found) > 1 else ''}; nothing was changed")


def checks(rows: list[dict[str, Any]]) -> None:
    """A table of checks with their state, the worst first."""
    rows = sorted(rows, key=lambda row: (WORST_FIRST.index(row["state"]), row["name"]))
    table(
        {
            "STATE": [styled(row["state"]) for row in rows],
            "CHECK": [escape(row["name"]) for row in rows],
            "TYPE": [] if _is_narrow() else [row["type"] for row in rows],
            "SINCE": [_table_time(row["since"]) for row in rows],
            "RESULT": [escape(row["summary"]) for row in rows],
        }
    )


def targets(rows: list[dict[str, Any]]) -> None:
    """A table of what is watched."""
    table(
        {
            "CHECK": [escape(row["name"]) for row in rows],
            "TYPE": [row["type"] for row in rows],
            "EVERY": [format_duration(row["every"]) for row in rows],
            "TARGET": [escape(row["target"]) for row in rows],
            "DEPENDS ON": [escape(", ".join(row["depends_on"])) for row in rows],
            "OWNER": [escape(row["owner"]) for row in rows],
        }
    )


def incidents(rows: list[dict[str, Any]]) -> None:
    """A table of incidents."""
    if not rows:
        console.print("no incidents")
        return
    table(
        {
            "ID": [str(row["id"]) for row in rows],
            "SEVERITY": [styled(row["severity"]) for row in rows],
            "STATE": [_incident_state(row) for row in rows],
            "CHECK": [escape(" ".join(filter(None, (row["check"], row["subject"])))) for row in rows],
            "OPENED": [_table_time(row["opened_at"]) for row in rows],
            "RESOLVED": [_table_time(row["resolved_at"]) for row in rows],
            "SUMMARY": [escape(row["summary"]) for row in rows],
        }
    )


def objectives(rows: list[dict[str, Any]]) -> None:
    """A table of objectives."""
    if not rows:
        console.print("no objectives are configured")
        return
    table(
        {
            "OBJECTIVE": [escape(row["name"]) for row in rows],
            "PROMISED": [promised(row["target"]) for row in rows],
            "UP": [_share(row["availability"]) for row in rows],
            "WITH PLANNED": [_share(row["availability_with_planned"]) for row in rows],
            "BUDGET": ["?" if row["budget_left"] is None else budget_left(row["budget_left"]) for row in rows],
            "BURN RATE, 1 H": [_rate(row["burn_rates"], 3_600.0) for row in rows],
            "OVER": [over(row["period"], row["month_begins"] or 0) for row in rows],
            "UNWATCHED": [format_duration(row["unwatched"]) for row in rows],
            "MTTA": [_mean(row["mean_time_to_acknowledge"]) for row in rows],
            "MTTR": [_mean(row["mean_time_to_resolve"]) for row in rows],
            "MTBF": [_mean(row["mean_time_between_failures"]) for row in rows],
        }
    )


def forecasts(rows: list[dict[str, Any]]) -> None:
    """A table of what is foretold."""
    if not rows:
        console.print("nothing is foretold: no rule of a check that has a result uses forecast()")
        return
    table(
        {
            "CHECK": [escape(row["check"]) for row in rows],
            "MEASURED": [escape(" ".join((row["measurement"], *row["labels"].values()))) for row in rows],
            "NOW": [measured(row["now"], row["unit"]) for row in rows],
            "LIMIT": [f"{row['symbol']} {measured(row['limit'], row['unit'])}" for row in rows],
            "MET": [row["when"] for row in rows],
        }
    )


def _mean(seconds: float | None) -> str:
    return "-" if seconds is None else format_duration(seconds)


def _share(part: float | None) -> str:
    return "?" if part is None else format_availability(part)


def _rate(rates: list[dict[str, Any]], window: float) -> str:
    rate = next((one["rate"] for one in rates if one["window"] == window), None)
    return "?" if rate is None else times_as_fast(rate)


def dead_letters(rows: list[dict[str, Any]]) -> None:
    """A table of messages that could not be delivered."""
    if not rows:
        console.print("everything was delivered")
        return
    table(
        {
            "ID": [escape(row["id"]) for row in rows],
            "TO": [escape(" ".join(filter(None, (row["channel"], row["contact"])))) for row in rows],
            "GIVEN UP": [_table_time(row["given_up_at"]) for row in rows],
            "TRIED": [str(row["attempts"]) for row in rows],
            "WHY": [escape(row["last_error"]) for row in rows],
            "SUMMARY": [escape(row["headline"]) for row in rows],
        }
    )


def audit(rows: list[dict[str, Any]]) -> None:
    """A table of what was done."""
    if not rows:
        console.print("nothing was done yet")
        return
    table(
        {
            "AT": [_table_time(row["at"]) for row in rows],
            "WHO": [escape(row["who"] or "somebody") for row in rows],
            "BY": [escape(row["means"]) for row in rows],
            "FROM": [escape(row["source"]) for row in rows],
            "WHAT": [escape(" ".join(filter(None, (row["action"], row["target"])))) for row in rows],
            "RESULT": [escape(row["result"]) for row in rows],
        }
    )


def _incident_state(row: dict[str, Any]) -> str:
    by = row["acknowledged_by"]
    return f"{row['state']} ({escape(by)})" if by else str(row["state"])


def styled(word: str) -> str:
    """A state or severity in its colour."""
    return f"[{STYLES.get(word, OTHER_STYLE)}]{word}[/]"


def _is_narrow() -> bool:
    return console.width < NARROW


def table(columns: dict[str, list[str]]) -> None:
    """A table of cells by heading, without the columns that have nothing to say. Only long texts are folded."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    filled = {heading: cells for heading, cells in columns.items() if any(cells) or heading == "CHECK"}
    for heading in filled:
        narrow_name = NARROW_NAME if heading == "CHECK" and _is_narrow() else None
        table.add_column(heading, overflow="fold", no_wrap=heading not in FOLDED, max_width=narrow_name)
    for cells in zip(*filled.values(), strict=True):
        table.add_row(*cells)
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as printed:
        console.print(table)
    for line in printed.get().splitlines():  # padding is for the eye, not for programs
        print(line.rstrip())


def on_call(rows: list[dict[str, Any]]) -> None:
    """Who is on call when, a table for each schedule, in the schedule's own time zone."""
    if not rows:
        console.print("there is no on-call schedule")
    for number, row in enumerate(rows):
        if number:
            console.print()
        console.print(f"[bold]{escape(row['name'])}[/] ({escape(row['timezone'])})")
        zone = ZoneInfo(row["timezone"])
        table(
            {
                "FROM": [_day_time(turn["start"], zone) for turn in row["turns"]],
                "UNTIL": [_day_time(turn["end"], zone) for turn in row["turns"]],
                "ON CALL": [escape(", ".join(turn["contacts"])) or _NOBODY for turn in row["turns"]],
                "WHY": [escape(turn["why"]) for turn in row["turns"]],
            }
        )


_NOBODY = f"[{STYLES['critical']}]nobody[/]"


def _day_time(text: str, zone: ZoneInfo) -> str:
    return datetime.fromisoformat(text).astimezone(zone).strftime("%a %Y-%m-%d %H:%M")


def tasks(rows: list[dict[str, Any]]) -> None:
    """A table of tasks, what is due first; those that are not due again come last."""
    if not rows:
        console.print("there are no tasks")
        return
    rows = sorted(rows, key=lambda row: (TASKS_FIRST.index(row["phase"]), row["due"] or "~", row["name"]))
    table(
        {
            "STATE": [styled(row["phase"]) for row in rows],
            "TASK": [escape(row["name"]) for row in rows],
            "BY": [] if _is_narrow() else [TASK_KINDS[row["kind"]] for row in rows],
            "DUE": [_table_time(row["due"]) for row in rows],
            "WHEN": [] if _is_narrow() else [escape(row["schedule_words"] or row["schedule"]) for row in rows],
            "RESULT": [escape(row["summary"]) for row in rows],
        }
    )


def task_details(task: dict[str, Any]) -> None:
    """What is to be done and when, and how it ended the last times, newest first, with what was said then."""
    if task["about"]:
        console.print(f"\n{escape(task['about'])}" + (f" ({escape(task['owner'])})" if task["owner"] else ""))
    if task["schedule_words"]:
        console.print(f"\n{escape(task['schedule_words'])}, as scheduled by {escape(task['schedule'])}")
    for row in task["history"]:
        by = f" by {row['by']}" if row["by"] else ""
        tried = f" ({row['attempts']} attempts)" if row["attempts"] > 1 else ""
        console.print(f"\n{styled(row['outcome'])} {local_time(row['at'])}{escape(by)}: {escape(row['text'])}{tried}")
        for line in (row["note"], *row["evidence"], *row["output"].splitlines()[-SHOWN_LINES:]):
            if line:
                console.print(escape(f"    {line}"))


def silences(rows: list[dict[str, Any]], none: str) -> None:
    """A table of silences or of started maintenance; ``none`` is said when there are none."""
    if not rows:
        console.print(none)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("ID", "STATE", "COVERS", "FROM", "UNTIL", "BY", "WHY"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            row["id"],
            row["state"],
            escape(", ".join(row["matchers"])),
            local_time(row["starts_at"]),
            local_time(row["ends_at"]),
            escape(row["author"]),
            escape(row["comment"]),
        )
    console.print(table)


def windows(rows: list[dict[str, Any]]) -> None:
    """A table of planned maintenance windows with their next times."""
    if not rows:
        console.print("no maintenance windows are planned")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("WINDOW", "WHEN", "COVERS", "OPEN UNTIL", "NEXT", "WHY"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            escape(row["name"]),
            escape(f"{row['when']} ({row['timezone']})"),
            escape(", ".join(row["matchers"])),
            local_time(row["current"]["end"]) if row["current"] else "",
            "\n".join(f"{local_time(span['start'])} to {local_time(span['end'])}" for span in row["next"]),
            escape(row["comment"]),
        )
    console.print(table)


def _table_time(text: str | None) -> str:
    """A time as a table has room for: in a narrow one the clock alone today, else with the day."""
    if not text or not _is_narrow():
        return local_time(text)
    moment = datetime.fromisoformat(text).astimezone()
    today = moment.date() == datetime.now(moment.tzinfo).date()
    return moment.strftime("%H:%M:%S" if today else "%b %d %H:%M")


def local_time(text: str | None) -> str:
    """A time of the API in this machine's zone; empty for none."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S") if text else ""
