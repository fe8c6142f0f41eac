"""Compares how this machine is set up with a policy: sshd, firewall, updates, modes of secrets, passwords.

Each rule of the policy is told by its name when it is not kept. What `sshd -T`, `ufw status` and `nft` say counts, not
what stands in files. Headers and TLS versions of a web site are for `http` and `tls` checks.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.threads import Threads
from wcr_watchd.kit.tools import NoAnswerError, ask, has, said

HOUR = 3600.0
RuleName = Literal[
    "sshd", "firewall", "open-ports", "updates", "secret-modes", "world-writable", "keys-apart", "passwords"
]
RULES: tuple[RuleName, ...] = (
    "sshd", "firewall", "open-ports", "updates", "secret-modes", "world-writable", "keys-apart", "passwords",
)  # fmt: skip
KEY_NAMES = ("*.key", "*_key", ".encryption_key*", "*.keyfile", "id_rsa", "id_ed25519", "*.asc", "secring.*")
MOST_NAMED = 8
MOST_FILES = 5_000
_ALLOWED = re.compile(r"^(\S+)(?: \(v6\))?\s+(?:ALLOW IN|LIMIT IN|ALLOW|LIMIT)\s+Anywhere", re.MULTILINE)
"""A line of ufw(8) status: what is allowed, from everywhere."""
_DROPPING = re.compile(r"hook input priority [^;]+; policy drop;")
"""A chain of nft(8) list ruleset that lets nothing in by default."""
_BY_ROOT = "only root is told: grant AmbientCapabilities=CAP_DAC_READ_SEARCH CAP_NET_ADMIN, or run this as root"


class Policy(Options):
    """Options of a check of how the machine is set up; none is needed."""

    type: ClassVar[str] = "policy"
    target_key: ClassVar[str] = ""
    every: ClassVar[float] = 24 * HOUR
    timeout: ClassVar[float] = 120.0
    example: ClassVar[str] = """\
sshd.permitrootlogin = ["no"]
sshd.passwordauthentication = ["no"]
open_ports = ["22/tcp", "80/tcp", "443/tcp"]
secrets = ["/etc/wcr-watchd/secrets/*", "/srv/app/.env*"]
"""
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("kept", Unit.COUNT, "1 when a rule of the policy is kept, 0 when not", labels=("rule",)),
        MeasurementSpec("broken", Unit.COUNT, "Rules that are not kept"),
        MeasurementSpec("score", Unit.RATIO, "Share of the rules that could be checked that are kept"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.WARNING, "down"),
        (Severity.WARNING, "broken > 0"),
    )

    sshd: dict[str, tuple[str, ...]] = Field(
        default={
            "permitrootlogin": ("no", "prohibit-password", "without-password", "forced-commands-only"),
            "passwordauthentication": ("no",),
            "permitemptypasswords": ("no",),
        }
    )
    """What `sshd -T` may say, by keyword in lower case."""
    open_ports: tuple[Annotated[str, Field(pattern=r"^[\w:,]+(/\w+)?$")], ...] = ()
    """What ufw may let in from everywhere, as `ufw status` tells it: "22/tcp"; empty: whatever it does."""
    secrets: tuple[str, ...] = (
        "/etc/shadow", "/etc/gshadow", "/etc/ssh/ssh_host_*_key", "/etc/ssl/private/*", "/etc/wcr-watchd/secrets/*",
        "/root/.ssh/*", "/home/*/.ssh/id_*", "/root/.pgpass", "/home/*/.pgpass", "/root/.my.cnf",
    )  # fmt: skip
    """Files that only their owner, or a group to read, may open; "*" stands for anything in a name."""
    writable: tuple[str, ...] = ("/etc", "/usr/local", "/opt", "/srv", "/var/www")
    """Folders in which nothing may be writable by everybody."""
    backups: tuple[str, ...] = ()
    """Folders of encrypted backups, beside which no key may lie: whoever takes them would have both."""
    key_names: Annotated[tuple[str, ...], Field(min_length=1)] = KEY_NAMES
    """Names of files that hold keys; "*" stands for anything."""
    password_length: Annotated[int, Field(ge=0, le=128)] = 12
    """The least length that pam_pwquality must ask for, where it is installed; 0: whatever it does."""
    skip: tuple[RuleName, ...] = ()
    """Rules that do not matter here."""
    root: str = "/"
    """Where the machine's file system is to be seen, when the daemon itself runs in a container."""

    @property
    def target(self) -> str:
        """The rules."""
        return ", ".join(name for name in RULES if name not in self.skip)

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Check every rule."""
        judges: Mapping[RuleName, Callable[[Run], Awaitable[_Judged]]] = {
            "sshd": self._sshd,
            "firewall": self._firewall,
            "open-ports": self._open_ports,
            "updates": self._updates,
            "secret-modes": self._secret_modes,
            "world-writable": self._world_writable,
            "keys-apart": self._keys_apart,
            "passwords": self._passwords,
        }
        broken, kept = dict[str, str](), 0
        for name, judge in judges.items():
            if name in self.skip:
                continue
            run.step = f"checking the rule {name}"
            try:
                judged = await judge(run)
            except _UntoldError as error:
                run.missing((f'kept{{rule="{name}"}}',), str(error))
                continue
            except NoAnswerError as error:
                run.missing((f'kept{{rule="{name}"}}',), error.summary)
                continue
            if judged.applies:
                run.measure("kept", not judged.faults, rule=name)
                kept += not judged.faults
                if judged.faults:
                    broken[name] = _listed(judged.faults)
        return _verdict(run, kept, broken)

    async def _sshd(self, run: Run) -> _Judged:
        try:
            answer = await ask(run, "sshd", "-T")
        except NoAnswerError as error:
            if error.reason == "missing":
                return NOT_HERE
            raise
        if answer.status != 0:
            hint = f" ({_BY_ROOT})" if os.geteuid() else ""
            raise _UntoldError(f"sshd -T: {said(answer)}{hint}")
        values = dict(line.lower().split(" ", 1) for line in answer.stdout.splitlines() if " " in line)
        return _Judged(
            tuple(
                f"{keyword} is {values.get(keyword, 'not known to it')}, expected {' or '.join(allowed)}"
                for keyword, allowed in self.sshd.items()
                if values.get(keyword) not in allowed
            )
        )

    async def _firewall(self, run: Run) -> _Judged:
        """Nothing comes in by default: ufw is active, or a chain of nftables drops (iptables' are seen there)."""
        untold, ufw, nft = None, None, None
        try:
            ufw = await _ufw_status(run)
        except _UntoldError as error:  # its rules are seen in nft as well
            untold = error
        if ufw is not None and ufw.startswith("Status: active"):
            return KEPT
        try:
            nft = await ask(run, "nft", "list", "ruleset")
        except NoAnswerError as error:
            if error.reason != "missing":
                raise
        if nft is not None and nft.status != 0:
            raise _UntoldError(f"nft list ruleset: {said(nft)} ({_BY_ROOT})")
        if nft is not None and _DROPPING.search(nft.stdout):
            return KEPT
        if untold is not None:
            raise untold
        if nft is None and ufw is None:
            return _Judged(("neither ufw nor nft is installed",))
        return _Judged(("no firewall is active that lets nothing in by default",))

    async def _open_ports(self, run: Run) -> _Judged:
        status = await _ufw_status(run) if self.open_ports else None
        if status is None:
            return NOT_HERE
        unexpected = sorted(set(_ALLOWED.findall(status)) - set(self.open_ports))
        return _Judged(tuple(f"ufw lets everybody in to {what}" for what in unexpected))

    async def _updates(self, run: Run) -> _Judged:
        try:
            answer = await ask(run, "apt-config", "shell", "ON", "APT::Periodic::Unattended-Upgrade")
        except NoAnswerError as error:
            if error.reason == "missing":
                return NOT_HERE
            raise
        if not await run.shared.get(Threads).call(has, "unattended-upgrade"):
            return _Judged(("unattended-upgrades is not installed",))
        on = answer.stdout.strip() not in ("", "ON=''", "ON='0'")
        return KEPT if on else _Judged(("unattended-upgrades is installed and switched off (APT::Periodic)",))

    async def _secret_modes(self, run: Run) -> _Judged:
        return _Judged(await run.shared.get(Threads).call(_open_secrets, self.root, self.secrets))

    async def _world_writable(self, run: Run) -> _Judged:
        """No file, and no folder without the sticky bit, that everybody may write."""
        tops = [os.path.join(self.root, path.lstrip("/")) for path in self.writable]
        answer = await ask(
            run, "nice", "-n", "19", "find", *tops, "-xdev", "-perm", "-0002", "!", "-type", "l",
            "!", "(", "-type", "d", "-perm", "-1000", ")", "-print",
        )  # fmt: skip
        if "denied" in answer.stderr:
            run.evidence["not looked into"] = answer.stderr.strip()[:500]
        return _Judged(tuple(f"{path} is writable by everybody" for path in answer.stdout.splitlines()))

    async def _keys_apart(self, run: Run) -> _Judged:
        if not self.backups:
            return NOT_HERE
        tops = [os.path.join(self.root, path.lstrip("/")) for path in self.backups]
        named = [word for name in self.key_names for word in ("-o", "-name", name)][1:]
        answer = await ask(run, "nice", "-n", "19", "find", *tops, "-xdev", "-type", "f", "(", *named, ")", "-print")
        found = tuple(f"{path} lies beside the backups" for path in answer.stdout.splitlines())
        if not found and "denied" in answer.stderr:
            raise _UntoldError(f"{said(answer)}: grant AmbientCapabilities=CAP_DAC_READ_SEARCH, or read to its group")
        return _Judged(found)

    async def _passwords(self, run: Run) -> _Judged:
        if not self.password_length:
            return NOT_HERE
        return await run.shared.get(Threads).call(_password_quality, self.root, self.password_length)


class _UntoldError(Exception):
    """It cannot be told whether a rule is kept; the text says why."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is wrong by a rule; a rule about something that is not on this machine does not apply."""

    faults: tuple[str, ...] = ()
    applies: bool = True


KEPT, NOT_HERE = _Judged(), _Judged(applies=False)


async def _ufw_status(run: Run) -> str | None:
    """What ufw(8) tells; None where there is no ufw."""
    try:
        answer = await ask(run, "ufw", "status")
    except NoAnswerError as error:
        if error.reason == "missing":
            return None
        raise
    if answer.status != 0:
        raise _UntoldError(f"ufw status: {said(answer)} ({_BY_ROOT})")
    return answer.stdout


def _open_secrets(root: str, patterns: Sequence[str]) -> tuple[str, ...]:
    """Secrets that others may read, or a group may write; blocks."""
    faults = []
    for pattern in patterns:
        for path in sorted(glob.glob(os.path.join(root, pattern.lstrip("/"))))[:MOST_FILES]:
            try:
                mode = stat.S_IMODE(os.lstat(path).st_mode)
                regular = stat.S_ISREG(os.lstat(path).st_mode)
            except OSError:  # gone meanwhile, or hidden from this user
                continue
            public = path.endswith((".pub", "known_hosts", ".crt", ".pem.pub"))
            if regular and not public and mode & (stat.S_IRWXO | stat.S_IWGRP):
                faults.append(f"{path} has mode {mode:04o}")
    return tuple(faults)


def _password_quality(root: str, least: int) -> _Judged:
    """Whether pam_pwquality asks for so long a password (pam_pwquality(8), pwquality.conf(5)); blocks."""
    pam = Path(root, "etc/pam.d/common-password")
    try:
        lines = [line for line in pam.read_text(errors="replace").splitlines() if not line.lstrip().startswith("#")]
    except FileNotFoundError:
        return NOT_HERE
    except OSError as error:
        raise _UntoldError(f"{pam}: {error.strerror}") from None
    asked = next((line for line in lines if "pam_pwquality.so" in line), None)
    if asked is None:
        return _Judged((f"{pam} does not use pam_pwquality, so that any password will do",))
    found = re.search(r"\bminlen\s*=\s*(\d+)", asked) or _configured_length(root)
    length = int(found[1]) if found else 8
    return KEPT if length >= least else _Judged((f"passwords of {length} characters will do, expected {least}",))


def _configured_length(root: str) -> re.Match[str] | None:
    try:
        text = Path(root, "etc/security/pwquality.conf").read_text(errors="replace")
    except OSError:
        return None
    return re.search(r"^\s*minlen\s*=\s*(\d+)", text, re.MULTILINE)


def _listed(faults: Sequence[str]) -> str:
    more = f" and {len(faults) - MOST_NAMED} more" if len(faults) > MOST_NAMED else ""
    return "; ".join(faults[:MOST_NAMED]) + more


def _verdict(run: Run, kept: int, broken: Mapping[str, str]) -> Observation:
    checked = kept + len(broken)
    if not checked:
        return run.unknown("missing", "none of the rules could be checked: the evidence says why")
    run.measure("broken", len(broken))
    run.measure("score", kept / checked)
    run.evidence |= broken
    if broken:
        named = "; ".join(f"{name}: {why}" for name, why in broken.items())
        return run.up(f"{len(broken)} of {checked} rules of the policy are not kept: {named}", reason="policy")
    return run.up(f"all {checked} rules of the policy that could be checked are kept")
