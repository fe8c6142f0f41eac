"""The log of modifications: what became different, by the facts of checks, by people, and by a reload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import structlog

from wcr_watchd.core.clock import Clock
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.model import Observation
from wcr_watchd.core.modifications import CONFIGURATION, LONGEST, NOTE, KnownFacts, Modification, compared
from wcr_watchd.core.setup import OWN, Setup

log = structlog.get_logger(__name__)

MOST_DIFFERENCES = 200
"""Differences of one reload that are logged one by one."""


class Records(Protocol):
    """What is watched, and where modifications are stored."""

    setup: Setup

    def modified(self, modifications: Iterable[Modification], known: KnownFacts | None = None) -> None:
        """Something became different; ``known`` is what a check knows from now on."""
        ...


class ModificationLog:
    """Compares the facts of each run with those of the run before; ``known`` is what checks knew in the last life."""

    def __init__(self, records: Records, clock: Clock, known: Iterable[KnownFacts] = ()) -> None:
        self._records = records
        self._clock = clock
        self._known = {one.check: one for one in known}

    def see(self, observation: Observation) -> None:
        """Log what became different since the check's last run."""
        check = self._records.setup.checks.get(observation.check)
        if check is None:  # removed by a reload while it ran
            return
        before = self._known.get(observation.check)
        known, found = compared(before, observation, f"{check.probe} {check.target}")
        if known is None or known == before:
            return
        self._known[observation.check] = known
        self._records.modified(found, known)
        for one in found:
            log.info("modified", what=one.text, noticed_by=one.source)

    def write(self, by: str, text: str) -> Modification:
        """Log what a person says. Raises ``CommandError`` when that is nothing."""
        if not text.strip():
            raise CommandError("a note needs a text")
        now = self._clock.now()
        written = Modification(now, by, NOTE, f"{now:.3f}", after=text.strip()[: 5 * LONGEST])
        self._records.modified((written,))
        return written

    @property
    def configuration(self) -> str:
        """What the last life, or the last reload, remembered of the configuration; empty: nothing yet."""
        known = self._known.get(OWN.name)
        return "" if known is None else known.values[0][2]

    def reconfigured(self, differences: Mapping[str, tuple[str, str]], remembered: str) -> None:
        """Log what is different in the configuration: by key, what was written before and what is now.

        ``remembered`` is what the next life is to compare with.
        """
        now = self._clock.now()
        keys = list(differences)[:MOST_DIFFERENCES]
        found = [Modification(now, OWN.name, CONFIGURATION, key[:LONGEST], *differences[key]) for key in keys]
        if len(differences) > len(keys):
            more = f"{len(differences) - len(keys)} more keys"
            found.append(Modification(now, OWN.name, CONFIGURATION, "…", after=more))
        known = KnownFacts(OWN.name, ((CONFIGURATION, "", remembered),), now)
        if found or remembered != self.configuration:
            self._known[OWN.name] = known
            self._records.modified(found, known)

    def forget(self, checks: Iterable[str]) -> None:
        """These checks are not configured any more."""
        for check in checks:
            self._known.pop(check, None)
