"""What the kernel thinks of the wall clock: whether something keeps it right, and how wrong it may be (adjtimex(2))."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import ClassVar

_TIME_ERROR = 5
_STATUS_NANOSECONDS = 0x2000


class _Timeval(ctypes.Structure):
    _fields_: ClassVar = [("seconds", ctypes.c_long), ("fraction", ctypes.c_long)]


class _Timex(ctypes.Structure):
    """``struct timex`` of <sys/timex.h>."""

    _fields_: ClassVar = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", _Timeval),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    ]


@dataclass(frozen=True, slots=True)
class ClockState:
    """Whether the clock is kept by a time service, and by how many seconds it is still being corrected.

    ``error`` is how many seconds it may be wrong, as the service told the kernel; without one it grows.
    """

    synchronised: bool
    offset: float
    error: float


def read_clock() -> ClockState:
    """Ask the kernel; changes nothing. ``OSError`` when a sandbox forbids it or the C library does not know it."""
    library = ctypes.CDLL(None, use_errno=True)
    answer = _Timex(modes=0)
    try:
        state = library.adjtimex(ctypes.byref(answer))
    except AttributeError as error:
        raise OSError(f"the C library has no adjtimex: {error}") from error
    if state < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    fraction = 1e-9 if answer.status & _STATUS_NANOSECONDS else 1e-6
    return ClockState(state != _TIME_ERROR, answer.offset * fraction, answer.maxerror * 1e-6)
