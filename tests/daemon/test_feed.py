"""What becomes different of real things is logged once, from what to what, and named in what fails after it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.daemon.harness import RunningDaemon, eventually
from tests.real.servers.certificates import Authority
from tests.real.servers.engine import Engine
from tests.real.servers.nginx import Nginx, Site
from tests.real.servers.postgres import Postgres

CHECKS = ("box", "served", "file", "settings", "files", "app")


def image(letter: str) -> str:
    return f"sha256:{letter * 64}"


class Platform:
    """A container engine, a web server with a certificate, a database and files, and a daemon that watches them."""

    def __init__(self, engine: Engine, nginx: Nginx, postgres: Postgres, authority: Authority, folder: Path) -> None:
        self.engine, self.nginx, self.postgres, self.authority = engine, nginx, postgres, authority
        self.box = engine.box(name="web", image=image("a"))
        self.conf = folder / "etc" / "app.conf"
        self.conf.parent.mkdir()
        self.conf.write_text("one\n")
        self.certificate = folder / "served.pem"

    def config(self, postgres: Postgres) -> str:
        served = f"https://127.0.0.1:{self.nginx.port}/"
        return f"""
[defaults]
every = "1h"
retry = {{ times = 0 }}
[check.box]
type = "docker"
socket = "{self.engine.socket}"
[check.served]
type = "tls"
address = "127.0.0.1:{self.nginx.port}"
ca_file = "{self.authority.ca_file}"
[check.file]
type = "certfile"
path = "{self.certificate}"
[check.settings]
type = "postgres_settings"
dsn = "{postgres.dsn}"
[check.files]
type = "integrity"
critical_paths = ["{self.conf.parent}/*"]
paths = []
exclude = []
[check.app]
type = "http"
url = "{served}"
ca_file = "{self.authority.ca_file}"
version = "version"
"""

    def set(self, name: str, value: str) -> None:
        """Change a setting, and wait until new sessions have it."""
        self.postgres.sql(f"ALTER SYSTEM SET {name} = '{value}'")
        self.postgres.sql("SELECT pg_reload_conf()")
        eventually(lambda: self.postgres.sql(f"SHOW {name}") == value, "it holds")

    def deploy(self, version: str) -> None:
        """Another version, and another certificate; the web server's workers of before are gone."""
        issued = self.authority.issue("127.0.0.1")
        shutil.copy(issued.certificate, self.certificate)
        self.nginx.stop()
        answer = f'default_type application/json; return 200 \'{{"version": "{version}"}}\';'
        self.nginx.configure(Site(f"location / {{ {answer} }}", certificate=issued))
        self.nginx.start()


async def test_the_feed_of_real_things(
    make_daemon: Callable[..., RunningDaemon],
    engine: Engine,
    nginx: Callable[..., Nginx],
    start_postgres: Callable[..., Postgres],
    authority: Authority,
    tmp_path: Path,
) -> None:
    server = nginx(Site(certificate=authority.issue("127.0.0.1")))
    platform = Platform(engine, server, start_postgres(), authority, tmp_path)
    platform.deploy("2.3")
    # The engine answers on this loop, so that whoever waits for the daemon must do it elsewhere.
    await asyncio.to_thread(go_through, platform, make_daemon, start_postgres, tmp_path)


def go_through(
    platform: Platform,
    make_daemon: Callable[..., RunningDaemon],
    start_postgres: Callable[..., Postgres],
    folder: Path,
) -> None:
    daemon = make_daemon(platform.config(platform.postgres), environment={"STATE_DIRECTORY": str(folder)})
    said: list[str] = []

    def look(*checks: str) -> None:
        for check in checks or CHECKS:
            daemon.api("POST", f"/checks/{check}/run")

    def told(expected: set[str]) -> None:
        """What has come since is this, in any order, and no more."""

        def new() -> list[str]:
            found: list[dict[str, Any]] = daemon.api("GET", "/modifications")["modifications"]
            texts = [f"{one['source']}: {shortened(one)}" for one in found]
            assert len(texts) >= len(said)
            return sorted(texts[: len(texts) - len(said)])

        eventually(lambda: expected <= set(new()), f"{expected} is logged; new are {new()}")
        assert new() == sorted(expected), "each once"
        said.extend(new())

    eventually(lambda: all(daemon.outcome(check) == "up" for check in CHECKS), "all have looked")
    look()
    told(set())

    platform.box.image = image("b")
    platform.set("work_mem", "8MB")
    platform.deploy("2.4")
    platform.conf.write_text("two\n")
    look()
    first = {
        "box: image web: aaaaaaaaaaaa → bbbbbbbbbbbb",
        "settings: setting work_mem: 4MB → 8MB",
        "served: certificate 127.0.0.1: serial → serial",
        "file: certificate 127.0.0.1: serial → serial",
        f"files: file {platform.conf}: as accepted → content",
        "app: version app: 2.3 → 2.4",
    }
    told(first)
    look()
    told(set())

    platform.box.image = image("a")
    look("box")
    told({"box: image web: bbbbbbbbbbbb → aaaaaaaaaaaa"})
    platform.box.image = image("b")
    platform.conf.write_text("one\n")
    look("box", "files")
    told({"box: image web: aaaaaaaaaaaa → bbbbbbbbbbbb", f"files: file {platform.conf}: content → as accepted"})

    socket, platform.engine.refused = platform.engine.socket, ("/",)
    platform.nginx.stop()
    look("box", "served", "app")
    assert [daemon.outcome(check) for check in ("box", "served", "app")] != ["up"] * 3, socket
    platform.engine.refused = ()
    platform.nginx.start()
    look()
    told(set())

    daemon.kill()
    platform.box.image = image("c")
    platform.set("work_mem", "4MB")
    daemon.start()
    look()
    told({"box: image web: bbbbbbbbbbbb → cccccccccccc", "settings: setting work_mem: 8MB → 4MB"})

    other = start_postgres(work_mem="77MB")
    daemon.write(platform.config(other))
    assert daemon.api("POST", "/reload") == {"problems": []}
    look("settings")
    dsn = "postgresql://watchd:***@127.0.0.1:{}/app".format
    told({f"wcr-watchd: configuration check.settings.dsn: {dsn(platform.postgres.port)} → {dsn(other.port)}"})

    platform.nginx.stop()
    look("served")

    def failed() -> list[dict[str, Any]]:
        return [one for one in daemon.incidents(open_only=True) if one["check"] == "served"]

    incident = eventually(failed, "an incident begins")[0]
    causes = daemon.api("GET", f"/incidents/{incident['id']}/causes")["causes"]
    assert "certificate 127.0.0.1: serial" in causes[0]["text"], "the check's own first, though others are nearer"
    marks = daemon.api("GET", "/marks")["marks"]
    assert "image web: aaaaaaaaaaaa → bbbbbbbbbbbb → … → cccccccccccc (4 times)" in [one["text"] for one in marks]


def shortened(modification: dict[str, Any]) -> str:
    """Without what is another in every run of the test: serial numbers and checksums."""
    before, after = (
        value.split()[0] if value.startswith(("serial", "content")) else value
        for value in (modification["before"], modification["after"])
    )
    return f"{modification['kind']} {modification['name']}: {before} → {after}"
