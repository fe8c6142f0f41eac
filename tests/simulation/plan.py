"""What will happen in a simulated world, by its seed: the targets' failures, the channels' outages, crashes, people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

HOUR = 3_600.0
DAY = 86_400.0
CALM = 3 * HOUR
"""At the end everything works, so that what is owed can be delivered and what is open can end."""
BEGIN = 1_795_392_000.0
"""Monday 2026-11-23 00:00 UTC."""
EVERY, TIMEOUT, RETRY_EVERY, RETRIES = 900.0, 10.0, 10.0, 2
CHANNELS = ("sms", "mail", "chat")
INSTEAD = "pager"
"""The channel that is told of what is critical when one of the others cannot be reached."""
STEP_AFTER = 900.0
WINDOW = (11.0, 12.5)
"""Hours of the day in which ``windowed`` is in maintenance."""
QUIET = (1.0, 5.0)
"""Hours of the day in which nobody is told of a warning."""
PARENT = "database"
PARENTS = {"shop": PARENT}
STEADY = ("plain", "windowed", "site", PARENT, "shop", "extra")
SLOW = "site"
UNSTEADY = "unsteady"
OPTIONAL = ("plain", "extra")
"""Each is there in one of the two configurations only."""


@dataclass(frozen=True, slots=True)
class Spell:
    """From ``start`` to ``end`` (seconds since the beginning) something is in a ``mood``."""

    start: float
    end: float
    mood: str


@dataclass(frozen=True, slots=True)
class Crash:
    """The process is gone at a time, or at the first step of a kind after it; and for how long."""

    at: float
    step: str
    """``moment``, ``before commit``, ``after commit``, ``before accept``, ``after accept``."""
    away: float


@dataclass(frozen=True, slots=True)
class Jolt:
    """At a time the process is ``stalled``, the machine ``slept``, or the wall clock is put ``off`` by seconds."""

    at: float
    kind: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks for at a time: ``silence``, ``expire``, ``acknowledge`` or ``reload``."""

    at: float
    kind: str
    check: str = ""
    seconds: float = 0.0


@dataclass
class Plan:
    """Everything that happens to a world of so many ``days``; times are seconds since its beginning."""

    seed: int
    days: float = 1.0
    spells: dict[str, list[Spell]] = field(default_factory=dict)
    outages: dict[str, list[Spell]] = field(default_factory=dict)
    store: list[Spell] = field(default_factory=list)
    crashes: list[Crash] = field(default_factory=list)
    jolts: list[Jolt] = field(default_factory=list)
    wishes: list[Wish] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ends = self.days * DAY
        self.calm_from = self.ends - CALM
        chance = Random(f"plan {self.seed}")
        for check in (*STEADY, UNSTEADY):
            self.spells[check] = list(self._failures(chance, check))
        for channel in CHANNELS:
            moods = ("refuse", "refuse", "hang", "limited", "lost", "flaky")
            self.outages[channel] = list(self._troubles(chance, 6 * HOUR, (60.0, 3 * HOUR), moods))
        moods = ("slow", "refuse") if self.seed % 2 else ("slow",)
        self.store = list(self._troubles(chance, 8 * HOUR, (60.0, 1_800.0), moods))
        self.crashes = list(self._crashes(chance))
        self.jolts = list(self._jolts(chance))
        self.wishes = list(self._wishes(chance))
        moods = ("refuse", "hang", "limited", "lost", "flaky")
        self.outages[INSTEAD] = list(self._troubles(chance, 12 * HOUR, (60.0, HOUR), moods))

    def _failures(self, chance: Random, check: str) -> Iterator[Spell]:
        moods = ["down"] * 5 + ["hang", "blip", "unknown"] + (["slow"] * 3 if check == SLOW else [])
        at = chance.uniform(0, 2 * HOUR)
        while True:
            at += chance.uniform(0.7, 4.0) * HOUR
            mood = "flap" if check == UNSTEADY else chance.choice(moods)
            lasts = (
                EVERY if mood == "blip" else chance.choice((0.1, 0.5, 1.0, 2.0, 4.0)) * chance.uniform(0.5, 1) * HOUR
            )
            if at + lasts > self.calm_from:
                return
            yield Spell(at, at + lasts, mood)
            at += lasts

    def _troubles(
        self, chance: Random, mean: float, lengths: tuple[float, float], moods: Sequence[str]
    ) -> Iterator[Spell]:
        at = 0.0
        while True:
            at += chance.expovariate(1 / mean)
            lasts = chance.uniform(*lengths) * chance.random()
            if at + lasts > self.calm_from:
                return
            yield Spell(at, at + lasts, chance.choice(moods))
            at += lasts

    def _crashes(self, chance: Random) -> Iterator[Crash]:
        steps = ("moment", "before commit", "after commit", "before accept", "after accept")
        for hour in range(int(self.calm_from / HOUR)):
            away = chance.uniform(60, 2_400) if chance.random() < 0.08 else chance.uniform(0.5, 20)
            yield Crash((hour + chance.random()) * HOUR, chance.choice(steps), away)

    def _jolts(self, chance: Random) -> Iterator[Jolt]:
        off = 0.0
        for _ in range(round(4 * self.days)):
            yield Jolt(chance.uniform(0, self.calm_from), chance.choice(("stalled", "slept")), chance.uniform(90, 500))
        for at in sorted(chance.uniform(0, self.calm_from) for _ in range(round(4 * self.days))):
            off = 0.0 if off else chance.uniform(-60, 60)
            yield Jolt(at, "off", off)

    def _wishes(self, chance: Random) -> Iterator[Wish]:
        checks = (*STEADY, UNSTEADY)
        for _ in range(round(6 * self.days)):
            at, lasts = chance.uniform(0, self.calm_from), chance.uniform(0.2, 2.5) * HOUR
            yield Wish(at, "silence", chance.choice(checks), min(lasts, self.calm_from - at + 1.0))
            if chance.random() < 0.3:
                yield Wish(at + lasts * chance.random(), "expire")
        for _ in range(round(20 * self.days)):
            yield Wish(chance.uniform(0, self.calm_from), "acknowledge", seconds=chance.choice((0.0, 0.0, 1_800.0)))
        for _ in range(round(3 * self.days)):
            yield Wish(chance.uniform(0, self.calm_from), "reload")


def mood_at(spells: Sequence[Spell], at: float) -> str:
    """The mood that holds at a time; empty when all is well."""
    return next((spell.mood for spell in spells if spell.start <= at < spell.end), "")


def configuration(variant: int) -> str:
    """One of two configurations, as people write them."""
    checks = [name for name in (*STEADY, UNSTEADY) if name != OPTIONAL[variant % 2]]
    parts = [_PEOPLE]
    for name in checks:
        more = f'depends_on = ["{PARENTS[name]}"]\n' if name in PARENTS else ""
        more += 'warning = "response_time > 1s"\n' if name == SLOW else "warning = []\n"
        parts.append(f'[check.{name}]\ntype = "http"\nurl = "http://{name}.example/"\ncritical = "down"\n{more}')
    return "\n".join(parts)


_PEOPLE = f"""
[watchd]
name = "sim"
timezone = "UTC"
[store]
url = "sqlite:///nowhere/watchd.db"
[channel.sms]
type = "sms"
provider = "twilio"
account_sid = "AC0123456789abcdef0123456789abcdef"
auth_token = "0123456789abcdef0123456789abcdef"
from = "+15550100"
limit = "30/1h"
[channel.mail]
type = "email"
servers = ["smtp://relay.example:25"]
from = "watch@example.org"
[channel.chat]
type = "slack"
webhook = "https://hooks.slack.com/services/T0/B0/x"
[channel.{INSTEAD}]
type = "slack"
webhook = "https://hooks.slack.com/services/T0/B0/y"
[contact.lead]
phone = "+15550101"
email = "lead@example.org"
quiet = "01:00-05:00"
[contact.second]
phone = "+15550102"
email = "second@example.org"
quiet = "01:00-05:00"
[on_call.ops]
timezone = "UTC"
rotation = ["lead", "second"]
handover = "Mon 09:00"
[policy.default.critical]
tell = ["sms:ops", "mail:ops", "chat"]
escalate = [{{ after = "{STEP_AFTER:.0f}s", tell = ["sms:lead", "sms:second"] }}]
repeat = "1h"
fallback = ["{INSTEAD}"]
[policy.default.warning]
tell = ["mail:ops"]
repeat = "4h"
[policy.default.info]
tell = ["chat"]
digest = "1h"
[defaults]
every = "{EVERY:.0f}s"
timeout = "{TIMEOUT:.0f}s"
retry = {{ times = {RETRIES}, every = "{RETRY_EVERY:.0f}s" }}
[maintenance.noon]
when = "11:00-12:30"
checks = ["windowed"]
"""
