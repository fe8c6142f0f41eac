"""A replay decides what the engine would have decided, whatever it leaves out."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from tests.core import world
from wcr_watchd.core.matchers import parse_matchers
from wcr_watchd.core.model import EventKind, Measurement, MeasurementSpec, Observation, Outcome, Severity
from wcr_watchd.core.replay import HOUR, Acknowledged, Replay, run
from wcr_watchd.core.rules import parse_rule
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.steady import Bounds
from wcr_watchd.core.units import Unit

BEGIN = 1_000_800.0
HOURS = 24
DAYS = 4


@dataclass
class Memory:
    """Recorded observations in memory; with ``honest`` False nothing is known of any hour, so that all is read."""

    seen: Sequence[Observation]
    honest: bool = True
    read: int = 0
    by_hour: dict[float, list[Observation]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in self.seen:
            self.by_hour.setdefault(one.at // HOUR * HOUR, []).append(one)

    def hours(self, since: float, until: float) -> Iterable[float]:
        """The hours of that time."""
        return [since // HOUR * HOUR + HOUR * n for n in range(int((until - since) // HOUR) + 1)]

    def spans(self, hour: float, names: Mapping[str, frozenset[str]]) -> Mapping[str, Bounds | None]:
        """The bounds of each check's values."""
        found: dict[str, Bounds | None] = {}
        for name in {one.check for one in self.by_hour.get(hour, [])}:
            mine = [one for one in self.by_hour.get(hour, []) if one.check == name]
            up = self.honest and all(one.outcome is Outcome.UP for one in mine)
            values: dict[str, list[float]] = {}
            for measured in (measured for one in mine for measured in one.measurements if measured.name in names[name]):
                values.setdefault(measured.name, []).append(measured.value)
            found[name] = {known: (min(some), max(some)) for known, some in values.items()} if up else None
        return found

    def observations(self, hour: float, names: Mapping[str, frozenset[str]]) -> Sequence[Observation]:
        """The runs of these checks."""
        found = [one for one in self.by_hour.get(hour, []) if one.check in names]
        self.read += len(found)
        return sorted(found, key=lambda one: one.at + one.duration)


def setup(*, controls: tuple[str, ...] = ()) -> Setup:
    """A parent with two children of which one is slow at times, and two that stand alone."""
    slow = "response_time > 1s for 3m until response_time < 0.5s for 2m"
    checks = (
        world.check("database"),
        world.check("api", warning=slow, depends_on=("database",)),
        world.check("shop", depends_on=("api",)),
        replace(world.check("far", warning="response_time > 2s"), external=True),
        world.check("gateway", times=0),
    )
    return replace(world.setup(*checks), controls=controls)


def course(seed: int) -> list[Observation]:
    """A day and more of runs, mostly fine, with failures and slowness in between."""
    chance = random.Random(seed)
    seen = []
    for name in ("database", "api", "shop", "far", "gateway"):
        at = BEGIN + chance.random() * 60
        trouble, kind = 0, "fine"
        while at < BEGIN + HOURS * HOUR:
            if trouble <= 0:
                kind = chance.choices(["fine", "down", "slow", "unknown", "flapping"], [20, 1, 1, 0.5, 0.5])[0]
                trouble = chance.randrange(1, 90 if kind == "fine" else 25)
            trouble -= 1
            down = kind == "down" or (kind == "flapping" and chance.random() < 0.5)
            outcome = Outcome.DOWN if down else Outcome.UNKNOWN if kind == "unknown" else Outcome.UP
            value = chance.uniform(0.6, 3.0) if kind == "slow" else chance.uniform(0.01, 0.4)
            measured = (Measurement("response_time", value),) if outcome is Outcome.UP else ()
            seen.append(Observation(name, "here", at, chance.uniform(0.01, 2.0), outcome, "", f"{name}", measured))
            at += 60.0
    return seen


def replayed(setup: Setup, memory: Memory) -> Replay:
    """All of it, with a silence and an acknowledgement in it."""
    silence = Silence(
        "s1", parse_matchers('check="api"'), BEGIN + 5 * HOUR, BEGIN + 9 * HOUR, "ann", "", BEGIN + 5 * HOUR
    )
    taken = [Acknowledged(BEGIN + n * 1800.0, "database", "", "ann") for n in range(1, 2 * HOURS)]
    trial = Replay(setup, BEGIN, [silence], taken)
    run(trial, memory, BEGIN + HOURS * HOUR)
    return trial


@pytest.mark.parametrize("controls", [(), ("gateway",)])
@pytest.mark.parametrize("seed", range(6))
def test_leaving_out_what_is_steady_changes_nothing(
    seed: int, controls: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = course(seed)
    short, whole = Memory(seen), Memory(seen, honest=False)
    quick = replayed(setup(controls=controls), short)
    monkeypatch.setattr(Replay, "_says_nothing", lambda *_: False)
    full = replayed(setup(controls=controls), whole)
    assert quick.events == full.events
    assert quick.notifications == full.notifications
    assert full.fed == len(seen)
    assert short.read < whole.read
    assert {EventKind.OPENED, EventKind.RESOLVED} <= {event.kind for event in full.events}


ERRORS = MeasurementSpec("errors", Unit.COUNT, "Errors so far.")
LOOKING_BACK = (
    "avg(response_time, 5m) > 500ms",
    "min(response_time, 3m) > 550ms for 2m until max(response_time, 10m) < 1s",
    "max(response_time, 1h) > 2s",
    "max(response_time, 1h) > 2s and response_time < 18ms",
    "p95(response_time, 20m) > 2s and response_time > 500ms",
    "not avg(response_time, 2m) < 700ms",
    "delta(response_time, 1m) > 1.5s",
    "response_time > 3 * avg(response_time, 40m) and response_time > 700ms",
    "increase(errors, 1h) > 2",
    "increase(errors, 10m) > 1 or rate(errors, 1h) >= 0.001/s",
    "avg(response_time, 2h) > 280ms",
    "forecast(response_time, 4h) > 300ms",
)


def looking_back(text: str) -> tuple[Setup, list[Observation]]:
    """A check with such a rule over days, mostly calm: slow at times, failing, silent for hours, with a counter."""
    chance = random.Random(text)
    rule = parse_rule(text, Severity.WARNING, (*world.SPECS, ERRORS))
    check = world.check("api", times=0)
    seen, at, errors = list[Observation](), BEGIN, 0.0
    while at < BEGIN + DAYS * 24 * HOUR:
        if chance.random() < 0.4:
            kind, left = (
                chance.choice(["slow", "down", "errors", "restart", "silent", "absent"]),
                chance.randrange(1, 12),
            )
        else:
            kind, left = "fine", chance.randrange(1, 400)
        for _ in range(left):
            at += 60.0 if kind != "silent" else 900.0
            errors = chance.randrange(4) if kind == "restart" else errors + (kind == "errors")
            outcome = Outcome.DOWN if kind == "down" else Outcome.UP
            value = chance.uniform(0.6, 3.0) if kind == "slow" else chance.uniform(0.01, 0.4)
            measured = (Measurement("response_time", value), Measurement("errors", errors))
            measured = measured[1:] if kind == "absent" else measured if outcome is Outcome.UP else ()
            seen.append(Observation("api", "here", at, chance.uniform(0.01, 2.0), outcome, "", "api", measured))
    return world.setup(replace(check, rules=(*check.rules, rule))), seen


@pytest.mark.parametrize("text", LOOKING_BACK)
def test_what_rules_look_back_on_is_there_when_hours_were_left_out(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    its_setup, seen = looking_back(text)
    short, whole = Memory(seen), Memory(seen, honest=False)
    quick, full = Replay(its_setup, BEGIN), Replay(its_setup, BEGIN)
    run(quick, short, BEGIN + DAYS * 24 * HOUR)
    monkeypatch.setattr(Replay, "_says_nothing", lambda *_: False)
    run(full, whole, BEGIN + DAYS * 24 * HOUR)
    assert quick.events == full.events
    assert quick.notifications == full.notifications
    assert any(event.kind is EventKind.OPENED and "down" not in event.reason for event in full.events)
    if "2h" not in text and "forecast" not in text:
        assert quick.fed < full.fed


def test_what_lasts_is_escalated_and_reminded_of_in_between() -> None:
    seen = [
        Observation("database", "here", BEGIN + 60.0 * n, 0.1, Outcome.DOWN, "connect", "refused") for n in range(60)
    ]
    trial = Replay(setup(), BEGIN)
    run(trial, Memory(seen), BEGIN + HOUR)
    opened = BEGIN + 120.1
    assert [(event.kind, event.at) for event in trial.events] == [
        (EventKind.OPENED, pytest.approx(opened)),
        (EventKind.REMINDED, pytest.approx(opened + 600)),
        (EventKind.ESCALATED, pytest.approx(opened + 900)),
        (EventKind.REMINDED, pytest.approx(opened + 1200)),
        (EventKind.ESCALATED, pytest.approx(opened + 1800)),
        (EventKind.REMINDED, pytest.approx(opened + 2400)),
        (EventKind.REMINDED, pytest.approx(opened + 3000)),
    ]


def test_what_the_configuration_does_not_have_is_passed_over() -> None:
    seen = [Observation("gone", "here", BEGIN + 60.0 * n, 0.1, Outcome.DOWN, "connect", "") for n in range(10)]
    trial = Replay(setup(), BEGIN)
    run(trial, Memory(seen), BEGIN + HOUR)
    assert not trial.events
    assert trial.fed == 0
