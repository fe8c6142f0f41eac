"""File descriptors of this process: enough of them for thousands of runs at a time, and whether they have run out."""

from __future__ import annotations

import errno
import os
import resource

ENOUGH = 8_192
"""Open files that suffice for every run that may be under way; not more, because programs that commands run inherit the
limit, and old ones go through all numbers below it."""


def allow_enough() -> None:
    """Raise this process's own limit on open files, as far as the system's allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(ENOUGH, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def ran_out() -> bool:
    """Whether no further file can be opened, here or on the whole machine."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    return False
