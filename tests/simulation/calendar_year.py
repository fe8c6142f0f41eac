"""The year in which all of etc/ is tried, and its days reckoned anew: without the libraries that the daemon uses.

From the end of 2027 to the end of 2028: both changes of the clocks and a leap day. When a local time comes is found by
looking at the clocks minute by minute, when something recurs by going through the days of the calendar.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from wcr_watchd.config.load import Loaded, loads

ETC = Path(__file__).parents[2] / "etc" / "conf.d"
NEW_YORK = ZoneInfo("America/New_York")
"""The zone that etc/ is written for."""
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
"""Where the clocks are moved by half an hour, and in whose summer it is New Year."""
ZONES = (NEW_YORK, ZoneInfo("Europe/Berlin"), LORD_HOWE, ZoneInfo("Asia/Kolkata"))
"""America, Europe, half an hour, and never."""
FIRST, LAST = date(2027, 12, 27), date(2028, 12, 31)
DAY = 86_400.0


def shipped() -> dict[str, dict[str, Any]]:
    """The tables of all tasks of etc/, those that are off as well, and those that the daemon makes for its contacts."""
    found: dict[str, dict[str, Any]] = {}
    for written in tables():
        for name, table in written.get("task", {}).items():
            found[name] = {key: value for key, value in table.items() if key != "enabled"}
        if (asked := written.get("contacts")) is not None:
            of_a_contact = {"period": asked["verify_every"], "grace": "14d", "remind": "7d"}
            found |= {f"verify-{contact}": of_a_contact for contact in written["contact"]}
    return found


def tables() -> Iterator[dict[str, Any]]:
    """What the files of etc/ say."""
    return (tomllib.loads(file.read_text()) for file in sorted(ETC.glob("*.toml")))


def checks_of_type(probe: str) -> dict[str, dict[str, Any]]:
    """The tables of the checks of etc/ that have this type, those that are off as well."""
    return {
        name: table
        for written in tables()
        for name, table in written.get("check", {}).items()
        if table["type"] == probe
    }


def configured(zone: ZoneInfo = NEW_YORK) -> Loaded:
    """All of etc/ moved to that zone, with what is off turned on, as one text; secrets are made up."""
    main = (ETC.parent / "watchd.toml").read_text().replace('include = ["conf.d/*.toml"]\n', "")
    text = "\n".join([main, *(file.read_text() for file in sorted(ETC.glob("*.toml")))])
    text = text.replace("${credential:slack_webhook}", "https://hooks.example/secret").replace(NEW_YORK.key, zone.key)
    text = re.sub(r"(dsn = \")\$\{credential:\w+\}", r"\1postgresql://watch@db.example/wcr", text)
    text = re.sub(r"\$\{credential:\w+\}", "a-secret-of-some-length", text)
    return loads(text.replace("enabled = false\n", ""), "etc")


def fits(field: str, value: int) -> bool:
    """Whether a value is meant by a field of a cron expression: ``*``, ``5``, ``1,4``."""
    return field == "*" or value in map(int, field.split(","))


def instant(local: datetime, zone: ZoneInfo) -> float:
    """When the clocks first show this; a time that they skip is when they are moved."""
    at = local.replace(tzinfo=zone).timestamp()
    while datetime.fromtimestamp(at, zone).replace(tzinfo=None) != local:
        local += timedelta(minutes=1)
        at = local.replace(tzinfo=zone).timestamp()
    return at


def midnight(day: date, zone: ZoneInfo) -> float:
    """When a day begins."""
    return instant(datetime(day.year, day.month, day.day), zone)  # noqa: DTZ001


def days(last: date = LAST) -> Iterator[date]:
    """The days of the year, one after the other."""
    return (FIRST + timedelta(days=number) for number in range((last - FIRST).days + 1))


def expected(schedule: str, zone: ZoneInfo, last: date = LAST) -> list[float]:
    """When a cron expression is due in that year, by the days of the local calendar."""
    minute, hours, day_of_month, month, day_of_week = schedule.split()
    return [
        instant(datetime(day.year, day.month, day.day, int(hour), int(minute)), zone)  # noqa: DTZ001
        for day in days(last)
        if fits(day_of_month, day.day) and fits(month, day.month) and fits(day_of_week, (day.weekday() + 1) % 7)
        for hour in hours.split(",")
    ]


def weekly(weekday: int, hour: int, zone: ZoneInfo, last: date = LAST) -> list[float]:
    """When it is this hour on that day (Monday: 0) of each week."""
    return expected(f"0 {hour} * * {(weekday + 1) % 7}", zone, last)


def window_opens(at: float, zone: ZoneInfo) -> float:
    """When it is Tuesday between 03:00 and 05:00 there, from then on."""
    local = datetime.fromtimestamp(at, zone)
    while not (local.weekday() == 1 and 3 <= local.hour < 5):
        local = datetime.fromtimestamp(at := at - at % 60 + 60, zone)
    return at


def changes(zone: ZoneInfo) -> list[date]:
    """The days on which the clocks of a zone are moved in that year."""
    return [day for day in days() if midnight(day + timedelta(days=1), zone) - midnight(day, zone) != DAY]


def seconds(text: str) -> float:
    """How long ``2h`` is."""
    return float(text[:-1]) * {"h": 3_600.0, "d": DAY, "m": 60.0}[text[-1]]
