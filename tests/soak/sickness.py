"""A sick disk and a stepping clock for one process (see ``sickness.c``)."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


class Sickness:
    """Give ``environment`` to a process; what it suffers can change at any time. ``folder`` is for the library."""

    def __init__(self, folder: Path) -> None:
        self._orders = folder / "sickness"
        library = folder / "sickness.so"
        command = ["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        self.environment = {"LD_PRELOAD": str(library), "WATCHD_SICKNESS": str(self._orders)}
        self.heal()

    def suffer(self, *, delay: float = 0.0, error: int = 0, step: int = 0) -> None:
        """A write to the records takes ``delay`` seconds and fails with ``error``; the clock is off by ``step``."""
        fresh = self._orders.with_suffix(".new")
        fresh.write_text(f"{delay * 1000:.0f} {error} {step}\n")
        fresh.replace(self._orders)

    def heal(self) -> None:
        """Be well again."""
        self.suffer()
