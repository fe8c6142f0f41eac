"""What a hostile web server does to the http probe, done to the other probes that ask one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.real.hostile.case import Case, problems, watch
from tests.real.hostile.test_http import BREAKS, CHUNKS, LENGTHS, NONSENSE, REDIRECTS, STALLS
from tests.real.servers.odd import Odd
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers

OPTIONS: dict[str, dict[str, Any]] = {
    "prometheus": {"values": {"load": "node_load5"}},
    "promql": {"values": {"x": "up"}},
    "page": {},
    "http_flow": {"steps": [{"name": "first", "capture": {"token": {"field": "csrf"}}}, {"path": "/{{token}}"}]},
}
PLAIN = [
    case
    for case in (*STALLS, *LENGTHS, *CHUNKS, *BREAKS, *NONSENSE, *REDIRECTS)
    if not case.certificate and case.name != "redirects with endless bodies"
]
"""Not the floods: what bounds them is the same code for all."""


@pytest.mark.parametrize("kind", OPTIONS)
async def test_hostile_web_servers(kind: str, odd: Callable[..., Awaitable[Odd]], shared: SharedHelpers) -> None:
    async def one(case: Case) -> list[str]:
        server = await odd(case.server)
        seen = await watch(kind, {"url": server.url(), **OPTIONS[kind]}, case.seconds, shared)
        wrong = problems(replace(case, outcome=seen.outcome, reason=seen.reason, words=""), seen, str(server.port))
        if seen.outcome is Outcome.UP or not seen.reason or seen.reason == "probe_error":
            wrong.append(f"{case.name}: ends as {seen.outcome} for {seen.reason!r}: {seen.summary}")
        return wrong

    found = await asyncio.gather(*map(one, PLAIN))
    if told := [problem for wrong in found for problem in wrong]:
        pytest.fail("\n".join(told), pytrace=False)
