"""``kill -9`` at any moment: what was stored is there, wholly, and nothing is there by half."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from pathlib import Path

from tests.store.samples import NOW, a_store
from tests.store.writer import OBSERVATIONS
from wcr_watchd.core.model import DeliveryState

ROOT = Path(__file__).parents[2]


async def write_until_killed(folder: Path, batches: int, delay: float) -> int:
    """Let a process store at least so many batches, kill it a moment later, return the last number it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.store.writer", str(folder), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    printed = [int(await process.stdout.readline()) for _ in range(batches)]
    await asyncio.sleep(delay)
    process.kill()
    rest, _ = await process.communicate()
    # The last line may be cut off in the middle of a number.
    printed += [int(line) for line in rest.decode().split("\n")[:-1]]
    return printed[-1]


async def test_every_batch_survives_wholly_or_not_at_all(tmp_path: Path) -> None:
    chance = random.Random(7)
    for _ in range(6):
        confirmed = await write_until_killed(tmp_path, batches=3, delay=chance.uniform(0, 0.15))
        async with a_store(tmp_path) as store:
            restored = await store.restore()
            there = {incident.id for incident in restored.incidents}
            last = max(there)
            assert last in (confirmed, confirmed + 1)  # one may have been stored but not confirmed
            assert there == set(range(1, last + 1))
            assert {delivery.notification.id for delivery in restored.pending} == {f"batch-{n}" for n in there}
            assert restored.states[0].summary == f"batch {last}"
            runs: Counter[str] = Counter()
            for which in range(OBSERVATIONS):
                found = await store.observations(f"check-{which}", since=NOW, limit=100_000)
                runs.update(observation.summary for observation in found)
            assert runs == {f"batch {number}": OBSERVATIONS for number in there}
            for number in there:
                assert len(await store.events(number)) == 1


async def test_what_was_owed_is_still_owed_after_the_crash(tmp_path: Path) -> None:
    confirmed = await write_until_killed(tmp_path, batches=1, delay=0)
    async with a_store(tmp_path) as store:
        owed = await store.deliveries(states=[DeliveryState.PENDING], limit=10_000)
    assert {f"batch-{number}" for number in range(1, confirmed + 1)} <= {one.notification.id for one in owed}
