"""What every probe type promises, whoever wrote it: one test for all files in wcr_watchd/probes."""

from __future__ import annotations

import asyncio
import gc
import importlib
import re
import time
import tomllib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from tests.real.running import carry_out, new_run, probe_of
from tests.real.servers.odd import Odd, silence
from wcr_watchd.core.model import MeasurementSpec, Observation, Outcome
from wcr_watchd.core.rules import parse_rule
from wcr_watchd.core.units import Unit
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.plugins import load, names
from wcr_watchd.kit.shared import SharedHelpers

PACKAGE = "wcr_watchd.probes"
TYPES = names(PACKAGE)

LOCAL = {
    "accounts": "reads files of this machine",
    "apt": "asks apt; its own tests let it hang",
    "backup": "reads files",
    "backup_manifest": "reads files",
    "backup_retention": "reads files",
    "borg": "starts a program; its own tests let one hang",
    "certbot": "reads files",
    "certfile": "reads a file",
    "clock": "asks the kernel; its own tests let chronyc hang",
    "edac": "reads the kernel's files",
    "command": "starts a program; its own tests let one hang",
    "expiry": "asks nobody",
    "heartbeat": "waits to be told",
    "heartbeats": "waits to be told",
    "host": "reads the kernel's files",
    "icmp": "has no server that could accept and be silent; its own tests ask an address that does not answer",
    "integrity": "reads files of this machine",
    "links": "reads files; its own tests let a page be silent",
    "journal": "asks journalctl; its own tests let it hang",
    "kernel": "reads files of this machine and asks tools of it; its own tests let one hang",
    "log": "reads files",
    "logins": "reads a log; its own tests let the journal hang",
    "logrotate": "reads files",
    "malware": "starts scanners; its own tests let one hang",
    "nginx": "reads a log",
    "policy": "asks tools of this machine; its own tests let one hang",
    "ports": "reads the kernel's files",
    "maildns": "asks name servers by UDP, where nobody can be seen to listen; its own tests ask a silent one",
    "process": "reads the kernel's files",
    "recovery_point": "reads files; its own tests let a provider be silent",
    "restic": "starts a program; its own tests let one hang",
    "restore": "reads files",
    "raid": "reads the kernel's files",
    "smart": "asks smartctl; its own tests let it hang",
    "task": "waits to be told",
    "temperature": "reads the kernel's files",
    "tempfiles": "reads files",
    "systemd": "asks a D-Bus of this machine; its own tests let one be silent",
    "textfile": "reads files",
    "vulnerabilities": "starts debsecan; its own tests let it hang",
}
"""Probe types that talk to no server, and why; all others are aimed at a silent one."""

AIMED: dict[str, Callable[[Odd], dict[str, Any]]] = {
    "containerlog": lambda server: {"socket": f"tcp://{server.address}"},
    "docker": lambda server: {"socket": f"tcp://{server.address}"},
    "domain": lambda server: {"rdap": server.url()},
    "backup_remote": lambda server: {"endpoint": f"http://{server.address}", "local": None},
    "dns": lambda server: {"server": server.address, "transport": "tcp"},
    "crl": lambda server: {"source": server.url("/"), "issuer": "", "certificates": []},
    "mail": lambda server: {"imap": f"imap://{server.address}", "smtp": f"smtp://{server.address}"},
    "payment": lambda server: {"url": server.url("/")},
    "tcp": lambda server: {"address": server.address, "expect": "hello"},
    "vendor": lambda server: {"url": server.url("/")},
}
"""Options that aim a type at a server, for types that need more than their target pointed there."""

REMOTE = [kind for kind in TYPES if kind not in LOCAL]


@pytest.fixture(params=TYPES)
def probe_type(request: pytest.FixtureRequest) -> Any:
    """Each probe type in turn."""
    return load(PACKAGE, request.param)


def example(probe_type: Any) -> Any:
    """The check of the type's own example."""
    return probe_type.model_validate(tomllib.loads(probe_type.example))


# --- what it says about itself ----------------------------------------------------------------------------------------


def test_it_says_what_it_is(probe_type: Any) -> None:
    module = importlib.import_module(probe_type.__module__)
    assert probe_type.__module__ == f"{PACKAGE}.{probe_type.type}"
    sentence = (module.__doc__ or "").split("\n\n")[0]
    assert sentence.strip().endswith("."), "the module's docstring begins with the sentence of the documentation"
    assert issubclass(probe_type, Options)
    assert asyncio.iscoroutinefunction(probe_type.run)


def test_every_option_is_described(probe_type: Any) -> None:
    silent = [name for name in described(probe_type) if name is not None]
    assert not silent, f"options without a docstring: {silent}"


def described(model: type[BaseModel], prefix: str = "") -> Iterator[str | None]:
    """Dotted names of fields without a description, in nested models too."""
    for name, field in model.model_fields.items():
        if not (field.description or "").strip():
            yield prefix + name
        for inner in nested(field.annotation):
            yield from described(inner, f"{prefix}{name}.")


def nested(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models inside an annotation such as ``Auth | None`` or ``tuple[Step, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from nested(argument)


def test_its_example_validates_and_needs_no_more_than_its_target(probe_type: Any) -> None:
    check = example(probe_type)
    assert check.target.strip()
    assert "\n" not in check.target
    keys = {field.alias or name: field for name, field in probe_type.model_fields.items()}
    assert probe_type.target_key in ("", *keys), "a type whose target needs no naming has no key"
    required = {name for name, field in keys.items() if field.is_required()}
    assert required <= {probe_type.target_key}, "type and target are enough"


def test_unknown_options_are_refused(probe_type: Any) -> None:
    options = {**tomllib.loads(probe_type.example), "no_such_option": 1}
    with pytest.raises(ValidationError, match="no_such_option"):
        probe_type.model_validate(options)
    assert probe_type.model_config.get("frozen")


def test_its_options_have_a_schema(probe_type: Any) -> None:
    schema = probe_type.model_json_schema()
    assert probe_type.target_key in ("", *schema["properties"])
    assert schema["additionalProperties"] is False


def test_it_keeps_its_schedule(probe_type: Any) -> None:
    assert 0 < probe_type.timeout <= probe_type.every


# --- what it measures -------------------------------------------------------------------------------------------------


def test_its_measurements_are_well_formed(probe_type: Any) -> None:
    specs = example(probe_type).specs()
    assert specs
    assert len({spec.name for spec in specs}) == len(specs), "no name twice"
    for spec in specs:
        assert isinstance(spec, MeasurementSpec)
        assert isinstance(spec.unit, Unit)
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", spec.name), spec.name
        assert spec.name not in ("up", "down", "unknown", "and", "or", "not", "for", "until"), "a word of the rules"
        assert not spec.name.endswith(("_total", "_seconds", "_bytes", "_ratio")), "the exposition adds the unit"
        assert spec.help.strip()
        for label in spec.labels:
            assert re.fullmatch(r"[a-z][a-z0-9_]*", label), label
            assert label not in ("type", "check", "probe", "location", "le", "quantile"), f"label {label} is taken"


def test_no_two_measurements_share_a_metric(probe_type: Any) -> None:
    made = [
        "_".join(filter(None, (spec.name, spec.unit.value, "total" if spec.counter else "")))
        for spec in example(probe_type).specs()
    ]
    assert len(set(made)) == len(made)


def test_its_default_rules_are_rules(probe_type: Any) -> None:
    specs = example(probe_type).specs()
    assert probe_type.default_rules, "type and target are enough to be told of a failure"
    for severity, text in probe_type.default_rules:
        rule = parse_rule(text, severity, specs)
        assert rule.severity is severity


# --- how it behaves ---------------------------------------------------------------------------------------------------


def aimed(kind: str, server: Odd) -> Any:
    """A check of this type whose target is that server."""
    probe_type = load(PACKAGE, kind)
    options = tomllib.loads(probe_type.example)
    if kind in AIMED:
        return probe_of(kind, options | AIMED[kind](server))
    key = probe_type.target_key
    assert key in ("address", "url", "dsn"), f"say in this test, under AIMED or LOCAL, how to aim {kind} at a server"
    options[key] = pointed(str(options[key]), server)
    return probe_of(kind, options)


def pointed(target: str, server: Odd) -> str:
    """The same address, URL or DSN at another host and port."""
    parts = urlsplit(target)
    if not parts.scheme or "//" not in target:
        return server.address
    user, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}{at}{server.address}").geturl()


@pytest.mark.parametrize("kind", REMOTE)
async def test_a_silent_server_is_cut_off_at_the_deadline(
    kind: str, odd: Callable[..., Awaitable[Odd]], shared: SharedHelpers
) -> None:
    server = await odd(silence)
    run = new_run(shared, timeout=0.5)
    began = time.monotonic()
    seen = await carry_out(aimed(kind, server), run)
    assert time.monotonic() - began < 10, "it went on long after its deadline"
    assert seen.outcome is not Outcome.UP, seen.summary
    assert run.step != "starting", "it says what it was doing"
    assert seen.summary.strip()
    measures_only_what_it_declares(aimed(kind, server), seen)


def measures_only_what_it_declares(probe: Any, seen: Observation) -> None:
    """Every measurement has a spec, and the labels of it."""
    declared = {spec.name: tuple(sorted(spec.labels)) for spec in probe.specs()}
    for one in seen.measurements:
        assert one.name in declared
        assert tuple(name for name, _ in one.labels) == declared[one.name], one


@pytest.mark.parametrize("kind", REMOTE)
async def test_cancelling_leaves_nothing_behind(
    kind: str, odd: Callable[..., Awaitable[Odd]], shared: SharedHelpers
) -> None:
    server = await odd(silence)
    before = asyncio.all_tasks()
    running = asyncio.create_task(carry_out(aimed(kind, server), new_run(shared)))
    await until(lambda: server.connections > 0 or running.done())
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: not server.open and asyncio.all_tasks() <= before | serving())
    gc.collect()  # an unclosed transport would warn here, and warnings are errors


def serving() -> set[asyncio.Task[Any]]:
    """Tasks that belong to the server of the test."""
    return {task for task in asyncio.all_tasks() if "odd.py" in repr(task)}


async def until(condition: Callable[[], bool], patience: float = 20.0) -> None:
    """Wait until something holds; fail when it does not come to hold."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, [repr(task) for task in asyncio.all_tasks()]
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", [kind for kind in REMOTE if kind not in AIMED])
async def test_nobody_listening_is_down(kind: str, shared: SharedHelpers) -> None:
    server = Odd(port=1)  # nobody listens on port 1
    seen = await carry_out(aimed(kind, server), new_run(shared, timeout=20))
    assert seen.outcome is Outcome.DOWN
    assert seen.reason in ("connect", "refused")
    assert "127.0.0.1" in seen.summary


def test_secrets_are_not_shown(probe_type: Any) -> None:
    check = example(probe_type)
    for secret in secrets(check):
        assert secret not in repr(check)
        assert secret not in check.target


def secrets(model: BaseModel) -> Iterator[str]:
    """All secret values in a model."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, SecretStr) and value.get_secret_value():
            yield value.get_secret_value()
        elif isinstance(value, BaseModel):
            yield from secrets(value)
