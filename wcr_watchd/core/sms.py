"""A message in a single SMS, in whichever of the two encodings of GSM it needs."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from wcr_watchd.core.message import lasted, one_line, shorten, since, tag, what
from wcr_watchd.core.model import EventKind, Message

GSM7_LENGTH = 160
"""Septets of one SMS in the GSM 7-bit alphabet (3GPP TS 23.040)."""
UCS2_LENGTH = 70
"""UTF-16 code units of one SMS in UCS-2."""
STORY_BESIDE_LINK = 30
"""Characters of the summary that an SMS keeps at least (if there are as many) when it carries a link."""

_GSM7_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM7_EXTENSION = "\f^{}\\[~]|€"
_GSM7_SEPTETS = dict.fromkeys(_GSM7_BASIC, 1) | dict.fromkeys(_GSM7_EXTENSION, 2)
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`´", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("•·", "*"),
        "…": "...",
        "→": "->",
        "←": "<-",
        "×": "x",
        "≤": "<=",
        "≥": ">=",
        "≠": "!=",
        "µ": "u",
        "°": "",
        "\t": " ",
    }
)


def sms_text(message: Message) -> str:
    """The message in a single SMS: what, where, since when and the incident's number.

    At most 160 septets of the GSM 7-bit alphabet; a text in another script has 70 UTF-16 code units (UCS-2).
    What is too long loses the end of its summary first, then of the daemon's name, then of the check's name;
    severity and number are always whole. The link to acknowledge follows if :data:`STORY_BESIDE_LINK` characters of the
    summary fit beside it; a question is nothing without it. A text of the user's own is shortened at its end.
    """
    if message.own_text:
        return _fitting(plain(one_line(message.own_text)))
    if message.question and message.ack_url:
        return _asking(message)
    before = f"[{_short_tag(message)}] "
    after = _short_end(message)
    pieces = [plain(one_line(text))[:GSM7_LENGTH] for text in (message.watchd, what(message), _short_story(message))]
    beside_link = _narrower_story(pieces, STORY_BESIDE_LINK) if message.ack_url else ()
    for link, choices in ((f" {message.ack_url}", beside_link), ("", _narrower(pieces))):
        for widths in choices:
            said = before + ": ".join(filter(None, map(shorten, pieces, widths)))
            text = said + after.removeprefix("." if said.endswith((".", "!", "?", " ")) else "") + link
            if fits_sms(text):
                return text
    return before.strip() + after.removeprefix(".")


def _asking(message: Message) -> str:
    """Who asks what, and the link to answer."""
    said = plain(one_line(f"{message.watchd}: {message.summary}"))
    width = len(said)
    while width and not fits_sms(f"{shorten(said, width)} {message.ack_url}"):
        width -= 1
    return f"{shorten(said, width)} {message.ack_url}".strip()


def _fitting(text: str) -> str:
    """As much of the text as goes into one SMS."""
    width = min(len(text), GSM7_LENGTH)
    while not fits_sms(shorten(text, width)):
        width -= 1
    return shorten(text, width)


def _short_tag(message: Message) -> str:
    """A tag without the severity it had before, which an SMS has no room for."""
    if message.event in (EventKind.RAISED, EventKind.LOWERED):
        return f"{message.severity.name} {message.event.name}"
    return tag(message)


def _short_story(message: Message) -> str:
    if message.event is EventKind.ACKNOWLEDGED and message.by:
        return f"by {message.by}"
    return " ".join(filter(None, (f"({message.note})" if message.note else "", message.summary)))


def _short_end(message: Message) -> str:
    if not message.incident:
        return ""
    if message.event is EventKind.RESOLVED:
        return f" after {lasted(message)} #{message.incident}"
    return f". Since {since(message)}. #{message.incident}"


def _narrower(pieces: Sequence[str]) -> Iterable[tuple[int, ...]]:
    """Widths for the pieces, from all to nothing: the last piece gives way first, then the first, then the middle."""
    name, about, _ = (len(piece) for piece in pieces)
    yield from _narrower_story(pieces, 0)
    yield from ((width, about, 0) for width in range(name, -1, -1))
    yield from ((0, width, 0) for width in range(about, -1, -1))


def _narrower_story(pieces: Sequence[str], least: int) -> Iterable[tuple[int, ...]]:
    """Widths for the pieces when only the last one gives way, down to ``least`` characters."""
    name, about, story = (len(piece) for piece in pieces)
    yield from ((name, about, width) for width in range(story, min(story, least) - 1, -1))


def plain(text: str) -> str:
    """The text in the GSM 7-bit alphabet as far as that loses no meaning.

    Typographic quotes, dashes and ellipses become their typewriter forms, letters lose accents that the alphabet
    does not have, and pictures and other symbols are dropped. Letters of other scripts stay as they are.
    """
    if all(character in _GSM7_SEPTETS for character in text):
        return text
    return "".join(_plain_character(character) for character in unicodedata.normalize("NFC", text).translate(_PLAIN))


def _plain_character(character: str) -> str:
    if character in _GSM7_SEPTETS:
        return character
    base = "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c))
    if base and all(c in _GSM7_SEPTETS for c in base):
        return base
    category = unicodedata.category(character)
    if category.startswith("Z"):
        return " "
    return "" if category[0] in "SC" or category == "Mn" else character


def gsm7_septets(text: str) -> int | None:
    """Length in septets of the GSM 7-bit alphabet (3GPP TS 23.038; the extension table counts double).

    None when the text has a character outside it and needs UCS-2.
    """
    septets = [_GSM7_SEPTETS.get(character) for character in text]
    return None if None in septets else sum(filter(None, septets))


def fits_sms(text: str) -> bool:
    """Whether the text goes out as one SMS, in whichever of the two encodings it needs."""
    septets = gsm7_septets(text)
    if septets is not None:
        return septets <= GSM7_LENGTH
    return len(text.encode("utf-16-be", "surrogatepass")) // 2 <= UCS2_LENGTH
