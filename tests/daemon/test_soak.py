"""A few seconds of the long run, so that ``make soak`` is known to work."""

from __future__ import annotations

from pathlib import Path

from tests.soak.long import LongRun


def test_some_seconds_of_faults_and_repairs(tmp_path: Path) -> None:
    LongRun(tmp_path, seconds=4.0).run()
