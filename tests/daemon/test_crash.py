"""``kill -9`` at random moments while things fail and receivers are slow; the whole of it runs in ``make soak``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.crash import Campaign


@pytest.mark.timeout(300)
def test_twelve_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    Campaign(tmp_path, kills=12, seed=3).run()
