"""What of a configuration is not shown when it is told what became different: secrets that stand in it openly.

They should be references (``${env:NAME}``), which are shown. What is none is hidden where the options of a check or
channel say that a secret stands there, where the key says so, and where it is given a name that says so, as in
``--password=…``, ``?token=…`` or ``PGPASSWORD=…``. What begins with a slash is the path of a file and is shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from pydantic import BaseModel

from wcr_watchd.config.checks import place_of
from wcr_watchd.config.faults import is_secret
from wcr_watchd.config.models import HeartbeatTable
from wcr_watchd.kit.redact import MASK, SECRET_NAME

if TYPE_CHECKING:
    from wcr_watchd.config.load import Loaded

Keys = tuple[str, ...]
"""Where a value stands: the keys that lead to it; the tables of a list are numbered."""
Hidden = Callable[[Keys], bool]
"""Whether a secret stands there."""

_KEY = re.compile(SECRET_NAME, re.IGNORECASE)
_TABLES = {"headers", "env", "cookies"}
"""Tables whose values are secret, each of them."""
_OPTION = re.compile(rf"--?{SECRET_NAME}", re.IGNORECASE)
_GIVEN = re.compile(rf"(?P<head>--?{SECRET_NAME}=)(?P<secret>.+)", re.IGNORECASE | re.DOTALL)
_NAMED = re.compile(
    rf"(?P<head>(?<![\w.-]){SECRET_NAME}['\"]?\s*[=:]\s*)"
    r"(?!/|['\"]?\$\{|\*\*\*)(?:'[^']*'|\"[^\"]*\"|[^\s'\"&;,]+)",
    re.IGNORECASE,
)
_LOG_IN = re.compile(r"(?P<head>[^:]+:).+", re.DOTALL)
_ADDRESS = re.compile(r"(?!https?:)[a-z][a-z0-9+]*://[^\s:@/]*(?::[^\s:@/]*@|@|[/:])", re.IGNORECASE)
"""How the address of a database begins: it is shown but for its password. The path of a webhook is a secret."""
_TOLD = re.compile(r"|true|false|/.*|\*\*\*.*|.*\$\{.*", re.IGNORECASE | re.DOTALL)
"""What is shown wherever it stands: nothing, a switch, a path, what is hidden already, a reference."""


def secret_places(loaded: Loaded) -> Hidden:
    """Where the options of checks, channels and heartbeats say that a secret stands."""
    table = loaded.sources.table
    models: dict[Keys, type] = {
        tuple(map(str, place_of(table, name))): type(options) for name, options in loaded.every_check.probes.items()
    }
    models |= {("channel", name): type(options) for name, options in loaded.channels.items()}
    models |= {("heartbeat", str(name)): HeartbeatTable for name in table.get("heartbeat", {})}

    def hidden(place: Keys) -> bool:
        model = models.get(place[:2])
        return model is not None and issubclass(model, BaseModel) and _is_secret(model, place[2:])

    return hidden


@lru_cache(maxsize=10_000)
def _is_secret(model: type[BaseModel], place: Keys) -> bool:
    return is_secret(model, tuple(int(key) if key.isdigit() else key for key in place))


def disguised(place: Keys, value: object, masked: Callable[[str], str], hidden: Hidden) -> str:
    """A value in words as it may be shown; ``masked`` takes out what is known to be a secret."""
    if isinstance(value, Mapping):
        return masked(f"a table with {', '.join(map(str, value))}")
    if (hidden(place) or _says_secret(place)) and not _ADDRESS.match(str(value)):
        text = masked(str(value))
        return text if _TOLD.fullmatch(text) or isinstance(value, int | float) else MASK
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return masked(str(_words(value)))
    return masked(_NAMED.sub(rf"\g<head>{MASK}", str(value)))


def _says_secret(place: Keys) -> bool:
    return bool(_KEY.fullmatch(place[-1])) or not _TABLES.isdisjoint(place[2:-1])


def _words(words: Sequence[str]) -> list[str]:
    """The words of a program without the passwords that it is given."""
    shown: list[str] = []
    for before, word in zip(("", *words), words, strict=False):
        if _OPTION.fullmatch(before) and not word.startswith("-"):
            shown.append(word if _TOLD.fullmatch(word) else MASK)
        elif before in ("-u", "--user"):
            shown.append(_LOG_IN.sub(rf"\g<head>{MASK}", word))
        elif re.match(r".*\b(mysql|mariadb|sshpass)", words[0]) and re.match("-p.", word):
            shown.append(f"-p{MASK}")
        elif (given := _GIVEN.fullmatch(word)) and not _TOLD.fullmatch(given["secret"]):
            shown.append(given["head"] + MASK)
        else:
            shown.append(_NAMED.sub(rf"\g<head>{MASK}", word))
    return shown
