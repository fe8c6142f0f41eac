"""Regular expressions on text that somebody else wrote, in a process of their own that can be stopped.

Python's matcher goes back and forth over the text in one uninterruptible call that holds the interpreter lock: an
innocent ``.*error`` takes minutes on a megabyte without a line break, and neither a thread nor a timeout helps,
the whole daemon would stand still. A separate interpreter costs 25 ms and can be killed.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

BUDGET = 2.0
"""Seconds that all patterns of one run may take."""

LONGEST_GROUP = 64 * 1024
"""Characters that are told of what a group found."""

_PROGRAM = f"""
import json, re, sys
asked = json.loads(sys.stdin.buffer.readline())
texts = [sys.stdin.buffer.read(length).decode("utf-8", "surrogatepass") for length in asked["lengths"]]
matches = [re.search(pattern, texts[number]) for pattern, number in asked["pairs"]]
cut = lambda text: text and text[:{LONGEST_GROUP}]
json.dump(
    [one and [one.span(), [cut(one[0]), *map(cut, one.groups())], {{name: cut(text) for name, text in
    one.groupdict().items()}}] for one in matches],
    sys.stdout,
)
"""


@dataclass(frozen=True, slots=True)
class Match:
    """Where a pattern was found, and its groups: ``groups[0]`` is all of it, None one that took no part."""

    span: tuple[int, int]
    groups: tuple[str | None, ...]
    names: Mapping[str, str | None]


class PatternsTooSlowError(Exception):
    """The patterns did not come to an end within their budget."""


async def found(pairs: Sequence[tuple[str, str]], budget: float = BUDGET) -> list[bool]:
    """Whether each pattern occurs in its text. Raises what :func:`search` raises."""
    return [match is not None for match in await search(pairs, budget)]


async def search(pairs: Sequence[tuple[str, str]], budget: float = BUDGET) -> list[Match | None]:
    """Where each pattern occurs first in its text.

    Raises :class:`PatternsTooSlowError` after ``budget`` seconds, and ``OSError`` when no process can be started.
    """
    if not pairs:
        return []
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        "-c",
        _PROGRAM,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(budget):
            output, _ = await process.communicate(_asked(pairs))
    except TimeoutError as error:
        raise PatternsTooSlowError(f"they took more than {budget:g} s") from error
    finally:
        await _end(process)
    if process.returncode != 0:
        raise OSError(f"the process that matches patterns ended with status {process.returncode}")
    return [Match(tuple(one[0]), tuple(one[1]), one[2]) if one else None for one in json.loads(output)]


def _asked(pairs: Sequence[tuple[str, str]]) -> bytes:
    """What the process reads: a line of JSON, then each text once, as it is: making JSON of a megabyte takes long."""
    texts = {id(text): text for _, text in pairs}
    numbers = {which: number for number, which in enumerate(texts)}
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts.values()]
    numbered = [(pattern, numbers[id(text)]) for pattern, text in pairs]
    head = json.dumps({"lengths": [len(text) for text in encoded], "pairs": numbered}).encode()
    return b"\n".join([head, b"".join(encoded)])


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


def check_pattern(pattern: str) -> str:
    """Return the regular expression when it is one; ``ValueError`` says what is wrong and where."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


Pattern = Annotated[str, AfterValidator(check_pattern)]
"""A regular expression, as an option."""
