"""One run of a probe as the probe sees it: what it may use, and how it says what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from wcr_watchd.core.model import Fact, Measurement, Observation, Outcome

T = TypeVar("T")

LONGEST_MEMORY = 256 * 1024
"""Bytes of JSON that a check may keep from run to run."""


class Shared(Protocol):
    """Technical helpers that live as long as the daemon and are shared by all runs (HTTP session, thread pool, …)."""

    def get(self, kind: type[T]) -> T:
        """Return the one instance of ``kind``, made by ``kind()`` on first use and closed when the daemon stops."""
        ...


@dataclass(frozen=True, slots=True)
class Announced:
    """Work that somebody announced and began: what becomes different in its time is no surprise.

    From ``start`` until ``end`` (epoch seconds; infinity while it goes on), called ``name`` for people.
    """

    start: float
    end: float
    name: str


@dataclass(slots=True)
class Run:
    """One run of a check's probe.

    ``started`` is the wall time it began (epoch seconds), ``timeout`` the seconds it has, ``clock`` a monotonic
    clock in seconds. A probe sets ``step`` to what it is doing ("waiting for the banner of mail:25"), so that a
    time-out can say what it was waiting for, and adds to ``measurements`` and ``evidence`` as it goes, so that
    they are kept even when it is cut off. It ends by returning :meth:`up`, :meth:`down` or :meth:`unknown`.
    ``memory`` is what the last finished run of this check left in it, also after a restart of the daemon: a cursor, the
    counters of the last run, when something was first seen. A probe changes it in place; JSON values, at most
    :data:`LONGEST_MEMORY` bytes. It is stored together with the observation; what a run leaves that was cut off, failed
    by itself or is void is thrown away, so that nothing is counted as seen that nobody was told of.
    The runner enforces the deadline, redacts and bounds the evidence, and repeats a failure; a probe does not.
    ``announced`` is the work of the last days, for a probe that must explain a difference; ``facts`` is what people may
    alter, as the probe found it; a probe that looked and found nothing leaves an empty list.
    """

    check: str
    location: str
    started: float
    timeout: float
    clock: Callable[[], float]
    shared: Shared
    step: str = "starting"
    measurements: list[Measurement] = field(default_factory=list)
    evidence: dict[str, str] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)
    announced: tuple[Announced, ...] = ()
    facts: list[Fact] | None = None
    begun: float = field(init=False)

    def __post_init__(self) -> None:
        self.begun = self.clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self.begun

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self.timeout - self.elapsed)

    def measure(self, name: str, value: float, /, **labels: str) -> None:
        """Note a measurement; ``labels`` must be the ones its :class:`MeasurementSpec` declares."""
        self.measurements.append(Measurement(name, float(value), tuple(sorted(labels.items()))))

    def measure_all(self, values: Mapping[str, float | None]) -> None:
        """Note several measurements without labels, leaving out those that are None (absent, not 0)."""
        for name, value in values.items():
            if value is not None:
                self.measure(name, value)

    def fact(self, kind: str, name: str, value: str, *, before: str = "", since: float = 0.0) -> None:
        """Note what somebody may alter as it is now, as in :class:`~wcr_watchd.core.model.Fact`."""
        self.facts = self.facts if self.facts is not None else []
        self.facts.append(Fact(kind, name, value, before, since))

    def up(self, summary: str, reason: str = "") -> Observation:
        """The target does what it should.

        With a ``reason`` the summary itself says what is not as it should be (a plugin warns): a message about the
        rule that fires then carries the summary, which tells more than the rule's own words.
        """
        return self._observation(Outcome.UP, reason, summary)

    def down(self, reason: str, summary: str) -> Observation:
        """The target does not do what it should: what was tried, what came back, what was expected."""
        return self._observation(Outcome.DOWN, reason, summary)

    def unknown(self, reason: str, summary: str) -> Observation:
        """The probe could not tell (missing privilege, file, tool …): what is missing and what to do."""
        return self._observation(Outcome.UNKNOWN, reason, summary)

    def missing(self, names: Iterable[str], why: str) -> None:
        """Say in the evidence that some measurements are absent, and why (they are left out, never 0)."""
        line = f"{', '.join(names)}: {why}"
        self.evidence["absent"] = "\n".join(filter(None, (self.evidence.get("absent", ""), line)))

    def _observation(self, outcome: Outcome, reason: str, summary: str) -> Observation:
        return Observation(
            check=self.check,
            location=self.location,
            at=self.started,
            duration=self.elapsed,
            outcome=outcome,
            reason=reason,
            summary=summary,
            measurements=tuple(self.measurements),
            evidence=dict(self.evidence),
            facts=None if self.facts is None else tuple(self.facts),
        )
