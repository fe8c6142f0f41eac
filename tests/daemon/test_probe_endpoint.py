"""A real Prometheus that is configured for blackbox_exporter scrapes its targets through a running daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import yaml

from tests.daemon.harness import RunningDaemon
from tests.real.ports import free_port
from tests.real.servers.odd import Odd, silence
from tests.real.servers.prometheus import Prometheus

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
MODULES = "modules:\n  http_2xx:\n    prober: http\n    http: {fail_if_body_not_matches_regexp: [hell]}\n"


def configured(targets: list[str], blackbox: int) -> str:
    """The job as blackbox_exporter's own documentation has it."""
    job = {
        "job_name": "blackbox",
        "metrics_path": "/probe",
        "params": {"module": ["http_2xx"]},
        "static_configs": [{"targets": targets}],
        "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"source_labels": ["__param_target"], "target_label": "instance"},
            {"target_label": "__address__", "replacement": f"127.0.0.1:{blackbox}"},
        ],
    }
    return yaml.safe_dump({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]})


async def test_prometheus_scrapes_its_targets_through_the_daemon(
    make_daemon: Callable[..., RunningDaemon], odd: Callable[..., Awaitable[Odd]], tmp_path: Path
) -> None:
    modules, port = tmp_path / "blackbox.yml", free_port()
    modules.write_text(MODULES)
    text = f'[probe]\nmodules = "{modules}"\n'
    daemon = make_daemon(text, start=False)
    daemon.listen = [f"127.0.0.1:{port}"]
    daemon.write(text)
    await asyncio.to_thread(daemon.start)
    good, dead, silent = (await odd(HELLO)).url(), f"http://127.0.0.1:{free_port()}/", (await odd(silence)).url()
    folder = tmp_path / "prometheus"
    folder.mkdir()
    server = Prometheus(folder, port)
    (folder / "prometheus.yml").write_text(configured([good, dead, silent], port))
    server.start()
    try:
        for target, success in ((good, 1), (dead, 0), (silent, 0)):
            ((labels, value),) = await server.wait_for(f'probe_success{{instance="{target}"}}')
            assert (labels["job"], value) == ("blackbox", success)
            ((_, up),) = await server.query(f'up{{instance="{target}"}}')
            assert up == 1, "the probe ends before the scraper gives up"
        ((_, status),) = await server.query(f'probe_http_status_code{{instance="{good}"}}')
        assert status == 200
        modules.write_text(MODULES.replace("hell", "heaven"))
        daemon.reload()
        ((_, failed),) = await server.wait_for(f'probe_failed_due_to_regex{{instance="{good}"}} == 1')
        assert failed == 1
    finally:
        server.stop()
