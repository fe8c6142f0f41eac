"""``/metrics``: names, values, formats, and what a scrape must never do to the daemon."""

from __future__ import annotations

import asyncio
import gzip
import math
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.metrics.daemon import HOST, HTTP, NOW, Daemon, a_busy_daemon, a_check, an_observation
from wcr_watchd.core.model import Measurement, MeasurementSpec, Outcome
from wcr_watchd.core.units import Unit
from wcr_watchd.core.view import CheckCounters, View
from wcr_watchd.metrics.exposition import Exposition
from wcr_watchd.metrics.names import family_name, series_name

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
PROMETHEUS_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
PROMISED = [
    "watchd_check_up",
    "watchd_check_severity",
    "watchd_check_stale",
    "watchd_check_duration_seconds",
    "watchd_check_runs_total",
    "watchd_check_failures_total",
    "watchd_check_last_run_timestamp_seconds",
    "watchd_build_info",
    "watchd_config_last_reload_successful",
    "watchd_config_last_reload_success_timestamp_seconds",
    "watchd_incidents_open",
    "watchd_notifications_total",
    "watchd_notifications_failed_total",
    "watchd_notifications_pending",
    "watchd_dead_letters",
    "watchd_notification_oldest_pending_seconds",
    "watchd_channel_last_success_timestamp_seconds",
    "watchd_scheduler_lag_seconds_bucket",
    "watchd_scheduler_lag_seconds_sum",
    "watchd_scheduler_lag_seconds_count",
    "watchd_scheduler_missed_total",
    "watchd_event_loop_lag_seconds",
    "watchd_store_write_seconds_bucket",
    "watchd_http_response_time_seconds",
    "watchd_http_status",
    "watchd_http_certificate_expiry_timestamp_seconds",
    "watchd_host_disk_used_ratio",
    "watchd_host_network_received_bytes_total",
    "watchd_host_oom_kills_total",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_open_fds",
]
"""The names of the interface page, and of the measurements of the daemon below."""

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def daemon() -> Daemon:
    return a_busy_daemon()


@pytest.fixture
async def exposition(daemon: View) -> AsyncIterator[Exposition]:
    made = Exposition(daemon)
    yield made
    await made.close()


async def scrape(exposition: Exposition, accept: str = TEXT) -> str:
    return (await exposition.render(accept, "")).body.decode()


def series_of(families: Iterator[Metric]) -> Series:
    """All series; the same one twice is an error that Prometheus would make of it as well."""
    found: Series = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


async def series(exposition: Exposition) -> Series:
    return series_of(parse_text(await scrape(exposition)))


def value(found: Series, name: str, **labels: str) -> float | None:
    """The value of the only series with these labels among others; None when there is none."""
    values = [v for (n, given), v in found.items() if n == name and set(labels.items()) <= set(given)]
    assert len(values) < 2
    return values[0] if values else None


async def test_every_promised_name_is_there(exposition: Exposition) -> None:
    names = {name for name, _ in await series(exposition)}
    assert set(PROMISED) <= names
    assert {name for name in names if not name.startswith(("watchd_", "process_"))} == set()
    assert not [name for name in names if name.endswith("_created")]


async def test_both_formats_say_the_same(exposition: Exposition) -> None:
    def without_process(found: Series) -> Series:
        return {key: number for key, number in found.items() if not key[0].startswith("process_")}

    text = without_process(series_of(parse_text(await scrape(exposition))))
    openmetrics = without_process(series_of(parse_openmetrics(await scrape(exposition, OPENMETRICS))))
    assert text.keys() == openmetrics.keys()
    assert {k: v for k, v in text.items() if not math.isnan(v)} == {
        k: v for k, v in openmetrics.items() if not math.isnan(v)
    }


async def test_promtool_has_no_complaint(exposition: Exposition) -> None:
    text = await scrape(exposition)
    checked = await asyncio.to_thread(
        subprocess.run, ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


async def test_the_state_of_checks(exposition: Exposition) -> None:
    found = await series(exposition)
    common = {"probe": "http", "location": "nyc3"}
    assert value(found, "watchd_check_up", check="api", **common) == 1
    assert value(found, "watchd_check_up", check="down", **common) == 0
    unknown = value(found, "watchd_check_up", check="dark", **common)
    assert unknown is not None
    assert math.isnan(unknown)  # neither up nor down
    assert value(found, "watchd_check_up", check="new") is None
    assert value(found, "watchd_check_severity", check="down") == 3
    assert value(found, "watchd_check_severity", check="api") == 0
    assert value(found, "watchd_check_stale", check="api") == 0
    assert value(found, "watchd_check_stale", check="dark") == 1
    assert value(found, "watchd_check_duration_seconds", check="api") == 0.25
    assert value(found, "watchd_check_last_run_timestamp_seconds", check="api") == NOW - 5
    assert value(found, "watchd_check_runs_total", check="down") == 7
    assert value(found, "watchd_check_runs_total", check="new") == 0
    assert value(found, "watchd_check_failures_total", check="down", reason="dns") == 2
    assert value(found, "watchd_check_failures_total", check="down", reason="rule") == 1


async def test_a_check_that_never_ran_is_stale_only_after_its_time(daemon: Daemon, exposition: Exposition) -> None:
    daemon.started_at = NOW - 100
    assert value(await series(exposition), "watchd_check_stale", check="new") == 0
    daemon.wall += 40
    daemon.elapsed += 40
    assert value(await series(exposition), "watchd_check_stale", check="new") == 1


async def test_the_daemon_itself(exposition: Exposition) -> None:
    found = await series(exposition)
    assert value(found, "watchd_build_info", version="1.2.3") == 1
    assert value(found, "watchd_config_last_reload_successful") == 1
    assert value(found, "watchd_config_last_reload_success_timestamp_seconds") == NOW - 3600
    assert value(found, "watchd_incidents_open", severity="critical") == 1
    assert value(found, "watchd_incidents_open", severity="warning") == 0
    assert value(found, "watchd_notifications_total", channel="sms") == 5
    assert value(found, "watchd_notifications_total", channel="mail") == 0
    assert value(found, "watchd_notifications_failed_total", channel="sms", reason="server") == 2
    assert value(found, "watchd_notifications_pending") == 2
    assert value(found, "watchd_dead_letters") == 3
    assert value(found, "watchd_notification_oldest_pending_seconds") == 42
    assert value(found, "watchd_channel_last_success_timestamp_seconds", channel="sms") == NOW - 30
    assert value(found, "watchd_channel_last_success_timestamp_seconds", channel="mail") is None
    assert value(found, "watchd_scheduler_missed_total") == 4
    assert value(found, "watchd_heartbeats_total", heartbeat="elsewhere") == 9
    assert value(found, "watchd_heartbeats_failed_total", heartbeat="elsewhere") == 2
    assert value(found, "watchd_heartbeat_last_success_timestamp_seconds", heartbeat="elsewhere") == NOW - 60


async def test_objectives_are_what_the_page_of_them_says(exposition: Exposition) -> None:
    found = await series(exposition)
    assert value(found, "watchd_objective_target_ratio", objective="shop") == 0.999
    assert value(found, "watchd_objective_availability_ratio", objective="shop") == 0.9987
    assert value(found, "watchd_objective_budget_left_ratio", objective="shop") == 0.75
    assert value(found, "watchd_objective_burn_rate", objective="shop", window_seconds="3600") == 2.5
    assert value(found, "watchd_objective_burn_rate", objective="shop", window_seconds="300") is None, "nobody watched"
    assert value(found, "watchd_objective_target_ratio", objective="new") == 0.99
    assert value(found, "watchd_objective_budget_left_ratio", objective="new") is None, "no zero for what is not known"


async def test_histograms_are_cumulative(exposition: Exposition) -> None:
    found = await series(exposition)
    name = "watchd_scheduler_lag_seconds"
    assert value(found, f"{name}_bucket", le="0.001") == 1
    assert value(found, f"{name}_bucket", le="0.01") == 1
    assert value(found, f"{name}_bucket", le="0.025") == 3
    assert value(found, f"{name}_bucket", le="10.0") == 3
    assert value(found, f"{name}_bucket", le="+Inf") == 4
    assert value(found, f"{name}_count") == 4
    assert value(found, f"{name}_sum") == pytest.approx(99.0405)


async def test_odd_label_values_survive(exposition: Exposition) -> None:
    found = await series(exposition)
    odd = 'the "odd"\none\\'
    assert value(found, "watchd_check_up", check=odd) == 1
    assert value(found, "watchd_host_disk_used_ratio", check=odd, mount='/data "x"\\n') == 0.93


async def test_values_that_are_no_numbers(daemon: Daemon, exposition: Exposition) -> None:
    odd = (Measurement("response_time", math.inf), Measurement("status", math.nan))
    daemon.add(a_check("api"), HTTP, an_observation("api", measurements=odd))
    never_counts = (Measurement("oom_kills", math.nan),)
    daemon.add(a_check("host", "host"), HOST, an_observation("host", measurements=never_counts))
    for accept, parse in ((TEXT, parse_text), (OPENMETRICS, parse_openmetrics)):
        found = series_of(parse(await scrape(exposition, accept)))
        assert value(found, "watchd_http_response_time_seconds", check="api") == math.inf
        assert math.isnan(value(found, "watchd_http_status", check="api") or 0)
        assert value(found, "watchd_host_oom_kills_total", check="host") is None


async def test_what_was_not_measured_is_absent(daemon: Daemon, exposition: Exposition) -> None:
    daemon.add(a_check("api"), HTTP, an_observation("api", Outcome.DOWN))
    assert value(await series(exposition), "watchd_http_response_time_seconds", check="api") is None


async def test_labels_of_a_measurement_do_not_hide_those_of_the_check(daemon: Daemon, exposition: Exposition) -> None:
    spec = MeasurementSpec("age", Unit.SECONDS, "How old.", labels=("check", "9th"))
    measured = Measurement("age", 1.0, (("9th", "x"), ("check", "inner")))
    daemon.add(a_check("outer", "backup"), (spec,), an_observation("outer", measurements=(measured, measured)))
    found = await series(exposition)
    assert value(found, "watchd_backup_age_seconds", check="outer", backup_check="inner", backup_9th="x") == 1


async def test_a_name_that_two_checks_use_for_different_things_stays_one_family(
    daemon: Daemon, exposition: Exposition
) -> None:
    gauge = MeasurementSpec("users", Unit.COUNT, "Users now.")
    counter = MeasurementSpec("users", Unit.COUNT, "Users ever.", counter=True)
    one = (Measurement("users", 3.0),)
    daemon.add(a_check("first", "command"), (gauge,), an_observation("first", measurements=one))
    daemon.add(a_check("second", "command"), (counter,), an_observation("second", measurements=one))
    found = series_of(parse_openmetrics(await scrape(exposition, OPENMETRICS)))
    assert value(found, "watchd_command_users", check="first") == 3
    assert value(found, "watchd_command_users_total", check="second") is None


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (MeasurementSpec("response_time", Unit.SECONDS, ""), "watchd_x_response_time_seconds"),
        (MeasurementSpec("size_bytes", Unit.BYTES, ""), "watchd_x_size_bytes"),
        (MeasurementSpec("sent", Unit.BYTES, "", counter=True), "watchd_x_sent_bytes_total"),
        (MeasurementSpec("kills_total", Unit.COUNT, "", counter=True), "watchd_x_kills_total"),
        (MeasurementSpec("memory_total", Unit.BYTES, ""), "watchd_x_memory_total_bytes"),
        (MeasurementSpec("processes_total", Unit.COUNT, ""), "watchd_x_processes_total_value"),
        (MeasurementSpec("expiry", Unit.TIMESTAMP, ""), "watchd_x_expiry_timestamp_seconds"),
        (MeasurementSpec("expiry_timestamp", Unit.TIMESTAMP, ""), "watchd_x_expiry_timestamp_seconds"),
        (MeasurementSpec("C:\\ free – %", Unit.COUNT, ""), "watchd_x_c_free"),
        (MeasurementSpec("userCount", Unit.COUNT, ""), "watchd_x_user_count_value"),
        (MeasurementSpec("perfdata_counter", Unit.COUNT, "", counter=True), "watchd_x_perfdata_counters_total"),
        (MeasurementSpec("–", Unit.SECONDS, ""), "watchd_x_seconds"),
    ],
)
def test_names_follow_the_conventions(spec: MeasurementSpec, name: str) -> None:
    assert series_name("x", spec) == name
    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", family_name("x", spec))


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain", TEXT),
        (PROMETHEUS_2, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;q=0.5", OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0;q=0.2,text/plain;version=0.0.4;q=0.5", TEXT),
        ("application/openmetrics-text;version=0.0.1,text/plain;q=0.5", TEXT),
        ("application/openmetrics-text;version=odd", TEXT),
        ("application/openmetrics-text;q=odd", TEXT),
        (";;=,q", TEXT),
    ],
)
async def test_the_format_is_negotiated(exposition: Exposition, accept: str, content_type: str) -> None:
    page = await exposition.render(accept, "")
    assert page.headers["Content-Type"] == content_type
    assert page.body.endswith(b"# EOF\n") == (content_type == OPENMETRICS)


@pytest.mark.parametrize(
    ("accept_encoding", "compressed"),
    [("gzip", True), ("deflate, gzip;q=0.5", True), ("gzip;q=0", False), ("", False), ("identity", False)],
)
async def test_gzip_is_negotiated(exposition: Exposition, accept_encoding: str, compressed: bool) -> None:
    page = await exposition.render(TEXT, accept_encoding)
    assert (page.headers.get("Content-Encoding") == "gzip") == compressed
    body = gzip.decompress(page.body) if compressed else page.body
    assert b"\nwatchd_check_up{" in body
    assert page.headers["Vary"] == "Accept, Accept-Encoding"


async def test_a_page_is_kept_for_a_second(daemon: Daemon, exposition: Exposition) -> None:
    assert value(await series(exposition), "watchd_scheduler_missed_total") == 4
    daemon.counters.scheduler_missed = 5
    daemon.elapsed = 0.9
    assert value(await series(exposition), "watchd_scheduler_missed_total") == 4
    daemon.elapsed = 1.0
    assert value(await series(exposition), "watchd_scheduler_missed_total") == 5


async def test_the_series_of_a_removed_check_are_gone_at_once(daemon: Daemon, exposition: Exposition) -> None:
    assert 'check="api"' in await scrape(exposition)
    daemon.remove("api")
    assert 'check="api"' not in await scrape(exposition)


async def test_scrapes_at_the_same_time_get_the_same_whole_page(daemon: Daemon, exposition: Exposition) -> None:
    pages = await asyncio.gather(*(scrape(exposition, accept) for accept in (TEXT, OPENMETRICS) * 10))
    assert len(set(pages)) == 2


async def test_a_scraper_that_gives_up_disturbs_nobody(exposition: Exposition) -> None:
    given_up = asyncio.create_task(scrape(exposition))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(scrape(exposition))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert "watchd_build_info" in await waiting


async def test_counters_may_change_while_a_page_is_made(daemon: Daemon, exposition: Exposition) -> None:
    for number in range(500):
        daemon.add(a_check(f"check-{number}"), HTTP, an_observation(f"check-{number}"))
    rendering = asyncio.create_task(scrape(exposition))
    while not rendering.done():
        for number in range(500):
            failures = daemon.counters.checks[f"check-{number}"].failures
            if not failures.pop("dns", None):
                failures["dns"] = 1
        if not daemon.counters.checks.pop("late", None):
            daemon.counters.checks["late"] = CheckCounters()
        await asyncio.sleep(0)
    assert "watchd_build_info" in await rendering


async def test_the_loop_goes_on_while_many_series_are_rendered(daemon: Daemon, exposition: Exposition) -> None:
    specs: tuple[Any, ...] = tuple(MeasurementSpec(f"m{n}", Unit.SECONDS, "Some time.") for n in range(8))
    measured = tuple(Measurement(spec.name, 0.5) for spec in specs)
    for number in range(1500):
        daemon.setup.checks[f"check-{number}"] = a_check(f"check-{number}")  # type: ignore[index]
        daemon.specs[f"check-{number}"] = specs
        daemon.latest[f"check-{number}"] = an_observation(f"check-{number}", measurements=measured)
    rendering = asyncio.create_task(scrape(exposition))
    turns = 0
    while not rendering.done():
        turns += 1
        await asyncio.sleep(0.001)
    assert (await rendering).count("\n") > 15_000
    assert turns > 10
