"""Programs under measurement: started in the foreground, and what the kernel says they cost."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds within which a program has to come up or to go."""
_TICKS = os.sysconf("SC_CLK_TCK")
_MEBIBYTE = 1024 * 1024


class Program:
    """One program in the foreground; ``name`` is what it is called in results and in the names of its files."""

    def __init__(self, name: str, command: Sequence[str | Path], folder: Path) -> None:
        self.name = name
        self.output = folder / f"{name}.output"
        with self.output.open("ab") as output:
            self._process = subprocess.Popen([str(word) for word in command], stdout=output, stderr=output, cwd=folder)

    @property
    def number(self) -> int:
        """Its process id."""
        return self._process.pid

    def cpu(self) -> float:
        """Seconds of processor time used so far, by it and all its children, those that have ended as well."""
        return sum(_cpu(number) for number in _family(self.number))

    def memory(self) -> float:
        """Proportional set size in MiB (smaps_rollup), of it and its children: what would be free without it."""
        return sum(_pss(number) for number in _family(self.number)) / _MEBIBYTE

    def written(self) -> int:
        """Bytes it has caused to be written to disk (``write_bytes`` of proc_pid_io(5))."""
        return sum(_written(number) for number in _family(self.number))

    def send(self, what: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(what)

    def stop(self) -> None:
        """End it, at the latest by force."""
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(PATIENCE)

    def insist(self) -> None:
        """Fail with its last words if it has ended."""
        status = self._process.poll()
        if status is not None:
            raise RuntimeError(f"{self.name} ended with {status}:\n{self.output.read_text()[-3000:]}")


def own_memory(program: Program) -> float:
    """Proportional set size in MiB of a program without its children."""
    return _pss(program.number) / _MEBIBYTE


def _family(number: int) -> Iterator[int]:
    yield number
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{number}/task"):
            for child in Path(f"/proc/{number}/task/{task}/children").read_text().split():
                yield from _family(int(child))


def _cpu(number: int) -> float:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS  # utime, stime, and those of children that have ended
    return 0.0


def _pss(number: int) -> int:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{number}/smaps_rollup").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    return 0


def _written(number: int) -> int:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        found = re.search(r"^write_bytes: (\d+)", Path(f"/proc/{number}/io").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0


def eventually(what: Callable[[], T | None], why: str, within: float = PATIENCE, every: float = 0.02) -> T:
    """Ask again and again until the answer is true, and return it; ``TimeoutError`` with ``why`` when it never is."""
    deadline = time.monotonic() + within
    while True:
        answer = what()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"within {within:g} s: {why}")
        time.sleep(every)


def accepts(port: int) -> bool:
    """Whether somebody listens on a port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
