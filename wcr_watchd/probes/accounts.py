"""Tells who may do what on this machine that could not when a person last accepted it.

People who can log in, accounts with root's number, members of administrators' groups, lines of sudoers, keys for ssh
(by fingerprint, with when each was first seen), and programs that run as their owner (SUID). The first run takes what
there is; `wcr-watchd accept NAME` takes what there is later. An access review is to read its evidence, and accept.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.novelty import Known, accepted_in_words
from wcr_watchd.kit.options import Duration, Options
from wcr_watchd.kit.threads import Threads
from wcr_watchd.kit.tools import NoAnswerError, ask

DAY = 86_400.0
SUID_EVERY = DAY
"""Seconds after which all folders are looked through for SUID programs again."""
WHERE_PROGRAMS_MAY_LIE = (
    *("/usr", "/opt", "/srv", "/home", "/root", "/var/www"),
    *("/tmp", "/var/tmp", "/dev/shm"),  # noqa: S108 - looked at, not used
)
LARGEST_FILE = 1024 * 1024
FIRST_PERSON = 1000
"""User ids from which on accounts are people's (login.defs(5), UID_MIN)."""
MOST_HOMES = 1_000
NO_SHELLS = frozenset({"nologin", "false", "sync", "halt", "shutdown", "true"})
_LASTLOG = struct.Struct("=i32s256s")
"""A record of /var/log/lastlog, by user id (lastlog(8), bits/utmp.h of glibc)."""


def _new(name: str, text: str) -> MeasurementSpec:
    return MeasurementSpec(name, Unit.COUNT, text, topic=name.removeprefix("new_").replace("_", " "))


class Accounts(Options):
    """Options of a check of who may do what on this machine; none is needed."""

    type: ClassVar[str] = "accounts"
    target_key: ClassVar[str] = ""
    every: ClassVar[float] = 3600.0
    timeout: ClassVar[float] = 300.0
    example: ClassVar[str] = 'admin_groups = ["sudo", "docker", "deploy"]\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("shell_users", Unit.COUNT, "Accounts that can log in to a shell"),
        MeasurementSpec("root_users", Unit.COUNT, "Accounts with root's number"),
        MeasurementSpec("admins", Unit.COUNT, "Memberships in administrators' groups"),
        MeasurementSpec("ssh_keys", Unit.COUNT, "Keys that ssh lets in"),
        MeasurementSpec("suid_files", Unit.COUNT, "Programs that run as their owner or group"),
        _new("new_shell_users", "Those of the accounts with a shell that nobody accepted"),
        _new("new_root_users", "Those of the accounts with root's number that nobody accepted"),
        _new("new_admins", "Those of the memberships that nobody accepted"),
        _new("new_sudo_rules", "Lines of sudoers that nobody accepted"),
        _new("new_ssh_keys", "Those of the keys that nobody accepted"),
        _new("new_suid_files", "Those of the SUID programs that nobody accepted"),
        MeasurementSpec("empty_passwords", Unit.COUNT, "Accounts that need no password", topic="passwords"),
        MeasurementSpec(
            "oldest_ssh_key", Unit.SECONDS, "Time since the oldest key was first seen here", topic="key age"
        ),
        MeasurementSpec("dormant_users", Unit.COUNT, "Accounts with a shell and no login for long", topic="dormant"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.WARNING, "down"),
        (Severity.CRITICAL, "new_root_users > 0"),
        (Severity.CRITICAL, "new_admins > 0"),
        (Severity.CRITICAL, "new_sudo_rules > 0"),
        (Severity.CRITICAL, "new_ssh_keys > 0"),
        (Severity.CRITICAL, "empty_passwords > 0"),
        (Severity.WARNING, "new_shell_users > 0"),
        (Severity.WARNING, "new_suid_files > 0"),
        (Severity.WARNING, "oldest_ssh_key > 365d"),
        (Severity.INFO, "dormant_users > 0"),
    )

    admin_groups: tuple[str, ...] = ("root", "sudo", "wheel", "admin", "adm", "docker", "lxd", "disk", "shadow")
    """Groups whose members can do what an administrator can."""
    suid_paths: tuple[str, ...] = WHERE_PROGRAMS_MAY_LIE
    """Folders to look through for SUID programs once a day, each on its own file system only."""
    dormant_after: Duration = 90 * DAY
    """Time without a login after which an account is dormant."""
    root: str = "/"
    """Where the machine's file system is to be seen, when the daemon itself runs in a container."""

    @property
    def target(self) -> str:
        """What is looked at."""
        return "accounts of this machine"

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Compare who may do what with what was accepted."""
        return await self._compare(run, "")

    async def accept(self, run: Run, by: str) -> Observation:
        """Accept who may do what now."""
        return await self._compare(run, by)

    async def _compare(self, run: Run, accepted_by: str) -> Observation:
        run.step = "reading accounts, groups and keys"
        try:
            found = await run.shared.get(Threads).call(_read, self.root, self.admin_groups)
        except OSError as error:
            return run.unknown("missing", f"{error.filename} cannot be read: {error.strerror}")
        if run.started - run.memory.get("suid_at", 0.0) >= SUID_EVERY or accepted_by:
            run.memory["suid_at"] = run.started
            try:
                found.things["suid_files"] = await _find_suid(run, self.root, self.suid_paths)
            except NoAnswerError as error:
                found.problems["suid_files"] = error.summary
        first = "known" not in run.memory
        known = Known(run.memory, run.started)
        for kind, things in found.things.items():
            known.look(kind, things, bool(accepted_by))
        for kind, why in found.problems.items():
            run.missing((kind,), why)
        _measure(run, found, known)
        _measure_dormant(run, found, known, self.dormant_after)
        return _verdict(run, found, known, accepted_in_words(first, accepted_by))


_KINDS: Mapping[str, str] = {
    "root_users": "with root's number",
    "admins": "administrators",
    "sudo_rules": "sudoers",
    "ssh_keys": "ssh keys",
    "shell_users": "with a shell",
    "suid_files": "SUID programs",
}
"""What there may be anything new of, worst first, and what it is called in a summary."""


@dataclass(frozen=True, slots=True)
class User:
    """A line of passwd(5)."""

    name: str
    number: int
    group: int
    home: str
    shell: str

    @property
    def has_shell(self) -> bool:
        """Whether it can do something once it is in."""
        return os.path.basename(self.shell) not in NO_SHELLS

    @property
    def is_person(self) -> bool:
        """Whether somebody is expected to log in: root, or an account that no package made."""
        return self.has_shell and (self.number == 0 or self.number >= FIRST_PERSON)


@dataclass(slots=True)
class _Found:
    """What there is, by kind; what may not be read is not there, and ``problems`` says why.

    ``last_logins`` are epoch seconds by name, 0 for never; None where that is not recorded.
    """

    users: list[User]
    things: dict[str, list[str]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    empty_passwords: list[str] | None = None
    last_logins: dict[str, float] | None = None


# --- reading, in a thread ---------------------------------------------------------------------------------------------


def _read(root: str, admin_groups: Sequence[str]) -> _Found:
    """Read everything but the SUID programs. Raises ``OSError`` when not even the accounts can be read."""
    found = _Found(list(_users(_text(root, "etc/passwd"))))
    found.things["shell_users"] = [user.name for user in found.users if user.has_shell]
    found.things["root_users"] = [user.name for user in found.users if user.number == 0]
    readers: Mapping[str, Callable[[], list[str]]] = {
        "admins": lambda: list(_admins(_text(root, "etc/group"), found.users, admin_groups)),
        "sudo_rules": lambda: _sudo_rules(root),
        "ssh_keys": lambda: _ssh_keys(root, found),
    }
    for kind, read in readers.items():
        try:
            found.things[kind] = read()
        except OSError as error:
            found.problems[kind] = _why(error)
    try:
        found.empty_passwords = [
            line.split(":")[0] for line in _lines(root, "etc/shadow") if ":" in line and not line.split(":")[1]
        ]
    except OSError as error:
        found.problems["empty_passwords"] = _why(error)
    try:
        found.last_logins = _last_logins(root, found.users)
    except OSError as error:
        found.problems["dormant_users"] = f"{_why(error)}; newer systems record logins in another place (wtmpdb)"
    return found


def _why(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return (
            f"user id {os.geteuid()} may not read {error.filename}: grant AmbientCapabilities=CAP_DAC_READ_SEARCH (and "
            "the same in CapabilityBoundingSet=, and ProtectHome=read-only) by `systemctl edit wcr-watchd`"
        )
    return f"{error.filename}: {error.strerror}"


def _text(root: str, path: str) -> str:
    with open(os.path.join(root, path.lstrip("/")), "rb") as file:
        return file.read(LARGEST_FILE).decode(errors="replace")


def _lines(root: str, path: str) -> list[str]:
    """The lines that are neither empty nor a comment."""
    lines = (line.strip() for line in _text(root, path).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _users(text: str) -> Iterator[User]:
    for line in text.splitlines():
        words = line.split(":")
        if len(words) == 7 and words[2].isdigit() and words[3].isdigit():
            yield User(words[0], int(words[2]), int(words[3]), words[5], words[6] or "/bin/sh")


def _admins(text: str, users: Sequence[User], groups: Sequence[str]) -> Iterator[str]:
    """Who is in which of these groups (group(5)), by the list there or by being it the account's own group."""
    for line in text.splitlines():
        words = line.split(":")
        if len(words) == 4 and words[0] in groups:
            members = set(filter(None, words[3].split(",")))
            members |= {user.name for user in users if str(user.group) == words[2] and user.has_shell}
            yield from (f"{name} in {words[0]}" for name in members)


def _sudo_rules(root: str) -> list[str]:
    """The lines of sudoers(5) that allow something, also of the files in its folder that it reads."""
    sudoers = os.path.join(root, "etc/sudoers")
    folder = os.path.join(root, "etc/sudoers.d")
    if not os.path.exists(sudoers):
        return []
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    files = [sudoers, *(os.path.join(folder, name) for name in names if "." not in name and not name.endswith("~"))]
    rules = []
    for file in files:
        text = _text("/", file).replace("\\\n", " ")
        rules += [" ".join(line.split()) for line in text.splitlines()]
    return [rule for rule in rules if "=" in rule and not rule.startswith(("#", "Defaults"))]


def _ssh_keys(root: str, found: _Found) -> list[str]:
    """The keys in everybody's authorized_keys, as "user SHA256:fingerprint comment", like ssh-keygen(1) -l."""
    keys = []
    for user in found.users[:MOST_HOMES]:
        for name in ("authorized_keys", "authorized_keys2"):
            path = os.path.join(user.home, ".ssh", name)
            try:
                lines = _lines(root, path)
            except PermissionError as error:
                if user.is_person:
                    found.problems["ssh_keys"] = _why(error)
            except OSError:  # there is none
                continue
            else:
                keys += [f"{user.name} {key}" for line in lines if (key := fingerprint(line))]
    return keys


def fingerprint(line: str) -> str:
    """The fingerprint and comment of a line of authorized_keys (sshd(8)); empty when it holds no key."""
    words = line.split()
    for kind, key in pairwise(words):
        try:
            blob = base64.b64decode(key, validate=True)
        except (binascii.Error, ValueError):
            continue
        if blob[4 : 4 + len(kind)] == kind.encode() and blob[:4] == len(kind).to_bytes(4, "big"):
            digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
            return " ".join([f"SHA256:{digest}", *words[words.index(key) + 1 :]])
    return ""


def _last_logins(root: str, users: Sequence[User]) -> dict[str, float]:
    """When people logged in last, 0 for never. Raises ``OSError`` where that is not recorded."""
    path = os.path.join(root, "var/log/lastlog")
    logins = {}
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise FileNotFoundError(errno.ENOENT, "nothing is recorded there", path)
        for user in users:
            if user.is_person:
                record = os.pread(file.fileno(), _LASTLOG.size, user.number * _LASTLOG.size)
                whole = len(record) == _LASTLOG.size
                logins[user.name] = float(_LASTLOG.unpack(record)[0]) if whole else 0.0
    return logins


async def _find_suid(run: Run, root: str, paths: Sequence[str]) -> list[str]:
    """The programs that run as their owner or group, each as "path mode owner", by find(1) in a process of its own.

    Raises :class:`NoAnswerError`. What this user may not look into is left out.
    """
    tops = [os.path.join(root, path.lstrip("/")) for path in paths]
    answer = await ask(
        run, "nice", "-n", "19", "find", *tops, "-xdev", "-type", "f", "-perm", "/6000", "-printf", "%p %m %U:%G\\n"
    )
    return answer.stdout.splitlines()


# --- the verdict ------------------------------------------------------------------------------------------------------


def _measure(run: Run, found: _Found, known: Known) -> None:
    for kind in _KINDS:
        things = known.all(kind)
        if things is None:
            continue
        if kind != "sudo_rules":
            run.measure(kind, len(things))
        run.measure(f"new_{kind}", len(known.new(kind)))
        if kind != "suid_files":
            ages = (f"{thing}, first seen {format_duration(known.age(kind, thing))} ago" for thing in things)
            run.evidence[_KINDS[kind]] = "\n".join(ages) or "none"
    if found.empty_passwords is not None:
        run.measure("empty_passwords", len(found.empty_passwords))
    keys = known.all("ssh_keys")
    if keys is not None:
        run.measure("oldest_ssh_key", max((known.age("ssh_keys", key) for key in keys), default=0.0))


def _measure_dormant(run: Run, found: _Found, known: Known, after: float) -> None:
    if found.last_logins is None:
        return
    dormant = [
        name
        for name, at in found.last_logins.items()
        if min(run.started - at, known.age("shell_users", name) if not at else run.started) > after
    ]
    run.measure("dormant_users", len(dormant))
    if dormant:
        run.evidence["dormant"] = ", ".join(dormant)


def _verdict(run: Run, found: _Found, known: Known, accepted: str) -> Observation:
    new = {kind: known.new(kind) for kind in _KINDS if known.new(kind)}
    faults = [
        f"new {_KINDS[kind]}: {', '.join(things[:3])}{' …' if len(things) > 3 else ''}" for kind, things in new.items()
    ]
    if found.empty_passwords:
        faults.insert(0, f"no password is needed for {', '.join(found.empty_passwords[:5])}")
    if new:
        return run.up(f"{'; '.join(faults)}. If that is right: wcr-watchd accept {run.check}", reason="new")
    if faults:
        return run.up(faults[0], reason="password")
    counts = f"{len(found.things['shell_users'])} accounts with a shell, {len(known.all('ssh_keys') or ())} ssh keys"
    return run.up(f"{counts}, {accepted}")
