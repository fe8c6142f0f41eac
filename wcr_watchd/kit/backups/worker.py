"""The process that reads backups: it may take long, hang or be killed, and the daemon goes on.

``python -m wcr_watchd.kit.backups.worker JOB``, where JOB is a JSON object with ``do``, one of :data:`JOBS`,
and its arguments. The answer is a JSON object on standard output. A passphrase comes in the environment. It runs behind
everything else: lowest priority for the processor and, where ionice(1) is there, the idle class for disks.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from wcr_watchd.kit.backups.archives import (
    COMPRESSIONS,
    ENCRYPTIONS,
    CannotTellError,
    Content,
    Keys,
    OutOfTimeError,
    Source,
    fault_in_words,
    is_broken,
    look_through,
    opened,
)
from wcr_watchd.kit.backups.checksums import ALGORITHMS, LONGEST, expected_digest
from wcr_watchd.kit.backups.manifests import compare
from wcr_watchd.kit.backups.names import NamePattern
from wcr_watchd.kit.backups.restores import restore
from wcr_watchd.kit.backups.scan import TooManyEntriesError, scan
from wcr_watchd.kit.backups.wal_archive import recoverable
from wcr_watchd.kit.local_zone import local_timezone

NICE = 15
RATE = 100e6
"""Bytes a second that are read for a digest."""
NAMES_OF_COMPRESSED = frozenset({".gz", ".tgz", ".zst", ".xz", ".bz2", ".lz4", ".zip", ".7z", ".dump"})


def main(argument: str) -> None:
    """Carry the job out and print the answer."""
    with contextlib.suppress(OSError):  # a sandbox may forbid even to step back
        os.nice(NICE)
    with contextlib.suppress(OSError):
        subprocess.run(("ionice", "-c", "3", "-p", str(os.getpid())), capture_output=True, check=False)
    job = json.loads(argument)
    json.dump(_answer(JOBS[job.pop("do")], job), sys.stdout)


def _answer(work: Callable[..., dict[str, Any]], job: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return work(**job)
    except FileNotFoundError as error:
        return {"trouble": "missing", "said": f"{error.filename} does not exist"}
    except NotADirectoryError as error:
        return {"trouble": "missing", "said": f"{error.filename} is no folder"}
    except PermissionError as error:
        return {"trouble": "permission", "said": f"{error.filename or 'a file'} may not be read by uid {os.geteuid()}"}
    except OSError as error:
        return {"trouble": "read", "said": f"{error.filename or 'a file'}: {error.strerror or error}"}
    except (TooManyEntriesError, CannotTellError) as error:
        return {"trouble": "limit" if isinstance(error, TooManyEntriesError) else "missing", "said": str(error)}
    except OutOfTimeError:
        return {"trouble": "timeout", "said": "the time for it is over"}


def scan_set(
    path: str, regex: str, time_format: str, timezone: str, most: int, daily: bool, before: float
) -> dict[str, Any]:
    """List a set of backups."""
    pattern, zone = NamePattern(path, regex, time_format), ZoneInfo(timezone or local_timezone())
    return scan(pattern, zone, most, daily, before)


def verify(
    files: Sequence[tuple[str, str]], whole: bool, required: Sequence[str], rate: float, seconds: float,
    keys: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Read backups to their ends, each a path and that of its file of checksums (empty: none), while there is time.

    See :class:`~wcr_watchd.kit.backups.sets.Verdict` for what is said of each.
    """
    deadline, told = time.monotonic() + seconds, list[dict[str, Any]]()
    for path, sidecar in files:
        job = {"path": path, "sidecar": sidecar, "whole": whole, "required": required, "rate": rate}
        told.append(_answer(_verify_one, {**job, "deadline": deadline, "keys": keys}))
        if time.monotonic() > deadline:
            break
    return {"told": told}


def _verify_one(
    path: str, sidecar: str, whole: bool, required: Sequence[str], rate: float, deadline: float, keys: Mapping[str, Any]
) -> dict[str, Any]:
    text, algorithm = _checksum_file(sidecar)
    wanted = expected_digest(text, path) if sidecar else None
    begun = time.monotonic()
    with contextlib.closing(Source(path, algorithm, rate, deadline)) as source:
        before = source.status()
        raw = io.BufferedReader(source)
        answer = _content(raw, path, keys, whole, required)
        digest = source.finish()
        after = source.status()
    if (before.st_size, before.st_mtime) != (after.st_size, after.st_mtime):
        return {"trouble": "changed", "said": f"{path} changed while it was read"}
    if wanted and digest != wanted:
        answer["fault"] = f"its checksum is not the one in {sidecar}"
    elif sidecar and wanted is None:
        answer["fault"] = answer["fault"] or f"{sidecar} holds no checksum for it"
    return {**answer, "read": source.amount, "seconds": time.monotonic() - begun}


def digest(path: str, algorithm: str, seconds: float) -> dict[str, Any]:
    """The digest of a file."""
    with contextlib.closing(Source(path, algorithm, RATE, time.monotonic() + seconds)) as source:
        return {"digest": source.finish()}


def _checksum_file(sidecar: str) -> tuple[str, str]:
    """The text of a file of checksums, and the algorithm of them."""
    if not sidecar:
        return "", ""
    with open(sidecar, "rb") as file:
        text = file.read(LONGEST).decode(errors="surrogateescape")
    return text, ALGORITHMS[os.path.splitext(sidecar)[1]]


def _content(
    raw: io.BufferedReader[Any], path: str, keys: Mapping[str, Any], whole: bool, required: Sequence[str]
) -> dict[str, Any]:
    """Look into a backup; ``fault`` is what is wrong (empty: nothing), ``unseen`` why it could not be told."""
    content, fault, unseen = Content(raw), "", ""
    try:
        with opened(content, path, Keys.of(keys)):
            if whole or required:
                look_through(content, path, required)
    except CannotTellError as error:
        unseen = str(error)
    except Exception as error:
        if not is_broken(error):
            raise
        fault = fault_in_words(error)
    return {
        "fault": fault,
        "unseen": unseen,
        "files": content.files,
        "absent": content.absent,
        "encrypted": bool(ENCRYPTIONS & set(content.layers)),
        # What stays shut can be told only by its name: app.sql.gz.enc.
        "compressed": bool(COMPRESSIONS & set(content.layers)) or (bool(unseen) and _named_compressed(path)),
    }


def _named_compressed(path: str) -> bool:
    return any(f".{part}" in NAMES_OF_COMPRESSED for part in os.path.basename(path).split("."))


JOBS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "scan": scan_set,
    "verify": verify,
    "digest": digest,
    "compare": compare,
    "restore": restore,
    "wal": recoverable,
}

if __name__ == "__main__":
    main(sys.argv[1])
