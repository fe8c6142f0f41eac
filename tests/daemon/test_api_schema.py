"""The API of a running daemon against its own OpenAPI document, by schemathesis: it answers as it is described."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.daemon.harness import RunningDaemon, eventually
from tests.real.ports import free_port

EXAMPLES = int(os.environ.get("API_EXAMPLES", "6"))
"""Of each operation; `make fuzz` asks for more."""
TOKEN = "a-token-of-some-length-0123456789"
CONFIG = f"""
[token.admin]
secret = "{TOKEN}"
scopes = ["admin"]
[channel.hook]
type = "webhook"
url = "http://127.0.0.1:9/hook"
[contact.ann]
email = "ann@example.org"
[on_call.ops]
rotation = ["ann"]
handover = "Mon 09:00"
[policy.default.critical]
tell = ["hook"]
[check.gone]
type = "certfile"
path = "/none"
tags = ["web"]
group = "Web"
[check.here]
type = "tcp"
address = "127.0.0.1:9"
every = "1s"
retry = {{ times = 0 }}
[task.licences]
period = "30d"
[maintenance.weekly]
when = "Tue 03:00-05:00"
checks = ["*"]
"""
NOT_HERE = ("/api/v1/events", "/api/v1/reports", "/api/v1/reload")
"""Streams do not end; reports take a process each; a reload is told by its own tests."""


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    daemon = RunningDaemon(tmp_path_factory.mktemp("api"), CONFIG)
    address = f"127.0.0.1:{free_port()}"
    daemon.listen = [address]
    daemon.write(CONFIG)
    daemon.start()
    try:
        eventually(lambda: daemon.incidents(), "an incident")
        headers = {"Authorization": f"Bearer {TOKEN}"}
        yield schemathesis.openapi.from_url(f"http://{address}/api/v1/openapi.json", headers=headers), headers
    finally:
        daemon.stop()
    assert "Traceback" not in daemon.log()


def test_every_operation_answers_as_it_is_described(schema: Any) -> None:
    document, headers = schema
    seen = 0
    for result in document.get_all_operations():
        operation = result.ok()
        if operation.path.startswith(NOT_HERE):
            continue
        seen += 1
        _try(operation, headers)
    assert seen > 40


def _try(operation: Any, headers: dict[str, str]) -> None:
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

    @given(case=operation.as_strategy())
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def fits(case: Any) -> None:
        answer = case.call(headers=headers, timeout=20)
        if answer.status_code != 502:  # no channel delivers here
            case.validate_response(answer, checks=checks)

    fits()
