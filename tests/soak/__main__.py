"""``make soak``: kills, reloads, isolation, virtual and simulated days, an hour of faults. Exit status 0 when all held.

``python -m tests.soak [--minutes 60] [--kills 300] [--seed 1] [--only crash,long]``
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import structlog

from tests.simulation.many import campaign
from tests.soak.crash import Campaign
from tests.soak.isolation import Trial
from tests.soak.long import LongRun
from tests.soak.reload import Reloads
from tests.soak.virtual import Days


def main() -> int:
    """Carry out what was asked for, one after the other, and print figures."""
    asyncio.set_event_loop(None)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the long run")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worlds", type=int, default=10_000, help="simulated days with a crash every hour")
    parser.add_argument(
        "--only", default="", help="some of crash, isolation, reload, days, simulation, long, separated by commas"
    )
    asked = parser.parse_args()
    parts: dict[str, Callable[[Path], str]] = {
        "crash": lambda folder: Campaign(folder, asked.kills, asked.seed).run(),
        "isolation": lambda folder: Trial(folder).run(),
        "reload": lambda folder: Reloads(folder, reloads=1000).run(),
        "days": lambda folder: Days(folder).run(),
        "simulation": lambda _: campaign(asked.worlds, asked.seed),
        "long": lambda folder: LongRun(folder, asked.minutes * 60, asked.seed).run(),
    }
    wanted = [name.strip() for name in asked.only.split(",")] if asked.only else list(parts)
    failed = [name for name in wanted if not carry_out(name, parts[name])]
    print(f"failed: {', '.join(failed)}" if failed else "all of it held")
    return 1 if failed else 0


def carry_out(name: str, part: Callable[[Path], str]) -> bool:
    """Run one part in a folder of its own, which is kept when it fails; returns whether it held."""
    folder = Path(tempfile.mkdtemp(prefix=f"watchd-soak-{name}-"))
    begun = time.monotonic()
    print(f"== {name} (in {folder})", flush=True)
    try:
        print(part(folder))
    except Exception:
        traceback.print_exc()
        return False
    finally:
        print(f"   {name} took {time.monotonic() - begun:.0f} s", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
