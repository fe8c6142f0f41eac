"""From facts to documents: a page, a mail, plain text, JSON and CSV; for the team, or for stakeholders."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from statistics import median_high
from typing import Any
from zoneinfo import ZoneInfo

from wcr_watchd.core.model import Incident, Severity
from wcr_watchd.core.objectives import budget_left, promised
from wcr_watchd.core.report import Audience, Document, Picture, ReportKind
from wcr_watchd.core.units import format_duration, format_part
from wcr_watchd.core.uptime import WHOLE, Uptime, total
from wcr_watchd.reports import charts, foretold
from wcr_watchd.reports.advice import advice
from wcr_watchd.reports.facts import CheckFacts, Facts, Resource
from wcr_watchd.reports.forms import Files, cell, written
from wcr_watchd.reports.months import Figures, Growth, Month, as_json, figures, grown, public, series
from wcr_watchd.reports.promises import Promise
from wcr_watchd.reports.words import LEAST_UNWATCHED, counted, share

MOST_ROWS = 25
"""Checks that a mail lists; the page and the files have all."""
MOST_CHARTS = 4
MOST_HIT = 5
"""Components with disturbances that the sentence at the top names."""
NEARLY_ALL, MOSTLY = 0.999, 0.98
"""Shares of a day from which on it is drawn as good, or as middling."""
OTHERS = "Other"
CHECK_COLUMNS = (
    *("check", "group", "availability", "without_maintenance", "seconds_down", "seconds_unmonitored"),
    *("p50", "p95", "p99", "incidents", "outages", "longest_outage"),
)
COMPONENT_COLUMNS = (
    *("component", "availability", "without_maintenance", "seconds_down", "seconds_unmonitored", "outages"),
)


@dataclass(frozen=True, slots=True)
class Group:
    """Checks of one group, the least available first, and how available they were together."""

    name: str
    checks: tuple[CheckFacts, ...]
    uptime: Uptime
    days: tuple[Uptime, ...]
    disturbances: int

    @property
    def unwatched(self) -> float:
        """Seconds of its checks in which nobody knew how they were, each from its first run on."""
        return sum(one.unwatched for one in self.checks)


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture with the words for those who do not see it."""

    name: str
    title: str
    words: str
    png: str


def document(facts: Facts) -> Document:
    """Write the report of these facts."""
    wanted = facts.wanted
    internal = wanted.audience is Audience.TEAM
    groups = _groups(facts)
    pictures = _charts(facts, groups) if internal else _charts_of_groups(facts, groups)
    own = _figures(facts) if wanted.kind is ReportKind.MONTHLY else None
    months = series(wanted, own, facts.earlier) if wanted.kind is ReportKind.MONTHLY else ()
    told = _from_the_first(months)
    if told:
        pictures = [*pictures, _chart_of_months(told, internal=internal)]
    return written(
        wanted,
        ("report.html", "mail.html", "report.txt"),
        Files(
            _json(facts, groups, months, own),
            _csv(facts.checks if internal else (), groups),
            tuple(Picture(one.name, one.png) for one in pictures),
        ),
        kind=wanted.kind,
        title=title(facts),
        summary=summary(facts, groups),
        span=(wanted.since, wanted.until),
        values=_values(facts, groups, told, pictures),
    )


def _values(
    facts: Facts, groups: Sequence[Group], months: Sequence[Month], pictures: Sequence[Chart]
) -> Mapping[str, Any]:
    """What the templates are filled with."""
    wanted = facts.wanted
    internal = wanted.audience is Audience.TEAM
    return {
        "months": months,
        "grown": grown(months),
        "told_days": lambda days: [_told_day(one, internal=internal) for one in days],
        "told_share": lambda one: _told_share(one, internal=internal),
        # Of tasks and people on call stakeholders read no name, and without one they say nothing.
        "coming": [one for one in wanted.upcoming if internal or one.kind == "maintenance"],
        "growth_words": growth_words,
        "forecasts": {one.growth.key: one for one in facts.forecasts},
        "three_months": foretold.in_three_months,
        "limit_met": lambda one: foretold.limit_met(one, wanted.until),
        "forecast_words": lambda one: foretold.forecast_words(one, wanted.until),
        "spent": foretold.spent,
        "to_come": lambda one: foretold.to_come(one, wanted),
        "unknown_month": lambda one: "comes with the next report" if one.later else "not measured",
        "facts": facts,
        "groups": groups,
        "charts": pictures,
        "advice": advice(facts) if internal else [],
        "noisy": _noisy(facts),
        "slowest": _slowest(facts),
        "most": MOST_ROWS,
        "share": share,
        "since": lambda at: f"{datetime.fromtimestamp(at, ZoneInfo(wanted.timezone)):%a %-d %b %H:%M}",
        "day": lambda at: f"{datetime.fromtimestamp(at, ZoneInfo(wanted.timezone)):%a %d %b}",
        "counted": counted,
        "change": change,
        "bars": bars,
        "words_of": incident_words,
        "trouble_words": trouble_words,
        "percent": format_part,
        "promised": promised,
        "left": lambda left: "nothing is known yet" if left is None else budget_left(left),
        "full": lambda one: when_full(facts, one),
    }


# --- words ------------------------------------------------------------------------------------------------------------


def title(facts: Facts) -> str:
    """``Week 23 to 29 November 2026``, or ``October 2026`` where it is a whole month."""
    wanted = facts.wanted
    zone = ZoneInfo(wanted.timezone)
    begin = datetime.fromtimestamp(wanted.since, zone)
    last = datetime.fromtimestamp(wanted.until, zone) - timedelta(seconds=1)
    if wanted.kind is ReportKind.MONTHLY and begin.day == 1 and (last + timedelta(seconds=1)).day == 1:
        return f"{begin:%B %Y}"
    start = f"{begin.day}" if begin.month == last.month else f"{begin.day} {begin:%B}"
    start += f" {begin.year}" if begin.year != last.year else ""
    return f"{'Week' if wanted.kind is ReportKind.WEEKLY else 'Month'} {start} to {last.day} {last:%B %Y}"


def summary(facts: Facts, groups: Sequence[Group]) -> str:
    """The report in one sentence."""
    together = total(one.uptime for one in facts.checks)
    if not together.watched:
        return "Nothing was measured in this time"
    of_time = _of_time(facts)
    if facts.wanted.audience is Audience.STAKEHOLDERS:
        hit = [group.name for group in groups if group.disturbances]
        named = ", ".join(hit[:MOST_HIT]) + (f" and {len(hit) - MOST_HIT} more" if len(hit) > MOST_HIT else "")
        said = f"disturbances in {named}" if hit else "no disturbances"
        return f"Available {share(together.share)} {of_time}; {said}"
    critical = sum(one.peak is Severity.CRITICAL for one in facts.incidents)
    count = len(facts.incidents)
    which = "critical" if critical == count == 1 else "all critical" if critical == count else f"{critical} critical"
    said = counted(count, "incident") + (f", {which}" if critical else "")
    return f"Up {share(together.share_with_planned)} {of_time}; {said if count else 'no incidents'}"


def _of_time(facts: Facts) -> str:
    """Of which time a share is: "100 % of the time" of a month of which two days were watched would say too much.

    Half of the checks were watched for that long or longer: a few that are new take nothing from the others.
    """
    length = facts.wanted.until - facts.wanted.since
    watched = median_high(one.uptime.watched for one in facts.checks)
    if watched >= WHOLE * length:
        return "of the time"
    return f"of the time that was watched ({format_duration(watched)} of {format_duration(length)})"


def change(now: float | None, before: float | None) -> str:
    """By how much a duration changed against the period before: ``+12 %``; empty when that cannot be said."""
    if now is None or not before:
        return ""
    part = now / before - 1
    return f"{part * 100:+.0f} %" if abs(part) >= 0.005 else "="


def growth_words(known: Mapping[str, Growth]) -> str:
    """The newest month beside the one before it and the first: ``62 % (2026-10: 60 %, 2026-01: 40 %)``."""
    months = sorted(known)
    earlier = [f"{name}: {known[name].words}" for name in dict.fromkeys((*months[-2:-1], *months[:-1][:1]))]
    return known[months[-1]].words + (f" ({', '.join(earlier)})" if earlier else "")


def trouble_words(one: CheckFacts) -> str:
    """What else is to be said of a check's availability, in words; empty where it was and is up all the time."""
    now, before = one.uptime, one.before.share_with_planned
    words = [
        f"{share(now.share)} without planned maintenance" if now.share != now.share_with_planned else "",
        f"{share(before)} in the period before" if before is not None and before != now.share_with_planned else "",
        f"down for {format_duration(now.all_down)}" if now.all_down else "",
        counted(one.outages, "outage") if one.outages else "",
        f"not watched for {format_duration(one.unwatched)}" if one.unwatched >= LEAST_UNWATCHED else "",
    ]
    return ", ".join(filter(None, words))


def incident_words(one: Incident) -> str:
    """What became of an incident, in words."""
    words = [f"by {one.taken_by}" if one.taken_by else ""]
    words += [f"owner {one.owner}" if one.owner else "", one.muted_by, "flapping" if one.flapping else ""]
    return ", ".join(filter(None, words))


# --- what belongs together --------------------------------------------------------------------------------------------


def _groups(facts: Facts) -> list[Group]:
    by_name: dict[str, list[CheckFacts]] = {}
    for one in facts.checks:
        by_name.setdefault(one.subject.group or OTHERS, []).append(one)
    return [
        Group(
            name,
            tuple(sorted(checks, key=_least_available)),
            total(one.uptime for one in checks),
            _days_together(one.days for one in checks),
            sum(one.outages for one in checks),
        )
        for name, checks in sorted(by_name.items(), key=lambda item: (item[0] == OTHERS, item[0]))
    ]


def _figures(facts: Facts) -> Figures | None:
    """The figures of the report's own month."""
    speeds = [one.speed.mean for one in facts.checks if one.speed]
    found = figures((one.uptime for one in facts.checks), facts.handling, speeds, facts.growth)
    internal = facts.wanted.audience is Audience.TEAM
    return found if internal else public(found, sum(one.outages for one in facts.checks))


def _least_available(one: CheckFacts) -> tuple[bool, float, str]:
    share = one.uptime.share_with_planned
    return share is None, share or 0.0, one.subject.name


def _days_together(days: Iterable[Sequence[Uptime]]) -> tuple[Uptime, ...]:
    return tuple(map(total, zip(*days, strict=True)))


def _noisy(facts: Facts) -> list[CheckFacts]:
    found = sorted((one for one in facts.checks if one.incidents > 1), key=lambda one: -one.incidents)
    return found[:5]


def _slowest(facts: Facts) -> list[CheckFacts]:
    return sorted((one for one in facts.checks if one.speed), key=lambda one: -(one.speed.p95 if one.speed else 0.0))


def bars(days: Sequence[float | None]) -> list[tuple[str, str]]:
    """The bars of a strip as class and SVG path; bad days are also higher, for those who see no colours."""
    paths: dict[str, str] = {}
    for number, part in enumerate(days):
        word = "none" if part is None else "good" if part >= NEARLY_ALL else "middling" if part >= MOSTLY else "bad"
        height = {"none": 4, "good": 10, "middling": 14, "bad": 18}[word]
        paths[word] = paths.get(word, "") + f"M{number * 10} 18v-{height}h9v{height}z"
    return list(paths.items())


# --- charts -----------------------------------------------------------------------------------------------------------


def _charts(facts: Facts, groups: Sequence[Group]) -> list[Chart]:
    found = _charts_of_groups(facts, groups)[:1]
    for number, one in enumerate(_filling(facts.resources)[:MOST_CHARTS]):
        found.append(_course(facts, one, f"course-{number}"))
    return found


def _charts_of_groups(facts: Facts, groups: Sequence[Group]) -> list[Chart]:
    if not groups:
        return []
    together = _days_together(group.days for group in groups)
    days = [_told_day(one, internal=facts.wanted.audience is Audience.TEAM) for one in together]
    worst = min((one for one in days if one is not None), default=None)
    words = f"Share of the time up, day by day; the worst day {share(worst)}"
    return [
        Chart("days", "Day by day", words, charts.days(days, _ends(facts, facts.wanted.since, facts.wanted.until - 1)))
    ]


def _told_share(one: Figures, *, internal: bool) -> float | None:
    """The share of a month: as in the sentence at the top, stakeholders' is without planned maintenance."""
    return one.availability if internal else one.availability_without_maintenance


def _told_day(one: Uptime, *, internal: bool) -> float | None:
    """The share of a day, likewise."""
    return one.share_with_planned if internal else one.share


def _from_the_first(months: Sequence[Month]) -> Sequence[Month]:
    """Without those before the first of which anything is or will be known: nobody watched then."""
    known = (number for number, one in enumerate(months) if one.figures is not None or one.later)
    return months[next(known, len(months)) :]


def _chart_of_months(months: Sequence[Month], *, internal: bool) -> Chart:
    shares = [_told_share(one.figures, internal=internal) if one.figures else None for one in months]
    measured = sum(one is not None for one in shares)
    words = f"Share of the time up, month by month; {measured} of {len(shares)} months were measured"
    ends = (months[0].name, months[-1].name)
    return Chart("months", "Month by month", words, charts.days(shares, ends))


def _filling(resources: Sequence[Resource]) -> list[Resource]:
    """What fills up first, then what is fullest; processors do not fill up."""
    limited = [one for one in resources if one.name != "cpu_used" and len(one.days) > 1]
    never = float("inf")
    return sorted(limited, key=lambda one: ((one.full.expected if one.full else None) or never, -one.p95))


def _course(facts: Facts, one: Resource, name: str) -> Chart:
    last = one.days[-1][0]
    horizon = last + (last - one.days[0][0])
    ahead = None
    words = f"{format_part(one.days[0][1])} at first, {format_part(one.days[-1][1])} at last"
    if when := when_full(facts, one):
        words += f"; full {when}"
    if one.full and one.full.expected:
        share_then = one.days[-1][1] + (1 - one.days[-1][1]) * min(1.0, (horizon - last) / (one.full.expected - last))
        ahead = (min(horizon, one.full.expected), share_then)
    ends = _ends(facts, one.days[0][0], ahead[0] if ahead else last)
    return Chart(name, f"{one.title} of {one.check}", words, charts.course(one.days, ends, ahead))


def when_full(facts: Facts, one: Resource) -> str:
    """When something is full, with the interval; empty when that is years away, or too little is known to tell."""
    return foretold.when_met(one.full, facts.wanted.until)


def _ends(facts: Facts, begin: float, end: float) -> tuple[str, str]:
    zone = ZoneInfo(facts.wanted.timezone)
    first, last = (datetime.fromtimestamp(at, zone) for at in (begin, end))
    return f"{first.day} {first:%b}", f"{last.day} {last:%b}"


# --- files ------------------------------------------------------------------------------------------------------------


def _json(facts: Facts, groups: Sequence[Group], months: Sequence[Month], own: Figures | None) -> str:
    wanted = facts.wanted
    head: dict[str, Any] = {
        "report": wanted.name if wanted.audience is Audience.TEAM else wanted.kind,
        "kind": wanted.kind,
        "audience": wanted.audience,
        "watchd": wanted.watchd,
        "since": wanted.since,
        "until": wanted.until,
    }
    if months:
        head["months"] = [{"month": one.name, "figures": as_json(one.figures)} for one in months]
        head["figures"] = as_json(own)
    parts = [
        {"name": one.name, **_availability(one.uptime, one.unwatched), "outages": one.disturbances} for one in groups
    ]
    if wanted.audience is not Audience.TEAM:
        return json.dumps({**head, "components": parts}, indent=1)
    body = {
        "groups": parts,
        "checks": [_json_of_check(one) for one in facts.checks],
        "incidents": [_json_of_incident(one) for one in facts.incidents],
        "objectives": [_json_of_objective(one) for one in facts.promises],
        "recovery": [asdict(one) | {"is_met": one.is_met} for one in facts.recovery],
        "resources": [asdict(one) | {"days": len(one.days)} for one in facts.resources],
        "costs": [asdict(one) for one in facts.costs],
        "growth": [foretold.as_json(one) for one in facts.forecasts],
        "channels": [asdict(one) for one in facts.channels],
        "mean_time_to_acknowledge": facts.handling.acknowledge,
        "mean_time_to_resolve": facts.handling.resolve,
        "mean_time_between_failures": facts.handling.between,
        "advice": advice(facts),
        "upcoming": [asdict(one) for one in wanted.upcoming],
    }
    return json.dumps({**head, **body}, indent=1)


def _json_of_check(one: CheckFacts) -> dict[str, Any]:
    return {
        "name": one.subject.name,
        "group": one.subject.group,
        **_availability(one.uptime, one.unwatched),
        "watched_since": one.begun,
        "speed": asdict(one.speed) if one.speed else None,
        "incidents": one.incidents,
        "outages": one.outages,
        "longest": one.longest,
    }


def _json_of_incident(one: Incident) -> dict[str, Any]:
    return {
        "id": one.id,
        "check": one.check,
        "subject": one.subject,
        "severity": one.peak.word,
        "opened_at": one.opened_at,
        "resolved_at": one.resolved_at,
        "acknowledged_by": one.taken_by,
        "owner": one.owner,
        "summary": one.summary,
    }


def _json_of_objective(one: Promise) -> dict[str, Any]:
    return {
        "name": one.objective.name,
        "target": one.objective.target,
        "period": one.objective.period,
        "month_begins": one.objective.month_begins or None,
        "availability": one.budget.availability_with_planned,
        "availability_without_maintenance": one.budget.availability,
        "seconds_down": one.budget.down,
        "seconds_unmonitored": one.budget.unwatched,
        "budget_left": one.budget.left,
    }


def _availability(one: Uptime, unwatched: float) -> dict[str, float | None]:
    """Of which ``unwatched`` leaves out the time before there was a check, as everywhere in a report."""
    return {
        "availability": one.share_with_planned,
        "availability_without_maintenance": one.share,
        "seconds_up": one.all_up,
        "seconds_down": one.all_down,
        "seconds_down_planned": one.planned_down,
        "seconds_unmonitored": unwatched,
    }


def _csv(checks: Sequence[CheckFacts], groups: Sequence[Group]) -> str:
    into = io.StringIO()
    table = csv.writer(into)
    if not checks:
        table.writerow(COMPONENT_COLUMNS)
        for group in groups:
            table.writerow([cell(group.name), *_row(group.uptime, group.unwatched), group.disturbances])
        return into.getvalue()
    table.writerow(CHECK_COLUMNS)
    for one in checks:
        speed = [one.speed.p50, one.speed.p95, one.speed.p99] if one.speed else ["", "", ""]
        names = [cell(one.subject.name), cell(one.subject.group)]
        table.writerow([*names, *_row(one.uptime, one.unwatched), *speed, one.incidents, one.outages, one.longest])
    return into.getvalue()


def _row(one: Uptime, unwatched: float) -> list[float | None]:
    return [one.share_with_planned, one.share, one.all_down, unwatched]
