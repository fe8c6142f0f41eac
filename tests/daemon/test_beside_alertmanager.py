"""The same requests to a real Alertmanager and to us: the same statuses, and all that it answers is in our answers."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.daemon.test_prometheus import Receiver, receiver
from tests.real.servers.alertmanager import Alertmanager

__all__ = ["receiver"]

UNKNOWN = "11111111-2222-4333-8444-555555555555"


def stamp(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def alert(name: str, start: float = -60.0, end: float | None = 3_600.0, **labels: str) -> dict[str, Any]:
    times = {"startsAt": stamp(start)} | ({"endsAt": stamp(end)} if end is not None else {})
    return {
        "labels": {"alertname": name, **labels},
        "annotations": {"summary": f"{name} happens"},
        "generatorURL": "http://prometheus.example/graph?g0.expr=up",
        **times,
    }


def silence(*matchers: tuple[str, str, bool, bool], end: float = 3_600.0, **more: str) -> dict[str, Any]:
    conditions = [
        {"name": name, "value": value, "isRegex": regex, "isEqual": equal} for name, value, regex, equal in matchers
    ]
    times = {"startsAt": stamp(0.0), "endsAt": stamp(end)}
    return {"matchers": conditions, "createdBy": "ann", "comment": "known", **times, **more}


DISK = ("alertname", "Disk", False, True)
REQUESTS: list[tuple[str, str, object]] = [
    ("POST", "/alerts", []),
    ("POST", "/alerts", [alert("Disk", env="prod"), alert("Disk", env="test"), alert("Load", empty="")]),
    ("POST", "/alerts", [alert("Disk", env="prod"), {"labels": {}}]),
    ("POST", "/alerts", [alert("Backwards", start=-60.0, end=-120.0)]),
    ("POST", "/alerts", [{"labels": {"alertname": "Bare"}}]),
    ("POST", "/alerts", [alert("Bare", end=-1.0)]),
    ("POST", "/alerts", {"labels": {}}),
    ("POST", "/alerts", "nonsense"),
    ("POST", "/alerts", [{"labels": {"alertname": 7}}]),
    ("GET", "/alerts?filter=alertname%3D%22Disk%22", None),
    ("GET", "/alerts?filter=env%3D~%22p.*%22&filter=alertname%3DDisk", None),
    ("GET", "/alerts?filter=env", None),
    ("GET", "/alerts?filter=env%3D", None),
    ("GET", "/alerts?filter=env%21%3D", None),
    ("GET", "/alerts?receiver=no.*", None),
    ("GET", "/alerts?receiver=other", None),
    ("GET", "/alerts?receiver=%28", None),
    ("GET", "/alerts/groups?filter=alertname%3DLoad", None),
    ("GET", "/status", None),
    ("GET", "/silences", None),
    ("POST", "/silences", silence(DISK, ("env", "p.*", True, True))),
    ("POST", "/silences", silence()),
    ("POST", "/silences", silence(("env", ".*", True, True))),
    ("POST", "/silences", silence(("env", "(", True, True))),
    ("POST", "/silences", silence(DISK, end=-60.0)),
    ("POST", "/silences", silence(DISK, id=UNKNOWN)),
    ("GET", "/silences?filter=alertname%3DDisk", None),
    ("GET", "/silences?filter=alertname%3DOther", None),
    ("GET", "/alerts?silenced=false", None),
    ("GET", "/alerts?active=false", None),
    ("GET", f"/silence/{UNKNOWN}", None),
]


def ask(port: int, method: str, path: str, body: object) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v2{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30.0) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    return status, json.loads(text) if text.strip() else None


VARIES = {"updatedAt", "id", "silenceID", "uptime", "versionInfo", "config", "cluster", "receivers", "receiver"}


def lacks(theirs: Any, ours: Any, where: str = "") -> list[str]:
    """What of their answer is not in ours."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        missing = [f"{where}.{key}" for key in theirs if key not in ours]
        both = [key for key in theirs if key in ours and key not in VARIES]
        return missing + [one for key in both for one in lacks(theirs[key], ours[key], f"{where}.{key}")]
    if isinstance(theirs, list) and isinstance(ours, list):
        if len(theirs) != len(ours):
            return [f"{where}: {len(theirs)} there, {len(ours)} here"]
        pairs = zip(sorted(theirs, key=_key), sorted(ours, key=_key), strict=True)
        return [one for number, pair in enumerate(pairs) for one in lacks(*pair, f"{where}[{number}]")]
    if isinstance(theirs, str) and isinstance(ours, str) and (where.endswith("At") or "silencedBy" in where):
        return [] if _close(theirs, ours) else [f"{where}: {theirs} there, {ours} here"]
    return [] if theirs == ours else [f"{where}: {theirs!r} there, {ours!r} here"]


def _key(value: Any) -> str:
    return json.dumps(
        [value.get("labels"), value.get("matchers")] if isinstance(value, dict) else value, sort_keys=True
    )


def _close(theirs: str, ours: str) -> bool:
    """The same time but for what passes between two requests; ids differ."""
    if "T" not in theirs:
        return len(theirs) == len(ours)
    first, second = (datetime.fromisoformat(text) for text in (theirs, ours))
    return abs((first - second).total_seconds()) < 60.0


@pytest.fixture
def ours(receiver: Callable[..., Receiver]) -> Receiver:
    return receiver('policy = "nobody"\n[policy.nobody.critical]\ntell = []\n')


def test_the_same_requests_have_the_same_answers(ours: Receiver, alertmanager: Alertmanager) -> None:
    different = []
    for method, path, body in REQUESTS:
        theirs_status, theirs = ask(alertmanager.port, method, path, body)
        our_status, our = ask(ours.port, method, path, body)
        if theirs_status != our_status:
            different.append(f"{method} {path} {body}: {theirs_status} {theirs} there, {our_status} {our} here")
        elif theirs_status == 200 and theirs is not None:
            different += [f"{method} {path} {one}" for one in lacks(theirs, our)]
    assert not different, "\n".join(different)
    for port in (alertmanager.port, ours.port):
        assert {"name": "nobody"} in ask(port, "GET", "/receivers", None)[1]
        # Alertmanager 0.25 calls a silence that is not there an error of its own, later ones say 404 as we do.
        assert ask(port, "DELETE", f"/silence/{UNKNOWN}", None)[0] in (404, 500)
        (known,) = ask(port, "GET", "/silences", None)[1]
        changed = {key: known[key] for key in ("id", "matchers", "startsAt", "createdBy")}
        answer = ask(port, "POST", "/silences", changed | {"endsAt": stamp(7_200.0), "comment": "longer"})
        assert answer == (200, {"silenceID": known["id"]})
        assert ask(port, "GET", f"/silence/{known['id']}", None)[1]["comment"] == "longer"
        assert ask(port, "DELETE", f"/silence/{known['id']}", None)[0] == 200
        assert ask(port, "GET", f"/silence/{known['id']}", None)[1]["status"] == {"state": "expired"}
