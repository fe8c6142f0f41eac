"""The bench itself, on a few checks: that it runs, not how fast anything is."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench import report
from tests.bench.measures import Bench, Plan
from tests.bench.tools import Ours

TINY = Plan(
    loads=((10, 1),), schemes=("https",), windows=1, repeats=1, crowd=3, many=20, minute=2, kinds=(Ours,)
)  # fmt: skip


def test_a_tiny_bench_measures_and_reports(tmp_path: Path) -> None:
    bench = Bench(tmp_path, TINY, lambda text: None)
    results = [*bench.cost(), *bench.many_of_ours()]
    assert {result.measure for result in results} >= {
        "processor time per check",
        "written to disk per check",
        "lateness of arrivals, p99",
        "/metrics, time",
        "reload",
        "longest stall of the loop during a scrape",
    }
    [speed] = [result for result in results if result.measure == "checks per second"]
    assert speed.median > 0
    about = report.circumstances("make test", (0.0, 0.0))
    document = json.loads(report.as_json(results, about))
    assert len(document["results"]) == len(report.rows(results))
    page = report.insert(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", report.as_markdown(results, about))
    assert page.startswith("before\n")
    assert "\nold\n" not in page
    assert "| processor time per check | 10 https checks every 1 s |" in page
