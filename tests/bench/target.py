"""What is watched: an nginx that answers at once, fails on request, counts, and is no bottleneck."""

from __future__ import annotations

import http.client
import os
import re
from collections.abc import Iterable
from pathlib import Path

from tests.bench.processes import Program, accepts, eventually
from tests.real.ports import free_port
from tests.real.servers.certificates import Authority

_CONFIG = """\
user root;
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 8000; }}
http {{
    log_format arrival '$msec $uri $status';
    map $status $failing {{ 200 0; default 1; }}
    map $uri $logged {{ "~^/count" 0; default {log_all}; }}
    map "$failing$logged" $kept {{ "00" 0; default 1; }}
    access_log {folder}/arrivals.log arrival if=$kept;
    keepalive_timeout 60s;
    ssl_session_cache off;
    ssl_session_tickets off;
    server {{
        listen 127.0.0.1:{http} backlog=8000;
        listen 127.0.0.1:{https} ssl backlog=8000;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        location = /count {{ stub_status; }}
        location / {{
            if (-e {folder}/failing/all) {{ return 503 "failing\\n"; }}
            if (-e {folder}/failing$uri) {{ return 503 "failing\\n"; }}
            return 200 "ok\\n";
        }}
    }}
}}
"""


class Target:
    """One nginx worker with as many URLs as are asked for, each of which can be made to fail.

    With ``log_all`` every arrival is noted, else only those that were told of a failure.
    """

    def __init__(self, folder: Path, *, log_all: bool = False) -> None:
        self.folder = folder
        self._failing = folder / "failing"
        self._failing.mkdir(parents=True)
        authority = Authority(folder)
        self.ca_file = authority.ca_file
        pair = authority.issue("localhost", "127.0.0.1")
        self.http, self.https = free_port(), free_port()
        (folder / "nginx.conf").write_text(
            _CONFIG.format(
                folder=folder,
                http=self.http,
                https=self.https,
                certificate=pair.certificate,
                key=pair.key,
                log_all=int(log_all),
            )
        )
        nginx = "/usr/sbin/nginx" if os.path.exists("/usr/sbin/nginx") else "nginx"
        self.program = Program("nginx", [nginx, "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"], folder)
        eventually(lambda: accepts(self.http) and accepts(self.https), "nginx listens")

    def url(self, name: str, scheme: str = "http") -> str:
        """The URL of a target."""
        return f"{scheme}://127.0.0.1:{self.https if scheme == 'https' else self.http}/{name}"

    def requests(self) -> int:
        """How many requests came in so far."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=10)
        connection.request("GET", "/count")
        said = connection.getresponse().read().decode()
        connection.close()
        found = re.search(r"^ *\d+ +\d+ +(\d+)", said, re.MULTILINE)
        assert found, said
        return int(found[1])

    def fail(self, name: str = "all") -> None:
        """Answer 503 at this target (or all) from now on."""
        (self._failing / name).touch()

    def repair(self, name: str = "all") -> None:
        """Answer 200 again."""
        (self._failing / name).unlink(missing_ok=True)

    def arrivals(self) -> Iterable[tuple[float, str, int]]:
        """Epoch seconds (to the millisecond), target and status of the arrivals that were noted, in order."""
        for line in (self.folder / "arrivals.log").read_text().splitlines():
            at, uri, status = line.split()
            yield float(at), uri.removeprefix("/"), int(status)

    def stop(self) -> None:
        """End it."""
        self.program.stop()
