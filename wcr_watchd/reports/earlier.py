"""The months before that of a report: out of the reports that are kept, else reckoned from the records.

Reckoning a month of hundreds of checks takes a second. So a report reckons only so many days of checks; what is left
over comes with the next reports, which read in this one what was reckoned already.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from wcr_watchd.core.handling import handling
from wcr_watchd.core.model import Severity
from wcr_watchd.core.report import Audience, Subject, Wanted
from wcr_watchd.reports import months
from wcr_watchd.reports.months import Earlier, Figures, Growth
from wcr_watchd.reports.reckoning import UNIT_OF, cuts_for, growing_of, planned_for, reckoned, speed_of
from wcr_watchd.store.recorded import Recorded
from wcr_watchd.store.totals import Totals

MOST_DAYS = 45_000
"""Days of checks that a report reads, its own time included: some 5 s of a processor."""
OWN_COUNT = 2
"""Those of its own time count twice, for they are read with their quantiles."""
DAY = 86_400.0


def earlier(wanted: Wanted, records: Recorded, before: Mapping[str, Totals]) -> Earlier:
    """What is known of the months before; ``before`` is what was read of the time just before the report's own.

    Raises ``StoreError`` when the records cannot be read.
    """
    spans = months.spans(wanted)[1 if months.is_whole(wanted) else 0 :]
    known = _kept(wanted, records, spans)
    first = records.begins()
    missing = [one for one in spans if one[0] not in known and first is not None and one[2] > first]
    later: set[str] = set()
    checks = len({one.name for one in wanted.subjects})
    left = MOST_DAYS - OWN_COUNT * checks * (wanted.until - wanted.since) / DAY
    some = False
    for name, since, until in missing:
        is_read = (since, until) == (wanted.before, wanted.since)
        cost = 0.0 if is_read else checks * (until - since) / DAY
        if cost > left and some:  # at least one each time, however many checks there are
            later.add(name)
            continue
        names, cuts = measures(wanted.subjects), cuts_for(wanted)
        totals = before if is_read else records.totals(since, until, names, sketches=False, cuts=cuts)
        left, some = left - cost, some or not is_read
        if (found := _figures(wanted, records, totals, since, until)) is not None:
            known[name] = found
    return Earlier(known, frozenset(later))


def measures(subjects: Iterable[Subject]) -> dict[str, frozenset[str]]:
    """What is read of each check for a month."""
    return {one.name: speed_of(one) | growing_of(one) for one in subjects}


def _kept(wanted: Wanted, records: Recorded, spans: Sequence[tuple[str, float, float]]) -> dict[str, Figures]:
    """The figures in reports that are kept: what each said of its own month, else what one said of earlier ones.

    Of several reports of a month the last one given counts.
    """
    begins = {round(start): name for name, start, _ in spans}
    told: dict[str, Figures] = {}
    own: dict[str, Figures] = {}
    since = min((start for _, start, _ in spans), default=wanted.since)
    for scheduled, text in records.monthly_reports(wanted.name, wanted.audience, since, wanted.since):
        document = json.loads(text)
        for one in document.get("months", ()):
            if (found := months.from_json(one["figures"])) is not None:
                told[one["month"]] = found
        name = begins.get(round(document.get("since", 0)))
        if scheduled and name is not None and (found := months.from_json(document.get("figures"))) is not None:
            own[name] = found
    names = set(begins.values())
    return {name: found for name, found in (told | own).items() if name in names}


def _figures(
    wanted: Wanted, records: Recorded, totals: Mapping[str, Totals], since: float, until: float
) -> Figures | None:
    planned = planned_for(wanted)
    uptimes = [
        reckoned(totals[one.name], one.every, since, until, planned.get(one.name, ())) for one in wanted.subjects
    ]
    names = {one.name for one in wanted.subjects}
    incidents = [one for one in records.incidents(since, until) if one.check in names]
    found = months.figures(
        uptimes,
        handling(incidents),
        list(speeds(wanted.subjects, totals, records)),
        list(growth(wanted.subjects, totals, records)),
    )
    if wanted.audience is Audience.TEAM:
        return found
    critical = [one.check for one in incidents if one.peak is Severity.CRITICAL]
    return months.public(found, sum(critical.count(one.name) for one in wanted.subjects))


def speeds(subjects: Iterable[Subject], totals: Mapping[str, Totals], records: Recorded) -> Iterable[float]:
    """The mean response times of those that have some."""
    for one in subjects:
        names = speed_of(one)
        for number, found in totals[one.name].values.items():
            if records.labels(number)[0] in names and found.bucket.count:
                yield found.bucket.mean
                break


def growth(subjects: Iterable[Subject], totals: Mapping[str, Totals], records: Recorded) -> Iterable[Growth]:
    """How much was in use of everything that is watched for growth."""
    for one in subjects:
        names = growing_of(one)
        for number, found in totals[one.name].values.items():
            name, labels = records.labels(number)
            if name in names and found.bucket.count:
                yield Growth(one.name, name, labels, UNIT_OF[name], found.bucket.mean)
