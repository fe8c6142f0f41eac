"""The options of a program that is run, and what it gets of the daemon's own environment: never its secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

from wcr_watchd.kit.options import Secret
from wcr_watchd.kit.subprocess import DEFAULT_PATH

PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ")


def _word(value: str) -> str:
    if "\0" in value:
        raise ValueError("no program can be given a zero byte")
    return value


def _variable(name: str) -> str:
    if not name or "=" in name or "\0" in name:
        raise ValueError(f"{name!r} is not the name of an environment variable")
    return name


Word = Annotated[str, AfterValidator(_word)]
"""One word of a command line, or a folder."""

Variables = dict[Annotated[str, AfterValidator(_variable)], Secret]
"""Environment variables by name."""


def environment(given: Mapping[str, Secret], *further: str) -> dict[str, str]:
    """The environment of a program: what is ``given``, beside our own :data:`PASSED_ON` and ``further`` variables."""
    inherited = {name: os.environ[name] for name in (*PASSED_ON, *further) if name in os.environ}
    return {"PATH": DEFAULT_PATH} | inherited | {name: value.get_secret_value() for name, value in given.items()}
