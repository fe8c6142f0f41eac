"""What is different between two configurations, at a reload and at a restart alike."""

from __future__ import annotations

from typing import Any

import pytest

from wcr_watchd.config.difference import differences, outline, since_outline

KEY = b"key"


def masked(text: str) -> str:
    return text.replace("hunter2", "***")


def of_restart(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return since_outline(outline(before, masked, KEY), outline(after, masked, KEY))


@pytest.mark.parametrize("different", [lambda a, b: differences(a, b, masked), of_restart])
def test_of_a_list_of_tables_it_is_told_which_one_is_another(different: Any) -> None:
    step = {"text": "Test in staging " + "x" * 300, "tick": "staging", "for": "30m"}
    before = {"category": {"pre": [{"text": "Review"}, step], "tags": ["a", "b"], "none": []}}
    after = {"category": {"pre": [{"text": "Review"}, step | {"for": "10m"}, {"text": "Tell hunter2"}],
                          "tags": ["a"], "none": []}}  # fmt: skip
    found = different(before, after)
    assert {key: now for key, (_, now) in found.items()} == {
        "category.pre.2.for": "10m",
        "category.pre.3": "a table with text",
        "category.tags": "['a']",
    }
    assert found["category.pre.2.for"][0] == "30m"
    assert "hunter2" not in outline(after, masked, KEY)
    assert different(after, after) == {}
