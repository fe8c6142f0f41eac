"""Refusing a value of the configuration in words that say what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RefusedError(ValueError):
    """A value that will not do, for validators that also know what would be right."""

    def __init__(self, reason: str, suggestion: str = "") -> None:
        super().__init__(reason)
        self.suggestion = suggestion


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean "timeout"?``, or else what there is."""
    choices = sorted(set(known))
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known: {', '.join(choices)}" if choices else ""
