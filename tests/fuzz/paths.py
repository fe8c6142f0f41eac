"""One target by atheris, in a process of its own: ``python -m tests.fuzz.paths TARGET SECONDS``."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(include=["wcr_watchd"], enable_loader_override=False):
    from tests.fuzz.targets import PLAIN, WORDS, served

SLOWEST = 25
"""Seconds after which libFuzzer calls an input one that hangs."""


def main(name: str, seconds: int) -> None:
    """Fuzz until the time is up; what does harm ends this process with its own status, and its input is kept."""
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    words = folder / "words"
    words.write_text("".join('"' + "".join(rf"\x{byte:02x}" for byte in word) + '"\n' for word in WORDS[name]))
    bounds = [f"-max_total_time={seconds}", f"-timeout={SLOWEST}", "-rss_limit_mb=2048", "-max_len=4096"]
    arguments = [sys.argv[0], *bounds, f"-dict={words}", f"-artifact_prefix={folder}/", "-verbosity=0"]
    if name in PLAIN:
        atheris.Setup(arguments, PLAIN[name])
    else:
        target, loop = served(name), asyncio.new_event_loop()
        atheris.Setup(arguments, lambda data: loop.run_until_complete(target(data)))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
