"""The alert rules and the dashboard that are shipped name only metrics that exist, and fire when they should."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.metrics.daemon import Daemon, a_busy_daemon, a_check, an_observation
from tests.real.servers.prometheus import Prometheus
from wcr_watchd.core.model import Measurement, MeasurementSpec
from wcr_watchd.kit.plugins import load, names
from wcr_watchd.metrics.exposition import Exposition
from wcr_watchd.metrics.names import series_name

ETC = Path(__file__).parents[2] / "etc"
RULES = ETC / "prometheus" / "wcr-watchd.rules.yml"
DASHBOARD = ETC / "grafana" / "wcr-watchd.json"
PROBES = names("wcr_watchd.probes")
METRIC = re.compile(r"\b(?:watchd|process)_[a-zA-Z0-9_]+")


def strings_at(document: Any, keys: frozenset[str]) -> Iterator[str]:
    """All strings that stand under one of these keys, anywhere in a document."""
    if isinstance(document, list):
        for item in document:
            yield from strings_at(item, keys)
    elif isinstance(document, dict):
        for key, value in document.items():
            if key in keys and isinstance(value, str):
                yield value
            else:
                yield from strings_at(value, keys)


def queries_of_the_rules() -> list[str]:
    return list(strings_at(yaml.safe_load(RULES.read_text()), frozenset({"expr"})))


def queries_of_the_dashboard() -> list[str]:
    return list(strings_at(json.loads(DASHBOARD.read_text()), frozenset({"expr", "query", "definition"})))


def measured(probe: str, spec: MeasurementSpec) -> Measurement:
    return Measurement(spec.name, 1.0, tuple((label, f"some {label}") for label in spec.labels))


async def exposed(daemon: Daemon) -> str:
    exposition = Exposition(daemon)
    try:
        return (await exposition.render("text/plain", "")).body.decode()
    finally:
        await exposition.close()


async def test_every_metric_that_rules_and_dashboard_name_exists() -> None:
    text = await exposed(a_busy_daemon())
    own = {sample.name for family in parse(text) for sample in family.samples if "_http_" not in sample.name}
    of_probes = {series_name(probe, spec) for probe in PROBES for spec in load("wcr_watchd.probes", probe).measurements}
    for queries in (queries_of_the_rules(), queries_of_the_dashboard()):
        named = {name for query in queries for name in METRIC.findall(query)}
        assert len(named) > 10
        assert named - own - of_probes == set()


@pytest.mark.parametrize("probe", PROBES)
async def test_promtool_has_no_complaint_about_what_a_probe_measures(probe: str) -> None:
    kind = load("wcr_watchd.probes", probe)
    daemon = Daemon()
    measurements = tuple(measured(probe, spec) for spec in kind.measurements)
    daemon.add(a_check("some check", probe), kind.measurements, an_observation("some check", measurements=measurements))
    text = await exposed(daemon)
    for spec in kind.measurements:
        assert f"\n{series_name(probe, spec)}{{" in text
    checked = await asyncio.to_thread(
        subprocess.run, ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_promtool_has_no_complaint_about_the_rules() -> None:
    checked = subprocess.run(
        ["promtool", "check", "rules", "--lint-fatal", RULES], capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_rules_fire_when_they_should(tmp_path: Path) -> None:
    """Half an hour in which each thing goes wrong, played by promtool."""
    where = 'instance="a", job="watchd"'

    def series(name: str, labels: str, values: str) -> dict[str, str]:
        return {"series": f"{name}{{{where}{', ' if labels else ''}{labels}}}", "values": values}

    check = 'check="api", probe="http", location="here"'
    trouble = [
        series("watchd_build_info", 'version="1"', "1x10 _x20"),
        series("watchd_config_last_reload_successful", "", "1x4 0x20"),
        series("watchd_notification_oldest_pending_seconds", "", "0x5 1000x20"),
        series("watchd_dead_letters", "", "0x5 2x20"),
        series("watchd_notifications_failed_total", 'channel="sms", reason="server"', "0+1x30"),
        series("watchd_channel_last_success_timestamp_seconds", 'channel="sms"', "0x30"),
        series("watchd_notifications_failed_total", 'channel="mail", reason="server"', "0+1x30"),
        series("watchd_channel_last_success_timestamp_seconds", 'channel="mail"', "0+60x30"),
        series("watchd_scheduler_missed_total", "", "0+5x30"),
        series("watchd_event_loop_lag_seconds", "", "2x30"),
        series("watchd_store_failures_total", "", "0x8 1x20"),
        series("watchd_check_severity", check, "0x5 2x4 3x20"),
        series("watchd_check_up", check, "0x8 1x20"),
        series("watchd_check_stale", check, "0x2 1x30"),
        series("process_start_time_seconds", "", "1 2 3 4 5 6x10"),
    ]
    for name in ("watchd_scheduler_lag_seconds_bucket", "watchd_store_write_seconds_bucket"):
        trouble += [series(name, 'le="1.0"', "0x30"), series(name, 'le="10.0"', "0+9x30")]
        trouble.append(series(name, 'le="+Inf"', "0+9x30"))
    expected = {
        "WatchdGone": {"11m": 0, "24m": 1},
        "WatchdRestarting": {"1m": 0, "6m": 1},
        "WatchdReloadFailed": {"4m": 0, "6m": 1},
        "WatchdNotificationsStuck": {"5m": 0, "7m": 1},
        "WatchdDeadLetters": {"5m": 0, "7m": 1},
        "WatchdChannelFailing": {"14m": 0, "25m": 1},
        "WatchdSchedulerMissing": {"10m": 0, "25m": 1},
        "WatchdSchedulerLate": {"5m": 0, "25m": 1},
        "WatchdLoopSlow": {"4m": 0, "6m": 1},
        "WatchdStoreFailing": {"8m": 0, "11m": 1},
        "WatchdStoreSlow": {"5m": 0, "25m": 1},
        "WatchdCheckCritical": {"8m": 0, "12m": 1},
        "WatchdCheckWarning": {"4m": 0, "7m": 1, "12m": 0},
        "WatchdCheckDown": {"4m": 0, "6m": 1, "12m": 0},
        "WatchdCheckStale": {"6m": 0, "9m": 1},
    }
    alerts = set(strings_at(yaml.safe_load(RULES.read_text()), frozenset({"alert"})))
    assert alerts - set(expected) == {"WatchdCheckUnknown"}  # promtool cannot play NaN; the real Prometheus below does
    tests = [
        {
            "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)',
            "eval_time": at,
            "exp_samples": [{"labels": "{}", "value": number}],
        }
        for alert, times in expected.items()
        for at, number in times.items()
    ]
    document = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": trouble, "promql_expr_test": tests}],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(document))
    played = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True, timeout=60, check=False
    )
    assert played.returncode == 0, played.stdout + played.stderr


def test_the_dashboard_can_be_imported() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(numbers) == len(set(numbers)) > 10
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = {name for query in queries_of_the_dashboard() for name in re.findall(r"\$(\w+)", query)}
    assert used - {"__rate_interval"} <= variables


async def test_a_real_prometheus_scrapes_it_and_evaluates_the_rules(prometheus: Callable[..., Prometheus]) -> None:
    daemon = a_busy_daemon()
    daemon.counters.reload_successful = False
    exposition = Exposition(daemon)
    asked = []

    async def metrics(request: web.Request) -> web.Response:
        asked.append(request.headers.get("Accept-Encoding", ""))
        daemon.elapsed += 1
        page = await exposition.render(request.headers.get("Accept", ""), asked[-1])
        return web.Response(body=page.body, headers=page.headers)

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        server = await asyncio.to_thread(prometheus, port, RULES)
        target = await server.target()
        assert (target["health"], target["lastError"]) == ("up", "")
        assert asked[0] == "gzip"
        assert await server.wait_for('watchd_check_up{check="api", probe="http", location="nyc3"} == 1')
        assert await server.query("watchd_check_up != watchd_check_up")
        [(labels, number)] = await server.query('watchd_host_disk_used_ratio{mount!="/"}')
        assert (labels["check"], labels["mount"], number) == ('the "odd"\none\\', '/data "x"\\n', 0.93)
        assert await server.wait_for('ALERTS{alertname="WatchdReloadFailed", alertstate="firing"}')
        assert await server.wait_for('ALERTS{alertname="WatchdCheckUnknown", check="dark", alertstate="pending"}')
        # Prometheus 2 files what it knows of a counter under the name of its OpenMetrics family.
        metadata = await server.api("metadata", metric="watchd_host_network_received_bytes")
        assert [known["type"] for known in metadata["watchd_host_network_received_bytes"]] == ["counter"]
        rules = await server.api("rules")
        assert all(rule["health"] == "ok" for group in rules["groups"] for rule in group["rules"])
        daemon.remove("api")
        assert await server.wait_for('absent(watchd_check_up{check="api"})')
    finally:
        await runner.cleanup()
        await exposition.close()
