"""The whole line on real servers: it breaks, the right people are told once; it is mended, they are told once."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.harness import RunningDaemon, eventually
from tests.real.servers import providers
from tests.real.servers.certificates import Authority
from tests.real.servers.mail import MailRelay
from tests.real.servers.nginx import Nginx, Site
from tests.real.servers.providers import Fault, Slack, Twilio

Daemons = Callable[..., RunningDaemon]

FAST = 'every = "1s"\ntimeout = "950ms"\nretry = { times = 2, every = "200ms" }\n'


@dataclass
class Receivers:
    """Everywhere a message can arrive."""

    twilio: Twilio
    slack: Slack
    relay: MailRelay
    ca_file: Path

    def config(self, critical: str = '["sms:lead", "mail:lead"]') -> str:
        """Channels, a contact and a policy that use them."""
        return f"""
[defaults]
{FAST}
[channel.sms]
type = "sms"
provider = "twilio"
api_url = "{self.twilio.base}"
account_sid = "{providers.ACCOUNT}"
auth_token = "{providers.TOKEN}"
from = "{providers.FROM}"
[channel.mail]
type = "email"
servers = ["smtp://localhost:{self.relay.port}"]
ca_file = "{self.ca_file}"
from = "watch@example.org"
[channel.slack]
type = "slack"
webhook = "{self.slack.url}"
[contact.lead]
phone = "+15550101"
email = "lead@example.org"
[policy.default.critical]
tell = {critical}
repeat = "1h"
[policy.default.warning]
tell = ["mail:lead"]
[policy.default.info]
tell = ["slack"]
"""

    def texts(self) -> list[str]:
        """The text messages that the provider took."""
        return [one.fields["Body"] for one in self.twilio.accepted]

    def subjects(self) -> list[str]:
        """The subjects of the mails that the relay took."""
        return [str(mail.message["Subject"]) for mail in self.relay.mails]

    def counts(self) -> tuple[int, int]:
        """How many text messages and mails there were."""
        return len(self.twilio.accepted), len(self.relay.mails)


@pytest.fixture
def receivers(twilio: Twilio, slack: Slack, mail_relay: MailRelay, mail_ca_file: Path) -> Receivers:
    return Receivers(twilio, slack, mail_relay, mail_ca_file)


def settle(daemon: RunningDaemon, check: str, runs: int = 3) -> None:
    """Let some more runs of a check pass, so that what must not happen twice has had its chance."""
    until = len(daemon.check(check)["recent"]) + runs
    last = daemon.check(check)["last_at"]
    seen = {last}
    eventually(lambda: seen.add(daemon.check(check)["last_at"]) or len(seen) > runs, f"{until} runs of {check}")


def breaks_and_mends(
    daemon: RunningDaemon, receivers: Receivers, check: str, break_it: Callable[[], Any], mend_it: Callable[[], Any]
) -> None:
    """One SMS and one mail when it breaks, one of each when it is mended, none twice."""
    eventually(lambda: daemon.outcome(check) == "up", f"{check} is up: {daemon.check(check)}")
    break_it()
    eventually(lambda: receivers.counts() == (1, 1), f"told of {check}: {receivers.counts()} {daemon.check(check)}")
    settle(daemon, check)
    assert receivers.counts() == (1, 1), (receivers.texts(), receivers.subjects())
    assert receivers.texts()[0].startswith("[CRITICAL]")
    mend_it()
    eventually(lambda: receivers.counts() == (2, 2), f"told of the recovery of {check}: {receivers.counts()}")
    settle(daemon, check)
    assert receivers.counts() == (2, 2), (receivers.texts(), receivers.subjects())
    assert receivers.texts()[1].startswith("[RESOLVED]")
    assert [one["state"] for one in daemon.incidents()] == ["resolved"]


def test_nginx_stopped_and_started(make_daemon: Daemons, receivers: Receivers, nginx: Callable[..., Nginx]) -> None:
    server = nginx(Site())
    daemon = make_daemon(receivers.config() + f'[check.site]\nevery = "1s"\ntype = "http"\nurl = "{server.url()}"\n')
    breaks_and_mends(daemon, receivers, "site", server.stop, server.start)


def test_postgres_stopped_and_started(make_daemon: Daemons, receivers: Receivers, postgres: Any) -> None:
    daemon = make_daemon(
        receivers.config() + f'[check.db]\nevery = "1s"\ntype = "postgres"\ndsn = "{postgres.dsn}"\nwarning = []\n'
    )
    breaks_and_mends(daemon, receivers, "db", postgres.stop, postgres.start)


def test_redis_stopped_and_started(make_daemon: Daemons, receivers: Receivers, redis_server: Any) -> None:
    daemon = make_daemon(
        receivers.config() + f'[check.cache]\nevery = "1s"\ntype = "redis"\nurl = "{redis_server.url}"\n'
    )
    breaks_and_mends(daemon, receivers, "cache", redis_server.stop, redis_server.start)


def reconfigured(server: Nginx, *sites: Site) -> Callable[[], None]:
    def apply() -> None:
        server.configure(*sites)
        server.reload()

    return apply


@pytest.mark.parametrize(
    ("bad", "rules"),
    [
        (Site('location / { return 500 "no\\n"; }'), ""),
        (Site('location / { return 200 "Welcome to nginx!\\n"; }'), ""),
    ],
    ids=["status-500", "wrong-content"],
)
def test_wrong_answers(
    make_daemon: Daemons, receivers: Receivers, nginx: Callable[..., Nginx], bad: Site, rules: str
) -> None:
    server = nginx(Site())
    check = f'[check.site]\nevery = "1s"\ntype = "http"\nurl = "{server.url()}"\nexpect.body = "hello"\n{rules}'
    daemon = make_daemon(receivers.config() + check)
    breaks_and_mends(daemon, receivers, "site", reconfigured(server, bad), reconfigured(server, Site()))


def test_expired_certificate(
    make_daemon: Daemons, receivers: Receivers, nginx: Callable[..., Nginx], authority: Authority
) -> None:
    good, expired = authority.issue("localhost"), authority.issue("localhost", begins=-60, ends=-1)
    server = nginx(Site(certificate=good))
    check = f"""
[check.certificate]
type = "tls"
address = "localhost:{server.port}"
ca_file = "{authority.ca_file}"
every = "1s"
warning = []
critical = "down"
"""
    daemon = make_daemon(receivers.config() + check)
    expire, renew = Site(certificate=expired), Site(certificate=good)
    breaks_and_mends(daemon, receivers, "certificate", reconfigured(server, expire), reconfigured(server, renew))
    assert "expired" in receivers.texts()[0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB that may be filled."""
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(mount)], check=True)
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)


def test_full_disk(make_daemon: Daemons, receivers: Receivers, small_disk: Path) -> None:
    check = f"""
[check.host]
type = "host"
every = "1s"
include_mounts = ["{small_disk}"]
info = []
warning = []
critical = "disk_used{{mount=\\"{small_disk}\\"}} > 90%"
"""
    daemon = make_daemon(receivers.config() + check)
    filler = small_disk / "filler"
    breaks_and_mends(daemon, receivers, "host", lambda: filler.write_bytes(b"x" * 7_900_000), filler.unlink)
    assert str(small_disk) in receivers.texts()[0] or "disk" in receivers.texts()[0]


class SlowServer(ThreadingHTTPServer):
    """An HTTP server that takes its time: ``delay`` seconds for each answer."""

    delay = 0.0


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, SlowServer)
        time.sleep(self.server.delay)  # the slowness that is watched, not a wait for it
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def slow_server() -> Iterator[SlowServer]:
    with SlowServer(("127.0.0.1", 0), _Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_slow_answers_are_a_warning_by_mail_alone(
    make_daemon: Daemons, receivers: Receivers, slow_server: SlowServer
) -> None:
    url = f"http://127.0.0.1:{slow_server.server_port}/"
    rule = 'warning = "response_time > 1s for 2x until response_time < 800ms"'
    check = f'[check.slow]\ntype = "http"\nurl = "{url}"\nevery = "3s"\ntimeout = "2900ms"\n{rule}\n'
    daemon = make_daemon(receivers.config() + check)
    eventually(lambda: daemon.outcome("slow") == "up", "it is up")
    slow_server.delay = 1.2
    eventually(lambda: receivers.counts() == (0, 1), f"told by mail: {receivers.counts()} {daemon.check('slow')}")
    assert "[WARNING]" in receivers.subjects()[0].upper()
    slow_server.delay = 0.0
    eventually(lambda: receivers.counts() == (0, 2), f"told of the end: {receivers.counts()} {daemon.check('slow')}")
    settle(daemon, "slow", 2)
    assert receivers.counts() == (0, 2)


def down_site(nginx: Callable[..., Nginx]) -> tuple[Nginx, str]:
    server = nginx(Site())
    return server, f'[check.site]\nevery = "1s"\ntype = "http"\nurl = "{server.url()}"\n'


def test_killed_before_the_failure_is_confirmed(
    make_daemon: Daemons, receivers: Receivers, nginx: Callable[..., Nginx]
) -> None:
    server, check = down_site(nginx)
    daemon = make_daemon(receivers.config() + check)
    eventually(lambda: daemon.outcome("site") == "up", "the site is up")
    server.stop()
    eventually(lambda: daemon.outcome("site") == "down", "the first failure is seen")
    daemon.kill()
    daemon.start()
    eventually(lambda: receivers.counts() == (1, 1), f"told after the restart: {receivers.counts()}")


def test_killed_while_sending_and_after(
    make_daemon: Daemons, receivers: Receivers, nginx: Callable[..., Nginx]
) -> None:
    server, check = down_site(nginx)
    daemon = make_daemon(receivers.config() + check)
    eventually(lambda: daemon.outcome("site") == "up", "the site is up")
    receivers.twilio.fault = Fault(hang=True)
    receivers.relay.hang = True
    server.stop()
    eventually(lambda: receivers.twilio.requests > 0, "the text message is on its way")
    daemon.kill()
    receivers.twilio.fault = None
    receivers.relay.hang = False
    mails = len(receivers.relay.mails)
    daemon.start()
    eventually(lambda: receivers.twilio.accepted, "told after the restart")
    eventually(lambda: len(receivers.relay.mails) > mails, "mailed after the restart")
    settle(daemon, "site")
    # Sent exactly once since; the relay may hold one more that it took in the moment of the kill.
    assert len(receivers.twilio.accepted) == 1
    keys = Counter(str(mail.message["Message-ID"]) for mail in receivers.relay.mails)
    assert len(keys) == 1, keys
    told = receivers.counts()
    daemon.kill()
    daemon.start()
    settle(daemon, "site")
    assert receivers.counts() == told, "a restart tells nobody again"
    assert len(daemon.incidents(open_only=True)) == 1
    server.start()
    eventually(lambda: receivers.counts() == (told[0] + 1, told[1] + 1), "told of the end, once")


def test_relay_down_for_a_while_is_delivered_in_the_end_once(
    make_daemon: Daemons, receivers: Receivers, nginx: Callable[..., Nginx]
) -> None:
    server, check = down_site(nginx)
    receivers.relay.stop()
    daemon = make_daemon(receivers.config('["mail:lead"]') + check)
    eventually(lambda: daemon.outcome("site") == "up", "the site is up")
    server.stop()
    eventually(lambda: daemon.incidents(open_only=True), "the incident is open")
    number = daemon.incidents()[0]["id"]
    eventually(lambda: _attempts(daemon, number) >= 1, "a first attempt fails")
    receivers.relay.start()
    eventually(lambda: receivers.relay.mails, "delivered in the end")
    settle(daemon, "site")
    assert len(receivers.relay.mails) == 1


@pytest.mark.parametrize(
    "faults",
    [[Fault(status=429, retry_after="1")], [Fault(status=500)], [Fault(reset=True)], [Fault(hang=True)]],
    ids=["429", "500", "reset", "hanging"],
)
def test_slack_in_trouble_is_delivered_in_the_end_once(
    make_daemon: Daemons, receivers: Receivers, nginx: Callable[..., Nginx], faults: list[Fault]
) -> None:
    server, check = down_site(nginx)
    receivers.slack.faults.extend(faults)
    daemon = make_daemon(receivers.config('["slack", "sms:lead"]') + check)
    eventually(lambda: daemon.outcome("site") == "up", "the site is up")
    server.stop()
    eventually(lambda: receivers.twilio.accepted, "the SMS does not wait for Slack")
    eventually(lambda: receivers.slack.accepted, "Slack gets it in the end")
    settle(daemon, "site")
    assert len(receivers.slack.accepted) == 1
    assert len(receivers.twilio.accepted) == 1


def test_critical_goes_out_by_the_fallback_meanwhile(
    make_daemon: Daemons, receivers: Receivers, nginx: Callable[..., Nginx]
) -> None:
    server, check = down_site(nginx)
    receivers.twilio.fault = Fault(status=503)
    daemon = make_daemon(receivers.config('["sms:lead"]') + check)
    eventually(lambda: daemon.outcome("site") == "up", "the site is up")
    server.stop()
    eventually(lambda: receivers.relay.mails, "the mail goes out in place of the SMS", within=90)
    assert "could not deliver" in receivers.relay.mails[0].message.as_string()
    receivers.twilio.fault = None
    eventually(lambda: receivers.twilio.accepted, "the SMS is delivered in the end", within=90)
    settle(daemon, "site")
    assert receivers.counts() == (1, 1)


def _attempts(daemon: RunningDaemon, number: int) -> int:
    rows = daemon.api("GET", f"/incidents/{number}")["notifications"]
    return max((row["attempts"] for row in rows), default=0)


def test_acknowledging_on_the_command_line_stops_reminders(
    make_daemon: Daemons, receivers: Receivers, nginx: Callable[..., Nginx]
) -> None:
    server, check = down_site(nginx)
    config = receivers.config().replace('repeat = "1h"', 'repeat = "1s"')
    daemon = make_daemon(config + check)
    eventually(lambda: daemon.outcome("site") == "up", "the site is up")
    server.stop()
    eventually(lambda: len(receivers.twilio.accepted) >= 2, "a reminder comes")
    done = daemon.command("ack", str(daemon.incidents()[0]["id"]), "--by", "ann")
    assert done.returncode == 0, done.stderr
    eventually(lambda: daemon.incidents()[0]["state"] == "acknowledged", "it is acknowledged")
    settle(daemon, "site", 2)
    count = len(receivers.twilio.accepted)
    settle(daemon, "site", 3)
    assert len(receivers.twilio.accepted) == count
    assert daemon.command("status").returncode == 1


def test_two_hundred_checks_of_one_dead_machine_are_few_messages(make_daemon: Daemons, receivers: Receivers) -> None:
    """A storm: all are told of, and nobody reads two hundred messages."""
    checks = "".join(
        f'[check.c{number}]\ntype = "tcp"\naddress = "127.0.0.1:1"\ngroup = "g{number % 20}"\n' for number in range(200)
    )
    daemon = make_daemon(receivers.config() + checks)
    eventually(lambda: len(daemon.api("GET", "/status")["incidents"]) == 200, "every check has its incident")

    def untold() -> list[str]:
        rows = daemon.api("GET", "/deliveries")["deliveries"]
        return [row["id"] for row in rows if row["state"] == "pending"]

    eventually(lambda: receivers.texts() and not untold(), "all is told")
    texts = receivers.texts()
    assert len(texts) <= 6, texts
    assert len(receivers.relay.mails) <= 6, receivers.subjects()
    assert all(len(text) <= 160 for text in texts)
    counted = sum(int(found[1]) if (found := re.search(r"(\d+) messages", text)) else 1 for text in texts)
    assert counted == 200, texts
