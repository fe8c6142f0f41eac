"""The JavaScript that is brought along is what requirements/javascript.json says, and has its licence beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = json.loads((ROOT / "requirements" / "javascript.json").read_text())
OURS = {"chart.js", "dashboard.js", "style.css", "favicon.svg"}


def test_what_is_brought_along_is_as_it_was_locked() -> None:
    for name, package in LOCK.items():
        assert any("LICENSE" in place for place in package["files"]), name
        for place, file in package["files"].items():
            assert hashlib.sha256((ROOT / place).read_bytes()).hexdigest() == file["sha256"], place


def test_every_file_that_is_not_ours_is_locked() -> None:
    served = ROOT / "wcr_watchd" / "web" / "dashboard" / "static"
    locked = {ROOT / place for package in LOCK.values() for place in package["files"]}
    assert {file.name for file in served.iterdir() if file not in locked} == OURS
