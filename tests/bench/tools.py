"""The tools that are compared: each watches the same targets, confirms for as long, and tells the same receiver."""

from __future__ import annotations

import http.client
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from secrets import token_hex
from typing import Protocol

from tests.bench.processes import Program, accepts, eventually
from tests.bench.target import Target
from tests.real.ports import free_port


@dataclass(frozen=True)
class Job:
    """What is to be watched: ``count`` targets of ``target`` by ``scheme``, every ``every`` seconds.

    A failure is confirmed for ``confirm`` seconds, asking once a second, then told to ``webhook`` (mail to ``smtp``).
    """

    target: Target
    count: int
    every: int
    scheme: str = "http"
    confirm: int = 0
    webhook: str = "http://127.0.0.1:9/"
    smtp: int = 9

    @property
    def names(self) -> list[str]:
        """The names of the targets."""
        return [f"t{number:05}" for number in range(self.count)]

    def url(self, name: str) -> str:
        """Where a target is."""
        return self.target.url(name, self.scheme)


class Tool(Protocol):
    """A tool that watches a job until it is stopped."""

    name: str
    programs: Sequence[Program]

    def stop(self) -> None:
        """End it."""


def start(kind: type[Ours | Stack | Monit], folder: Path, job: Job) -> Ours | Stack | Monit:
    """Start a tool on a job in an empty folder, and wait until it has carried every check out once."""
    before = job.target.requests()
    tool = kind(folder, job)

    def all_asked() -> bool:
        for program in tool.programs:
            program.insist()
        return job.target.requests() - before >= job.count

    try:
        eventually(all_asked, f"{tool.name} asks all {job.count} targets", within=60 + 3 * job.every, every=0.2)
    except BaseException:
        tool.stop()
        raise
    return tool


def cpu(tool: Tool) -> float:
    """Seconds of processor time of all its programs so far."""
    return sum(program.cpu() for program in tool.programs)


def memory(tool: Tool) -> float:
    """Proportional set size of all its programs, in MiB."""
    return sum(program.memory() for program in tool.programs)


def written(tool: Tool) -> int:
    """Bytes written to disk by all its programs so far."""
    return sum(program.written() for program in tool.programs)


# --- ours -------------------------------------------------------------------------------------------------------------


class Ours:
    """wcr-watchd, as a user would run it: one daemon, SQLite, one webhook."""

    name = "wcr-watchd"

    def __init__(self, folder: Path, job: Job) -> None:
        self.folder = folder
        self.port = free_port()
        self.token = token_hex(32)
        (folder / "token").write_text(self.token)
        self.config = folder / "watchd.toml"
        self.configure(job)
        command = [sys.executable, "-m", "wcr_watchd", "run", "-c", self.config, "--socket", folder / "control.sock"]
        self.programs = [Program("wcr-watchd", command, folder)]

    def configure(self, job: Job) -> None:
        """Write its configuration for a job; takes effect by a start or :meth:`reload`."""
        ca_file = f'ca_file = "{job.target.ca_file}"\n' if job.scheme == "https" else ""
        timeout = min(10.0, 0.9 * job.every)
        retry = f'{{ times = {max(1, job.confirm)}, every = "1s" }}' if job.confirm else "{ times = 0 }"
        self.config.write_text(
            f'[watchd]\nname = "bench"\n[store]\nurl = "sqlite:///{self.folder}/watchd.db"\n'
            f'[web]\nlisten = ["127.0.0.1:{self.port}"]\ntoken = "${{file:{self.folder}/token}}"\n'
            f'[channel.hook]\ntype = "webhook"\nurl = "{job.webhook}"\n'
            f'[policy.default.critical]\ntell = ["hook"]\n'
            f'[defaults]\nevery = "{job.every}s"\ntimeout = "{round(1000 * timeout)}ms"\nretry = {retry}\n'
            + "".join(f'[check.{name}]\ntype = "http"\nurl = "{job.url(name)}"\n{ca_file}' for name in job.names)
        )

    def get(self, path: str, timeout: float = 60.0, **headers: str) -> bytes:
        """Ask it for a page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse().read()
        connection.close()
        return answer

    def is_ready(self) -> bool:
        """Whether every check has had its first run."""
        try:
            return b'"ready"' in self.get("/readyz")
        except OSError:
            return False

    def reload(self) -> None:
        """Ask it to read its configuration again."""
        self.programs[0].send(signal.SIGHUP)

    def stop(self) -> None:
        """End it."""
        self.programs[0].stop()


# --- the Prometheus stack ---------------------------------------------------------------------------------------------


class Stack:
    """Prometheus, blackbox_exporter and Alertmanager from Debian, with one rule per target and the least group_wait."""

    name = "Prometheus stack"

    def __init__(self, folder: Path, job: Job) -> None:
        self.ports = {name: free_port() for name in ("prometheus", "blackbox", "alertmanager")}
        _write_stack(folder, job, self.ports)
        prometheus, blackbox, alertmanager = (f"127.0.0.1:{port}" for port in self.ports.values())
        self.programs = [
            Program(
                "alertmanager",
                [
                    "prometheus-alertmanager",
                    f"--config.file={folder}/alertmanager.yml",
                    f"--storage.path={folder}/alertmanager",
                    f"--web.listen-address={alertmanager}",
                    "--cluster.listen-address=",
                ],
                folder,
            ),
            Program(
                "blackbox",
                [
                    "prometheus-blackbox-exporter",
                    f"--config.file={folder}/blackbox.yml",
                    f"--web.listen-address={blackbox}",
                ],
                folder,
            ),
        ]
        for name in ("blackbox", "alertmanager"):
            eventually(lambda port=self.ports[name]: accepts(port), f"{name} listens")
        self.programs.append(
            Program(
                "prometheus",
                [
                    "prometheus",
                    f"--config.file={folder}/prometheus.yml",
                    f"--storage.tsdb.path={folder}/tsdb",
                    f"--web.listen-address={prometheus}",
                ],
                folder,
            )
        )

    def stop(self) -> None:
        """End all three."""
        for program in reversed(self.programs):
            program.stop()


def _write_stack(folder: Path, job: Job, ports: dict[str, int]) -> None:
    (folder / "blackbox.yml").write_text(
        "modules:\n  web:\n    prober: http\n    http:\n      preferred_ip_protocol: ip4\n"
        f"      tls_config:\n        ca_file: {job.target.ca_file}\n"
    )
    (folder / "alertmanager.yml").write_text(
        "route:\n  receiver: hook\n  group_by: [target]\n  group_wait: 0s\n  group_interval: 1s\n"
        f"receivers:\n  - name: hook\n    webhook_configs:\n      - url: {job.webhook}\n        send_resolved: true\n"
    )
    rules = (
        f'      - alert: Down\n        expr: probe_success{{target="{name}"}} == 0\n        for: {job.confirm}s\n'
        for name in job.names
    )
    (folder / "rules.yml").write_text("groups:\n  - name: down\n    rules:\n" + "".join(rules))
    evaluation = 1 if job.confirm else job.every
    targets = (f'      - targets: ["{job.url(name)}"]\n        labels: {{target: {name}}}\n' for name in job.names)
    (folder / "prometheus.yml").write_text(
        f"global:\n  scrape_interval: {job.every}s\n  scrape_timeout: {job.every}s\n"
        f"  evaluation_interval: {evaluation}s\n"
        f"rule_files: [{folder}/rules.yml]\n"
        f'alerting:\n  alertmanagers:\n    - static_configs: [{{targets: ["127.0.0.1:{ports["alertmanager"]}"]}}]\n'
        "scrape_configs:\n  - job_name: web\n    metrics_path: /probe\n    params: {module: [web]}\n"
        "    static_configs:\n" + "".join(targets) + "    relabel_configs:\n"
        "      - {source_labels: [__address__], target_label: __param_target}\n"
        "      - {source_labels: [__param_target], target_label: instance}\n"
        f'      - {{target_label: __address__, replacement: "127.0.0.1:{ports["blackbox"]}"}}\n'
    )


# --- Monit ------------------------------------------------------------------------------------------------------------


class Monit:
    """Monit from Debian, telling by mail; it has no webhook, and its cycle is its interval."""

    name = "Monit"

    def __init__(self, folder: Path, job: Job) -> None:
        cycles = 1 + ceil(job.confirm / job.every)
        tls = "https" if job.scheme == "https" else "http"
        port = job.target.https if job.scheme == "https" else job.target.http
        config = folder / "monitrc"
        config.write_text(
            f"set daemon {job.every}\nset log {folder}/monit.log\nset pidfile {folder}/monit.pid\n"
            f"set idfile {folder}/monit.id\nset statefile {folder}/monit.state\n"
            f"set limits {{ networkTimeout: 5 s }}\n"
            f"set mailserver 127.0.0.1 port {job.smtp}\nset alert bench@localhost\n"
            f"set mail-format {{ subject: $SERVICE $EVENT }}\n"
            + "".join(
                f"check host {name} with address 127.0.0.1\n"
                f'  if failed port {port} protocol {tls} request "/{name}" timeout 5 seconds'
                f"{f' for {cycles} cycles' if cycles > 1 else ''} then alert\n"
                for name in job.names
            )
        )
        config.chmod(0o600)
        self.programs = [Program("monit", ["monit", "-I", "-c", config], folder)]

    def stop(self) -> None:
        """End it."""
        self.programs[0].stop()
