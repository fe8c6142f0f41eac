"""The configurations on the pages for users can be used as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wcr_watchd.config import load

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["vendors.md"])
def test_what_a_page_shows_is_valid(page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = "\n".join(re.findall(r"^```toml\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE))
    assert text
    for name in re.findall(r"\$\{credential:(\w+)\}", text):
        (tmp_path / name).write_text("postgresql://watch@db.example/app" if "dsn" in name else f"the secret {name}")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    loaded = load.loads(text, page)
    assert loaded.setup.checks
