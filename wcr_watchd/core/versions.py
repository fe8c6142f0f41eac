"""Which version runs where: what checks state as facts, and whether that is the version that a change is about.

An ``http`` check states the ``version`` that answers it, ``docker`` the ``image`` of each container by its number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from wcr_watchd.core.model import Fact, Observation

VERSION, IMAGE = "version", "image"
"""Kinds of facts that tell what runs."""
PREFIX = "sha256:"
"""What the number of an image begins with."""


def is_version(told: str, wanted: str) -> bool:
    """Whether a check that tells ``told`` sees the ``wanted`` version: ``v2.3`` and ``2.3+7`` are 2.3, 2.3.1 is not.

    Commits and numbers of images are known by their beginning.
    """
    told, wanted = (one.strip().casefold().removeprefix(PREFIX) for one in (told, wanted))
    wanted = wanted.removeprefix("v")
    pattern = rf"(?<![0-9a-z.])v?{re.escape(wanted)}(?![0-9a-z]|[.-][0-9a-z])"
    return bool(wanted) and (re.search(pattern, told) is not None or _begin_alike(told, wanted))


def _begin_alike(told: str, wanted: str) -> bool:
    """Whether one is the beginning of the other, and not of digits only as a date may be."""
    short, long = sorted((told, wanted), key=len)
    return re.fullmatch(r"(?=\d*[a-f])[0-9a-f]{7,}", short) is not None and long.startswith(short)


def facts_of(seen: Observation | None) -> tuple[Fact, ...]:
    """What a check told of versions in its last run."""
    return tuple(one for one in (seen.facts if seen else None) or () if one.kind in (VERSION, IMAGE))


def in_words(seen: Iterable[Observation | None]) -> str:
    """Which versions run by what these checks told last: ``api 2.3; image web 0123456789ab``; empty: none tells."""
    facts = dict.fromkeys(fact for one in seen for fact in facts_of(one))
    return "; ".join(f"{'' if one.kind == VERSION else 'image '}{one.name} {one.value}" for one in facts)


def another(seen: Observation | None, wanted: str) -> str | None:
    """What a check tells that is not the wanted version; empty: it is that one; None: the check does not tell.

    ``sha256:…`` is told by images, of which one is enough, as the others are of other things; all else by versions.
    """
    kind = IMAGE if wanted.strip().casefold().startswith(PREFIX) else VERSION
    facts = [one for one in facts_of(seen) if one.kind == kind]
    if not facts:
        return None
    if any(is_version(one.value, wanted) for one in facts):
        return ""
    return ", ".join(f"{one.kind} {one.value}" for one in facts[:3]) + (" …" if len(facts) > 3 else "")
