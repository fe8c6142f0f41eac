"""``python -m tests.bench.forecasts``: forecasts and baselines scored against naive methods.

On recorded series (``tests/bench/recorded``) by back-testing: at many moments of them, what each method says of what
comes later, and what came. And on generated ones, which have what real ones have: noise, growth that is not even over a
week, clean-ups, spikes. Each method sees the first part and is asked about the rest; every score of these is a median
over many seeds. Lower is better.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, linear_regression, median

import click

from tests.bench.backtest import (
    Reached,
    Scores,
    alarms,
    by_baseline,
    by_median,
    in_three_months,
    mean_scores,
    traffic_ahead,
    until_reached,
    usual_errors,
    value_ahead,
)
from tests.bench.recordings import DAY, HOUR, Series, daily, growing, grown, recorded
from wcr_watchd.core.forecast import reach, trend
from wcr_watchd.core.windows import over

SEEDS = 60


def disk(chance: random.Random, *, cleaned: bool, spiky: bool) -> tuple[Series, float]:
    """Thirty days of a disk by the hour, and when (seconds after them) it is really full at this growth."""
    slope = chance.uniform(0.004, 0.012) / DAY
    level = chance.uniform(0.2, 0.35)
    clean_up = chance.uniform(8, 22) * DAY if cleaned else math.inf
    freed = chance.uniform(0.05, 0.12)
    series = []
    for step in range(30 * 24):
        at = step * HOUR
        weekly = 0.004 * math.sin(at / (7 * DAY) * 2 * math.pi)
        value = level + slope * at - (freed if at > clean_up else 0.0) + weekly + chance.gauss(0, 0.002)
        if spiky and chance.random() < 0.01:
            value += chance.uniform(0.1, 0.3)
        series.append((at, min(1.0, value)))
    last = level + slope * series[-1][0] - (freed if cleaned else 0.0)
    return series, (1.0 - last) / slope


def by_ours(series: Series) -> float | None:
    """What wcr-watchd says: seconds until full."""
    found = trend(series)
    full = reach(found, 1.0).expected if found else None
    return None if full is None else full - series[-1][0]


def by_regression(series: Series) -> float | None:
    """The least-squares line, as predict_linear() of Prometheus has it."""
    at = series[-1][0]
    line = linear_regression([moment - at for moment, _ in series], [value for _, value in series])
    return (1.0 - line.intercept) / line.slope if line.slope > 0 else None


def by_last_day(series: Series) -> float | None:
    """The growth of the last day, drawn on."""
    (_, before), (_, now) = series[-25], series[-1]
    return (1.0 - now) / (now - before) * DAY if now > before else None


def by_first_and_last(series: Series) -> float | None:
    """The growth from the first value to the last."""
    (first, before), (last, now) = series[0], series[-1]
    return (1.0 - now) / (now - before) * (last - first) if now > before else None


def traffic(chance: random.Random) -> tuple[Series, Series]:
    """Seven days of requests a second by twenty minutes, and the day after them: nights are quiet, spikes happen."""
    high, low = chance.uniform(40, 90), chance.uniform(2, 10)

    def usual(at: float) -> float:
        return low + (high - low) * max(0.0, math.sin((at % DAY) / DAY * 2 * math.pi - 1.2)) ** 1.5

    def seen(at: float) -> float:
        spike = chance.uniform(2, 6) if chance.random() < 0.02 else 1.0
        return max(0.0, usual(at) * spike + chance.gauss(0, 2))

    steps = [step * 1_200.0 for step in range(8 * 72)]
    past = [(at, seen(at)) for at in steps if at < 7 * DAY]
    return past, [(at, usual(at)) for at in steps if at >= 7 * DAY]


def baseline_errors(chance: random.Random) -> dict[str, float]:
    """Mean error of what each method takes for usual, against what is, over the eighth day."""
    past, day = traffic(chance)
    known: Series = list(past)
    errors: dict[str, list[float]] = {
        "wcr-watchd": [],
        "median of the week": [],
        "mean of the week": [],
        "value before": [],
    }
    for at, usual in day:
        now = max(0.0, usual + chance.gauss(0, 2))
        before = known[-1][1]
        known.append((at, now))
        week = [value for moment, value in known if moment >= at - 7 * DAY]
        ours = over("baseline", tuple(known), at, 7 * DAY, 0.0)
        assert ours is not None
        said = {
            "wcr-watchd": ours,
            "median of the week": median(week),
            "mean of the week": sum(week) / len(week),
            "value before": before,
        }
        for name, value in said.items():
            errors[name].append(abs(value - usual))
    return {name: sum(found) / len(found) for name, found in errors.items()}


METHODS: dict[str, Callable[[Series], float | None]] = {
    "wcr-watchd": by_ours,
    "least squares": by_regression,
    "last day": by_last_day,
    "first and last": by_first_and_last,
}


def forecast_scores(*, cleaned: bool, spiky: bool) -> dict[str, float]:
    """Median error of the days until full, as a share of the true time; no answer counts as an error of all of it."""
    errors: dict[str, list[float]] = {name: [] for name in METHODS}
    for seed in range(SEEDS):
        series, true = disk(random.Random(seed), cleaned=cleaned, spiky=spiky)
        for name, method in METHODS.items():
            said = method(series)
            errors[name].append(1.0 if said is None else min(5.0, abs(said - true) / true))
    return {name: median(found) for name, found in errors.items()}


GROWING = ("road", "electricity", "freeway", "water")
DAYS = (*GROWING, "transactions", "pageviews")
TRAFFIC = ("road", "electricity", "freeway", "water")
FLOWING = ("road", "electricity", "freeway", "parking", "water")
LONG = ("transactions", "pageviews")
MACHINE = ("disk", "memory", "processes")
USED = ("road", "electricity", "freeway", "parking", "water", "transactions", "pageviews")


def table(title: str, rows: Iterable[tuple[str, Scores]]) -> None:
    """Print scores, the best of each row in bold."""
    lines = list(rows)
    names = list(lines[0][1])
    click.echo(f"\n| {title} | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for name, scores in lines:
        best = min(scores.values())
        cells = (f"{100 * scores[one]:.1f} %" for one in names)
        marked = (f"**{cell}**" if scores[one] == best else cell for one, cell in zip(names, cells, strict=True))
        click.echo(f"| {name} | " + " | ".join(marked) + " |")


def with_mean(rows: Iterable[tuple[str, Scores]]) -> list[tuple[str, Scores]]:
    """The rows, and their geometric mean."""
    lines = list(rows)
    return [*lines, ("all of them", mean_scores([scores for _, scores in lines]))]


def dates(title: str, found: Mapping[str, Reached]) -> None:
    """Print the errors of dates, and how often each interval held the true one."""
    table(f"{title}: error", with_mean((name, one.errors) for name, one in found.items()))
    for method in next(iter(found.values())).inside:
        inside = ", ".join(f"{name} {100 * one.inside[method]:.0f} %" for name, one in found.items())
        everywhere = fmean(one.inside[method] for one in found.values())
        click.echo(f"\nInside the interval of {method}: {inside}; on average {100 * everywhere:.0f} %.")


def on_recorded() -> None:
    """The tables on recorded series."""
    for ahead, text in ((4 * HOUR, "4 hours"), (DAY, "a day"), (7 * DAY, "a week")):
        scores = ((name, value_ahead(grown(name), ahead, every=5)) for name in GROWING)
        table(f"what has come {text} later: error", with_mean(scores))
    for ahead, text in ((4 * HOUR, "4 hours"), (DAY, "a day"), (7 * DAY, "a week")):
        scores = ((name, traffic_ahead(recorded(name), ahead, every=5)) for name in TRAFFIC)
        table(f"traffic {text} later: error", with_mean(scores))
    machine = ((name, value_ahead(recorded("machine", number + 1), 600.0)) for number, name in enumerate(MACHINE))
    table("what has come ten minutes later, of a machine known for an hour: error", with_mean(machine))
    for cleaned in (False, True):
        found = {name: until_reached(grown(name), cleaned=cleaned, every=2) for name in DAYS}
        dates("time until a limit, after a clean-up" if cleaned else "time until a limit", found)
    for share in (0.0, 1.0):
        found = {name: until_reached(growing(name, share), every=2) for name in FLOWING}
        dates(f"time until a limit, of traffic that {'doubles in a quarter' if share else 'does not grow'}", found)
    for kept in (True, False):
        values = {name: in_three_months(daily(grown(name) if kept else recorded(name)), kept=kept) for name in LONG}
        table(
            f"{'what is kept' if kept else 'traffic'} in three months: error",
            with_mean((name, one.errors) for name, one in values.items()),
        )
        click.echo(
            "\nInside the interval: "
            + ", ".join(f"{name} {100 * one.inside:.0f} %" for name, one in values.items())
            + "."
        )
    table("what is usual: error", with_mean((name, usual_errors(recorded(name), every=3)) for name in USED))
    click.echo("\n| rule | series | values | `baseline` | median of the week |\n|---|---|---|---|---|")
    for name in USED:
        for text, above, below in (("> 3 ×", 3.0, 0.0), ("< 0.5 ×", math.inf, 0.5), ("< 0.25 ×", math.inf, 0.25)):
            ours, plain = (
                alarms(recorded(name), usual, above=above, below=below) for usual in (by_baseline, by_median)
            )
            began = (f"{one.began} times, {one.held} values; finds {100 * one.found:.0f} %" for one in (ours, plain))
            click.echo(f"| {text} | {name} | {ours.values} | " + " | ".join(began) + " |")


def on_generated() -> None:
    """The tables on generated series."""
    rows = []
    for title, cleaned, spiky in (
        ("even growth", False, False),
        ("with spikes", False, True),
        ("after a clean-up", True, False),
        ("clean-up and spikes", True, True),
    ):
        rows.append((title, forecast_scores(cleaned=cleaned, spiky=spiky)))
    table("generated, days until full: error", rows)
    found = [baseline_errors(random.Random(seed)) for seed in range(SEEDS // 3)]
    names: Sequence[str] = list(found[0])
    click.echo("\n| generated | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    means = {name: median(one[name] for one in found) for name in names}
    click.echo("| usual requests a second: mean error | " + " | ".join(f"{means[name]:.1f}" for name in names) + " |")


@click.command()
def main() -> None:
    """Score all methods and print tables."""
    on_recorded()
    on_generated()


if __name__ == "__main__":
    main()
