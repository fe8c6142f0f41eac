"""The results beside the bars: as JSON for programs and as a page for people."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.measures import Result
from tests.bench.tools import Monit, Ours, Stack

PACKAGES = ("prometheus", "prometheus-blackbox-exporter", "prometheus-alertmanager", "monit", "nginx-light")


@dataclass(frozen=True)
class Bar:
    """A limit on our figure of a measure, in every case that ``case`` fits; relative to the stack's if so said."""

    measure: str
    case: str
    limit: float
    relative: bool = False


BARS = (
    Bar("processor time per check", r" http ", 0.35, relative=True),
    Bar("memory (PSS)", r"^100 ", 80),
    Bar("memory (PSS)", r"^10000 ", 220),
    Bar("written to disk per check", "", 1024),
    Bar("lateness of arrivals, p99", "", 100),
    Bar("longest stall of the loop during a scrape", "", 20),
    Bar("start to first verdict of all", r"^100 ", 2),
    Bar("start to first verdict of all", r"^10000 ", 60),
    Bar("first failing answer to accepted notification, beyond confirmation", "", 0.3),
    Bar("delay of the first message", "", 2),
    Bar("chart of a year, time", "", 50),
    Bar("lateness of the loop during charts, p99", "", 5),
    Bar("processor time for streams", "", 5),
)


@dataclass(frozen=True)
class Row:
    """One line of the table: a measure in a case, by tool, and the bar it has to meet."""

    measure: str
    case: str
    unit: str
    by_tool: dict[str, Result]
    bar: Bar | None

    @property
    def ratio(self) -> float | None:
        """Ours as a part of the stack's, where both have a figure."""
        ours, stack = self.by_tool.get(Ours.name), self.by_tool.get(Stack.name)
        return ours.median / stack.median if ours and stack and stack.median else None

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        ours = self.by_tool.get(Ours.name)
        figure = self.ratio if self.bar and self.bar.relative else ours.median if ours else None
        return None if self.bar is None or figure is None else figure <= self.bar.limit


def rows(results: Sequence[Result]) -> list[Row]:
    """The results as lines, those of one measure and case together."""
    found: dict[tuple[str, str, str], dict[str, Result]] = {}
    for result in results:
        found.setdefault((result.measure, result.case, result.unit), {})[result.tool] = result
    return [Row(measure, case, unit, by_tool, _bar(measure, case)) for (measure, case, unit), by_tool in found.items()]


def _bar(measure: str, case: str) -> Bar | None:
    return next((bar for bar in BARS if bar.measure == measure and re.search(bar.case, case)), None)


def circumstances(command: str, load: tuple[float, float]) -> dict[str, Any]:
    """Where, when and with what it was measured; ``load`` is the load average before and after."""
    with Path("/proc/cpuinfo").open() as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown")
    return {
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "processor": f"{model}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "system": f"{platform.freedesktop_os_release().get('PRETTY_NAME', '')}, Linux {platform.release()}",
        "python": platform.python_version(),
        "commit": _said("git", "describe", "--always", "--dirty"),
        "packages": {name: _said("dpkg-query", "--show", "--showformat=${Version}", name) for name in PACKAGES},
        "load average before and after": [round(one, 2) for one in load],
    }


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def as_json(results: Sequence[Result], about: dict[str, Any]) -> str:
    """Everything, with all repetitions."""
    document = {
        "about": about,
        "results": [
            {
                "measure": row.measure,
                "case": row.case,
                "unit": row.unit,
                "bar": row.bar and {"limit": row.bar.limit, "relative_to_stack": row.bar.relative, "met": row.met},
                "by_tool": {tool: {"median": one.median, "values": one.values} for tool, one in row.by_tool.items()},
            }
            for row in rows(results)
        ],
    }
    return json.dumps(document, indent=1)


def as_markdown(results: Sequence[Result], about: dict[str, Any]) -> str:
    """The page for people."""
    return "\n".join(_lines(rows(results), about)) + "\n"


def _lines(table: list[Row], about: dict[str, Any]) -> Iterator[str]:
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    yield f"Measured by `{about['command']}` on {about['date']}, wcr-watchd at commit {about['commit']}."
    yield ""
    yield f"* Machine: {about['processor']}, {about['memory']}, {about['system']}; load average before and after: "
    yield f"  {about['load average before and after']}."
    yield f"* Versions: Python {about['python']}; {packages}."
    yield ""
    yield "Medians, with the smallest and largest of the repetitions in brackets."
    yield ""
    yield "| measure | case | wcr-watchd | Prometheus stack | Monit | ours / stack | bar |"
    yield "|---|---|---|---|---|---|---|"
    for row in table:
        figures = (_figure(row.by_tool.get(tool), row.unit) for tool in (Ours.name, Stack.name, Monit.name))
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        yield f"| {row.measure} | {row.case} | {' | '.join(figures)} | {ratio} | {_verdict(row)} |"


def _figure(result: Result | None, unit: str) -> str:
    if result is None:
        return "–"
    text = f"{_short(result.median)} {unit}"
    if len(result.values) > 1:
        text += f" ({_short(min(result.values))}–{_short(max(result.values))})"
    return text


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _verdict(row: Row) -> str:
    if row.bar is None or row.met is None:
        return ""
    limit = f"{row.bar.limit:g} × the stack" if row.bar.relative else f"{row.bar.limit:g} {row.unit}"
    return f"≤ {limit}: {'met' if row.met else '**missed**'}"


BEGIN = "<!-- begin: written by make bench -->"
END = "<!-- end: written by make bench -->"


def insert(page: str, table: str) -> str:
    """The page with the table between its two marks; raises ``ValueError`` when they are not there."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} and {END}")
    return f"{head}{begin}\n{table}{end}{tail}"
