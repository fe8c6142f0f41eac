"""Taking secrets out of everything that leaves the process."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

MASK = "***"
SHORTEST = 4
"""Secrets shorter than this are not looked for: masking every "abc" would hide everything else."""
SHORTEST_HEAD = 6
"""Characters from which on the beginning of a secret, cut off, is taken for one: half of it, and never fewer."""

SECRET_NAME = r"[\w.-]{0,100}?(?:pass(?:word|wd|phrase)?|pwd|secret|token|credentials?|signature|(?<![a-z])sig|key)"
"""The names, as a pattern, of what is a secret: ``api_key``, ``X-Amz-Signature``; to be taken in either case."""

_IN_URL = re.compile(r"(?P<head>\b[a-z][a-z0-9+.-]{0,30}://[^\s/:@]*:)[^\s/@]+(?=@)", re.IGNORECASE)
_IN_HEADER = re.compile(r"(?P<head>\bauthorization['\"]?\s*[:=]\s*['\"]?(?:basic|bearer)\s+)[^\s'\",]+", re.IGNORECASE)
_IN_QUERY = re.compile(rf"(?P<head>[?&;]{SECRET_NAME}=)(?!\$\{{)[^\s&#;'\"<>]+", re.IGNORECASE)
_IN_PERCENT = re.compile(r"%[0-9A-F]{2}")
_CUT = ('"', "'", "…", " …", "...", ",", ";", "\\", "<")
"""What may follow where a text was cut off: a quote that closes, an ellipsis, the next part of a sentence."""


class Redactor:
    """Masks known secrets, in the forms in which they travel, and what looks like one in a URL or header.

    A secret of which a cut has left half or more at the end of a text is masked as well. Searching is one quick search
    per form, because every summary, piece of evidence and log line comes through here.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: tuple[tuple[str, str], ...] = ()
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Know more secrets; those known stay known, as old logs and errors may still carry them."""
        known = {form for form, _ in self._forms}
        known.update(form for secret in secrets if len(secret) >= SHORTEST for form in _forms(secret))
        self._forms = tuple((form, _head(form)) for form in sorted(known, key=len, reverse=True))

    def text(self, text: str) -> str:
        """The text without any secret."""
        present = [(form, head) for form, head in self._forms if head in text]
        for form, _ in present:
            text = text.replace(form, MASK)
        for form, head in present:
            if head in text:
                text = _without_cut(text, form, head)
        if "://" in text:
            text = _IN_URL.sub(rf"\g<head>{MASK}", text)
        if "=" in text:
            text = _IN_QUERY.sub(rf"\g<head>{MASK}", text)
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


def _head(form: str) -> str:
    """What a form begins with at least where it was cut off; all of one that is short or begins as any URL may."""
    return form if "://" in form else form[: max(SHORTEST_HEAD, (len(form) + 1) // 2)]


def _without_cut(text: str, form: str, head: str) -> str:
    """The text without what a cut has left of the form: its head and whatever follows of it, where something ends."""
    parts: list[str] = []
    at = 0
    while (found := text.find(head, at)) >= 0:
        end = found + _alike(form, text[found : found + len(form)])
        if end == len(text) or text.startswith(_CUT, end):
            parts += (text[at:found], MASK)
            at = end
        else:
            parts.append(text[at : found + 1])
            at = found + 1
    return "".join((*parts, text[at:]))


def _alike(one: str, other: str) -> int:
    """How many characters two texts have in common from their beginning."""
    differing = (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differing, min(len(one), len(other)))


def _forms(secret: str) -> set[str]:
    """A secret as it stands in a URL, in a form, in JSON, HTML and program text, and in base64 wherever it begins."""
    forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}
    forms |= {_IN_PERCENT.sub(lambda code: code[0].lower(), form) for form in forms}
    for ascii_only in (True, False):
        once = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        forms |= {once, json.dumps(once)[1:-1], once.replace("/", "\\/")}
    forms |= {repr(secret)[1:-1], html.escape(secret), html.escape(secret, quote=False)}
    forms.update(_in_base64(secret.encode()))
    return {form for form in forms if len(form) >= SHORTEST}


def _in_base64(secret: bytes) -> Iterator[str]:
    """The characters of base64 that a secret alone decides, after 0, 1 or 2 bytes of something else (``user:``)."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret).decode()
        own = encoded[-(-before * 4 // 3) : (before + len(secret)) * 4 // 3]
        yield own
        yield own.replace("+", "-").replace("/", "_")
