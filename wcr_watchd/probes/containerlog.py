"""Reads on in what containers write and counts the lines that match patterns, by the API of Docker or Podman.

Only what is new counts: the first run notes the time, and from then on nothing is missed, not while the daemon is
restarted or a container is made anew either. Lines are read in a process of their own.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.aside import aside
from wcr_watchd.kit.docker import EngineAddress
from wcr_watchd.kit.logs.container_log import tally_containers
from wcr_watchd.kit.logs.tally import ERRORS
from wcr_watchd.kit.options import Options, Size
from wcr_watchd.kit.patterns import Pattern

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class Containerlog(Options):
    """Counts the lines that containers write and that match patterns."""

    type: ClassVar[str] = "containerlog"
    target_key: ClassVar[str] = "containers"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 30.0
    example: ClassVar[str] = (
        'containers = ["api-prod", "web-prod"]\nignore = ["healthcheck"]\npatterns.error = "fail: |crit: "\n'
        'patterns.payment = "payment .* declined"\n'
    )
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("matches", Unit.COUNT, "Lines that match a pattern", ("pattern",), counter=True, topic="match"),
        MeasurementSpec("lines", Unit.COUNT, "Lines written to stdout or stderr", ("stream",), counter=True),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "increase(matches, 1h) > 5"),
    )

    containers: Annotated[tuple[Name, ...], Field(min_length=1, max_length=50)]
    """Names of the containers; they are counted together."""
    socket: EngineAddress = "/var/run/docker.sock"
    """Where the engine listens: "/var/run/docker.sock", "/run/podman/podman.sock", or "tcp://127.0.0.1:2375" for a
    read-only proxy of the socket."""
    patterns: dict[str, Pattern] = Field(default_factory=lambda: {"error": ERRORS}, min_length=1, max_length=50)
    """Regular expressions by name; lines are counted that have the expression somewhere in them. Without any, those are
    that tell of an error."""
    ignore: tuple[Pattern, ...] = ()
    """Regular expressions of lines that do not count, whatever else they match."""
    most: Size = 16 * 1024 * 1024
    """Bytes read of a container in one run; the rest is read in the next."""

    @property
    def target(self) -> str:
        """The containers."""
        return ", ".join(self.containers)

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Read what was written since the last run."""
        run.step = f"reading what {self.target} wrote"
        # A little before the run's own deadline: what is to be done about a time-out is this probe's to say.
        patience = run.remaining * 0.9
        try:
            async with asyncio.timeout(patience):
                told = await aside(tally_containers, self._work(run))
        except TimeoutError:
            # Else the next run would have to read the same again, and more.
            run.memory.pop("since", None)
            return run.unknown(
                "timeout",
                f"what {self.target} wrote could not be read within {format_duration(patience)}; the next run passes "
                "over what is there: is the engine slow, or a pattern too hard?",
            )
        except PermissionError:
            return run.unknown(
                "permission", f"{self.socket} may not be used by this user: give it the group docker, or use a proxy"
            )
        except OSError as error:
            reason = "dns" if error.errno is not None and error.errno < 0 else "connect"
            missing = ": the socket does not exist" if error.errno == errno.ENOENT else f": {error.strerror or error}"
            return run.down(reason, f"no connection to the container engine at {self.socket}{missing}")
        return self._judge(run, told)

    def _work(self, run: Run) -> dict[str, Any]:
        return {
            "engine": self.socket,
            "containers": self.containers,
            "patterns": self.patterns,
            "ignore": self.ignore,
            "most": self.most,
            "now": [int(run.started), int(run.started % 1 * 1e9)],
            "since": run.memory.get("since", {}),
        }

    def _judge(self, run: Run, told: Mapping[str, Any]) -> Observation:
        run.memory["since"] = told["since"]
        for name, why in told["problems"].items():
            run.missing([name], why)
        if len(told["problems"]) == len(self.containers):
            name, why = next(iter(told["problems"].items()))
            return run.unknown("missing", f"what {name} wrote cannot be read: {why}")
        before = run.memory.get("totals", {"matches": {}, "lines": {}})
        matches = {name: before["matches"].get(name, 0) + told["matches"][name] for name in self.patterns}
        lines = {name: before["lines"].get(name, 0) + count for name, count in told["streams"].items()}
        run.memory["totals"] = {"matches": matches, "lines": lines}
        for name, count in matches.items():
            run.measure("matches", count, pattern=name)
        for name, count in lines.items():
            run.measure("lines", count, stream=name)
        samples = told["samples"]
        run.evidence.update({name: "\n".join(kept) for name, kept in samples.items()})
        if samples:
            said = "; ".join(f"{name}: {kept[-1].strip()}" for name, kept in samples.items())
            return run.up(f"{self.target}: {said}", reason="match")
        return run.up(f"{self.target}: {told['lines']} new lines, none matches")
