"""The JSON Schema says yes to what the daemon takes, and no to what it refuses."""

from __future__ import annotations

import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.config.json_schema import errors
from wcr_watchd.config.models import ChannelTable, CheckTable
from wcr_watchd.config.schema import json_schema
from wcr_watchd.config.typed import CHANNELS, PROBES
from wcr_watchd.kit.plugins import load, names

ROOT = Path(__file__).parents[2]
schema = cache(json_schema)


def problems(text: str) -> list[str]:
    return list(errors(tomllib.loads(text), schema(), schema()))


def example(package: str, name: str) -> str:
    """A type's example as a table of a configuration; some are written without their header."""
    kind = load(package, name)
    section = "check" if package == PROBES else "channel"
    text = str(kind.example)
    if f"[{section}." not in text:
        text = f"[{section}.example]\n" + ("" if "type =" in text else f'type = "{name}"\n') + text
    return text


ALL_TYPES = [(package, name) for package in (PROBES, CHANNELS) for name in names(package)]


def test_is_json_and_every_reference_leads_somewhere() -> None:
    again = json.loads(json.dumps(schema()))

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            if "$ref" in part:
                assert part["$ref"].removeprefix("#/$defs/") in again["$defs"]
            for inner in part.values():
                walk(inner)
        elif isinstance(part, list):
            for inner in part:
                walk(inner)

    walk(again)
    assert again["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(("package", "name"), ALL_TYPES)
def test_takes_every_type_s_example(package: str, name: str) -> None:
    assert problems(example(package, name)) == []


@pytest.mark.parametrize(("package", "name"), ALL_TYPES)
def test_every_option_is_described(package: str, name: str) -> None:
    section = "check" if package == PROBES else "channel"
    undescribed = [
        key
        for key, option in schema()["$defs"][f"{section}.{name}"]["properties"].items()
        if not option.get("description") and "$ref" not in option
    ]
    assert undescribed == []


@pytest.mark.parametrize(("package", "name"), ALL_TYPES)
def test_no_type_has_an_option_that_all_types_have(package: str, name: str) -> None:
    common = CheckTable if package == PROBES else ChannelTable
    options = {field.alias or key for key, field in load(package, name).model_fields.items()}
    assert options & {*common.model_fields, "quorum"} == set()


@pytest.mark.parametrize("path", sorted(ROOT.glob("etc/**/*.toml")), ids=lambda path: str(path.relative_to(ROOT)))
def test_takes_the_platform_s_configuration(path: Path) -> None:
    assert problems(path.read_text()) == []


def test_takes_the_interface_s_own_example() -> None:
    assert problems((Path(__file__).parent / "interface.toml").read_text()) == []


def test_takes_schedules_of_every_form() -> None:
    people = (
        '[contact.a]\nphone = ["+15550101", "+15550102"]\nemail = "a@example.org"\nquiet = ["22:00-07:00", "Sat,Sun"]\n'
    )
    layer = '{ name = "n", rotation = ["a", ["a", "b"]], turn = "1d", hours = "Sat", start = "2026-12-07" }'
    override = '{ start = "2026-12-24T18:00:00", end = "2026-12-26T09:00:00Z", who = ["a"] }'
    assert problems(f"{people}[on_call.b]\nlayers = [{layer}]\noverrides = [{override}]\n") == []
    assert problems('[on_call.b]\nrotation = "a"\n[on_call.c]\nrotation = ["a", "b"]\nhandover = "Fri 17:00"\n') == []


HTTP = '[check.a]\ntype = "http"\nurl = "http://localhost/"\n'


@pytest.mark.parametrize(
    "text",
    [
        "[chek.a]\n",
        '[check.a]\ntype = "htpp"\n',
        '[check.a]\ntype = "http"\n',
        HTTP + 'timout = "1s"\n',
        HTTP + "every = 60\n",
        HTTP + 'every = "60"\n',
        HTTP + "retry = { time = 1 }\n",
        HTTP + "critical = 5\n",
        HTTP + "expect.staus = 200\n",
        HTTP + 'ip = "5"\n',
        '[check."a b"]\ntype = "http"\nurl = "http://localhost/"\n',
        '[policy.default.critcal]\ntell = ["slack"]\n',
        '[policy.default.critical]\nescalate = [{ tell = ["slack"] }]\n',
        '[web]\nmetrics = "everybody"\n',
        '[contact.a]\nfax = "1"\n',
        "[contact.a]\nquiet = 22\n",
        "[on_call.a]\nrotation = []\n",
        '[on_call.a]\nlayers = [{ turn = "1d" }]\n',
        '[on_call.a]\noverrides = [{ start = "2026-12-24T18:00:00", who = "a" }]\n',
    ],
)
def test_refuses_what_the_daemon_refuses(text: str) -> None:
    assert problems(text) != []
