"""A hundred reloads in a row during an outage, with broken files, changed checks and a restart."""

from __future__ import annotations

from pathlib import Path

from tests.soak.reload import Reloads


def test_a_hundred_reloads_stop_nothing_tell_nothing_twice_and_leave_nothing(tmp_path: Path) -> None:
    Reloads(tmp_path, reloads=100).run()
