"""One hostile server, aimed at by one probe, and what must come of it."""

from __future__ import annotations

import asyncio
import re
import time
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.real.servers.odd import Odd, Talk
from wcr_watchd.core.model import Observation, Outcome
from wcr_watchd.core.setup import Check, Setup
from wcr_watchd.core.view import Counters
from wcr_watchd.kit.plugins import load
from wcr_watchd.kit.redact import Redactor
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.runtime.runner import EVIDENCE_BYTES, SUMMARY_LENGTH, Runner

STALL = 1.5
"""Seconds that a run has whose server keeps it waiting: the deadline is what is tested."""
PATIENCE = 20.0
"""Seconds that a run has whose end is not its deadline; a busy machine must not fail it."""
LATE = 15.0
"""Seconds by which a run may be over its deadline on a busy machine; one that reads on is late without end."""
TRIES = 4
"""Runs that are void because this process was held up are repeated, as they are by the daemon."""
PASSWORD = "s3cret-of-the-test"

NOT_FOR_PEOPLE = re.compile(
    r"Traceback|\b\w+(?:Error|Exception)\b|<class|<\w+ object|object at 0x|\[Errno|\[SSL|_ssl\.c|\bNone\b|b'|bytearray"
)
"""What belongs in no summary: the names of Python's things."""

NO_PLAIN_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")

Aim = Callable[[Odd], Mapping[str, Any]]


@dataclass(frozen=True)
class Case:
    """A probe with ``options`` aimed at a server that behaves as ``server`` says.

    ``reason`` and ``words`` are what the observation must say; ``cut_off`` that the server keeps the run waiting until
    its deadline, which then is short. ``certificate`` names one of the suite, with which the server speaks TLS.
    """

    name: str
    server: Talk | bytes
    reason: str
    words: str | tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    outcome: Outcome = Outcome.DOWN
    timeout: float = 0.0
    certificate: str = ""
    least_connections: int = 0
    says_where: bool = True

    @property
    def cut_off(self) -> bool:
        """Whether the deadline ends the run."""
        return self.reason == "timeout"

    @property
    def seconds(self) -> float:
        """How long the run may take."""
        return self.timeout or (STALL if self.cut_off else PATIENCE)


async def watch(kind: str, options: Mapping[str, Any] | str, seconds: float, shared: SharedHelpers) -> Observation:
    """One run of a check as the daemon carries it out: deadline, redaction and bounds included."""
    written = tomllib.loads(options) if isinstance(options, str) else dict(options)
    probe = load("wcr_watchd.probes", kind).model_validate(written)
    check = Check(name="check", probe=kind, target=probe.target, every=600.0, timeout=seconds, rules=())
    setup = Setup("prod", "here", "UTC", "", {"check": check})
    for _ in range(TRIES):
        runner = Runner({"check": probe}, setup, shared, Redactor([PASSWORD]), WallClock(), Counters())
        seen = await runner.run("check")
        if seen is not None:
            return seen
    raise AssertionError(f"{TRIES} runs of {kind} were over their deadline by more than a second, or the machine was")


class WallClock:
    """The time of this machine."""

    def now(self) -> float:
        """Epoch seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        return time.monotonic()


def problems(case: Case, seen: Observation, where: str) -> list[str]:
    """What is wrong with an observation (nothing, if all is well)."""
    said = seen.summary
    wrong = []
    if (seen.outcome, seen.reason) != (case.outcome, case.reason):
        wrong.append(f"is {seen.outcome} for {seen.reason!r}, should be {case.outcome} for {case.reason!r}")
    wrong += [f"does not say {word!r}" for word in _words(case) if word not in said]
    if case.says_where and where not in said:
        wrong.append(f"does not say where: {where}")
    if found := NOT_FOR_PEOPLE.search(said):
        wrong.append(f"says {found[0]!r} to people")
    if NO_PLAIN_TEXT.search(said) or len(said) > SUMMARY_LENGTH:
        wrong.append("is no plain line")
    if sum(len(text.encode()) for text in seen.evidence.values()) > EVIDENCE_BYTES:
        wrong.append("has too much evidence")
    if PASSWORD in repr(seen):
        wrong.append("tells the password")
    try:
        repr(seen).encode(), [text.encode() for text in (said, *seen.evidence.values())]
    except UnicodeError:
        wrong.append("holds what cannot be stored")
    if seen.duration > case.seconds + LATE:
        wrong.append(f"took {seen.duration:.1f} s, had {case.seconds}")
    return [f"{case.name}: {one}: {said}" for one in wrong]


def _words(case: Case) -> tuple[str, ...]:
    return (case.words,) if isinstance(case.words, str) else case.words


async def run_all(
    kind: str,
    cases: list[Case],
    aim: Aim,
    start: Callable[..., Awaitable[Odd]],
    shared: SharedHelpers,
    contexts: Mapping[str, Any],
) -> None:
    """All cases of one probe at the same time; fails with everything that is wrong."""

    async def one(case: Case) -> list[str]:
        server = await start(case.server, contexts[case.certificate] if case.certificate else None)
        seen = await watch(kind, {**aim(server), **case.options}, case.seconds, shared)
        wrong = problems(case, seen, str(server.port))
        if server.connections < case.least_connections:
            wrong.append(f"{case.name}: came only {server.connections} times")
        return wrong

    found = await asyncio.gather(*map(one, cases))
    if told := [problem for wrong in found for problem in wrong]:
        pytest.fail("\n".join(told), pytrace=False)
