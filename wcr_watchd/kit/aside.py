"""Work that takes much of a processor, in a process of its own, so that it neither holds up the daemon nor outlives it.

A thread would not do: it shares the interpreter lock, and one regular expression on a hostile line, which is a single
uninterruptible call, would make the whole daemon stand still. A process can be killed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wcr_watchd.kit.subprocess import end_group

_PACKAGES = str(Path(__file__).resolve().parents[2])
_PROGRAM = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
work = getattr(importlib.import_module(sys.argv[2]), sys.argv[3])
try:
    answer = {"result": work(json.load(sys.stdin))}
except OSError as error:
    answer = {"error": [error.errno, error.strerror or str(error), error.filename]}
json.dump(answer, sys.stdout)
"""


async def aside(work: Callable[[Any], Any], given: Any) -> Any:
    """Return ``work(given)``, carried out in a process of its own; both are JSON values.

    ``work`` is a function of one of our modules that imports nothing but the standard library. The caller sets the
    deadline; when it is cancelled, the process is killed. Raises the ``OSError`` that ``work`` raises, ``OSError`` when
    no process can be started, and ``RuntimeError`` with the last words of one that failed in another way.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", _PROGRAM, _PACKAGES, work.__module__, work.__qualname__),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd="/",
        start_new_session=True,
    )
    try:
        output, errors = await process.communicate(json.dumps(given).encode())
    finally:
        if process.returncode is None:
            await end_group(process)  # with what it may have started itself
    if process.returncode != 0:
        raise RuntimeError(f"{work.__qualname__} ended with status {process.returncode}: {_last_line(errors)}")
    answer = json.loads(output)
    if "error" in answer:
        number, text, path = answer["error"]
        raise OSError(number, text, path)
    return answer["result"]


def _last_line(errors: bytes) -> str:
    return (errors.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
