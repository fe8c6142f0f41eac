"""Talking to systemd: readiness, reload, watchdog. Protocol: sd_notify(3), stable by its own promise."""

from __future__ import annotations

import contextlib
import os
import socket
import time


def notify(*lines: str) -> bool:
    """Send state lines (``READY=1``, ``STATUS=…``, ``WATCHDOG=1``); returns whether somebody listens.

    ``RELOADING=1`` is sent with the monotonic time, as ``Type=notify-reload`` wants it. Never raises: a missing
    service manager is none of the daemon's troubles.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if "RELOADING=1" in lines:
        lines = (*lines, f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.setblocking(False)
        sender.sendto("\n".join(line.replace("\n", " ") for line in lines).encode(), address)
        return True
    return False


def watchdog_interval() -> float | None:
    """Seconds within which systemd wants to hear from this process; None when it does not (sd_watchdog_enabled(3))."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 1_000_000
