"""Discovery against real servers, a made-up machine, and this one."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.real.ports import free_port
from tests.real.running import carry_out, new_run
from tests.real.servers.certificates import Authority
from tests.real.servers.mail import MailRelay
from tests.real.servers.nginx import Nginx, Site
from tests.real.servers.odd import Odd, silence
from tests.real.servers.prometheus import Prometheus
from wcr_watchd.config import greet
from wcr_watchd.config.discover import Discovery, Found, discover, render
from wcr_watchd.config.greet import HttpAnswer, SmtpAnswer
from wcr_watchd.config.load import Loaded, loads
from wcr_watchd.config.look import Listener, Seen, look, user_name
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers

StartNginx = Callable[..., Nginx]
REPOSITORY = Path(__file__).parents[2]


def found(discovery: Discovery) -> dict[str, Found]:
    return {one.name: one for one in discovery.checks}


def as_configuration(discovery: Discovery) -> Loaded:
    """What is written can be used as it is."""
    return loads(render(discovery), "discovered")


def deeper(discovery: Discovery) -> Discovery:
    """With the better settings that stand in comments."""
    return replace(
        discovery, checks=tuple(replace(one, settings=one.deeper or one.settings) for one in discovery.checks)
    )


@pytest.fixture(autouse=True)
def credentials(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever credentials the comments speak of."""
    folder = tmp_path_factory.mktemp("credentials")
    for name in ("redis_password", "pg_password", "pgbouncer_password", "smtp_password", "twilio_sid", "twilio_token"):
        (folder / name).write_text("x")
    (folder / "web_token").write_text("x" * 32)
    (folder / "slack_webhook").write_text("https://hooks.example/x")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))


async def all_up(discovery: Discovery, shared: SharedHelpers) -> None:
    """What was discovered is found to work by the probes themselves."""
    loaded = as_configuration(discovery)
    for name, probe in loaded.probes.items():
        if name != "host":
            observation = await carry_out(probe, new_run(shared))
            assert observation.outcome is Outcome.UP, (name, observation)


# --- servers ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Starts real Redis servers: ``redis_port()``, ``redis_port("--requirepass", "x")``."""
    running: list[subprocess.Popen[bytes]] = []
    program = shutil.which("redis-server")
    assert program, "redis-server is not installed: apt-get install redis-server"

    def start(*options: str) -> int:
        port = free_port()
        settings = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path))
        running.append(subprocess.Popen([program, *settings, *options], stdout=subprocess.DEVNULL))
        wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close())
        return port

    yield start
    for process in running:
        process.terminate()
        process.wait(20)


@pytest.fixture
def postgres_root() -> Iterator[tuple[Path, int]]:
    """A root folder whose /run/postgresql holds the socket of a real PostgreSQL that lets this user in."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert programs, "PostgreSQL is not installed: apt-get install postgresql"
    as_owner = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="root-", ignore_cleanup_errors=True) as name:
        root, port = Path(name), free_port()
        sockets, data = root / "run/postgresql", root / "data"
        sockets.mkdir(parents=True)
        for path in (root, root / "run", sockets):
            path.chmod(0o755)
            if as_owner:
                shutil.chown(path, "postgres", "postgres")
        initialise = [*as_owner, programs[-1] / "initdb", "-D", data, "-U", user_name(), "-A", "trust", "-N"]
        subprocess.run(initialise, check=True, stdout=subprocess.DEVNULL, cwd="/")
        options = f"-k {sockets} -p {port} -c listen_addresses=127.0.0.1 -F"
        control = [*as_owner, programs[-1] / "pg_ctl", "-D", data, "-w", "-l", data / "log"]
        subprocess.run([*control, "-o", options, "start"], check=True, stdout=subprocess.DEVNULL, cwd="/")
        yield root, port
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, cwd="/")


def wait_for(attempt: Callable[[], None]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            return attempt()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


# --- greetings --------------------------------------------------------------------------------------------------------


def test_web_servers_with_and_without_tls(
    nginx: StartNginx, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", authority.ca_file)
    server = nginx(
        Site(),
        Site(locations="location / { return 404; }"),
        Site(certificate=authority.issue("localhost")),
        Site(certificate=authority.self_signed("intern.example")),
    )
    answers = [greet.web(Listener("127.0.0.1", port)) for port in server.ports]
    assert answers[:2] == [HttpAnswer(200), HttpAnswer(404)]
    # nginx says 400 in plain HTTP on a port that speaks TLS
    assert answers[2:] == [
        HttpAnswer(200, tls=True, name="localhost", trusted=True),
        HttpAnswer(200, tls=True, name="intern.example", trusted=False),
    ]


def test_redis_with_and_without_a_password(redis_port: Callable[..., int]) -> None:
    assert greet.redis(Listener("127.0.0.1", redis_port())) == "open"
    assert greet.redis(Listener("127.0.0.1", redis_port("--requirepass", "x"))) == "password"


def test_a_mail_server(mail_relay: MailRelay) -> None:
    assert greet.smtp(Listener("127.0.0.1", mail_relay.port)) == SmtpAnswer(starttls=True)


def test_postgres_over_its_unix_socket(postgres_root: tuple[Path, int]) -> None:
    root, port = postgres_root
    assert greet.postgres(root, port) == f"postgresql://{user_name()}@/postgres?host=/run/postgresql&port={port}"
    discovery = discover(root, Seen((Listener("127.0.0.1", port, "postgres"),)))
    assert found(discovery)[f"postgres-{port}"].settings["type"] == "postgres"
    as_configuration(discovery)


def test_postgres_that_lets_nobody_in(postgres_root: tuple[Path, int], tmp_path: Path) -> None:
    _, port = postgres_root
    discovery = discover(tmp_path, Seen((Listener("127.0.0.1", port, "postgres"),)))
    check = found(discovery)[f"postgres-{port}"]
    assert check.settings == {"type": "tcp", "address": f"127.0.0.1:{port}"}
    as_configuration(discovery)
    assert f'# watched in depth:\n# [check.postgres-{port}]\n# type = "postgres"\n' in render(discovery)
    as_configuration(deeper(discovery))


async def test_what_says_nothing_or_something_else_is_left_out_in_time(
    odd: Callable[..., Awaitable[Odd]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greet, "PATIENCE", 0.2)
    silent, rude = await odd(silence), await odd(b"220 hello\r\n")
    questions = {
        (kind, server.port): (lambda ask=ask, port=server.port: ask(Listener("127.0.0.1", port)))
        for server in (silent, rude)
        for kind, ask in (("web", greet.web), ("redis", greet.redis), ("ssh", greet.ssh), ("smtp", greet.smtp))
    }
    assert greet.ask_all(questions, 20.0) == {}


def test_a_question_that_hangs_is_left_behind() -> None:
    began = time.monotonic()
    answers = greet.ask_all({"slow": lambda: time.sleep(30), "quick": lambda: 1}, 0.5)
    assert answers == {"quick": 1}
    assert time.monotonic() - began < 20


# --- a made-up machine ------------------------------------------------------------------------------------------------


def test_what_web_servers_answer_is_what_is_expected_of_them(
    nginx: StartNginx, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", authority.ca_file)
    server = nginx(
        Site(),
        Site(locations="location / { return 301 https://www.example.org/; }"),
        Site(locations="location / { return 502; }"),
        Site(certificate=authority.issue("localhost")),
        Site(certificate=authority.self_signed("intern.example")),
    )
    discovery = discover(tmp_path, Seen(tuple(Listener("127.0.0.1", port, "nginx") for port in server.ports)))
    fine, moved, broken, trusted, own = (found(discovery)[f"nginx-{port}"].settings for port in server.ports)
    assert fine == {"type": "http", "url": f"http://127.0.0.1:{server.ports[0]}/"}
    assert (moved["expect"], moved["follow_redirects"]) == ({"status": 301}, False)
    assert "expect" not in broken
    assert (trusted["url"], trusted["resolve"]) == (f"https://localhost:{server.ports[3]}/", "127.0.0.1")
    assert own["verify"] is False
    loaded = as_configuration(discovery)
    assert len(loaded.setup.checks) == 6


def test_redis(redis_port: Callable[..., int], tmp_path: Path) -> None:
    open_, closed = redis_port(), redis_port("--requirepass", "x")
    listeners = (Listener("127.0.0.1", open_, "redis-server"), Listener("127.0.0.1", closed, "redis-server"))
    discovery = discover(tmp_path, Seen(listeners))
    assert found(discovery)[f"redis-{open_}"].settings == {"type": "redis", "url": f"redis://127.0.0.1:{open_}"}
    assert found(discovery)[f"redis-{closed}"].settings["type"] == "tcp"
    assert "wants a password" in render(discovery)
    as_configuration(discovery)
    as_configuration(deeper(discovery))


def test_ports_that_say_nothing_to_us_are_not_greeted(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        discovery = discover(tmp_path, Seen((Listener("127.0.0.1", server.getsockname()[1], "something"),)))
        with pytest.raises(TimeoutError):
            server.accept()
    assert list(found(discovery)) == ["host"]


def test_a_listener_that_is_gone_is_not_claimed(tmp_path: Path) -> None:
    discovery = discover(tmp_path, Seen((Listener("127.0.0.1", free_port(), "nginx"),)))
    assert list(found(discovery)) == ["host"]


def test_certificates_of_certbot(tmp_path: Path) -> None:
    live = tmp_path / "etc/letsencrypt/live"
    for name in ("www.example.org", "weird name"):
        (live / name).mkdir(parents=True)
        (live / name / "fullchain.pem").write_text("PEM")
    (live / "gone.example").mkdir()
    (live / "README").write_text("")
    discovery = discover(tmp_path, Seen())
    certificates = {name: one.settings["path"] for name, one in found(discovery).items() if name != "host"}
    assert certificates == {
        "certificate-weird-name": "/etc/letsencrypt/live/weird name/fullchain.pem",
        "certificate-www.example.org": "/etc/letsencrypt/live/www.example.org/fullchain.pem",
    }
    assert ["gone.example" in note for note in discovery.notes] == [True]
    as_configuration(discovery)


@pytest.mark.parametrize("path", ["run/docker.sock", "run/podman/podman.sock"])
def test_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / path))
        discovery = discover(tmp_path, Seen())
        monkeypatch.setattr("wcr_watchd.config.machine.os.access", lambda path, mode: False)
        forbidden = discover(tmp_path, Seen())
    assert found(discovery)["containers"].settings == {"type": "docker", "socket": f"/{path}"}
    as_configuration(discovery)
    assert list(found(forbidden)) == ["host"]
    assert [f"/{path} may not be used by" in note for note in forbidden.notes] == [True]


MACHINE = {
    "var/log/journal/8d2f/system.journal": "",
    "usr/bin/journalctl": "",
    "var/log/auth.log": "",
    "etc/shadow": "",
    "etc/sudoers": "",
    "proc/1/fd/0": "",
    "usr/bin/apt-get": "",
    "var/lib/apt/lists/lock": "",
    "var/lib/apt/lists/deb.debian.org_InRelease": "",
    "usr/bin/debsecan": "",
    "boot/vmlinuz-6.1.0-30-amd64": "",
    "usr/sbin/smartctl": "",
    "dev/nvme0n1": "",
    "sys/block/md0/size": "1000",
    "sys/devices/system/edac/mc/mc0/ce_count": "0",
    "sys/class/hwmon/hwmon0/temp1_input": "40000",
    "var/lib/logrotate/status": "",
    "etc/letsencrypt/renewal/www.example.org.conf": "",
    "var/log/nginx/access.log": "",
    "var/log/nginx/shop.access.log": "",
    "var/log/nginx/access.log.1": "",
    "var/log/nginx/error.log": "",
    "var/lib/prometheus/node-exporter/apt.prom": "a 1\n",
}
"""Files of a machine that has everything there is to watch."""


def _made(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
        (root / name).chmod(0o755)
    return root


def test_what_of_the_machine_itself_can_be_watched(tmp_path: Path) -> None:
    discovery = discover(_made(tmp_path, MACHINE), Seen((Listener("127.0.0.1", 3493),)))
    kinds = [one.settings["type"] for one in discovery.checks]
    security = ["journal", "logins", "accounts", "ports", "apt", "vulnerabilities", "kernel"]
    hardware = ["smart", "raid", "edac", "temperature"]
    assert kinds == ["host", *security, *hardware, "logrotate", "certbot", "ups", "nginx", "nginx", "textfile"]
    assert found(discovery)["certbot"].why == "certbot renews www.example.org"
    assert found(discovery)["raid"].why == "software RAID: md0"
    assert found(discovery)["nginx-access"].settings["path"] == "/var/log/nginx/access.log"
    assert found(discovery)["nginx-shop-access"].settings["path"] == "/var/log/nginx/shop.access.log"
    as_configuration(discovery)


@pytest.mark.parametrize(
    ("missing", "kind"),
    [
        ("usr/bin/journalctl", "journal"),
        ("var/log/auth.log", "logins"),
        ("etc/sudoers", "accounts"),
        ("proc/1/fd/0", "ports"),
        ("var/lib/apt/lists/deb.debian.org_InRelease", "apt"),
        ("usr/bin/debsecan", "vulnerabilities"),
        ("etc/letsencrypt/renewal/www.example.org.conf", "certbot"),
        ("boot/vmlinuz-6.1.0-30-amd64", "kernel"),
        ("dev/nvme0n1", "smart"),
        ("sys/block/md0/size", "raid"),
        ("sys/devices/system/edac/mc/mc0/ce_count", "edac"),
        ("sys/class/hwmon/hwmon0/temp1_input", "temperature"),
        ("var/lib/logrotate/status", "logrotate"),
        ("var/lib/prometheus/node-exporter/apt.prom", "textfile"),
    ],
)
def test_nothing_is_claimed_about_what_is_not_there(tmp_path: Path, missing: str, kind: str) -> None:
    files = {name: content for name, content in MACHINE.items() if name != missing}
    kinds = [one.settings["type"] for one in discover(_made(tmp_path, files), Seen()).checks]
    assert kind not in kinds
    assert len(kinds) == 16


def test_a_pgbouncer() -> None:
    discovery = discover(Path("/nowhere"), Seen())
    assert list(found(discovery)) == ["host"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = Listener("127.0.0.1", server.getsockname()[1], "pgbouncer")
        (_, check) = discover(Path("/nowhere"), Seen((listener,))).checks
    assert check.settings == {"type": "tcp", "address": listener.address}
    assert check.deeper["dsn"] == f"postgresql://stats@{listener.address}/pgbouncer"
    assert check.deeper["type"] == "pgbouncer"


def test_services_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a real process; systemd itself does not run here."""
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(
        '#!/bin/sh\n[ "$1" = list-units ] || exit 1\n'
        "echo 'docker.service loaded active running Docker'\n"
        "echo 'postgresql@15-main.service loaded failed failed PostgreSQL'\n"
        "echo 'getty@tty1.service loaded active running Getty'\n"
    )
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    seen = look(tmp_path)
    assert seen.units == ("docker.service", "postgresql@15-main.service", "getty@tty1.service")
    discovery = discover(tmp_path, Seen(units=seen.units))
    assert list(found(discovery)) == ["host", "systemd"]
    assert found(discovery)["systemd"].settings["units"] == ["docker.service", "postgresql@15-main.service"]
    as_configuration(discovery)


def test_a_systemctl_that_fails_or_hangs_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    monkeypatch.setattr("wcr_watchd.config.look.SYSTEMCTL_TIMEOUT", 0.2)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for script in ("#!/bin/sh\necho 'docker.service'; exit 1\n", "#!/bin/sh\nexec sleep 60\n"):
        (tmp_path / "systemctl").write_text(script)
        (tmp_path / "systemctl").chmod(0o755)
        assert look(tmp_path).units == ()


def test_programs_where_there_is_no_systemd(tmp_path: Path) -> None:
    discovery = discover(tmp_path, Seen(processes=frozenset({"cron", "bash"})))
    assert list(found(discovery)) == ["host", "cron"]
    as_configuration(discovery)


async def test_everything_discovered_is_up(
    nginx: StartNginx,
    redis_port: Callable[..., int],
    postgres_root: tuple[Path, int],
    prometheus: Callable[..., Prometheus],
    mail_relay: MailRelay,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    shared: SharedHelpers,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", authority.ca_file)
    sites = (
        Site(),
        Site(locations="location / { return 404; }"),
        Site(locations="location / { return 302 https://nowhere.example/; }"),
        Site(certificate=authority.issue("localhost")),
        Site(certificate=authority.self_signed("intern.example")),
    )
    ports = dict.fromkeys(nginx(*sites).ports, "nginx")
    ports |= {redis_port(): "redis-server", redis_port("--requirepass", "x"): "redis-server", mail_relay.port: "smtpd"}
    listeners = [Listener("127.0.0.1", port, process) for port, process in ports.items()]
    listeners.append(Listener("127.0.0.1", postgres_root[1], "postgres"))
    server = prometheus(free_port())
    # It shows its own metrics as an exporter does.
    listeners += [Listener("127.0.0.1", server.port, process) for process in ("prometheus", "node_exporter")]
    discovery = await asyncio.to_thread(discover, postgres_root[0], Seen(tuple(listeners)))
    assert len(discovery.checks) == len(listeners) + 1
    await all_up(_at(postgres_root[0], discovery), shared)


def _at(root: Path, discovery: Discovery) -> Discovery:
    """With the Unix socket of PostgreSQL where it really is."""
    return replace(
        discovery,
        checks=tuple(
            replace(one, settings={**one.settings, "dsn": one.settings["dsn"].replace("host=", f"host={root}")})
            if one.settings["type"] == "postgres"
            else one
            for one in discovery.checks
        ),
    )


def test_the_examples_in_comments_are_right() -> None:
    text = render(Discovery("here", "UTC", ()))
    examples = re.sub("(?m)^#(?! ---) ?", "", text[text.index("# --- More") :])
    loaded = loads(examples, "examples")
    assert len(loaded.setup.checks) == 4
    assert set(loaded.channels) == {"mail", "sms", "slack"}
    assert (len(loaded.web.access.tokens), loaded.defaults.retry.times) == (1, 2)


# --- this machine -----------------------------------------------------------------------------------------------------


def test_this_machine() -> None:
    discovery = discover()
    assert discovery.host == socket.gethostname()
    loaded = as_configuration(discovery)
    assert "host" in loaded.setup.checks


def test_this_machine_is_seen_as_it_is() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        (listener,) = [one for one in look().listeners if one.port == port]
    assert listener.host == "127.0.0.1"
    assert listener.process != ""
    assert "/" in look().mounts


@pytest.fixture
def open_root() -> Iterator[Path]:
    """A root folder that everybody may look into, which those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="root-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_nobody_can_discover_too(open_root: Path) -> None:
    """Without any privilege it works, and says what it may not see."""
    for forbidden in ("etc/letsencrypt/live", "run/systemd", "run/postgresql"):
        (open_root / forbidden).mkdir(parents=True)
        (open_root / forbidden).chmod(0o700)
    code = (
        "import os, sys; from pathlib import Path; from wcr_watchd.config import discover as d, load;"
        "load.loads(d.render(d.discover(Path('/nowhere'), d.Seen())), 'x');"  # import all that is needed, as root
        "os.geteuid() or (os.setgroups([]), os.setgid(65534), os.setuid(65534));"
        "text = d.render(d.discover(Path(sys.argv[1]))); print(text); load.loads(text, 'discovered')"
    )
    command = [sys.executable, "-c", code, str(open_root)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    if os.geteuid() == 0:
        said = "# - /etc/letsencrypt/live may not be read by nobody: certificates there were not looked for."
        assert said in done.stdout
    assert "[check.host]" in done.stdout
