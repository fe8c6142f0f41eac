"""Runs a program and takes its verdict: any Nagios plugin, or anything whose exit status means something.

With ``protocol = "nagios"`` the exit status is 0 fine, 1 warning, 2 critical, 3 unknown, the first line is the summary
and performance data become measurements (https://www.monitoring-plugins.org/doc/guidelines.html). With
``protocol = "exit"`` 0 is fine and anything else is not.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.perfdata import NO_OUTPUT, PluginOutput, base_unit, parse
from wcr_watchd.kit.programs import Variables, Word, environment
from wcr_watchd.kit.subprocess import Finished, locate, run_child
from wcr_watchd.kit.threads import Threads

_SERIES = {"s": "perfdata_time", "B": "perfdata_size", "%": "perfdata_share", "c": "perfdata_counter", "": "perfdata"}
_WORST_KNOWN = 2
_BY_SHELL = {126: "permission", 127: "missing"}
"""Statuses by which a plugin that is a script says that a program it calls cannot be run, or is not there."""
_MOST_SERIES = 200
"""Items of performance data that are kept of one run."""
_SHORT = 4_000
"""Characters of output that are read at once; 64 KiB of performance data take 10 ms."""
_LONGEST_LABEL = 128


class Command(Options):
    """Runs a program and takes its verdict."""

    type: ClassVar[str] = "command"
    target_key: ClassVar[str] = "run"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 30.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("exit_status", Unit.COUNT, "Exit status of the program"),
        MeasurementSpec("plugin_state", Unit.COUNT, "What a plugin said: 0 fine, 1 warning, 2 critical"),
        MeasurementSpec("perfdata", Unit.COUNT, "Performance data without a unit", labels=("label",)),
        MeasurementSpec("perfdata_time", Unit.SECONDS, "Performance data that are times", labels=("label",)),
        MeasurementSpec("perfdata_size", Unit.BYTES, "Performance data that are sizes", labels=("label",)),
        MeasurementSpec("perfdata_share", Unit.RATIO, "Performance data in percent, as 0-1", labels=("label",)),
        MeasurementSpec(
            "perfdata_counter", Unit.COUNT, "Performance data that only grow", labels=("label",), counter=True
        ),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down or plugin_state == 2"),
        (Severity.WARNING, "plugin_state == 1"),
    )
    example: ClassVar[str] = 'run = ["/usr/lib/nagios/plugins/check_load", "-w", "8,6,4", "-c", "16,12,8"]\n'

    run_words: Annotated[tuple[Word, ...], Field(alias="run", min_length=1)]
    """The program and its arguments, each for itself; no shell reads them."""
    protocol: Literal["nagios", "exit"] = "nagios"
    """What the exit status means: a Nagios plugin's 0-3, or (`exit`) 0 fine and anything else down."""
    env: Variables = Field(default_factory=dict)
    """Environment variables for the program, beside PATH, LANG, LC_ALL, TZ and HOME."""
    cwd: Word = "/"
    """The folder it runs in."""
    on_exec_error: Literal["unknown", "down"] = "unknown"
    """What it means when the program cannot be run or is killed; of a plugin, also when it does not end in time or ends
    with a status of its own invention."""

    @property
    def target(self) -> str:
        """The command line."""
        return " ".join(self.run_words)

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Run the program once."""
        program = self.run_words[0]
        variables = environment(self.env, "HOME")
        # A little before the run's own deadline, because what its passing means is this probe's to say.
        patience = run.remaining * 0.95
        try:
            async with asyncio.timeout(patience):
                run.step = f"looking for {program}"
                file = await run.shared.get(Threads).call(locate, program, variables["PATH"], self.cwd)
                run.step = f"waiting for {program} to end"
                finished = await run_child(self.run_words, variables, self.cwd, file=file)
        except TimeoutError:
            summary = f"{self.target} did not end within {format_duration(patience)} and was killed (was {run.step})"
            return self._not_run(run, "timeout", summary) if self.protocol == "nagios" else run.down("timeout", summary)
        except (FileNotFoundError, NotADirectoryError) as error:
            what = f"the folder {self.cwd} (cwd)" if error.filename == self.cwd else program
            return self._not_run(run, "missing", f"{what} does not exist; install it or correct the path")
        except PermissionError:
            return self._not_run(
                run, "permission", f"{program} may not be run by this user: check its mode and folders"
            )
        except OSError as error:
            return self._not_run(run, "exec", f"{program} could not be run: {error.strerror or error}")
        if finished.status >= 0:
            run.measure("exit_status", finished.status)
        self._keep_evidence(run, finished)
        output = await _parsed(run, finished.stdout)
        return (self._exit if self.protocol == "exit" else self._nagios)(run, finished, output)

    def _exit(self, run: Run, finished: Finished, output: PluginOutput) -> Observation:
        said = output.text
        if finished.status == 0:
            return run.up(f"{self.run_words[0]} ended well: {said}")
        if said == NO_OUTPUT:
            said = finished.stderr.strip() or NO_OUTPUT
        return run.down("status", f"{self.target} ended with {_ending(finished)}, expected status 0: {said}")

    def _nagios(self, run: Run, finished: Finished, output: PluginOutput) -> Observation:
        self._measure(run, output)
        text = output.text
        if text == NO_OUTPUT and finished.stderr.strip():
            text = finished.stderr.strip()
        if 0 <= finished.status <= _WORST_KNOWN:
            run.measure("plugin_state", finished.status)
            return run.up(text, reason="plugin" if finished.status else "")
        if finished.status == _WORST_KNOWN + 1:
            return run.unknown("plugin", text)
        reason = "signal" if finished.status < 0 else _BY_SHELL.get(finished.status, "exit_status")
        return self._not_run(run, reason, f"{self.target} ended with {_ending(finished)}, expected status 0-3: {text}")

    def _measure(self, run: Run, output: PluginOutput) -> None:
        for (series, label), value in self._series(output).items():
            run.measure(series, value, label=label)
        if len(output.data) > _MOST_SERIES:
            run.evidence["performance data"] = f"{len(output.data)} items; only the first {_MOST_SERIES} are kept"
        if output.long:
            run.evidence["long output"] = output.long
        if output.bad:
            run.evidence["unreadable performance data"] = "; ".join(output.bad)

    def _series(self, output: PluginOutput) -> dict[tuple[str, str], float]:
        """Values by series and label. A label that comes twice counts once, as first told: a series has one value."""
        found: dict[tuple[str, str], float] = {}
        for datum in output.data[:_MOST_SERIES]:
            if datum.value is not None:
                value, unit = base_unit(datum)
                key = _SERIES[unit], datum.label[:_LONGEST_LABEL]
                found.setdefault(key, value / 100 if unit == "%" else value)
        return found

    def _keep_evidence(self, run: Run, finished: Finished) -> None:
        if finished.stderr.strip():
            run.evidence["standard error"] = finished.stderr.strip()
        if finished.cut:
            run.evidence["output"] = "more than 64 KiB; the rest was dropped"

    def _not_run(self, run: Run, reason: str, summary: str) -> Observation:
        return run.down(reason, summary) if self.on_exec_error == "down" else run.unknown(reason, summary)


async def _parsed(run: Run, text: str) -> PluginOutput:
    """What the program printed, read in a thread when there is much of it."""
    return parse(text) if len(text) <= _SHORT else await run.shared.get(Threads).call(parse, text)


def _ending(finished: Finished) -> str:
    return f"signal {-finished.status}" if finished.status < 0 else f"status {finished.status}"
