"""Programs for probes to find before the real ones: scripts that print what was recorded, fail or hang."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.daemon.harness import eventually
from tests.real.running import PATIENCE, carry_out, new_run
from wcr_watchd.core.model import Observation
from wcr_watchd.core.run import Announced
from wcr_watchd.kit.shared import SharedHelpers


def none_runs(command: str) -> None:
    """Wait until no such process is left; one that was killed takes a moment to go."""
    words = ["pgrep", "-f", command]
    eventually(lambda: not subprocess.run(words, capture_output=True, check=False).stdout, f"{command} has ended")


class Tools:
    """A folder at the head of the search path."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._folder.mkdir()
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("PATH", f"{folder}:/usr/local/bin:/usr/bin:/bin")

    def put(self, name: str, script: str) -> None:
        """A shell script of that name."""
        path = self._folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def prints(self, name: str, text: str, status: int = 0) -> None:
        """A program that prints this and ends with that status."""
        (self._folder / f"{name}.txt").write_text(text)
        self.put(name, f"cat {self._folder}/{name}.txt; exit {status}")

    def remove(self, name: str) -> None:
        """Take a program away again."""
        (self._folder / name).unlink()

    def only(self) -> None:
        """From now on there are no other programs than those put here, and what a script needs."""
        for needed in ("sh", "cat", "sleep", "nice", "find"):
            if not (self._folder / needed).exists():
                (self._folder / needed).symlink_to(f"/usr/bin/{needed}")
        self._monkeypatch.setattr("wcr_watchd.kit.tools._search_path", lambda: str(self._folder))


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """An empty folder of programs that are found first."""
    return Tools(tmp_path / "tools", monkeypatch)


class Looks:
    """Runs of one check, each with what the one before left in its memory."""

    def __init__(self, shared: SharedHelpers) -> None:
        self._shared = shared
        self.memory: dict[str, object] = {}
        self.announced: tuple[Announced, ...] = ()

    async def at(self, probe: object, started: float | None = None, *, timeout: float = PATIENCE) -> Observation:
        """One run at a wall time (epoch seconds)."""
        run = new_run(self._shared, timeout, started)
        run.memory = self.memory
        run.announced = self.announced
        return await carry_out(probe, run)

    async def accept(self, probe: object, started: float | None = None, by: str = "ann") -> Observation:
        """One run by which somebody accepts what there is."""
        run = new_run(self._shared, PATIENCE, started)
        run.memory = self.memory
        observation: Observation = await probe.accept(run, by)  # type: ignore[attr-defined]
        return observation


@pytest.fixture
def looks(shared: SharedHelpers) -> Looks:
    """Runs that remember."""
    return Looks(shared)
