"""What a check run costs on disk."""

from __future__ import annotations

import random
from pathlib import Path

from tests.store.samples import NOW, a_store
from wcr_watchd.core.model import Measurement, Observation, Outcome
from wcr_watchd.core.protocols import Batch

CHECKS = 2000
PHASES = ("dns", "connect", "tls", "first_byte", "transfer", "response_time")


def written() -> int:
    """Bytes this process has handed to write(2) so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("wchar")).split()[1])


async def test_a_run_costs_less_than_a_kilobyte_of_writing(tmp_path: Path) -> None:
    """2000 checks a minute, stored once a second for eighty minutes, with upkeep, write-ahead log and all."""
    chance = random.Random(1)
    start = NOW // 3600 * 3600
    async with a_store(tmp_path) as store:
        before, runs = written(), 0
        for second in range(80 * 60):
            batch = []
            for number in range(second % 60, CHECKS, 60):
                times = [chance.lognormvariate(-4, 1) for _ in PHASES]
                batch.append(
                    Observation(
                        check=f"check-{number}",
                        location="nyc3",
                        at=start + second + chance.random(),
                        duration=sum(times),
                        outcome=Outcome.UP,
                        reason="",
                        summary=f"200 OK in {sum(times) * 1000:.0f} ms, 5123 bytes",
                        measurements=(
                            *(Measurement(name, value) for name, value in zip(PHASES, times, strict=True)),
                            Measurement("status", 200.0),
                            Measurement("certificate_expiry", 1.8e9),
                        ),
                    )
                )
            await store.commit(Batch(observations=tuple(batch)))
            runs += len(batch)
            if second % 300 == 299:
                await store.prune(start + second + 1)
        cost = (written() - before) / runs
    assert cost < 1000
