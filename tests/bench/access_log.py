"""How much processor time 100 MB of access log take: ``python -m tests.bench.access_log`` (the bar is 5 s)."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import tempfile
import time
from pathlib import Path

from wcr_watchd.kit.aside import aside
from wcr_watchd.kit.logs.access_log import summarise

SIZE = 100 * 1000 * 1000
FORMATS = ("combined", "timed", "json")
_AGENTS = [
    f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
    for version in range(90, 130)
]
_PATHS = ("api/events", "static/js", "pages")


def lines(log_format: str, count: int) -> str:
    """So many lines as nginx writes them."""
    chance = random.Random(1)
    return "".join(_line(log_format, number, chance) for number in range(count))


def _line(log_format: str, number: int, chance: random.Random) -> str:
    client = f"10.{number % 3}.{chance.randrange(50)}.{chance.randrange(250)}"
    clock = f"{number // 3_600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}"
    request = f"GET /{chance.choice(_PATHS)}/{chance.randrange(2_000)}?page={number} HTTP/1.1"
    status, size = chance.choice([200] * 20 + [304, 404, 500]), chance.randrange(90_000)
    agent, seconds = chance.choice(_AGENTS), f"0.{chance.randrange(1_000):03d}"
    if log_format == "json":
        fields = {
            "time_iso8601": f"2026-11-28T{clock}+00:00",
            "remote_addr": client,
            "request": request,
            "status": str(status),
            "body_bytes_sent": str(size),
            "request_time": seconds,
            "http_user_agent": agent,
        }
        return json.dumps(fields) + "\n"
    end = f" rt={seconds} uct=0.001" if log_format == "timed" else ""
    return (
        f'{client} - - [28/Nov/2026:{clock} +0000] "{request}" {status} {size} "https://www.example.org/events" '
        f'"{agent}"{end}\n'
    )


def measure(log_format: str) -> tuple[float, float]:
    """Seconds of processor time, and on the clock, of reading SIZE bytes in the process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "access.log")
        log.touch()
        given = {"path": str(log), "format": "auto", "paths": {"api": ["/api/"], "assets": ["~ \\.(css|js)$"]}}
        given |= {"cursor": summarise({**given, "cursor": None, "most": SIZE})["cursor"], "most": 2 * SIZE}
        some = lines(log_format, 20_000)
        log.write_text(some * (SIZE // len(some) + 1))
        before, begun = _children(), time.monotonic()
        told = asyncio.run(aside(summarise, given))
        seconds = time.monotonic() - begun
        assert told["size"] >= SIZE
        assert not told["unreadable"]
        return (_children() - before) * SIZE / told["size"], seconds


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    for name in FORMATS:
        processor, clock = measure(name)
        print(f"{name:10} {processor:.2f} s of processor time for 100 MB, {clock:.2f} s on the clock")
