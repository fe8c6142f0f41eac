"""Neither a stopped process nor a stepping clock, neighbours, hanging targets or a slow disk make a healthy one fail.

Its figures (how late, on a quiet machine, for how long) are those of ``make soak``.
"""

from __future__ import annotations

from pathlib import Path

from tests.soak.isolation import Trial


def test_nobody_is_woken_by_what_is_not_the_targets_fault(tmp_path: Path) -> None:
    Trial(tmp_path, stop=3.0, calm=6.0, punctual=False).run()
