"""Text of others that can be shown anywhere: on a page, in a message, on a terminal."""

from __future__ import annotations

import re

_NO_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Codes for a terminal, changes of the direction of writing, and halves of characters, which cannot be stored."""


def plain(text: str) -> str:
    """The text with a mark in place of whatever is no text; lines and tabs stay."""
    return _NO_TEXT.sub("\ufffd", text)
