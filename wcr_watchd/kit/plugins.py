"""Finding probe and channel types: one file each, found by its name, imported only when something uses it."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import Any


class PluginError(Exception):
    """A file or entry point that does not hold what it should."""


@cache
def names(package: str) -> tuple[str, ...]:
    """Names of all types in a package such as ``wcr_watchd.probes``, built-in and by entry point, sorted.

    Nothing is imported but the package itself. Kept for the life of the process: what is installed does not change.
    """
    builtin = [m.name for m in pkgutil.iter_modules(importlib.import_module(package).__path__)]
    foreign = [point.name for point in entry_points(group=package)]
    return tuple(sorted({name for name in builtin + foreign if not name.startswith("_")}))


def load(package: str, name: str) -> type[Any]:
    """Return the class of the type ``name`` in ``package``.

    Raises :class:`KeyError` when there is no such type and :class:`PluginError` when its file holds no class
    whose ``type`` is its name.
    """
    if name not in names(package):
        raise KeyError(name)
    builtin = {m.name for m in pkgutil.iter_modules(importlib.import_module(package).__path__)}
    if name not in builtin:
        loaded = next(point for point in entry_points(group=package) if point.name == name).load()
        if not isinstance(loaded, type):
            raise PluginError(f"entry point {name!r} of group {package!r} is not a class")
        return loaded
    module = importlib.import_module(f"{package}.{name}")
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__ == module.__name__ and vars(value).get("type") == name:
            return value
    raise PluginError(f"{module.__name__} holds no class with type = {name!r}")
