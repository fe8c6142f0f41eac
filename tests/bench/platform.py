"""``python -m tests.bench.platform``: what the complete configuration of etc/ costs, in memory and processor time.

Applications, PostgreSQL, Redis and nginx's log are local ones that live; what the Internet or the droplet would have to
answer (mail, storage, vendors, Docker) fails, and is tried again as often as a failure is. No TLS is spoken.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click

from tests.bench.processes import Program, own_memory
from tests.real.ports import free_port
from tests.real.servers.postgres import Postgres, new_data
from tests.real.servers.redis import RedisServer

ETC = Path(__file__).parents[2] / "etc"
LINES = 10
"""Requests a second in nginx's log."""
_JSON = (
    b'{"status": "Healthy", "databaseConnected": true, "userCount": 120, "activeUserCount": 40,'
    b' "environment": "Production"}'
)
_PAGE = b'<!doctype html><title>x</title><link rel="stylesheet" href="/a.css"><div id="root"></div>'


class _Application(BaseHTTPRequestHandler):
    """Answers as production's applications and nginx do, well enough for most checks of etc/ to be content."""

    headers_sent: Mapping[str, str] = {
        "Strict-Transport-Security": "max-age=63072000",
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "X-XSS-Protection": "1",
        "Referrer-Policy": "same-origin",
        "Access-Control-Allow-Origin": "https://www.wcr.example",
    }

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        """Pages, data and a style sheet."""
        if "events" in self.path and "api" in self.path:
            self._answer(200, "application/json", b'[{"id": 1}]')
        elif "health" in self.path:
            self._answer(200, "application/json", _JSON)
        elif self.path.endswith(".css"):
            self._answer(200, "text/css", b"p{}")
        else:
            self._answer(200, "text/html", _PAGE)

    def do_POST(self) -> None:
        """Nobody may sign in."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(400, "application/json", b"{}")

    def do_OPTIONS(self) -> None:
        """CORS."""
        self._answer(204, "text/plain", b"")

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


class _Staging(_Application):
    headers_sent: Mapping[str, str] = {
        "Strict-Transport-Security": "max-age=3600",
        "X-Frame-Options": "SAMEORIGIN",
        "X-Content-Type-Options": "nosniff",
        "X-Environment": "staging",
        "X-Robots-Tag": "noindex",
    }


@contextmanager
def _serving(application: type[_Application]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), application)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@contextmanager
def _visitors(log: Path) -> Iterator[None]:
    """Visitors whom nginx writes down."""
    ended = threading.Event()

    def visit() -> None:
        while not ended.wait(1 / LINES):
            now = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
            with log.open("a") as file:
                file.write(f'203.0.113.9 - - [{now}] "GET /api/events HTTP/1.1" 200 512 "-" "x" rt=0.012\n')

    log.touch()
    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _postgres() -> Iterator[str]:
    with new_data() as data:
        server = Postgres(data.parent)
        server.start()
        try:
            yield server.dsn
        finally:
            server.stop()


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    server = RedisServer(folder)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def _write(folder: Path, production: str, staging: str, redis: str, dsn: str) -> None:
    """The configuration of etc/, its addresses turned to local ones, and its credentials."""
    shutil.copytree(ETC, folder / "etc")
    for file in (folder / "etc").rglob("*.toml"):
        text = re.sub(r'(url = ")https?://www\.wcr\.example', rf"\1{production}", file.read_text())
        text = re.sub(r'(url = ")https?://(?:api\.)?staging\.wcr\.example', rf"\1{staging}", text)
        text = re.sub(r"http://127\.0\.0\.1(?::(?:5001|3001)|(?=/health))", production, text)
        text = re.sub(r"http://127\.0\.0\.1:(?:5002|3002)", staging, text)
        text = text.replace("redis://127.0.0.1:6379/0", redis).replace("127.0.0.1:9848", f"127.0.0.1:{free_port()}")
        text = text.replace("/var/log/nginx/access.log", str(folder / "access.log"))
        text = text.replace("sqlite:///var/lib/wcr-watchd/", f"sqlite:///{folder}/")
        file.write_text(text)
        for name in re.findall(r"\$\{credential:(\w+)\}", text):
            value = dsn if name.endswith("dsn") else f"secret-of-{name}-0123456789"
            (folder / name).write_text("http://127.0.0.1:9/" if name.startswith("slack") else value)


@click.command()
@click.option("--settle", default=120, show_default=True, help="Seconds for the first run of everything.")
@click.option("--measure", default=180, show_default=True, help="Seconds of the measurement.")
def main(settle: int, measure: int) -> None:
    """Run the daemon on the complete configuration; print what it uses."""
    folder = Path(tempfile.mkdtemp(prefix="watchd-platform-"))
    with ExitStack() as servers:
        servers.callback(shutil.rmtree, folder, ignore_errors=True)
        servers.enter_context(_visitors(folder / "access.log"))
        production, staging = (servers.enter_context(_serving(kind)) for kind in (_Application, _Staging))
        redis = servers.enter_context(_redis(folder))
        _write(folder, production, staging, redis, servers.enter_context(_postgres()))
        os.environ["CREDENTIALS_DIRECTORY"] = str(folder)
        config = folder / "etc" / "watchd.toml"
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "wcr_watchd",
            "run",
            "-c",
            config,
            "--socket",
            folder / "control.sock",
        ]
        daemon = Program("wcr-watchd", command, folder)
        servers.callback(daemon.stop)
        _measure(daemon, settle, measure)


def _measure(daemon: Program, settle: int, measure: int) -> None:
    """Print processor time and the most memory seen, with and without children: first, and of what follows."""
    for phase, seconds in (("with the first run of everything", settle), ("after that", measure)):
        before, begun = daemon.cpu(), time.monotonic()
        alone, together = 0.0, 0.0
        while time.monotonic() - begun < seconds:
            time.sleep(0.5)
            daemon.insist()
            alone, together = max(alone, own_memory(daemon)), max(together, daemon.memory())
        spent, passed = daemon.cpu() - before, time.monotonic() - begun
        click.echo(f"{phase}, {passed:.0f} s: {spent:.2f} s of processor time, {spent / passed:.2%} of one core")
        click.echo(f"{phase}, memory (PSS): {alone:.1f} MiB at most, with children {together:.1f} MiB")


if __name__ == "__main__":
    main()
