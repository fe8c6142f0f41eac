"""Secrets: ``${env:NAME}``, ``${file:/path}`` and ``${credential:NAME}`` in the texts of a configuration.

Credentials are those of systemd (``LoadCredential=``; systemd.exec(5), ``$CREDENTIALS_DIRECTORY``). ``$${`` stands for
a plain ``${``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from wcr_watchd.config.faults import Faults
from wcr_watchd.config.files import TooLargeError, read_regular
from wcr_watchd.config.positions import Place

LARGEST_SECRET = 64 * 1024
PLACEHOLDER = "unresolved-secret"
"""Stands for a secret that could not be had, so that everything else can still be looked at."""
_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_FORMS = "${env:NAME}, ${file:/path} or ${credential:NAME}; write $${ for a plain ${"


class _MissingError(Exception):
    def __init__(self, reason: str, suggestion: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.suggestion = suggestion


class Secrets:
    """Resolves references and remembers what they stand for. ``folder`` tells where a place's relative paths begin."""

    def __init__(self, faults: Faults, folder: Callable[[Place], Path | None]) -> None:
        self.values: set[str] = set()
        self._faults = faults
        self._folder = folder

    def resolve(self, value: Any, place: Place = ()) -> Any:
        """A copy of the value with every reference in it replaced; what cannot be had is noted as a fault."""
        if isinstance(value, dict):
            return {key: self.resolve(inner, (*place, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.resolve(inner, (*place, index)) for index, inner in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            return _REFERENCE.sub(lambda match: self._replacement(match, place), value)
        return value

    def _replacement(self, match: re.Match[str], place: Place) -> str:
        if match[0] == "$${":
            return "${"
        try:
            if match[1] is None:
                raise _MissingError('"${" is never closed with "}"', f"references are {_FORMS}")
            found = self._look_up(match[1], place)
        except _MissingError as error:
            self._faults.add_unresolved(place, error.reason, error.suggestion)
            return PLACEHOLDER
        self.values.update(parts_to_hide(found))
        return found

    def _look_up(self, reference: str, place: Place) -> str:
        kind, colon, name = reference.partition(":")
        look = {"env": _environment, "file": self._file, "credential": _credential}.get(kind)
        if not colon or look is None or not name:
            raise _MissingError(f'"${{{reference}}}" is no reference to a secret', f"references are {_FORMS}")
        found = look(name, place)
        if not found:
            raise _MissingError(f"${{{reference}}} is empty")
        return found

    def _file(self, name: str, place: Place) -> str:
        folder = self._folder(place)
        if folder is None and not name.startswith("/"):
            raise _MissingError(f"${{file:{name}}} must be an absolute path here")
        return _content((folder or Path("/")) / name, f"${{file:{name}}}")


def _environment(name: str, place: Place) -> str:
    if name not in os.environ:
        raise _MissingError(
            f"the environment variable {name} is not set", "set it, or Environment=/EnvironmentFile= in the unit"
        )
    return os.environ[name]


def _credential(name: str, place: Place) -> str:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise _MissingError(
            f"the credential {name} is not there: CREDENTIALS_DIRECTORY is not set",
            f"run under systemd with LoadCredential={name}:/path, or set CREDENTIALS_DIRECTORY to its folder",
        )
    if "/" in name or name in (".", ".."):
        raise _MissingError(f'"{name}" is not the name of a credential')
    return _content(Path(folder) / name, f"${{credential:{name}}}", f"add LoadCredential={name}:/path to the unit")


def _content(path: Path, what: str, suggestion: str = "") -> str:
    """A secret's file: bounded, one newline at its end left out."""
    try:
        text = read_regular(path, LARGEST_SECRET).decode()
    except FileNotFoundError as error:
        raise _MissingError(f"{what}: {path} does not exist", suggestion) from error
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        raise _MissingError(f"{what}: {path} cannot be read by user id {os.geteuid()}: {said}", suggestion) from error
    except UnicodeDecodeError as error:
        raise _MissingError(f"{what}: {path} is not UTF-8 text") from error
    except TooLargeError as error:
        raise _MissingError(f"{what}: {path} {error}") from error
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def parts_to_hide(value: str) -> Iterator[str]:
    """The value itself, and the password in it when it is a URL, as written and decoded: errors may quote only that."""
    yield value
    yield from passwords_in(value)


def passwords_in(value: str) -> Iterator[str]:
    """The password in a URL, as written and decoded."""
    if "://" not in value:
        return
    try:
        password = urlsplit(value).password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)
