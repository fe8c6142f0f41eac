"""All the parts of a running daemon, from the first to the last."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from wcr_watchd.daemon.base import Base, build_base
from wcr_watchd.daemon.control import DaemonControl
from wcr_watchd.daemon.desks import Desks, build_desks
from wcr_watchd.daemon.in_force import InForce
from wcr_watchd.daemon.outside import Outside, build_outside
from wcr_watchd.daemon.reload import Reload
from wcr_watchd.daemon.telling import Telling, build_dispatcher, build_telling
from wcr_watchd.daemon.watching import Watching, build_watching
from wcr_watchd.kit.redact import Redactor


@dataclass(frozen=True, slots=True)
class Composition:
    """The parts; each knows only those above it."""

    force: InForce
    base: Base
    watching: Watching
    telling: Telling
    desks: Desks
    reload: Reload
    control: DaemonControl
    outside: Outside


async def build(stack: contextlib.AsyncExitStack, force: InForce, redactor: Redactor) -> Composition:
    """Build every part for the configuration in force; ``stack`` closes what was opened.

    Raises :class:`~wcr_watchd.core.errors.StoreError` when the records cannot be opened.
    """
    base = await build_base(stack, force.loaded, redactor)
    force.loaded = base.aged(force.loaded)
    dispatcher = build_dispatcher(base, force)
    watching = await build_watching(base, force, dispatcher)
    telling = await build_telling(base, force, dispatcher, watching.monitor)
    desks = build_desks(base, force, watching, dispatcher)
    reload = Reload(force, base, watching, telling, desks)
    control = DaemonControl(force, base, watching, telling, desks, reload)
    outside = await build_outside(base, force, control)
    return Composition(force, base, watching, telling, desks, reload, control, outside)
