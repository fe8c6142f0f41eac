"""Reading what a SQLite store recorded, beside the daemon that may be writing it: for a replay.

It only reads, and holds no snapshot between two looks, so that the daemon's write-ahead log does not grow meanwhile.
Not for the event loop: calls block.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from contextlib import closing
from dataclasses import dataclass
from math import inf
from pathlib import Path
from types import MappingProxyType, TracebackType
from urllib.parse import quote

from wcr_watchd.core.drill_report import DrillReport
from wcr_watchd.core.errors import StoreError
from wcr_watchd.core.model import DeliveryState, EventKind, Incident, Labels, Measurement, Observation
from wcr_watchd.core.replay import Acknowledged
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.steady import Bounds
from wcr_watchd.core.task import KEPT_RECORDS, TaskRecord
from wcr_watchd.store import codec
from wcr_watchd.store.codec import DRILL, INCIDENT, SILENCE, from_json, milliseconds, seconds
from wcr_watchd.store.database import Row
from wcr_watchd.store.history import Tally, buckets
from wcr_watchd.store.pack import PackedRow, newest_per_run, unpack
from wcr_watchd.store.rollup import DAY, FIVE_MINUTES, HOUR, SPAN, Extent, extents, merged
from wcr_watchd.store.statements import STATEMENTS
from wcr_watchd.store.totals import Span, Totals, WantedSeries, add_raw

ROUNDED = 1e-8
"""Part by which a value in a rollup may differ from the one that was measured."""
WHOLE = 1e9
"""Whole numbers below it are kept as they are, and so are counters that stand still."""


@dataclass(frozen=True, slots=True)
class Owed:
    """A message that was really owed because of an incident, and what became of it."""

    incident: int
    channel: str
    contact: str
    at: float
    event: EventKind
    state: DeliveryState


class Recorded:
    """The records of a SQLite file at ``path``; a context manager. Raises ``StoreError`` when they cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._connection = sqlite3.connect(f"file://{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        try:
            self._read_all()
        except BaseException:
            self._connection.close()
            raise

    def _read_all(self) -> None:
        self._sources = {row[0]: (row[1], row[2]) for row in self._fetch("sources")}
        self._series = {row[0]: (row[1], codec.labels_of(row[2])) for row in self._fetch("series")}
        self._recent: dict[tuple[int, int], list[PackedRow]] = {}
        self._day = -1
        self._known: dict[tuple[int, int], Extent | None] = {}
        self._due: set[tuple[int, int, int]] = set()
        self._wanted: dict[tuple[str, tuple[int, ...]], tuple[tuple[int, str, Labels], ...]] = {}
        self._read_recent()

    def __enter__(self) -> Recorded:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    # --- what the engine saw ---

    def reach(self) -> tuple[float, float] | None:
        """From when to when there are observations (epoch seconds); None when there are none."""
        first, last = self._fetch("span_of_observations")[0]
        recent = [row.at for rows in self._recent.values() for row in rows]
        begin = min([*recent, *([] if first is None else [first])], default=None)
        if begin is None:
            return None
        return seconds(begin), seconds(max([*recent, *([] if last is None else [last + 900_000])]))

    def checks(self) -> frozenset[str]:
        """The checks of which there are, or were, observations."""
        return frozenset(check for check, _ in self._sources.values())

    def hours(self, since: float, until: float) -> Iterable[float]:
        """The hours from the one of ``since`` to that of ``until``."""
        first = milliseconds(since) // HOUR * HOUR
        return (seconds(at) for at in range(first, milliseconds(until), HOUR))

    def spans(self, hour: float, names: Mapping[str, frozenset[str]]) -> Mapping[str, Bounds | None]:
        """Those of these checks with runs in the hour, and bounds of their values; see :class:`core.replay.Record`."""
        start = milliseconds(hour)
        self._read_day(start // DAY * DAY)
        found: dict[str, Bounds | None] = {}
        for source in self._sources_of(start):
            extent = self._known.get((start, source)) if (start, source) not in self._recent else None
            check = self._sources[source][0]
            if check in names:
                bounds = self._bounds(extent, names[check]) if extent is not None and check not in found else None
                found[check] = bounds  # of one seen from two places nothing is known: not worth putting together
        return found

    def observations(self, hour: float, names: Mapping[str, frozenset[str]]) -> Sequence[Observation]:
        """All runs of these checks in the hour, by the time at which they ended; see :class:`core.replay.Record`."""
        start = milliseconds(hour)
        found: list[Observation] = []
        for source, (check, location) in self._sources.items():
            if check in names:
                rows = [row for body in self._fetch("slots_of_hour", source, start) for row in unpack(body[0])]
                rows += self._recent.get((start, source), [])
                found += [self._observation(check, location, row, names[check]) for row in newest_per_run(rows)]
        return sorted(found, key=lambda one: one.at + one.duration)

    def _observation(self, check: str, location: str, row: PackedRow, names: frozenset[str]) -> Observation:
        key = (check, tuple(row.series))
        wanted = self._wanted.get(key)
        if wanted is None:
            known = ((place, *self._series.get(number, ("", ()))) for place, number in enumerate(row.series))
            wanted = self._wanted[key] = tuple(one for one in known if one[1] in names)
        return Observation(
            check=check,
            location=location,
            at=seconds(row.at),
            duration=row.duration,
            outcome=codec.OUTCOMES[row.outcome],
            reason=row.reason,
            summary=row.summary,
            measurements=tuple(Measurement(name, row.values[place], labels) for place, name, labels in wanted),
        )

    def _bounds(self, extent: Extent, names: frozenset[str]) -> Bounds | None:
        """The bounds of an hour; None unless everything in it was up."""
        if not extent.all_up:
            return None
        found: dict[str, tuple[float, float]] = {}
        for number, (count, low, high) in extent.series.items():
            name = self._series.get(number, ("", ()))[0]
            if name not in names:
                continue
            if count != extent.runs:  # some values are absent, or not finite: nothing is known of it
                low, high = -inf, inf
            known = found.get(name, (inf, -inf))
            found[name] = (min(known[0], low - _rounding(low)), max(known[1], high + _rounding(high)))
        return found

    def _sources_of(self, hour: int) -> set[int]:
        """The sources with runs in the hour."""
        filed = {row[0] for row in self._fetch("sources_in_hour", hour)}
        return (filed | {source for at, source in self._recent if at == hour}) & self._sources.keys()

    def _read_day(self, day: int) -> None:
        """Read what is known of the hours of a day from its rollups; those not yet (or not yet again) made are left."""
        if day == self._day:
            return
        self._day = day
        self._known = {}
        self._due = {(row[0], row[1], row[2]) for row in self._fetch("due_all")}
        for source, body in self._fetch("rollups_of_day", day):
            if (HOUR, day, source) not in self._due and not self._hours_due(day, source):
                for number, extent in extents(body).items():
                    self._known[day + number * HOUR, source] = extent
        for start, source, body in self._fetch("hours_without_day", day, day + DAY):
            if (FIVE_MINUTES, start, source) not in self._due:
                self._known[start, source] = merged(extents(body).values())

    def _hours_due(self, day: int, source: int) -> bool:
        return any((FIVE_MINUTES, hour, source) in self._due for hour in range(day, day + DAY, HOUR))

    def _read_recent(self) -> None:
        """Keep what is not filed yet; read before anything that is filed, so that nothing falls between the two."""
        for (body,) in self._fetch("recent_all"):
            for row in unpack(body):
                self._recent.setdefault((row.at // HOUR * HOUR, row.source), []).append(row)

    # --- sums over long spans ---

    def totals(
        self,
        since: float,
        until: float,
        wanted: Mapping[str, frozenset[str]],
        *,
        sketches: bool = True,
        shares: Collection[str] = (),
        cuts: Mapping[str, Iterable[float]] = MappingProxyType({}),
    ) -> Mapping[str, Totals]:
        """The runs of these checks between two times (epoch seconds), and the values of the measurements named.

        Of measurements that are ``shares`` the quantiles are finer. Before and after each of the ``cuts`` of a check
        (epoch seconds) its runs are counted apart, as far as what is kept tells.

        There are quantiles only with ``sketches``, which take most of the time. Of values, hours that begin in the
        span count; of runs also the hour in which it begins. What is not rolled up yet is read run by run.
        """
        span = Span(milliseconds(since), milliseconds(until))
        sources = {number: check for number, (check, _) in self._sources.items() if check in wanted}
        finer = frozenset(number for number, (name, _) in self._series.items() if name in shares)
        numbers = self._numbers(wanted.values())
        read = {check: WantedSeries(numbers[names], finer, sketches) for check, names in wanted.items()}
        found = {check: Totals() for check in wanted}
        summed: set[tuple[int, int, int]] = set()
        for width, start, source, body in self._rows(span):
            if (check := sources.get(source)) is not None:
                summed.add((width, start, source))
                found[check].add_row(body, start, width, read[check], span)
        for row in self._unsummed(span, summed):
            if (check := sources.get(row.source)) is not None and span.has(row.at):
                add_raw(found[check], row, read[check])
        for totals in found.values():
            totals.fold_raw()
        for check in found.keys() & cuts.keys():
            own = [number for number, name in sources.items() if name == check]
            self._cut(found[check], own, sorted(map(milliseconds, cuts[check])), span)
        return found

    def _cut(self, totals: Totals, sources: Sequence[int], cuts: Sequence[int], span: Span) -> None:
        """Count hours in which a cut lies as finely as they are kept; what was up throughout is so on both sides."""
        for hour in sorted({at // HOUR * HOUR for at in cuts if at % HOUR and span.has(at)}):
            if not any(down or unknown for _, down, unknown in totals.of_hour(hour)):
                continue
            tally = Tally(hour, hour + HOUR, cuts)
            for source in sources:
                known = self._fetch("hour_row", hour, source)
                rows = self._runs_of(hour, source) if not known or tally.needs_runs(hour) else []
                if known:
                    tally.add_cut(buckets(known[0][0], hour, FIVE_MINUTES), (), rows)
                else:
                    tally.add_rows(rows)
            totals.cut(hour, tally.found)

    def _runs_of(self, hour: int, source: int) -> Sequence[PackedRow]:
        rows = [row for body in self._fetch("slots_of_hour", source, hour) for row in unpack(body[0])]
        return newest_per_run([*rows, *self._recent.get((hour, source), [])])

    def _numbers(self, wanted: Iterable[frozenset[str]]) -> Mapping[frozenset[str], tuple[int, ...]]:
        """The numbers of the series of these names; many checks want the same."""
        return {
            names: tuple(number for number, (name, _) in self._series.items() if name in names)
            for names in frozenset(wanted)
        }

    def labels(self, series: int) -> tuple[str, Labels]:
        """Name and labels of a series by its number."""
        return self._series[series]

    def _rows(self, span: Span) -> Iterable[tuple[int, int, int, bytes]]:
        """Width, start, source and body of the packed rows of a span, a day at a time: not all of them in memory."""
        for day in range(span.since // DAY * DAY, span.until, DAY):
            for source, body in self._fetch("rollups_of_day", day):
                yield HOUR, day, source, body
            for start, source, body in self._fetch("hours_without_day", day, day + DAY):
                yield FIVE_MINUTES, start, source, body

    def _unsummed(self, span: Span, summed: Set[tuple[int, int, int]]) -> Iterable[PackedRow]:
        """The runs of hours that no row of rollups has, which are told by width, start and source."""

        def is_summed(at: int, source: int) -> bool:
            return any((width, at // long * long, source) in summed for width, long in SPAN.items())

        for start, source, body in self._fetch("slots_between", span.since, span.until):
            if not is_summed(start, source):
                yield from newest_per_run(unpack(body))
        for (hour, source), rows in self._recent.items():
            if not is_summed(hour, source):
                yield from newest_per_run(rows)

    # --- what people did, and what really followed ---

    def silences(self) -> tuple[Silence, ...]:
        """Silences and started maintenance, as long as they are kept."""
        return tuple(from_json(SILENCE, row[0]) for row in self._fetch("silences"))

    def acknowledged(self, since: float, until: float) -> tuple[Acknowledged, ...]:
        """Who acknowledged what, when."""
        rows = self._fetch("acknowledgements", milliseconds(since), milliseconds(until))
        return tuple(Acknowledged(seconds(at), check, subject, by) for at, check, subject, by in rows)

    def incidents(self, since: float, until: float) -> tuple[Incident, ...]:
        """The incidents that were open in that time, oldest first."""
        rows = self._fetch("incidents_between", milliseconds(since), milliseconds(until))
        return tuple(from_json(INCIDENT, row[0]) for row in rows)

    def owed(self, since: float, until: float) -> tuple[Owed, ...]:
        """The messages about incidents that were owed in that time, oldest first."""
        rows = self._fetch("owed_between", milliseconds(since), milliseconds(until))
        return tuple(
            Owed(incident, channel, contact, seconds(at), EventKind(event), DeliveryState(state))
            for incident, channel, contact, at, state, event in rows
        )

    def drills(self, since: float = 0.0) -> tuple[DrillReport, ...]:
        """The drills that are over and began since a time, oldest first."""
        return tuple(from_json(DRILL, row[0]) for row in self._fetch("drills", milliseconds(since)))

    def task_records(self, task: str) -> tuple[TaskRecord, ...]:
        """How the turns of a task ended, as far as they are kept, the newest first."""
        return tuple(from_json(codec.TASK_RECORD, row[0]) for row in self._fetch("task_records", task, KEPT_RECORDS))

    def monthly_reports(self, name: str, audience: str, since: float, until: float) -> Iterable[tuple[bool, str]]:
        """The JSON forms of monthly reports that begin in that time, as they were written, and which came on schedule.

        Of those that somebody asked for there is the last one only.
        """
        rows = self._fetch("reports_of_months", name, audience, milliseconds(since), milliseconds(until))
        for scheduled, body in rows:
            yield bool(scheduled), from_json(codec.DOCUMENT, zlib.decompress(body).decode()).json

    def begins(self) -> float | None:
        """From when on anything is known of runs (epoch seconds), be it by rollups; None when nothing is."""
        starts = [seconds(row[0]) for width in SPAN for row in self._fetch("first_rollup", width) if row[0] is not None]
        observed = self.reach()
        return min([*starts, *(observed[:1] if observed else ())], default=None)

    def _fetch(self, statement: str, *values: object) -> list[Row]:
        try:
            with closing(self._connection.cursor()) as cursor:
                named = {str(number): value for number, value in enumerate(values, 1)}
                return cursor.execute(STATEMENTS[statement], named).fetchall()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: sqlite3.Error) -> StoreError:
        return StoreError(
            f"cannot read the records in {self.path}: {error}; name the database of the daemon with --store, "
            "and run as its user or root"
        )


def _rounding(value: float) -> float:
    """By how much a value in a rollup may differ from what was measured: whole numbers of nine digits do not."""
    return 0.0 if abs(value) < WHOLE and value == int(value) else abs(value) * ROUNDED
