"""Readers of the API's event stream: ``python -m tests.bench.streams PORT COUNT < token``.

Says ``open`` once every stream has got its first event; when it is told to end, how many events came on all of them.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from itertools import count

OPENED_WITHIN = 60.0
"""Seconds for all streams to get their first event."""
AT_A_TIME = 20
"""Streams that are being opened at once: this is about open streams, not about a rush on the door."""


async def main(port: int, streams: int, token: str) -> None:
    """Open so many streams and read them until SIGTERM."""
    over, came, door = asyncio.Event(), count(), asyncio.Semaphore(AT_A_TIME)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    opened = [asyncio.Event() for _ in range(streams)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_read(port, token, one, came, door)) for one in opened]
        async with asyncio.timeout(OPENED_WITHIN):
            for one in opened:
                await one.wait()
        print("open", flush=True)
        await over.wait()
        for task in tasks:
            task.cancel()
    print(f"{next(came)} events", flush=True)


async def _read(port: int, token: str, opened: asyncio.Event, came: count[int], door: asyncio.Semaphore) -> None:
    async with door:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        asked = f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n"
        writer.write(asked.encode())
        status = await reader.readline()
        if b" 200 " not in status:
            raise RuntimeError(f"a stream was not opened: {status!r}")
        await reader.readuntil(b"event:")
        opened.set()
    try:
        while data := await reader.read(65_536):
            for _ in range(data.count(b"event:")):
                next(came)
        raise RuntimeError("the daemon ended a stream")
    finally:
        writer.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.stdin.readline().strip()))
