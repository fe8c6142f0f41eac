"""Tables whose ``type`` names a probe or channel type: finding the type, telling its keys from the common ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from wcr_watchd.config.faults import Faults, by_key, did_you_mean, written
from wcr_watchd.config.positions import Place
from wcr_watchd.kit.plugins import PluginError, load, names

PROBES = "wcr_watchd.probes"
CHANNELS = "wcr_watchd.channels"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def named_tables(faults: Faults, data: Mapping[str, Any], section: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tables ``[section.NAME]`` of a section; what is none is noted."""
    content = data.get(section, {})
    if not isinstance(content, dict):
        faults.add((section,), f"must be a table; got {written(content)}", f"write [{section}.NAME]")
        return
    for name, table in content.items():
        if not isinstance(table, dict):
            faults.add(
                (section, name), f"must be a table; got {written(table)}", f"name it: [{section}.NAME], then its keys"
            )
        elif not _NAME.fullmatch(name):
            faults.add(
                (section, name), "is no usable name", "use letters, digits, dot, dash and underscore, at most 100"
            )
        else:
            yield name, table


def load_type(faults: Faults, package: str, table: Mapping[str, Any], place: Place) -> type[Any] | None:
    """The class of the type that a table names; None, with the reason noted, when there is none."""
    kind = table.get("type")
    what = "probe" if package == PROBES else "channel"
    if kind is None:
        if table and all(isinstance(value, dict) for value in table.values()):
            name = ".".join([str(place[-1]), *list(table)[:1]])
            faults.add((*place, "type"), "is missing", f'a name with dots needs quotes: [{place[0]}."{name}"]')
        else:
            faults.add((*place, "type"), "is missing", f"{what} types: {', '.join(names(package))}")
        return None
    if not isinstance(kind, str):
        faults.add((*place, "type"), f"must be text in quotes; got {written(kind)}")
        return None
    try:
        return _known(package, kind)
    except KeyError:
        faults.add((*place, "type"), f'there is no {what} type "{kind}"', did_you_mean(kind, names(package)))
    except (PluginError, ImportError) as error:
        faults.add((*place, "type"), f'the {what} type "{kind}" cannot be loaded: {error}')
    return None


@cache
def _known(package: str, kind: str) -> type[Any]:
    """Looking through what is installed costs milliseconds, and there may be thousands of checks."""
    return load(package, kind)


def split(table: Mapping[str, Any], common: type[BaseModel]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The common keys of a table, and the type's own."""
    shared = by_key(common)
    ours = {key: value for key, value in table.items() if key in shared}
    return ours, {key: value for key, value in table.items() if key not in shared}
