"""Taking secrets out of everything that leaves the process."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MASK = "***"
SHORTEST = 4
"""Secrets shorter than this are not looked for: masking every "abc" would hide everything else."""

_IN_URL = re.compile(r"(?P<head>\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+(?=@)", re.IGNORECASE)
_IN_HEADER = re.compile(r"(?P<head>\bauthorization['\"]?\s*[:=]\s*['\"]?(?:basic|bearer)\s+)[^\s'\",]+", re.IGNORECASE)


class Redactor:
    """Masks known secrets, in the forms in which they travel, and what looks like a password in a URL or header."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Know more secrets; those known stay known, as old logs and errors may still carry them."""
        for secret in secrets:
            if len(secret) >= SHORTEST:
                self._known |= _forms(secret)
        longest_first = sorted(self._known, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def text(self, text: str) -> str:
        """The text without any secret."""
        if self._pattern is not None:
            text = self._pattern.sub(MASK, text)
        if "://" in text:
            text = _IN_URL.sub(rf"\g<head>{MASK}", text)
        if "uthorization" in text or "UTHORIZATION" in text:
            text = _IN_HEADER.sub(rf"\g<head>{MASK}", text)
        return text

    def value(self, value: object) -> object:
        """The same structure of dictionaries, lists and texts without any secret."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.value(key): self.value(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(one) for one in value]
        if value is None or isinstance(value, int | float):
            return value
        return self.text(str(value))


def _forms(secret: str) -> set[str]:
    """A secret as it stands in a URL, in a form, in JSON and in base64."""
    encoded = base64.b64encode(secret.encode()).decode()
    escaped = secret.replace("\\", "\\\\").replace('"', '\\"')
    return {secret, quote(secret, safe=""), quote_plus(secret), encoded, encoded.rstrip("="), escaped}
