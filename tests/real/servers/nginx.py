"""A real nginx on loopback, with whatever sites a test needs, that can be stopped, started and reloaded."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.real.ports import free_port
from tests.real.servers.certificates import Pair

PATIENCE = 20.0
"""Seconds to wait for nginx to come up; it takes some milliseconds on a machine that is not busy."""


@dataclass(frozen=True)
class Site:
    """One server block: its ``locations`` as nginx writes them; with a certificate it speaks TLS.

    ``settings`` are further directives of the block (``ssl_protocols TLSv1.2;``). ``host`` is where it listens.
    """

    locations: str = 'location / { return 200 "hello\\n"; }'
    certificate: Pair | None = None
    settings: str = ""
    host: str = "127.0.0.1"


class Nginx:
    """One nginx with its own configuration; ``ports`` are those of its sites, in order."""

    def __init__(self, folder: Path, sites: tuple[Site, ...]) -> None:
        self.program = shutil.which("nginx") or "/usr/sbin/nginx"
        assert os.access(self.program, os.X_OK), "nginx is not installed: apt-get install nginx-light"
        self.folder = folder
        self.ports = [free_port(site.host) for site in sites]
        self._process: subprocess.Popen[bytes] | None = None
        self.configure(*sites)

    @property
    def port(self) -> int:
        """The port of the first site."""
        return self.ports[0]

    def url(self, path: str = "/", *, site: int = 0, scheme: str = "http", host: str = "127.0.0.1") -> str:
        """The URL of a path of one of the sites."""
        return f"{scheme}://{host}:{self.ports[site]}{path}"

    def configure(self, *sites: Site) -> None:
        """Write the configuration; takes effect by :meth:`start` or :meth:`reload`."""
        blocks = "\n".join(_block(site, port) for site, port in zip(sites, self.ports, strict=True))
        self._hosts = [site.host for site in sites]
        (self.folder / "nginx.conf").write_text(_CONFIG.format(folder=self.folder, user=_user(), blocks=blocks))

    def start(self) -> None:
        """Start it and wait until every site accepts connections."""
        assert self._process is None, "it runs already"
        command = [self.program, "-e", "stderr", "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]
        with (self.folder / "output").open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        deadline = time.monotonic() + PATIENCE
        for host, port in zip(self._hosts, self.ports, strict=True):
            while not _accepts(host, port):
                said = (self.folder / "output").read_text()
                assert self._process.poll() is None, f"nginx ended: {said}"
                assert time.monotonic() < deadline, f"nginx did not come up: {said}"
                time.sleep(0.01)

    def stop(self) -> None:
        """Stop it at once, if it runs."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE)
            self._process = None

    def reload(self) -> None:
        """Let it read its configuration again; the old workers may answer for a moment still."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)


def _user() -> str:
    return "user root;" if os.geteuid() == 0 else ""


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


def _block(site: Site, port: int) -> str:
    host = f"[{site.host}]" if ":" in site.host else site.host
    tls = (
        f"ssl_certificate {site.certificate.certificate}; ssl_certificate_key {site.certificate.key};"
        if site.certificate
        else ""
    )
    return f"server {{ listen {host}:{port}{' ssl' if tls else ''}; {tls} {site.settings}\n{site.locations}\n}}"


_CONFIG = """\
{user}
daemon off;
master_process on;
worker_processes 1;
pid {folder}/pid;
error_log stderr;
events {{ worker_connections 512; }}
http {{
    log_format timed '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
                     '"$http_referer" "$http_user_agent" rt=$request_time uct=$upstream_connect_time';
    log_format json escape=json '{{"time_iso8601": "$time_iso8601", "remote_addr": "$remote_addr", '
                     '"request": "$request", "status": "$status", "body_bytes_sent": "$body_bytes_sent", '
                     '"request_time": "$request_time", "http_user_agent": "$http_user_agent"}}';
    log_format short '$msec|$status|$request_method $request_uri|$request_time';
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    root {folder};
    {blocks}
}}
"""


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Callable[..., Nginx]]:
    """Starts nginx with the sites it is given: ``nginx(Site(…), Site(…))``; all are stopped at the end."""
    running: list[Nginx] = []

    def start(*sites: Site) -> Nginx:
        folder = tmp_path / f"nginx-{len(running)}"
        folder.mkdir()
        server = Nginx(folder, sites or (Site(),))
        running.append(server)
        server.start()
        return server

    yield start
    for server in running:
        server.stop()
