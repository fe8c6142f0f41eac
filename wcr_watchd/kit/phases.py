"""How long each step of a run took, as the measurement ``response_phase``; also of the step that it was cut off in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from wcr_watchd.core.model import MeasurementSpec
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit


def phases(*names: str) -> MeasurementSpec:
    """The declaration of ``response_phase`` for a probe whose runs have these phases."""
    text = f"Time of each phase: {', '.join(names)}"
    return MeasurementSpec("response_phase", Unit.SECONDS, text, labels=("phase",))


@contextmanager
def phase(run: Run, name: str) -> Iterator[None]:
    """Measure what happens inside as this phase."""
    begun = run.clock()
    try:
        yield
    finally:
        run.measure("response_phase", run.clock() - begun, phase=name)
