"""Which version runs where: what checks state as facts, and whether that is the version that a change is about.

An ``http`` check states the ``version`` that answers it, ``docker`` the ``image`` of each container by its number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from wcr_watchd.core.model import Fact, Observation

VERSION, IMAGE = "version", "image"
"""Kinds of facts that tell what runs."""
SHORTEST_DIGEST = 12
"""Hexadecimal digits of an image's number that are enough to know it by."""


def is_version(told: str, wanted: str) -> bool:
    """Whether a check that tells ``told`` sees the ``wanted`` version: ``v2.3`` and ``2.3+7`` are 2.3, 2.3.1 is not."""
    told, wanted = told.strip().casefold(), wanted.strip().casefold().removeprefix("v")
    if not wanted:
        return False
    pattern = rf"(?<![0-9a-z.])v?{re.escape(wanted)}(?![0-9a-z]|[.-][0-9a-z])"
    return re.search(pattern, told) is not None or _is_digest(told, wanted)


def _is_digest(told: str, wanted: str) -> bool:
    """Whether one is the beginning of the other, both numbers of images."""
    short, long = sorted((one.removeprefix("sha256:") for one in (told, wanted)), key=len)
    return len(short) >= SHORTEST_DIGEST and re.fullmatch("[0-9a-f]+", short) is not None and long.startswith(short)


def facts_of(seen: Observation | None) -> tuple[Fact, ...]:
    """What a check told of versions in its last run."""
    return tuple(one for one in (seen.facts if seen else None) or () if one.kind in (VERSION, IMAGE))


def in_words(seen: Iterable[Observation | None]) -> str:
    """Which versions run by what these checks told last: ``api 2.3; image web 0123456789ab``; empty: none tells."""
    facts = dict.fromkeys(fact for one in seen for fact in facts_of(one))
    return "; ".join(f"{'' if one.kind == VERSION else 'image '}{one.name} {one.value}" for one in facts)


def another(facts: Iterable[Fact], wanted: str) -> str:
    """What of these facts of one check tells that another version runs; empty: it is the wanted one.

    A check that states its version has one; of several images one is enough, as the others are of other things.
    """
    some = tuple(facts)
    versions = [one for one in some if one.kind == VERSION]
    for one in versions:
        if not is_version(one.value, wanted):
            return f"{one.kind} {one.value}"
    if not versions and not any(is_version(one.value, wanted) for one in some):
        return ", ".join(f"{one.kind} {one.value}" for one in some[:3]) + (" …" if len(some) > 3 else "")
    return ""
