"""Asking systemd how its units are: over D-Bus (org.freedesktop.systemd1(5)), or by ``systemctl`` where that cannot be.

D-Bus needs the extra ``dbus`` (dbus-fast); it takes a few milliseconds where ``systemctl`` takes three processes.
"""

from __future__ import annotations

import importlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from wcr_watchd.kit.subprocess import Finished, locate, run_child
from wcr_watchd.kit.threads import Threads

MOST_FAILED = 50
"""Failed units about which more is asked than their name."""
MOST_TIMERS = 200
_MANAGER = "org.freedesktop.systemd1"
_NEVER = (0, 2**64 - 1)
"""How systemd writes a time that there is none of, in microseconds."""
_NO_SUCH_PROPERTY = ("UnknownProperty", "UnknownInterface", "NoSuchUnit", "UnknownObject")


def _library() -> Any:
    """dbus-fast, where the extra is installed; at the start, as loading it takes longer than the loop may be held."""
    try:
        importlib.import_module("dbus_fast.aio")
        return importlib.import_module("dbus_fast")
    except ImportError:
        return None


_DBUS = _library()


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit by its states: ``load`` (``loaded not-found masked …``), ``active`` (``active failed …``), ``sub``.

    ``result`` says how a service ended (``success exit-code oom-kill …``), ``restarts`` how often it was started again
    by itself since it was last started by somebody; of what is no service, both are None.
    """

    name: str
    load: str
    active: str
    sub: str
    result: str | None = None
    restarts: int | None = None


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer that is active: when it elapses next (None while what it starts runs) and did last (epoch seconds)."""

    name: str
    next: float | None
    last: float | None


@dataclass(frozen=True, slots=True)
class Units:
    """What was asked for (``named``, in that order), what has failed, and the timers. ``way`` is how it was learned."""

    named: tuple[Unit, ...]
    failed: tuple[Unit, ...]
    timers: tuple[Timer, ...]
    way: str


class ManagerError(Exception):
    """The service manager cannot be asked; the text says why."""


async def ask(names: Sequence[str], user: bool, threads: Threads, told: Callable[[str], None]) -> Units:
    """How these units are, which ones have failed, and the timers; of the system or (``user``) of this user's manager.

    Raises :class:`ManagerError`.
    """
    try:
        told("asking systemd over D-Bus")
        return await _by_bus(names, user)
    except ManagerError as error:
        problem = error
    try:
        told("asking systemd by systemctl")
        return await _by_systemctl(names, user, threads)
    except ManagerError as error:
        raise ManagerError(f"{problem}; {error}") from error


# --- over D-Bus -------------------------------------------------------------------------------------------------------


class _Bus:
    """A connection to the bus that systemd is on."""

    def __init__(self, library: Any, connection: Any) -> None:
        self._library = library
        self._connection = connection

    async def call(self, path: str, interface: str, member: str, signature: str = "", *body: object) -> Any:
        """The one value of the answer. Raises :class:`ManagerError`, ``LookupError`` for what a unit does not have."""
        message = self._library.Message(
            destination=_MANAGER, path=path, interface=interface, member=member, signature=signature, body=list(body)
        )
        try:
            reply = await self._connection.call(message)
        except (OSError, EOFError) as error:
            raise ManagerError(f"D-Bus closed the connection: {error}") from error
        if reply.message_type is self._library.MessageType.METHOD_RETURN:
            return reply.body[0]
        if str(reply.error_name).endswith(_NO_SUCH_PROPERTY):
            raise LookupError(member)
        raise ManagerError(f"systemd refuses {member} over D-Bus: {(reply.body or [reply.error_name])[0]}")

    async def manager(self, member: str, signature: str, *body: object) -> list[Any]:
        """What the manager answers."""
        answer = await self.call("/org/freedesktop/systemd1", f"{_MANAGER}.Manager", member, signature, *body)
        return list(answer)

    async def property(self, path: str, kind: str, name: str) -> Any:
        """A property of a unit, None when it has none of that name."""
        try:
            found = await self.call(path, "org.freedesktop.DBus.Properties", "Get", "ss", f"{_MANAGER}.{kind}", name)
        except LookupError:
            return None
        return found.value


@asynccontextmanager
async def _bus(user: bool) -> AsyncIterator[_Bus]:
    if _DBUS is None:
        raise ManagerError("D-Bus needs the extra: pip install 'wcr-watchd[dbus]'")
    library = _DBUS
    kind = library.BusType.SESSION if user else library.BusType.SYSTEM
    try:
        connection = library.aio.MessageBus(_user_bus() if user else None, kind)
        await connection.connect()
    except (OSError, EOFError, library.DBusError, library.AuthError, library.InvalidAddressError) as error:
        raise ManagerError(f"D-Bus cannot be reached: {error}") from error
    try:
        yield _Bus(library, connection)
    finally:
        connection.disconnect()


def _user_bus() -> str:
    return os.environ.get("DBUS_SESSION_BUS_ADDRESS") or f"unix:path=/run/user/{os.getuid()}/bus"


async def _by_bus(names: Sequence[str], user: bool) -> Units:
    async with _bus(user) as bus:
        named = [
            replace(await _told_by_bus(bus, entry), name=name)
            for name, entry in zip(names, await bus.manager("ListUnitsByNames", "as", list(names)), strict=True)
        ]
        entries = await bus.manager("ListUnitsFiltered", "as", ["failed"])
        failed = [await _told_by_bus(bus, entry) for entry in entries[:MOST_FAILED]]
        failed += [_unit(entry) for entry in entries[MOST_FAILED:]]
        timers = await bus.manager("ListUnitsByPatterns", "asas", ["active"], ["*.timer"])
        told = [await _timer_by_bus(bus, entry) for entry in timers[:MOST_TIMERS]]
        return Units(tuple(named), tuple(failed), tuple(told), "D-Bus")


def _unit(entry: Sequence[Any]) -> Unit:
    """A unit of a list; the fields are name, description, load, active, sub, followed, path, job id, type and path."""
    return Unit(entry[0], entry[2], entry[3], entry[4])


async def _told_by_bus(bus: _Bus, entry: Sequence[Any]) -> Unit:
    if not entry[0].endswith(".service") or entry[2] == "not-found":
        return _unit(entry)
    result = await bus.property(entry[6], "Service", "Result")
    return replace(_unit(entry), result=result, restarts=await bus.property(entry[6], "Service", "NRestarts"))


async def _timer_by_bus(bus: _Bus, entry: Sequence[Any]) -> Timer:
    by_calendar, by_clock, last = [
        await bus.property(entry[6], "Timer", name)
        for name in ("NextElapseUSecRealtime", "NextElapseUSecMonotonic", "LastTriggerUSec")
    ]
    boot = time.time() - time.monotonic()
    after_boot = _moment(by_clock)
    candidates = [_moment(by_calendar), None if after_boot is None else boot + after_boot]
    known = [one for one in candidates if one is not None] if entry[4] == "waiting" else []
    return Timer(entry[0], min(known, default=None), _moment(last))


# --- by systemctl -----------------------------------------------------------------------------------------------------


async def _by_systemctl(names: Sequence[str], user: bool, threads: Threads) -> Units:
    try:
        file = await threads.call(locate, "systemctl")
    except OSError as error:
        raise ManagerError("there is no systemctl: is this machine run by systemd?") from error
    passed_on = {
        name: os.environ[name] for name in ("XDG_RUNTIME_DIR", "DBUS_SYSTEM_BUS_ADDRESS") if name in os.environ
    }
    words = [file, "--user" if user else "--system", "--no-pager"]

    async def say(*more: str) -> str:
        finished = await run_child([*words, *more], {"LC_ALL": "C.UTF-8"} | passed_on, file=file)
        return _output(finished)

    asked = "--property=Id,LoadState,ActiveState,SubState,Result,NRestarts"
    blocks = list(_blocks(await say("show", asked, "--", *names))) if names else []
    failed = await say("list-units", "--state=failed", "--plain", "--full", "--no-legend")
    timers = _list(await say("list-timers", "--output=json"))[:MOST_TIMERS]
    return Units(
        tuple(_told_by_systemctl(name, block) for name, block in zip(names, blocks, strict=False)),
        tuple(_failed_by_systemctl(line) for line in failed.splitlines() if len(line.split()) >= 4),
        tuple(Timer(one["unit"], _moment(one.get("next")), _moment(one.get("last"))) for one in timers),
        "systemctl",
    )


def _output(finished: Finished) -> str:
    if finished.status != 0:
        raise ManagerError(f"systemctl says: {finished.stderr.strip()[:200] or f'status {finished.status}'}")
    return finished.stdout


def _blocks(text: str) -> Iterator[Mapping[str, str]]:
    """The properties of one unit after the other; between them is an empty line."""
    for block in text.split("\n\n"):
        pairs = (line.partition("=") for line in block.splitlines())
        found = {name: value for name, equals, value in pairs if equals}
        if found:
            yield found


def _told_by_systemctl(name: str, block: Mapping[str, str]) -> Unit:
    restarts = block.get("NRestarts", "")
    return Unit(
        name,
        block.get("LoadState", ""),
        block.get("ActiveState", ""),
        block.get("SubState", ""),
        block.get("Result"),
        int(restarts) if restarts.isdigit() else None,
    )


def _list(text: str) -> list[Any]:
    """The answer in JSON; a systemctl older than 246 has none, so that nothing is known of the timers."""
    try:
        found: list[Any] = json.loads(text)
    except ValueError:
        return []
    return found


def _moment(microseconds: int | None) -> float | None:
    return microseconds / 1e6 if microseconds not in (None, *_NEVER) else None


def _failed_by_systemctl(line: str) -> Unit:
    name, load, active, sub, *_ = line.split()
    return Unit(name, load, active, sub)
