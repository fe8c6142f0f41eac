"""The window of a change, and the platform's own maintenance mode, which its programs switch."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from uuid import uuid4

from wcr_watchd.core import changes
from wcr_watchd.core.changes import Change
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.silence import Silence
from wcr_watchd.kit.redact import MASK
from wcr_watchd.runtime.changes.hooks import Hooks
from wcr_watchd.runtime.changes.register import Register

HALFWAY = "left maintenance mode on"
"""What a change may have done whose start failed."""


class Switch(StrEnum):
    """What is done with maintenance mode."""

    ON = "on"
    OFF = "off"


class MaintenanceMode:
    """Opens and closes windows, and runs the programs that switch maintenance mode."""

    def __init__(self, register: Register, hooks: Hooks) -> None:
        self._register = register
        self._hooks = hooks

    async def switch_on(self, change: Change, by: str) -> tuple[Silence, str]:
        """Open its window, then switch maintenance mode on; when that fails, switch it off and close the window again.

        Returns the window and what the program said. Raises ``CommandError`` when it came to nothing.
        """
        register = self._register
        window = self._window(change, by, register.clock.now() + change.plan.length)
        register.keep(changes.starting(change, window.id))
        try:
            holds, _ = await register.engine.silence(window)
        except CommandError as error:
            raise await self._not_started(change, window.id, str(error)) from error
        try:
            return holds, await self._run(register.newest(change), Switch.ON)
        except CommandError as error:
            # It may have been switched halfway: the platform is not to show its page of maintenance for a change
            # that nobody makes. While that is cleared up, the window still covers what it does.
            is_off, said = await self.switched_back(change)
            if not is_off:
                because = f"{change.name} was not started, but {said}. Switch it off by hand; then start the change "
                because += f"again, or: wcr-watchd change abandon {change.id}"
                register.trouble(change, HALFWAY, because, "by its start")
            raise await self._not_started(change, window.id, f"{error}; {said}") from error

    async def _not_started(self, change: Change, window: str, why: str) -> CommandError:
        """Its window is closed again, and it is prepared as before."""
        register = self._register
        await self.close(window)
        await register.kept(changes.not_started(register.newest(change), why, register.clock.now()), "")
        return CommandError(f"{change.name} was not started: {why}")

    async def switched_back(self, change: Change) -> tuple[bool, str]:
        """Switch maintenance mode off after a start that failed; returns whether it is off now, and that in words."""
        change = self._register.newest(change)
        try:
            await self._end_strays(change)
            said = await self._run(change, Switch.OFF)
        except CommandError as error:
            return False, f"maintenance mode may be on, look what visitors see: it could not be switched off, {error}"
        return True, f"maintenance mode was switched off again{f' ({said})' if said else ''}"

    async def prolong(self, change: Change, by: str, ends_at: float) -> Silence:
        """Keep its window open until then (epoch seconds), or open another one when it is over."""
        engine = self._register.engine
        held = engine.state.silences.get(change.silence)
        if held is not None and held.active(self._register.clock.now()):
            holds, _ = await engine.silence(replace(held, ends_at=ends_at), held.id)
        else:
            holds, _ = await engine.silence(self._window(change, by, ends_at))
        return holds

    async def close(self, window: str) -> None:
        """Close a window, if it is open."""
        engine = self._register.engine
        held = engine.state.silences.get(window)
        if held is not None and held.active(self._register.clock.now()):
            await engine.expire(window)

    async def switch_off(self, change: Change, by: str, override: str) -> None:
        """Switch maintenance mode off, unless that was done in an attempt to finish that was broken off.

        Raises ``CommandError`` when that fails, unless somebody gave a reason to ``override`` it.
        """
        register = self._register
        if change.ending:  # the last life may have left its program behind
            await self._hooks.end(_mark(change, Switch.OFF))
        await register.kept(changes.ending(change, by), "")
        if change.is_off or not change.plan.hooks.off:
            return
        try:
            said = await self._run(change, Switch.OFF)
        except CommandError as error:
            now = register.clock.now()
            if not override.strip():
                await register.kept(changes.not_ended(register.newest(change), str(error), now), "")
                raise CommandError(
                    f"{change.name} is not finished: {error}. Repair that, or finish with --override and the reason"
                ) from error
            failed = f"maintenance mode off: failed, and finished although: {override.strip()} ({error})"
            await register.kept(changes.logged(register.newest(change), by, failed, now), "")
        else:
            await register.kept(changes.switched_off(register.newest(change), said, register.clock.now()), "")

    def _window(self, change: Change, by: str, ends_at: float) -> Silence:
        """The window of a change, from now on."""
        now = self._register.clock.now()
        matchers = change.plan.matchers
        return Silence(str(uuid4()), matchers, now, ends_at, by, change.name, now, maintenance=True)

    async def _end_strays(self, change: Change) -> None:
        """End what a start left behind that was broken off: it would switch on after it was switched off."""
        for switch in Switch:
            await self._hooks.end(_mark(change, switch))

    async def _run(self, change: Change, switch: Switch) -> str:
        words = self._words(change, switch)
        if not words:
            return ""
        variables = {
            "WATCHD_CHANGE": str(change.id),
            "WATCHD_CHANGE_NAME": change.plan.name,
            "WATCHD_CHANGE_CATEGORY": change.plan.category.name,
            "WATCHD_CHANGE_TITLE": change.title.replace("\0", ""),
        }
        return await self._hooks.run(words, variables, change.plan.hooks.timeout, _mark(change, switch))

    def without_secrets(self, hooks: changes.Hooks) -> changes.Hooks:
        """The programs as a change keeps them: what it keeps is stored."""
        return replace(hooks, on=self._hooks.disguised(hooks.on), off=self._hooks.disguised(hooks.off))

    def _words(self, change: Change, switch: Switch) -> tuple[str, ...]:
        """The program as it was when the change was prepared; a secret among its words is only in the configuration."""
        kept = _of(change.plan.hooks, switch)
        if not any(MASK in word for word in kept):
            return kept
        plan = self._register.engine.setup.changes.get(change.plan.name)
        words = _of(plan.hooks, switch) if plan is not None else ()
        if self._hooks.disguised(words) != kept:
            table = f"[change.{change.plan.name}]"
            raise CommandError(f"{kept[0]} is given a secret, and {table} does not have that `{switch.value}` any more")
        return words


def _of(hooks: changes.Hooks, switch: Switch) -> tuple[str, ...]:
    return hooks.on if switch is Switch.ON else hooks.off


def _mark(change: Change, switch: Switch) -> str:
    """What tells a program of this change from every other one of this machine.

    Not by its window, which is another one when it goes on after that was over; numbers begin anew with new records.
    """
    return f"change {change.id} of {change.prepared_at!r} {switch.value}"
