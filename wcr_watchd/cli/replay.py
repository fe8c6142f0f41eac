"""``wcr-watchd replay``: what a configuration would have opened and told, over recorded history."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click
from rich.markup import escape
from rich.progress import Progress

from wcr_watchd.cli import render
from wcr_watchd.cli.options import exits, json_option
from wcr_watchd.config import load as loading
from wcr_watchd.config.load import Loaded
from wcr_watchd.core.engine import OFFLINE_SUBJECT
from wcr_watchd.core.errors import StoreError, UnitError
from wcr_watchd.core.model import Incident
from wcr_watchd.core.replay import Replay, run
from wcr_watchd.core.setup import OWN
from wcr_watchd.core.silence import KEPT
from wcr_watchd.core.units import format_duration, parse_duration
from wcr_watchd.store.recorded import Recorded
from wcr_watchd.web.shapes import time_text

Json = dict[str, Any]
NAMED = 10
"""Checks that a remark names."""


@click.command()
@click.option("--since", default="7d", show_default=True, help="How far back: 30d, 12h.")
@click.option(
    "--config",
    "-c",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration to try.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The daemon's database; default: that of the configuration's [store].",
)
@click.option("--diff", is_flag=True, help="Against what really happened.")
@json_option
@exits
def replay(since: str, config: Path, store: Path | None, diff: bool, json_: bool) -> None:
    """What a configuration would have told.

    Runs recorded observations through the engine under another configuration and prints the incidents and messages that
    would have been. The daemon may be running; nothing is changed and nobody is told. The quick retries are those that
    were really made; acknowledgements and silences count as recorded.
    """
    loaded = loading.load(config)
    now = time.time()
    try:
        begin = now - parse_duration(since)
    except UnitError as error:
        raise click.UsageError(f"--since: {error}") from None
    with Recorded(store or _database(loaded)) as recorded:
        found = replayed(recorded, loaded, begin, now, quiet=json_)
        if diff:
            found["diff"] = _diff(found, recorded)
    if json_:
        render.as_json(found)
    else:
        _show(found)


def replayed(recorded: Recorded, loaded: Loaded, since: float, until: float, *, quiet: bool) -> Json:
    """Replay from ``since`` to ``until`` (epoch seconds), as far as there are observations."""
    reach = recorded.reach()
    if reach is None:
        raise StoreError(f"there are no observations in {recorded.path} yet: run the daemon for a while")
    begin, end = max(since, reach[0]), min(until, reach[1])
    if begin >= end:
        raise StoreError(f"there are no observations since {time_text(since)}: the newest are of {time_text(reach[1])}")
    acknowledged = recorded.acknowledged(begin, end)
    trial = Replay(loaded.setup, begin, recorded.silences(), acknowledged)
    with Progress(console=render.errors, transient=True, disable=quiet or not render.errors.is_terminal) as progress:
        task = progress.add_task("replaying", total=end - begin)
        run(trial, recorded, end, lambda hour: progress.update(task, completed=hour - begin))
    why: dict[int, str] = {}
    for event in trial.events:
        why.setdefault(event.incident, event.reason)
    return {
        "since": time_text(begin),
        "until": time_text(end),
        "seconds": end - begin,
        "runs": trial.fed,
        "checks": len(loaded.setup.checks),
        "remarks": _remarks(recorded, loaded, since, begin),
        "incidents": [_incident(one, end, why[one.id]) for one in _by_time(trial.incidents.values())],
        "messages": _messages((one.recipient.channel, one.recipient.contact, one.event.value) for one in _told(trial)),
        "told": dict(Counter(str(one.incident) for one in _told(trial))),
    }


def _told(trial: Replay) -> list[Any]:
    return [one for one in trial.notifications if one.incident]


def _by_time(incidents: Iterable[Incident]) -> list[Incident]:
    return sorted(incidents, key=lambda one: (one.opened_at, one.id))


def _database(loaded: Loaded) -> Path:
    return Path(unquote(urlsplit(loaded.store.url).path))


def _remarks(recorded: Recorded, loaded: Loaded, wanted: float, begin: float) -> list[str]:
    """What limits the answer."""
    known = recorded.checks()
    checks = loaded.setup.checks
    found = []
    if begin > wanted:
        found.append(
            f"observations reach back to {time_text(begin)} only; raw ones are kept for "
            f"{format_duration(loaded.store.retention.raw)} by this configuration ([store] retention.raw)"
        )
    if unseen := sorted(checks.keys() - known):
        found.append(f"without recorded observations, so nothing can be said of: {_named(unseen)}")
    if gone := sorted(known - checks.keys()):
        found.append(f"recorded, but not in this configuration: {_named(gone)}")
    days = format_duration(KEPT)
    found += [f"silences that ended before {days} ago are no longer known"] if time.time() - begin > KEPT else []
    return found


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _incident(one: Incident, end: float, why: str = "") -> Json:
    return {
        "id": one.id,
        "check": one.check,
        "subject": one.subject,
        "peak": one.peak.word,
        "state": one.state.value,
        "opened_at": time_text(one.opened_at),
        "resolved_at": time_text(one.resolved_at),
        "seconds": round((one.resolved_at or end) - one.opened_at, 3),
        "summary": one.summary,
        "rule": one.rule,
        "muted_by": one.muted_by,
        "why": why or one.summary,
    }


def _messages(told: Iterable[tuple[str, str, str]]) -> list[Json]:
    """How many messages went to whom, over which channel, and about what."""
    counted: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for channel, contact, event in told:
        counted[channel, contact][event] += 1
    return [
        {"channel": channel, "contact": contact, "count": events.total(), "events": dict(events)}
        for (channel, contact), events in sorted(counted.items())
    ]


# --- against what really happened ---


@dataclass(frozen=True, slots=True)
class _Case:
    """An incident of either side, to be compared."""

    row: Json
    opened: float
    ended: float


def _diff(found: Json, recorded: Recorded) -> Json:
    begin, end = _seconds(found["since"]), _seconds(found["until"])
    real = [one for one in recorded.incidents(begin, end) if _is_of_a_check(one)]
    compared = {one.id for one in real}
    owed = [one for one in recorded.owed(begin, end) if one.incident in compared]
    cases = [_Case(_incident(one, end), one.opened_at, one.resolved_at or end) for one in _by_time(real)]
    would = [_Case(row, at := _seconds(row["opened_at"]), at + row["seconds"]) for row in found["incidents"]]
    told, really = found["told"], Counter(str(one.incident) for one in owed)
    pairs, only_real, only_new = _matched(cases, would)
    return {
        "really": {
            "incidents": len(cases),
            "messages": _messages((one.channel, one.contact, one.event.value) for one in owed),
        },
        "both": [_change(was, now, really, told) for was, now in pairs],
        "only_really": [one.row | {"messages": really[str(one.row["id"])]} for one in only_real],
        "only_new": [one.row | {"messages": told.get(str(one.row["id"]), 0)} for one in only_new],
    }


def _is_of_a_check(one: Incident) -> bool:
    """Whether observations led to it: not what Prometheus sent, and of the daemon's own troubles only being offline."""
    return one.alert is None and (one.check != OWN.name or one.subject == OFFLINE_SUBJECT)


def _matched(real: list[_Case], would: list[_Case]) -> tuple[list[tuple[_Case, _Case]], list[_Case], list[_Case]]:
    """Incidents of the same check and subject that overlap in time, each once; and those without a partner."""
    waiting: dict[tuple[str, str], list[_Case]] = defaultdict(list)
    for case in would:
        waiting[case.row["check"], case.row["subject"]].append(case)
    pairs, alone = [], []
    for case in real:
        others = waiting[case.row["check"], case.row["subject"]]
        partner = next((one for one in others if one.opened <= case.ended and case.opened <= one.ended), None)
        if partner is None:
            alone.append(case)
        else:
            others.remove(partner)
            pairs.append((case, partner))
    left = sorted((case for cases in waiting.values() for case in cases), key=lambda case: case.opened)
    return pairs, alone, left


def _change(was: _Case, now: _Case, really: Mapping[str, int], told: Mapping[str, int]) -> Json:
    return {
        "check": was.row["check"],
        "subject": was.row["subject"],
        "really": was.row | {"messages": really.get(str(was.row["id"]), 0)},
        "new": now.row | {"messages": told.get(str(now.row["id"]), 0)},
        "opened_later": round(now.opened - was.opened, 3),
        "messages": told.get(str(now.row["id"]), 0) - really.get(str(was.row["id"]), 0),
    }


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# --- for people ---


def _show(found: Json) -> None:
    incidents, told = found["incidents"], found["told"]
    messages = sum(one["count"] for one in found["messages"])
    span = f"from {render.local_time(found['since'])} to {render.local_time(found['until'])}"
    click.echo(
        f"{format_duration(found['seconds'])}, {span}, {found['checks']} checks: "
        f"{len(incidents)} incidents, {messages} messages"
    )
    for remark in found["remarks"]:
        render.complain(f"note: {remark}")
    if incidents:
        click.echo("")
        render.table(
            {
                "OPENED": [render.local_time(row["opened_at"]) for row in incidents],
                "LASTED": [_lasted(row) for row in incidents],
                "WORST": [row["peak"] for row in incidents],
                "CHECK": [escape(_what(row)) for row in incidents],
                "MESSAGES": [str(told.get(str(row["id"]), 0)) for row in incidents],
                "WHY": [escape(row["why"]) for row in incidents],
            }
        )
    _show_messages("messages that would have been owed", found["messages"])
    if "diff" in found:
        _show_diff(found["diff"], len(incidents))


def _show_messages(title: str, rows: list[Json]) -> None:
    if not rows:
        return
    click.echo(f"\n{title}:")
    render.table(
        {
            "CHANNEL": [row["channel"] for row in rows],
            "CONTACT": [row["contact"] for row in rows],
            "COUNT": [str(row["count"]) for row in rows],
            "OF THEM": [", ".join(f"{count} {event}" for event, count in row["events"].items()) for row in rows],
        }
    )


def _show_diff(diff: Json, would: int) -> None:
    really = diff["really"]
    messages = sum(one["count"] for one in really["messages"])
    click.echo(f"\nreally: {really['incidents']} incidents, {messages} messages")
    _show_messages("messages that were really owed", really["messages"])
    for title, key in (("would not have been", "only_really"), ("would have been as well", "only_new")):
        for row in diff[key]:
            click.echo(
                f"{title}: {render.local_time(row['opened_at'])} {row['peak']} {_what(row)} "
                f"for {_lasted(row)}, {row['messages']} messages: {row['why']}"
            )
    for row in diff["both"]:
        changes = _changes(row)
        if changes:
            click.echo(f"would have changed: #{row['really']['id']} {_what(row)}: {', '.join(changes)}")
    same = sum(not _changes(row) for row in diff["both"])
    click.echo(f"the same: {same} of {really['incidents']} incidents")


def _changes(row: Json) -> list[str]:
    was, now, later = row["really"], row["new"], row["opened_later"]
    found = []
    if abs(later) >= 1:
        found.append(f"opened {format_duration(abs(later))} {'later' if later > 0 else 'earlier'}")
    if abs(now["seconds"] + later - was["seconds"]) >= 1:
        found.append(f"lasted {_lasted(now)} in place of {_lasted(was)}")
    if was["peak"] != now["peak"]:
        found.append(f"{now['peak']} in place of {was['peak']}")
    if row["messages"]:
        found.append(f"{now['messages']} messages in place of {was['messages']}")
    return found


def _lasted(row: Json) -> str:
    return format_duration(row["seconds"]) + ("" if row["resolved_at"] else " so far")


def _what(row: Json) -> str:
    return " ".join(filter(None, (row["check"], row["subject"])))
