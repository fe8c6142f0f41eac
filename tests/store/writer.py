"""A process that stores one batch after the other until it is killed: ``python -m tests.store.writer FOLDER``.

It prints the number of each batch once it is stored.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.store.samples import NOW, a_notification, an_event, an_incident, an_observation
from wcr_watchd.core.protocols import Batch
from wcr_watchd.core.state import CheckState
from wcr_watchd.store.sqlite import SqliteStore

OBSERVATIONS = 50


def batch(number: int) -> Batch:
    """A batch of which every part carries its number."""
    at = NOW + number
    return Batch(
        observations=tuple(
            an_observation(f"check-{which}", at=at, summary=f"batch {number}") for which in range(OBSERVATIONS)
        ),
        states=(CheckState("api", summary=f"batch {number}"),),
        incidents=(an_incident(number, at=at),),
        events=(an_event(number, at=at),),
        notifications=(a_notification(number, f"batch-{number}", at=at),),
    )


async def main(folder: Path) -> None:
    """Write until killed."""
    store = SqliteStore(folder / "watchd.db")
    await store.open()
    restored = await store.restore()
    number = restored.next_incident
    while True:
        await store.commit(batch(number))
        if number % 10 == 0:
            await store.prune(NOW + 7200)
        print(number, flush=True)
        number += 1


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
