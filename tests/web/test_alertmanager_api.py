"""Whatever is sent as an alert or a silence is one or is refused with words; nothing else comes of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.test_web import Served
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.model import Alert
from wcr_watchd.core.silence import Matcher
from wcr_watchd.web.compatible import alertmanager

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
texts = st.dictionaries(
    st.sampled_from(["alertname", "severity", "x", ""]), st.text(max_size=20) | json_values, max_size=3
)
times = st.sampled_from(["2026-11-28T12:00:00.123456789Z", "0001-01-01T00:00:00Z", "2026-11-28T12:00:00", "soon"])
sent = st.fixed_dictionaries(
    {},
    optional={
        "labels": texts | json_values,
        "annotations": texts | json_values,
        "startsAt": times | json_values,
        "endsAt": times | json_values,
        "generatorURL": st.text(max_size=20) | json_values,
    },
)


@given(sent | json_values)
def test_an_alert_is_one_or_is_refused(value: object) -> None:
    try:
        found = alertmanager.alert_of(value, 1_795_000_000.0, 300.0)
    except (alertmanager.RefusedError, CommandError):
        return
    assert isinstance(found, Alert)
    assert found.starts_at <= found.ends_at


@given(
    st.fixed_dictionaries({"name": st.text(max_size=9) | json_values, "value": st.text(max_size=9) | json_values})
    | json_values
)
def test_a_matcher_is_one_or_is_refused(value: object) -> None:
    try:
        found = alertmanager.matcher_of(value)
    except alertmanager.RefusedError:
        return
    assert isinstance(found, Matcher)


@pytest.mark.parametrize(
    "path", ["/api/v1/silences", "/api/v1/incidents/42/notes", "/api/v2/alerts", "/api/v2/silences"]
)
async def test_half_a_character_is_refused_before_it_could_spoil_the_records(served: Served, path: str) -> None:
    served.control.take_alerts()
    half = (
        '[{"labels": {"alertname": "\\ud800"}}]'
        if path.endswith("alerts")
        else '{"comment": "\\ud800", "text": "\\ud800"}'
    )
    headers = {"Content-Type": "application/json"}
    async with served.session.post(served.base + path, data=half.encode(), headers=headers) as answer:
        assert answer.status == 400
        assert "half a character" in json.dumps(await answer.json())


def test_fingerprints_are_those_of_prometheus() -> None:
    """Values that a real Alertmanager gave."""
    assert alertmanager.fingerprint({}) == "cbf29ce484222325"
