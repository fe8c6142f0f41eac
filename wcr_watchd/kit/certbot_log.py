"""Reads certbot's own log: when it last went through all renewals, and how that went. It is carried out aside.

Only the standard library is imported here (see aside).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

MOST_LOGS = 10
LOG_TAIL = 256 * 1024
"""Bytes from the end of each log that are read."""

_ENDING = re.compile(
    r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+:\w+:certbot[\w.]*:"
    r"(?:(no renewal failures)|(\d+) renew failure\(s\), (\d+) parse failure\(s\))$",
    re.MULTILINE,
)
_FAILED = re.compile(r":certbot[\w.]*:Failed to renew certificate (\S+) with error: (.*)$", re.MULTILINE)


def read_attempts(path: str) -> dict[str, Any]:
    """What the newest logs in a folder tell.

    ``last_at`` is when certbot last went through all renewals (epoch seconds), ``failures`` how many attempts in a row
    have failed up to that, ``errors`` are those of the last one: lineage and error. Or ``absent`` says why nothing is
    known of any.
    """
    try:
        found = [entry for entry in os.scandir(path) if re.fullmatch(r"letsencrypt\.log(\.\d+)?", entry.name)]
        logs = sorted(found, key=lambda entry: entry.stat().st_mtime)[-MOST_LOGS:]
        runs = [run for entry in logs for run in _attempts_in(_tail(Path(entry.path)))]
    except OSError as error:
        return {"absent": f"the logs in {path} cannot be read: {error.strerror}"}
    if not runs:
        return {"absent": f"the logs in {path} tell of no attempt to renew"}
    failures = next((place for place, run in enumerate(reversed(runs)) if not run["failures"]), len(runs))
    return {**runs[-1], "failures": failures}


def _attempts_in(text: str) -> Iterator[dict[str, Any]]:
    """Each attempt that a log tells of, with 1 for one that failed."""
    begins = 0
    for ending in _ENDING.finditer(text):
        errors = [] if ending[2] else _FAILED.findall(text, begins, ending.start())
        begins = ending.end()
        # Certbot writes local time without zone.
        at = datetime.strptime(ending[1], "%Y-%m-%d %H:%M:%S").astimezone().timestamp()
        kept = [(str(name), str(error)[:300]) for name, error in errors[:20]]
        yield {"last_at": at, "failures": int(not ending[2]), "errors": kept}


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_TAIL))
        return file.read(LOG_TAIL).decode(errors="replace")
