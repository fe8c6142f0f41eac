"""certbot's state: folders as certbot lays them out, logs that the real certbot writes here.

Of systemd, which does not run on every test machine, ``systemctl show`` is a script that prints what it prints for
Debian's certbot.timer (systemctl(1), properties of a timer unit).
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.real.running import Observe, measured, names
from tests.real.servers.certificates import Authority
from wcr_watchd.core.model import Outcome
from wcr_watchd.probes import certbot

DAY = 86_400.0


class Folder:
    """What certbot keeps: its configuration, its logs, and the real program to work with them."""

    def __init__(self, root: Path, authority: Authority) -> None:
        self.path, self.logs, self._work = root / "etc", root / "logs", root / "work"
        self._authority = authority
        for folder in (self.path / "renewal", self.path / "renewal-hooks" / "deploy", self.logs, self._work):
            folder.mkdir(parents=True)

    def add(self, name: str, ends: float = 80.0, hook: str = "renew_hook = systemctl reload nginx\n") -> Path:
        """A lineage as certbot lays it out, of a server that nobody can reach."""
        archive, live = self.path / "archive" / name, self.path / "live" / name
        archive.mkdir(parents=True)
        live.mkdir(parents=True)
        pair = self._authority.issue(name, begins=ends - 90, ends=ends)
        pems = Path(pair.certificate).read_text().split("-----END CERTIFICATE-----\n")
        leaf, chain = pems[0] + "-----END CERTIFICATE-----\n", pems[1] + "-----END CERTIFICATE-----\n"
        contents = {"cert": leaf, "chain": chain, "fullchain": leaf + chain, "privkey": Path(pair.key).read_text()}
        for kind, content in contents.items():
            (archive / f"{kind}1.pem").write_text(content)
            (live / f"{kind}.pem").symlink_to(f"../../archive/{name}/{kind}1.pem")
        paths = "".join(f"{kind} = {live}/{kind}.pem\n" for kind in contents)
        conf = self.path / "renewal" / f"{name}.conf"
        conf.write_text(
            f"# renew_before_expiry = 30 days\nversion = 2.1.0\narchive_dir = {archive}\n{paths}\n"
            "# Options used in the renewal process\n[renewalparams]\naccount = 0123456789abcdef0123456789abcdef\n"
            f"authenticator = webroot\nserver = http://127.0.0.1:1/directory\n{hook}[[webroot_map]]\n"
            f"{name} = /var/www\nfullchain = of the nested section\n"
        )
        return conf

    def renew(self) -> int:
        """What the timer starts."""
        words = ["certbot", "renew", "-q", "--no-random-sleep-on-renew"]
        words += ["--config-dir", str(self.path), "--work-dir", str(self._work), "--logs-dir", str(self.logs)]
        return subprocess.run(words, capture_output=True, check=False).returncode


@pytest.fixture
def folder(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Folder:
    crontab = tmp_path / "crontab"
    crontab.write_text("0 */12 * * * root certbot -q renew\n")
    monkeypatch.setattr(certbot, "CRON", (str(crontab),))
    monkeypatch.setattr(certbot, "SYSTEMD_RUNS", tmp_path / "no-systemd")
    return Folder(tmp_path, authority)


Look = Callable[..., Any]


@pytest.fixture
def look(folder: Folder, observe: Observe) -> Look:
    return lambda **options: observe("certbot", **({"path": str(folder.path), "logs": str(folder.logs)} | options))


async def test_a_renewal_that_went_well(folder: Folder, look: Look) -> None:
    folder.add("a.example.org", ends=80)
    folder.add("b.example.org", ends=60)
    assert folder.renew() == 0
    seen = await look()
    assert seen.outcome is Outcome.UP
    assert seen.reason == ""
    assert "2 certificates; the first, b.example.org," in seen.summary
    assert "renewal went well" in seen.summary
    assert measured(seen, "lineages") == 2
    assert measured(seen, "without_hook") == 0
    assert measured(seen, "failures") == 0
    assert measured(seen, "scheduled") == 1
    assert 0 <= measured(seen, "last_attempt") < 120
    assert measured(seen, "expires_first") == pytest.approx(60 * DAY, abs=60)
    assert measured(seen, "expires_in", lineage="a.example.org") == pytest.approx(80 * DAY, abs=60)


async def test_renewals_that_fail_are_counted_and_end_the_count_when_one_goes_well(folder: Folder, look: Look) -> None:
    folder.add("a.example.org")
    conf = folder.add("due.example.org", ends=10)
    assert [folder.renew(), folder.renew()] == [1, 1]
    seen = await look()
    assert (seen.outcome, seen.reason) == (Outcome.UP, "renewal")
    assert "renewal of due.example.org failed" in seen.summary
    assert "due.example.org: Account at" in seen.evidence["failed"]
    assert measured(seen, "failures") == 2
    conf.unlink()
    assert folder.renew() == 0
    seen = await look()
    assert measured(seen, "failures") == 0
    assert "failed" not in seen.evidence


async def test_hooks_of_a_certificate_and_of_all(folder: Folder, look: Look) -> None:
    folder.add("a.example.org", hook="")
    folder.add("b.example.org", hook="installer = nginx\n")
    folder.add("c.example.org", hook="installer = None\n")
    assert measured(await look(), "without_hook") == 2
    assert "without_hook" not in names(await look(hooks=False))
    hook = folder.path / "renewal-hooks" / "deploy" / "reload"
    hook.write_text("#!/bin/sh\n")
    assert measured(await look(), "without_hook") == 2, "what may not be executed is not started"
    hook.chmod(0o755)
    assert measured(await look(), "without_hook") == 0


async def test_what_certbot_cannot_renew_is_down(folder: Folder, look: Look) -> None:
    folder.add("a.example.org")
    gone = folder.path / "archive" / "a.example.org" / "fullchain1.pem"
    gone.rename(gone.with_suffix(".kept"))
    seen = await look()
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "content")
    assert "does not exist" in seen.summary
    gone.write_text("no certificate")
    assert "holds no readable certificate" in (await look()).summary
    (folder.path / "renewal" / "a.example.org.conf").write_text("version = 2.1.0\n[renewalparams]\n")
    seen = await look()
    assert "names no fullchain" in seen.summary


async def test_nothing_kept_is_up(look: Look) -> None:
    seen = await look()
    assert seen.outcome is Outcome.UP
    assert "keeps no certificate" in seen.summary
    assert "expires_first" not in names(seen)


async def test_logs_that_tell_nothing_are_absent(folder: Folder, look: Look) -> None:
    folder.add("a.example.org")
    seen = await look()
    assert not {"failures", "last_attempt"} & names(seen)
    assert "tell of no attempt" in seen.evidence["absent"]
    seen = await look(logs="/no/such/folder")
    assert "cannot be read" in seen.evidence["absent"]


async def test_without_certbot_it_is_unknown(look: Look) -> None:
    seen = await look(path="/no/such/folder")
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")


async def test_without_permission_it_is_unknown(folder: Folder, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    real = certbot.os.listdir

    def refused(path: Any = ".") -> Any:
        if str(path).startswith(str(folder.path)):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(certbot.os, "listdir", refused)
    seen = await look()
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "permission")


# --- who starts it ----------------------------------------------------------------------------------------------------

TIMER = """\
ActiveState=active
NextElapseUSecRealtime=Sun 2026-11-29 03:12:07 UTC

ActiveState=inactive
NextElapseUSecRealtime=

ActiveState=inactive
NextElapseUSecRealtime=Sat 2026-11-28 00:00:00 UTC
"""


def with_systemd(folder: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    script = folder / "bin" / "systemctl"
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\ncat <<'X'\n{said}X\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    monkeypatch.setattr(certbot, "SYSTEMD_RUNS", folder)


async def test_a_timer_says_when_it_is_next(
    folder: Folder, look: Look, observe: Observe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.add("a.example.org")
    with_systemd(tmp_path, monkeypatch, TIMER)
    now = datetime(2026, 11, 28, 16, tzinfo=UTC).timestamp()
    seen = await observe("certbot", path=str(folder.path), logs=str(folder.logs), started=now)
    assert measured(seen, "scheduled") == 1
    assert measured(seen, "next_attempt") == 11 * 3_600 + 12 * 60 + 7


async def test_a_timer_that_is_off_leaves_it_to_cron(
    look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_systemd(tmp_path, monkeypatch, TIMER.replace("ActiveState=active", "ActiveState=inactive"))
    crontab = tmp_path / "crontab"
    crontab.write_text("#0 0 * * * root certbot renew\n0 0 * * * root test ! -d /run/systemd/system && certbot renew\n")
    seen = await look()
    assert measured(seen, "scheduled") == 0, "Debian's job of cron leaves it to the timer"
    assert "next_attempt" not in names(seen)
    crontab.write_text("0 0 * * * root /usr/bin/certbot renew -q\n")
    assert measured(await look(), "scheduled") == 1


async def test_what_may_not_be_read_is_not_taken_for_nothing(
    look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: str) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(certbot, "CRON", (f"{tmp_path}/none", "/var/spool/cron/crontabs/*"))
    real = certbot.os.scandir
    monkeypatch.setattr(certbot.os, "scandir", lambda path: refused(path) if "spool" in str(path) else real(path))
    seen = await look()
    assert "scheduled" not in names(seen)
    assert "/var/spool/cron/crontabs" in seen.evidence["absent"]


async def test_a_dead_file_system_is_unknown(look: Look, observe: Observe, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = threading.Event()
    monkeypatch.setattr(certbot, "read_lineages", lambda path: ends.wait(20))
    seen = await look(timeout=0.3)
    ends.set()
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")
