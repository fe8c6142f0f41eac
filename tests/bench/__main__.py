"""``python -m tests.bench``: wcr-watchd beside the Prometheus stack and Monit, on the same targets in the same run."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import click

from tests.bench import report
from tests.bench.measures import QUICK, Bench, Plan, Result

MEASURES = ("faults", "crowd", "start_of_few", "many_of_ours", "streams", "cost", "many_of_the_stack", "year_charts")


@click.command()
@click.option("--quick", is_flag=True, help="A few minutes less exact, and for few checks only.")
@click.option("--only", type=click.Choice(MEASURES), multiple=True, help="Only this measure (may be repeated).")
@click.option("--output", type=click.Path(path_type=Path), default="bench-results.json", show_default=True)
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page whose table is written anew.")
def main(quick: bool, only: tuple[str, ...], output: Path, page: Path | None) -> None:
    """Measure, print the table and write it as JSON. Ctrl-C ends it with what there is by then."""
    folder = Path(tempfile.mkdtemp(prefix="watchd-bench-"))
    before = os.getloadavg()[0]
    try:
        results = _measured(Bench(folder, QUICK if quick else Plan(), _say), only or MEASURES)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    command = " ".join(["make bench", *([f'ARGS="{" ".join(sys.argv[1:])}"'] if sys.argv[1:] else [])])
    about = report.circumstances(command, (before, os.getloadavg()[0]))
    output.write_text(report.as_json(results, about))
    table = report.as_markdown(results, about)
    if page:
        page.write_text(report.insert(page.read_text(), table))
    click.echo(table)


def _measured(bench: Bench, names: tuple[str, ...]) -> list[Result]:
    results: list[Result] = []
    try:
        for name in names:
            for result in getattr(bench, name)():
                _say(f"  {result.tool}, {result.case}: {result.measure} {result.median:.4g} {result.unit}")
                results.append(result)
    except KeyboardInterrupt:
        _say("interrupted: the rest is not measured")
    return results


def _say(text: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {text}", err=True)


main()
