"""Looks at how far back a set of backups reaches, and in how many places it is: weeks, months, what is too old, copies.

Counted are calendar weeks (ISO 8601) and months with a backup in them, as far back as there can be any. With `places`,
the last backup of every month and the newest that is a day old are looked for in each of them, by name and size: three
copies, on two kinds of media, one of them off the site, are what the rule 3-2-1 asks for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.backups.object_storage import ObjectsUrl, StorageOptions, list_objects
from wcr_watchd.kit.backups.sets import SetFile, SetOptions, WorkError, list_set, problem
from wcr_watchd.kit.local_zone import local_timezone
from wcr_watchd.kit.options import Duration

_DAY = 86_400.0
_LISTING = 0.4
_GRACE = 1.1
"""What is older than this times the retention should have been deleted: one run of the clean-up may be missed."""
_MOST_TOLD = 6


class Place(StorageOptions):
    """Another place where the same backups are."""

    path: str = ""
    """Folder and names, as the set's own path."""
    url: ObjectsUrl | None = None
    """Objects on S3-compatible storage in place of a folder: `s3://bucket/folder/name_%Y%m%d.gz`."""
    medium: str = "disk"
    """What kind of medium it is on: what is called the same may fail together."""
    off_site: bool = False
    """Whether it is somewhere else."""

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if bool(self.path) == bool(self.url):
            raise ValueError("a place has a path or a url")
        return self

    @property
    def title(self) -> str:
        """Path or URL."""
        return self.url or self.path


class BackupRetention(SetOptions):
    """How far back a set of backups reaches, and in how many places it is."""

    type: ClassVar[str] = "backup_retention"
    target_key: ClassVar[str] = "path"
    every: ClassVar[float] = 86_400.0
    timeout: ClassVar[float] = 300.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec(
            "weekly_kept", Unit.COUNT, "Calendar weeks with a backup, of those asked for and the current one"
        ),
        MeasurementSpec(
            "monthly_kept", Unit.COUNT, "Calendar months with a backup, of those asked for and the current one"
        ),
        MeasurementSpec("weekly_missing", Unit.COUNT, "Weeks that should have a backup and have none"),
        MeasurementSpec("monthly_missing", Unit.COUNT, "Months that should have a backup and have none"),
        MeasurementSpec("oldest_age", Unit.SECONDS, "Age of the oldest backup"),
        MeasurementSpec("too_old", Unit.COUNT, "Backups that should have been deleted", topic="old"),
        MeasurementSpec("copies", Unit.COUNT, "Copies of the one that has fewest, itself among them", topic="copies"),
        MeasurementSpec("media", Unit.COUNT, "Kinds of media that one is on", topic="copies"),
        MeasurementSpec("off_site_copies", Unit.COUNT, "Copies of that one off the site", topic="copies"),
        MeasurementSpec("rule_321", Unit.COUNT, "Whether there are 3 copies, 2 media, 1 off the site", topic="copies"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "weekly_missing > 0 or monthly_missing > 0"),
        (Severity.WARNING, "too_old > 0"),
        (Severity.WARNING, "copies < 2"),
        (Severity.INFO, "rule_321 == 0"),
    )
    example: ClassVar[str] = """\
path = "/opt/backups/app/monthly/production_%Y%m%d_%H%M%S.sql.gz.enc"
timezone = "America/New_York"
weekly = 0
monthly = 12
places = [
  { path = "/mnt/second/monthly/production_%Y%m%d_%H%M%S.sql.gz.enc", medium = "second disk" },
  { url = "s3://vault/monthly/production_%Y%m%d_%H%M%S.sql.gz.enc", medium = "object storage", off_site = true },
]
"""

    weekly: int = Field(4, ge=0, le=520)
    """Calendar weeks that must have a backup."""
    monthly: int = Field(12, ge=0, le=120)
    """Calendar months that must have a backup."""
    keep: Duration | None = None
    """How long backups are kept; as many weeks and months as are asked for, when it is not set."""
    places: tuple[Place, ...] = ()
    """Other places where the same backups are."""
    medium: str = "disk"
    """What kind of medium the set itself is on."""
    off_site: bool = False
    """Whether the set itself is off the site."""

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """List the set and the other places, and count."""
        before = run.started - self._kept * _GRACE
        try:
            found = await list_set(run, self, run.timeout * _LISTING, daily=True, before=before)
        except WorkError as error:
            return problem(run, error, f"the backups {self.target} cannot be looked at")
        if not found.files:
            return run.down("missing", f"there is no backup {self.target}; does the job run, and does it write there?")
        oldest = found.files[0].taken
        run.measure_all({"oldest_age": run.started - oldest, "too_old": found.older})
        # No more can be asked for than there is time since the first backup that was ever seen.
        run.memory["since"] = since = min(oldest, run.memory.get("since", oldest))
        missing = self._count(run, [one.taken for one in found.files], since)
        await self._count_copies(run, found.files)
        holes = f"; missing: {', '.join(missing[:_MOST_TOLD])}" if missing else ""
        old = f"; {found.older} should have been deleted" if found.older else ""
        return run.up(f"{found.count} backups, the oldest {format_duration(run.started - oldest)} old{holes}{old}")

    @property
    def _kept(self) -> float:
        if self.keep is not None:
            return self.keep
        return max(self.weekly * 7 * _DAY, self.monthly * 31 * _DAY) or 366 * _DAY

    # --- weeks and months ---------------------------------------------------------------------------------------------

    def _count(self, run: Run, taken: Sequence[float], since: float) -> list[str]:
        """Measure weeks and months; the names of those that have no backup and should."""
        zone = ZoneInfo(self.timezone or local_timezone())
        now, first = datetime.fromtimestamp(run.started, zone), datetime.fromtimestamp(since, zone)
        there = [datetime.fromtimestamp(at, zone) for at in taken]
        missing: list[str] = []
        for kind, asked, number, name in (
            ("weekly", self.weekly, _week, _week_name),
            ("monthly", self.monthly, _month, _month_name),
        ):
            if not asked:
                continue
            current, have = number(now), {number(one) for one in there}
            span = range(current - asked, current + 1)
            kept = [one for one in span if one in have]
            # One more than is asked for is looked at: the current one may have none yet, or the oldest none any more.
            owed = min(asked, current - number(first))
            run.measure(f"{kind}_kept", len(kept))
            run.measure(f"{kind}_missing", max(0, owed - len(kept)))
            if len(kept) < owed:
                missing += [name(one) for one in span if one not in have and number(first) <= one < current]
        return missing

    # --- copies -------------------------------------------------------------------------------------------------------

    async def _count_copies(self, run: Run, files: Sequence[SetFile]) -> None:
        """Measure how often the newest that has had a day to be copied and the last of every month are there."""
        if not self.places:
            return
        zone = ZoneInfo(self.timezone or local_timezone())
        by_month = {_month(datetime.fromtimestamp(one.taken, zone)): one for one in files}
        current = _month(datetime.fromtimestamp(run.started, zone))
        wanted = {one for month, one in by_month.items() if current - self.monthly <= month < current}
        wanted |= set([one for one in files if run.started - one.taken > _DAY][-1:])
        if not wanted:
            run.missing(("copies", "media", "off_site_copies", "rule_321"), "no backup has had a day to be copied yet")
            return
        holders: dict[str, list[tuple[str, bool]]] = {one.name: [(self.medium, self.off_site)] for one in wanted}
        for place in self.places:
            try:
                there = await self._names(run, place)
            except WorkError as error:
                # What cannot be looked at says nothing of the copies there: no number is better than one too low.
                run.missing(("copies", "media", "off_site_copies", "rule_321"), f"{place.title}: {error.summary}")
                return
            absent = [one.name for one in wanted if there.get(one.name) != one.size]
            for one in wanted:
                if one.name not in absent:
                    holders[one.name].append((place.medium, place.off_site))
            if absent:
                run.evidence[f"not at {place.title}"] = ", ".join(absent[:_MOST_TOLD])
        fewest = min(holders.values(), key=len)
        copies, media = len(fewest), len({medium for medium, _ in fewest})
        off_site = sum(away for _, away in fewest)
        run.measure_all({"copies": copies, "media": media, "off_site_copies": off_site})
        run.measure("rule_321", copies >= 3 and media >= 2 and off_site >= 1)

    async def _names(self, run: Run, place: Place) -> Mapping[str, int]:
        """Size by name of what is in a place."""
        patience = run.remaining * 0.9 / len(self.places)
        if place.url is not None:
            run.step = f"asking for {place.url}"
            told = await list_objects(run, place, place.url, self.timezone, patience, daily=True)
            return {os.path.basename(key): size for key, size, _, _ in told["files"]}
        listed = await list_set(run, SetOptions(path=place.path, timezone=self.timezone), patience, daily=True)
        return {one.name: one.size for one in (*listed.files, *listed.growing)}


def _week(at: datetime) -> int:
    """The number of a Monday's week since the beginning of the calendar."""
    return (at.toordinal() - 1) // 7


def _week_name(number: int) -> str:
    year, week, _ = datetime.fromordinal(number * 7 + 1).isocalendar()
    return f"{year}-W{week:02}"


def _month(at: datetime) -> int:
    return at.year * 12 + at.month - 1


def _month_name(number: int) -> str:
    return f"{number // 12}-{number % 12 + 1:02}"
