"""The policy probe on the real sshd and on files; ufw and nft from what they print (recorded)."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.real.running import measured, names, probe_of
from tests.real.tools import Looks, Tools, none_runs
from wcr_watchd.core.model import Observation, Outcome
from wcr_watchd.probes.policy import RULES

UFW = """\
Status: active

To                         Action      From
--                         ------      ----
22/tcp                     LIMIT       Anywhere
80,443/tcp                 ALLOW       Anywhere
5001                       ALLOW       Anywhere
5432/tcp                   ALLOW       10.0.0.0/8
22/tcp (v6)                LIMIT       Anywhere (v6)
"""
NFT = """\
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
	}
}
"""


def only(rule: str, **options: Any) -> Any:
    """A check of one rule."""
    return probe_of("policy", {"skip": [name for name in RULES if name != rule], **options})


def fault(seen: Observation, rule: str) -> str:
    """What is wrong by that rule; fails when it is kept."""
    assert measured(seen, "kept", rule=rule) == 0, seen.summary
    assert measured(seen, "broken") == 1
    assert f"{rule}: " in seen.summary
    return seen.evidence[rule]


def keeps(seen: Observation, rule: str) -> None:
    """Fails when the rule is not kept."""
    assert measured(seen, "kept", rule=rule) == 1, seen.summary
    assert measured(seen, "broken") == 0
    assert measured(seen, "score") == 1


async def test_this_machine(looks: Looks) -> None:
    seen = await looks.at(probe_of("policy", {"writable": ["/etc"]}))
    assert seen.outcome is Outcome.UP, seen.summary
    judged = [one.value for one in seen.measurements if one.name == "kept"]
    assert measured(seen, "broken") == judged.count(0)
    assert measured(seen, "score") == pytest.approx(judged.count(1) / len(judged))


# --- sshd -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def real_sshd(tools: Tools, tmp_path: Path) -> Callable[..., None]:
    """``real_sshd("PermitRootLogin no")`` lets the real sshd answer about this configuration."""
    key = tmp_path / "hostkey"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    if os.geteuid() == 0:  # where it separates its privileges; as somebody else it does not
        Path("/run/sshd").mkdir(exist_ok=True)

    def configure(*lines: str) -> None:
        (tmp_path / "sshd_config").write_text("\n".join(lines) + "\n")
        tools.put("sshd", f'[ "$1" = -T ] && exec /usr/sbin/sshd -T -f {tmp_path}/sshd_config -h {key}')

    return configure


async def test_sshd(real_sshd: Callable[..., None], looks: Looks) -> None:
    real_sshd("PermitRootLogin no", "PasswordAuthentication no")
    keeps(await looks.at(only("sshd")), "sshd")
    real_sshd("PermitRootLogin yes", "PasswordAuthentication no")
    assert "permitrootlogin is yes, expected no or prohibit-password" in fault(await looks.at(only("sshd")), "sshd")
    real_sshd("PasswordAuthentication yes", "PermitEmptyPasswords yes")
    said = fault(await looks.at(only("sshd")), "sshd")
    assert "passwordauthentication is yes, expected no" in said
    assert "permitemptypasswords is yes, expected no" in said
    own = only("sshd", sshd={"maxauthtries": ["3"], "no-such-keyword": ["x"]})
    said = fault(await looks.at(own), "sshd")
    assert "maxauthtries is 6, expected 3" in said
    assert "no-such-keyword is not known to it" in said


async def test_an_sshd_that_does_not_tell(tools: Tools, looks: Looks) -> None:
    tools.put("sshd", "echo 'sshd: no hostkeys available -- exiting.' >&2; exit 1")
    seen = await looks.at(only("sshd"))
    assert seen.outcome is Outcome.UNKNOWN
    assert "no hostkeys available" in seen.evidence["absent"]
    assert names(seen) == set()


# --- firewall ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ufw", "nft", "said"),
    [
        (UFW, None, ""),
        (None, NFT, ""),
        ("Status: inactive\n", NFT, ""),
        ("Status: inactive\n", NFT.replace("policy drop", "policy accept"), "no firewall is active"),
        ("Status: inactive\n", None, "no firewall is active"),
        (None, "", "no firewall is active"),
        (None, NFT.replace("hook input", "hook forward"), "no firewall is active"),
        (None, None, "neither ufw nor nft is installed"),
    ],
)
async def test_a_firewall(ufw: str | None, nft: str | None, said: str, tools: Tools, looks: Looks) -> None:
    tools.only()
    for name, text in (("ufw", ufw), ("nft", nft)):
        if text is not None:
            tools.prints(name, text)
    seen = await looks.at(only("firewall"))
    if said:
        assert said in fault(seen, "firewall")
    else:
        keeps(seen, "firewall")


@pytest.mark.parametrize("program", ["ufw", "nft"])
async def test_a_firewall_that_only_root_sees(program: str, tools: Tools, looks: Looks) -> None:
    tools.only()
    tools.put(program, "echo 'ERROR: You need to be root to run this script' >&2; exit 1")
    seen = await looks.at(only("firewall"))
    assert seen.outcome is Outcome.UNKNOWN
    assert "You need to be root" in seen.evidence["absent"]
    assert "CAP_NET_ADMIN" in seen.evidence["absent"]


async def test_what_ufw_does_not_tell_nft_may(tools: Tools, looks: Looks) -> None:
    tools.only()
    tools.put("ufw", "echo 'ERROR: You need to be root to run this script' >&2; exit 1")
    tools.prints("nft", NFT)
    keeps(await looks.at(only("firewall")), "firewall")
    tools.prints("nft", "")
    assert (await looks.at(only("firewall"))).outcome is Outcome.UNKNOWN


async def test_open_ports(tools: Tools, looks: Looks) -> None:
    tools.prints("ufw", UFW)
    keeps(await looks.at(only("open-ports", open_ports=["22/tcp", "80,443/tcp", "5001"])), "open-ports")
    seen = await looks.at(only("open-ports", open_ports=["22/tcp", "80,443/tcp"]))
    assert fault(seen, "open-ports") == "ufw lets everybody in to 5001"
    unasked = await looks.at(only("open-ports"))
    assert "kept" not in names(unasked)


# --- updates, files, passwords ----------------------------------------------------------------------------------------


async def test_updates(tools: Tools, looks: Looks) -> None:
    tools.only()
    tools.prints("apt-config", "ON='1'\n")
    assert "is not installed" in fault(await looks.at(only("updates")), "updates")
    tools.put("unattended-upgrade", "")
    keeps(await looks.at(only("updates")), "updates")
    for off in ("", "ON='0'\n", "ON=''\n"):
        tools.prints("apt-config", off)
        assert "switched off" in fault(await looks.at(only("updates")), "updates")


async def test_modes_of_secrets(tmp_path: Path, looks: Looks) -> None:
    folder = tmp_path / "srv"
    folder.mkdir()
    for name, mode in ((".env", 0o600), (".env.group", 0o640), ("id.pub", 0o644)):
        (folder / name).write_text("x")
        (folder / name).chmod(mode)
    probe = only("secret-modes", root=str(tmp_path), secrets=["/srv/.env*", "/srv/*.pub", "/none/*"])
    keeps(await looks.at(probe), "secret-modes")
    (folder / ".env").chmod(0o604)
    (folder / ".env.group").chmod(0o660)
    said = fault(await looks.at(probe), "secret-modes")
    assert f"{folder}/.env has mode 0604" in said
    assert f"{folder}/.env.group has mode 0660" in said


async def test_what_everybody_may_write(tmp_path: Path, looks: Looks) -> None:
    folder = tmp_path / "srv"
    (folder / "sticky").mkdir(parents=True)
    (folder / "sticky").chmod(0o1777)
    (folder / "link").symlink_to("/tmp")
    probe = only("world-writable", root=str(tmp_path), writable=["/srv", "/none"])
    keeps(await looks.at(probe), "world-writable")
    for number in range(10):
        (folder / f"file{number}").write_text("x")
        (folder / f"file{number}").chmod(0o666)
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    said = fault(await looks.at(probe), "world-writable")
    assert f"{folder}/file" in said
    assert "and 3 more" in said
    assert "sticky" not in said
    assert "link" not in said


async def test_keys_beside_backups(tmp_path: Path, looks: Looks) -> None:
    folder = tmp_path / "backups/database"
    folder.mkdir(parents=True)
    (folder / "production.sql.gz.enc").write_text("x")
    probe = only("keys-apart", root=str(tmp_path), backups=["/backups"])
    keeps(await looks.at(probe), "keys-apart")
    (folder / ".encryption_key_20260101").write_text("x")
    assert fault(await looks.at(probe), "keys-apart") == f"{folder}/.encryption_key_20260101 lies beside the backups"
    keeps(
        await looks.at(only("keys-apart", root=str(tmp_path), backups=["/backups"], key_names=["*.pem"])), "keys-apart"
    )
    unasked = await looks.at(only("keys-apart", root=str(tmp_path)))
    assert "kept" not in names(unasked)


async def test_folders_that_may_not_be_looked_into(tools: Tools, looks: Looks) -> None:
    """Root may look everywhere, so the refusal is what find prints then."""
    tools.put("find", "echo 'find: ‘/backups/database’: Permission denied' >&2; exit 1")
    seen = await looks.at(only("keys-apart", backups=["/backups"]))
    assert seen.outcome is Outcome.UNKNOWN
    assert "/backups/database" in seen.evidence["absent"]
    seen = await looks.at(only("world-writable"))
    assert "/backups/database" in seen.evidence["not looked into"]


@pytest.mark.parametrize(
    ("pam", "configured", "said"),
    [
        ("password requisite pam_pwquality.so retry=3 minlen=14", "minlen = 6", ""),
        ("password requisite pam_pwquality.so retry=3", "# minlen = 6\nminlen = 12", ""),
        (
            "password requisite pam_pwquality.so retry=3",
            "minlen = 10",
            "passwords of 10 characters will do, expected 12",
        ),
        ("password requisite pam_pwquality.so retry=3", "", "passwords of 8 characters will do"),
        ("# password requisite pam_pwquality.so minlen=14", "", "does not use pam_pwquality"),
    ],
)
async def test_passwords(pam: str, configured: str, said: str, tmp_path: Path, looks: Looks) -> None:
    (tmp_path / "etc/pam.d").mkdir(parents=True)
    (tmp_path / "etc/security").mkdir()
    (tmp_path / "etc/pam.d/common-password").write_text(f"{pam}\npassword required pam_unix.so\n")
    (tmp_path / "etc/security/pwquality.conf").write_text(configured)
    seen = await looks.at(only("passwords", root=str(tmp_path)))
    if said:
        assert said in fault(seen, "passwords")
    else:
        keeps(seen, "passwords")
    unasked = await looks.at(only("passwords", root=str(tmp_path), password_length=0))
    assert unasked.outcome is Outcome.UNKNOWN


async def test_a_hanging_tool_hides_no_other_rule(tools: Tools, tmp_path: Path, looks: Looks) -> None:
    tools.put("sshd", "sleep 65.1")
    probe = probe_of("policy", {"skip": ["firewall", "open-ports", "updates", "world-writable"], "root": str(tmp_path)})
    seen = await looks.at(probe, timeout=0.5)
    assert seen.outcome is Outcome.UP
    assert measured(seen, "kept", rule="secret-modes") == 1
    assert "sshd -T did not end within" in seen.evidence["absent"]
    task = asyncio.create_task(looks.at(probe))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    none_runs("sleep 65.1")
