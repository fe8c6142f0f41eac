"""The reference of all check and channel types, written from the types themselves (``docs/checks.md``)."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from pydantic.fields import FieldInfo

from wcr_watchd.core.model import MeasurementSpec
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit import plugins
from wcr_watchd.kit.options import Options

_UNIT_WORDS = {Unit.COUNT: "number", Unit.RATIO: "ratio 0-1", Unit.TIMESTAMP: "time", Unit.CELSIUS: "°C"}

_HEAD = """\
# Checks and channels

Written by `make docs` from the types themselves; do not edit by hand. Every check also takes the common keys `every
timeout retry info warning critical depends_on tags owner group runbook policy enabled`. A severity's rules that a check
names replace the type's own of that severity; `warning = []` turns them off.
"""


def render() -> str:
    """The whole page as Markdown."""
    probes = "\n".join(_probe(name) for name in plugins.names("wcr_watchd.probes"))
    channels = "\n".join(_channel(name) for name in plugins.names("wcr_watchd.channels"))
    return f"{_HEAD}\n{probes}\n# Channels\n\n{channels}"


def _probe(name: str) -> str:
    kind = plugins.load("wcr_watchd.probes", name)
    rules = "".join(f"* {severity.word}: `{text}`\n" for severity, text in kind.default_rules)
    times = f"Every {format_duration(kind.every)}, at most {format_duration(kind.timeout)} a run, unless you say else."
    example = f'[check.name]\ntype = "{name}"\n{kind.example.strip()}'
    return (
        f"## {name}\n\n{_opening(kind)} {times}\n\n```toml\n{example}\n```\n\n{_options(kind)}\n"
        f"Measures:\n\n{_measurements(kind.measurements)}\nRules that hold by default:\n\n{rules or 'none'}\n"
    )


def _channel(name: str) -> str:
    kind = plugins.load("wcr_watchd.channels", name)
    address = f"Needs contacts with `{kind.address_kind}`." if kind.address_kind else "Has its own destination."
    return f"## {name}\n\n{_opening(kind)} {address}\n\n```toml\n{kind.example.strip()}\n```\n\n{_options(kind)}\n"


def _opening(kind: type[Any]) -> str:
    """The first paragraph of the type's module, which is its documentation line."""
    text = inspect.getdoc(sys.modules[kind.__module__]) or ""
    return " ".join(text.split("\n\n")[0].split())


def _options(kind: type[Options]) -> str:
    rows = "".join(_option(name, info) for name, info in kind.model_fields.items())
    return f"| option | default | meaning |\n|---|---|---|\n{rows}"


def _option(name: str, info: FieldInfo) -> str:
    if info.is_required():
        default = "required"
    else:
        value = info.get_default(call_default_factory=True, validated_data={})
        default = "" if value in (None, "", (), {}) or isinstance(value, Options) else f"`{value}`"
    meaning = " ".join((info.description or "").split()).replace("|", "\\|")
    return f"| `{info.alias or name}` | {default} | {meaning} |\n"


def _measurements(specs: tuple[MeasurementSpec, ...]) -> str:
    rows = "".join(
        f"| `{spec.name}`{' {' + ', '.join(spec.labels) + '}' if spec.labels else ''} "
        f"| {_UNIT_WORDS.get(spec.unit, spec.unit.value.replace('_', ' '))}{', only grows' if spec.counter else ''} "
        f"| {spec.help} |\n"
        for spec in specs
    )
    return f"| name | unit | meaning |\n|---|---|---|\n{rows}"


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201 - this module as a program prints the page
