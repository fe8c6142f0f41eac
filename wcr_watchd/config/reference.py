"""The reference of all check and channel types, written from the types themselves.

``python -m wcr_watchd.config.reference`` prints ``docs/checks.md``: the list of check types, and all channels; with a
folder (``docs/probes``) it writes a page for each check type there.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, WithJsonSchema
from pydantic.fields import FieldInfo

from wcr_watchd.core.model import MeasurementSpec
from wcr_watchd.core.units import Unit, format_duration, format_value
from wcr_watchd.kit import plugins
from wcr_watchd.kit.options import Duration, Options, Ratio, Size

PROBES, CHANNELS = "wcr_watchd.probes", "wcr_watchd.channels"
_UNIT_WORDS = {Unit.COUNT: "number", Unit.RATIO: "ratio 0-1", Unit.TIMESTAMP: "time", Unit.CELSIUS: "°C"}
_KINDS = ((Duration, Unit.SECONDS), (Size, Unit.BYTES), (Ratio, Unit.RATIO))

_HEAD = """\
# Checks and channels

Written by `make docs` from the types themselves; do not edit by hand. Each check type has a page of its own with its
options, measurements and rules. Every check also takes the common keys `every timeout retry info warning critical
depends_on tags owner group runbook vendor month_begins policy enabled`. A severity's rules that a check names replace
the type's own of that severity; `warning = []` turns them off.

| check type | what it does |
|---|---|
"""


def render() -> str:
    """The list of check types, and all channels, as Markdown."""
    rows = "".join(
        f"| [{name}](probes/{name}.md) | {_opening(plugins.load(PROBES, name))} |\n" for name in plugins.names(PROBES)
    )
    channels = "\n".join(_channel(name) for name in plugins.names(CHANNELS))
    return f"{_HEAD}{rows}\n# Channels\n\n{channels}"


def pages() -> dict[str, str]:
    """The page of each check type, as Markdown, by the file's name."""
    return {f"{name}.md": _page(name) for name in plugins.names(PROBES)}


def _page(name: str) -> str:
    kind = plugins.load(PROBES, name)
    rules = "".join(f"* {severity.word}: `{text}`\n" for severity, text in kind.default_rules)
    times = (
        f"Runs every {format_duration(kind.every)} for at most {format_duration(kind.timeout)}, unless you say else."
    )
    example = f'[check.name]\ntype = "{name}"\n{kind.example.strip()}'
    about = (inspect.getdoc(sys.modules[kind.__module__]) or "").replace("``", "`")
    return (
        f"# {name}\n\n{about}\n\n{times}\n\n```toml\n{example}\n```\n\n"
        f"## Options\n\nBeside those that [every check has](../checks.md):\n\n{_options(kind)}\n"
        f"## Measurements\n\n{_measurements(kind.measurements)}\n"
        f"## Rules that hold unless you write others\n\n{rules or 'none'}"
    )


def _channel(name: str) -> str:
    kind = plugins.load("wcr_watchd.channels", name)
    address = f"Needs contacts with `{kind.address_kind}`." if kind.address_kind else "Has its own destination."
    return f"## {name}\n\n{_opening(kind)} {address}\n\n```toml\n{kind.example.strip()}\n```\n\n{_options(kind)}\n"


def _opening(kind: type[Any]) -> str:
    """The first paragraph of the type's module, which is its documentation line."""
    text = inspect.getdoc(sys.modules[kind.__module__]) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("``", "`")


def _options(kind: type[Options]) -> str:
    rows = "".join(_rows(kind))
    return f"| option | default | meaning |\n|---|---|---|\n{rows}"


def _rows(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """A line for each option; options within an option have the name that one writes: ``expect.status``."""
    for name, info in model.model_fields.items():
        written = prefix + (info.alias or name)
        meaning = " ".join((info.description or "").split()).replace("|", "\\|")
        yield f"| `{written}` | {_default(info)} | {meaning} |\n"
        for inner in _tables(info.annotation):
            yield from _rows(inner, f"{written}.")


def _tables(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models an option may be: itself, ``Auth | None``, each of ``tuple[Step, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _tables(argument)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if value in (None, "", (), {}) or isinstance(value, BaseModel):
        return ""
    schemas = [one.json_schema for one in info.metadata if isinstance(one, WithJsonSchema)]
    for kind, unit in _KINDS:
        if _schema(kind) in schemas and isinstance(value, float | int):
            return f"`{format_duration(value)}`" if unit is Unit.SECONDS else f"`{format_value(value, unit)}`"
    return ", ".join(f"`{one}`" for one in _written(value)).replace("|", "\\|")


def _written(value: Any) -> Iterator[str]:
    """The parts of a default value, each as one would write it."""
    if isinstance(value, tuple | frozenset):
        yield from map(str, value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield f"{key} = {', '.join(map(str, inner)) if isinstance(inner, tuple) else inner}"
    else:
        yield str(value).lower() if isinstance(value, bool) else str(value)


def _schema(kind: Any) -> object:
    return next(one.json_schema for one in kind.__metadata__ if isinstance(one, WithJsonSchema))


def _measurements(specs: tuple[MeasurementSpec, ...]) -> str:
    rows = "".join(
        f"| `{spec.name}`{' {' + ', '.join(spec.labels) + '}' if spec.labels else ''} "
        f"| {_UNIT_WORDS.get(spec.unit, spec.unit.value.replace('_', ' '))}{', only grows' if spec.counter else ''} "
        f"| {spec.help} |\n"
        for spec in specs
    )
    return f"| name | unit | meaning |\n|---|---|---|\n{rows}"


def write(folder: Path) -> None:
    """Write the pages of all check types into a folder, and remove those of types that are no more."""
    folder.mkdir(parents=True, exist_ok=True)
    written = pages()
    for old in folder.glob("*.md"):
        if old.name not in written:
            old.unlink()
    for name, text in written.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write(Path(sys.argv[1]))
    else:
        print(render(), end="")  # noqa: T201 - this module as a program prints the page
