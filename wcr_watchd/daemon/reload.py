"""A new configuration is put in force by difference, or refused with its reasons while the old one goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from wcr_watchd.config.difference import differences, outline, since_outline, with_contents
from wcr_watchd.config.disguise import secret_places
from wcr_watchd.config.load import Loaded, WebSettings
from wcr_watchd.core.errors import ConfigError, StoreError
from wcr_watchd.daemon.base import Base
from wcr_watchd.daemon.desks import Desks
from wcr_watchd.daemon.in_force import InForce, public_addresses, read_configuration
from wcr_watchd.daemon.telling import Telling
from wcr_watchd.daemon.watching import Watching
from wcr_watchd.kit import garbage
from wcr_watchd.kit.systemd import notify

log = structlog.get_logger(__name__)


class Reload:
    """Exchanges the configuration in force, one reload at a time."""

    def __init__(self, force: InForce, base: Base, watching: Watching, telling: Telling, desks: Desks) -> None:
        self._force = force
        self._base = base
        self._watching = watching
        self._telling = telling
        self._desks = desks
        self._one_at_a_time = asyncio.Lock()

    async def reload(self) -> tuple[str, ...]:
        """Apply the configuration file by difference, or say what is wrong with it and go on with the old one."""
        async with self._one_at_a_time:
            notify("RELOADING=1")
            try:
                loaded = await asyncio.to_thread(read_configuration, self._force.path)
            except ConfigError as error:
                self._refuse(error)
            else:
                await self.apply(loaded)
            finally:
                notify("READY=1", f"STATUS={self._watching.summary}")
            return self._force.reload_problems

    async def apply(self, loaded: Loaded) -> None:
        """Put a new configuration in force; a check whose settings did not change keeps its probe and its schedule."""
        loaded = await asyncio.to_thread(self._base.aged, loaded)  # the texts of the knowledge folder are hashed
        force, watching = self._force, self._watching
        before, after = watching.monitor.setup.checks, loaded.setup.checks
        same = {name for name in after if name in before and before[name].fingerprint == after[name].fingerprint}
        force.take_probes({name: force.probes[name] if name in same else new for name, new in loaded.probes.items()})
        self._base.redactor.add(loaded.secrets)
        # What is changed or gone leaves the schedule first: a run by the old settings that goes on (and may hang for
        # long) would hold up the first one by the new, and its result would be taken for theirs.
        watching.scheduler.set_checks({name: after[name].every for name in same})
        await watching.monitor.reload(loaded.setup)
        self._hand_out(loaded)
        watching.scheduler.set_checks({name: check.every for name, check in after.items()})
        try:
            await watching.monitor.refill_histories()
        except StoreError as error:
            log.warning("rules that look back know only what comes from now on", error=str(error))
        _say_what_needs_a_restart(force.loaded, loaded)
        await self._log_differences(loaded)
        self._keep_ages()
        force.loaded = loaded
        await force.look_for_warnings(self._base.clock.now(), log_them=True)
        force.reload_problems = ()
        self._base.counters.reload_successful = True
        self._base.counters.reload_at = self._base.clock.now()
        garbage.settle()
        log.info("configuration reloaded", checks=len(after), unchanged=len(same))

    def _hand_out(self, loaded: Loaded) -> None:
        """Give the new configuration to those parts that do not ask for it."""
        probes = self._force.probes
        self._watching.runner.replace(probes, loaded.setup)
        self._desks.pings.replace(probes)
        self._desks.tasks.replace(probes)
        self._watching.windows.reloaded()
        self._telling.dispatcher.reconfigure(loaded.channels, loaded.channel_caps, loaded.wordings)

    async def look_back(self) -> None:
        """Log what is different in the configuration since the last life."""
        self._keep_ages()
        modifications = self._watching.modifications
        before = modifications.configuration
        remembered = await asyncio.to_thread(self._remembered, self._force.loaded)
        found = await asyncio.to_thread(since_outline, before, remembered) if before else {}
        modifications.reconfigured(found, remembered)

    def _keep_ages(self) -> None:
        """Keep for the next life since when entries of the knowledge folder are as they are."""
        self._watching.monitor.modified((), self._base.first_seen.kept(self._base.clock.now()))

    def _remembered(self, loaded: Loaded) -> str:
        table, masked = self._with_contents(loaded), self._base.redactor.text
        return outline(table, masked, secret_places(loaded), self._base.link_key)

    def _with_contents(self, loaded: Loaded) -> Mapping[str, Any]:
        found: Mapping[str, Any] = with_contents(loaded.sources.table, loaded.resolved, self._base.link_key)
        return found

    async def _log_differences(self, loaded: Loaded) -> None:
        """Log what the reload changed in the configuration; with thousands of checks that takes a thread."""
        old = self._force.loaded
        found = await asyncio.to_thread(self._differences, old, loaded)
        modifications = self._watching.modifications
        modifications.reconfigured(found, await asyncio.to_thread(self._remembered, loaded))
        modifications.forget(old.setup.checks.keys() - loaded.setup.checks.keys())

    def _differences(self, before: Loaded, after: Loaded) -> dict[str, tuple[str, str]]:
        was, now = secret_places(before), secret_places(after)
        old, new = self._with_contents(before), self._with_contents(after)
        return differences(old, new, self._base.redactor.text, lambda key: was(key) or now(key))

    def _refuse(self, error: ConfigError) -> None:
        self._force.reload_problems = tuple(str(problem) for problem in error.problems)
        self._base.counters.reload_successful = False
        for problem in self._force.reload_problems:
            log.error("the new configuration is refused, the old one goes on", problem=problem)


def _say_what_needs_a_restart(before: Loaded, after: Loaded) -> None:
    changed = [
        section
        for section, was, will_be in (
            ("[store]", before.store, after.store),
            ("[web]", _fixed(before.web), _fixed(after.web)),
            ("[status_page]", public_addresses(before), public_addresses(after)),
        )
        if was != will_be
    ]
    if changed:
        log.warning("takes effect with the next restart", sections=changed)


def _fixed(settings: WebSettings) -> object:
    return settings.listen, settings.certificate
