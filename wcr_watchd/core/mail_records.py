"""What a domain's records say about its mail: SPF (RFC 7208), DKIM (RFC 6376) and DMARC (RFC 7489), as text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST_LOOKUPS = 10
"""Terms that may ask DNS in all of an SPF record with what it includes (RFC 7208, 4.6.4); beyond it nothing passes."""

_TERM = re.compile(
    r"(?P<qualifier>[-+~?])?(?P<name>all|include|a|mx|ptr|ip4|ip6|exists)(?::(?P<value>[^/\s]+))?(?P<prefix>(?:/\d+){0,2})"
    r"|(?P<modifier>[a-z][a-z0-9._-]*)=(?P<rest>\S*)",
    re.IGNORECASE,
)
_ASK = frozenset({"include", "a", "mx", "ptr", "exists", "redirect"})
POLICIES = ("none", "quarantine", "reject")
"""What DMARC asks receivers to do with mail that fails, from the weakest on."""


class RecordError(ValueError):
    """A record that receivers cannot use; the text says why."""


@dataclass(frozen=True, slots=True)
class Spf:
    """An SPF record: how many of its own terms ask DNS, what others it leads to, and what it says of everybody else.

    ``rest`` is ``-``, ``~``, ``?`` or ``+``; empty where it leads on (``redirect``) or says nothing.
    """

    lookups: int
    leads_to: tuple[str, ...]
    rest: str


def is_spf(text: str) -> bool:
    """Whether a TXT record is one of SPF."""
    return text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")


def read_spf(text: str) -> Spf:
    """Read a record. Raises :class:`RecordError`."""
    lookups, leads_to, rest = 0, [], ""
    for word in text.split()[1:]:
        found = _TERM.fullmatch(word)
        if found is None:
            raise RecordError(f"{word[:60]!r} is no term of SPF")
        name = (found["name"] or found["modifier"]).lower()
        value = found["value"] if found["name"] else found["rest"]
        if name in ("include", "ip4", "exists", "redirect") and not value:
            raise RecordError(f"{word[:60]!r} names nothing")
        if name in _ASK:
            lookups += 1
        if name in ("include", "redirect"):
            leads_to.append(value.lower())
        if name == "all":
            rest = found["qualifier"] or "+"
            break  # what comes after it is never looked at (RFC 7208, 5.1)
    return Spf(lookups, tuple(leads_to), rest)


def tags(text: str) -> Mapping[str, str]:
    """The tags of a DKIM or DMARC record (RFC 6376, 3.2). Raises :class:`RecordError`."""
    found: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if not part.strip():
            continue
        if not equals or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name.strip()):
            raise RecordError(f"{part.strip()[:60]!r} is no tag")
        if name.strip().lower() in found:
            raise RecordError(f"it has the tag {name.strip()} twice")
        found[name.strip().lower()] = value.strip()
    return found


def is_dmarc(text: str) -> bool:
    """Whether a TXT record is one of DMARC."""
    return re.match(r"v\s*=\s*DMARC1\s*(;|$)", text) is not None


def dmarc_policy(text: str, *, of_parent: bool) -> str:
    """What receivers shall do with mail that fails, of the domain itself or one below it. Raises ``RecordError``."""
    found = tags(text)
    policy = (found.get("sp") if of_parent else None) or found.get("p", "")
    if policy.lower() not in POLICIES:
        raise RecordError(f"its policy is {policy!r}, which is none of {', '.join(POLICIES)}")
    return policy.lower()


def only_one(kind: str, records: Sequence[str]) -> str:
    """The one record there must be. Raises :class:`RecordError`."""
    if not records:
        raise RecordError(f"there is no {kind} record")
    if len(records) > 1:
        raise RecordError(f"there are {len(records)} {kind} records, so that receivers use none")
    return records[0]
