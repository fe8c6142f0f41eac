"""Discovery: a first configuration out of what stands on this host.

Only what answered is turned into a check; what may not be seen is said in a comment, and nothing is claimed about it.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from wcr_watchd.config import greet
from wcr_watchd.config.greet import HttpAnswer, SmtpAnswer
from wcr_watchd.config.look import Listener, Seen, look, user_name
from wcr_watchd.config.machine import machine
from wcr_watchd.config.typed import PROBES
from wcr_watchd.config.write import commented, table_text
from wcr_watchd.kit.local_zone import local_timezone
from wcr_watchd.kit.plugins import names

DEADLINE = 6.0
"""Seconds for all greetings together."""
OWN_PORT = 9848
MOST_CERTIFICATES = 50

WEB_PROCESSES = ("nginx", "apache2", "httpd", "caddy", "haproxy", "traefik", "lighttpd")
WEB_PORTS = (80, 443, 3000, 5000, 5001, 8000, 8080, 8081, 8443)
_BY_PROCESS = {
    "postgres": "postgres", "postmaster": "postgres", "redis-server": "redis", "valkey-server": "redis",
    "sshd": "ssh", "exim4": "smtp", "smtpd": "smtp", "mysqld": "mysql", "mariadbd": "mysql", "memcached": "memcached",
    "pgbouncer": "pgbouncer", "prometheus": "promql", "node_exporter": "prometheus", "prometheus-node": "prometheus",
}  # fmt: skip
_BY_PORT = {
    22: "ssh", 25: "smtp", 587: "smtp", 3306: "mysql", 5432: "postgres", 5672: "rabbitmq", 6379: "redis",
    6432: "pgbouncer",
    11211: "memcached", 27017: "mongodb",
}  # fmt: skip
UNITS = (
    "docker", "containerd", "ssh", "sshd", "cron", "crond", "fail2ban", "chrony", "chronyd", "systemd-timesyncd",
    "nginx", "apache2", "httpd", "caddy", "haproxy", "postgresql", "mariadb", "mysql", "redis-server", "redis",
    "postfix", "exim4", "dovecot", "unattended-upgrades",
)  # fmt: skip
"""systemd services worth a check; instances (``postgresql@15-main``) count as well."""
_UNIT_RULES = [
    "unit_active == 0 for 2x",
    "unit_failed == 1",
    "increase(unit_restarts, 30m) >= 1",
    "timer_overdue > 10m",
]
"""What is a warning where nobody has said yet which service is worth a call at night."""
DAEMONS = ("cron", "crond", "fail2ban-server", "chronyd", "dockerd")
"""Programs worth a check where no systemd can be asked."""


@dataclass(frozen=True, slots=True)
class Found:
    """One check: its name, its settings, what was seen, and comments beside settings by dotted key."""

    name: str
    settings: Mapping[str, Any]
    why: str
    comments: Mapping[str, str] = field(default_factory=dict)
    below: str = ""
    """What could be done further, as a comment below."""
    deeper: Mapping[str, Any] = field(default_factory=dict)
    """Better settings that need something from a person first, as a comment below that."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """What stands on this host: checks, and notes on what is not watched or could not be seen."""

    host: str
    timezone: str
    checks: tuple[Found, ...]
    notes: tuple[str, ...] = ()


def discover(root: Path = Path("/"), seen: Seen | None = None) -> Discovery:
    """Look around on this host and greet what listens; takes a few seconds at most and changes nothing.

    ``root`` is where files are looked for, ``seen`` what else was seen (default: look now).
    """
    seen = look(root) if seen is None else seen
    notes: list[str] = []
    services = list(_services(root, seen.listeners))
    found = [
        _host(seen),
        *(Found(_clean(one.name), one.settings, one.why, below=one.below) for one in machine(root, seen, notes)),
        *services,
        *_certificates(root, services, notes),
        *_systemd(seen, services),
    ]
    known = set(names(PROBES))
    usable = [one for one in found if one.settings["type"] in known]
    notes += [
        f"{one.why}; the probe type {one.settings['type']} is not installed." for one in found if one not in usable
    ]
    return Discovery(socket.gethostname(), local_timezone(), tuple(_with_unique_names(usable)), tuple(notes))


def _host(seen: Seen) -> Found:
    disks = f"; disks seen: {', '.join(sorted(set(seen.mounts)))}" if seen.mounts else ""
    return Found("host", {"type": "host"}, f"CPU, memory, load, disks, network and clock of this machine{disks}")


def _with_unique_names(found: list[Found]) -> Iterator[Found]:
    taken: set[str] = set()
    for one in found:
        name, number = one.name, 2
        while name in taken:
            name, number = f"{one.name}-{number}", number + 1
        taken.add(name)
        yield replace(one, name=name)


# --- what listens -----------------------------------------------------------------------------------------------------


def _services(root: Path, listeners: tuple[Listener, ...]) -> Iterator[Found]:
    """Greet every listener whose process or port is known; two questions where the first may not be answered."""
    questions: dict[tuple[Listener, str], Callable[[], object]] = {}
    for listener in listeners:
        kind = _kind(listener)
        if kind and listener.port != OWN_PORT:
            questions[listener, kind] = _question(root, listener, kind)
            questions[listener, "accepts"] = partial(greet.accepts, listener)
    answers = greet.ask_all(questions, DEADLINE)
    for listener, kind in questions:
        if (listener, kind) in answers and kind != "accepts":
            yield from _check(listener, kind, answers[listener, kind])
        elif kind == "postgres" and (listener, "accepts") in answers:
            yield _closed_postgres(listener)


def _kind(listener: Listener) -> str:
    if listener.process in WEB_PROCESSES or (not listener.process and listener.port in WEB_PORTS):
        return "web"
    return _BY_PROCESS.get(listener.process) or _BY_PORT.get(listener.port, "") or _web_by_port(listener)


def _web_by_port(listener: Listener) -> str:
    return "web" if listener.port in WEB_PORTS else ""


def _question(root: Path, listener: Listener, kind: str) -> Callable[[], object]:
    if kind == "postgres":
        return partial(greet.postgres, root, listener.port)
    questions: Mapping[str, Callable[[Listener], object]] = {
        "web": greet.web,
        "promql": greet.web,
        "prometheus": greet.web,
        "smtp": greet.smtp,
        "redis": greet.redis,
        "ssh": greet.ssh,
    }
    return partial(questions.get(kind, greet.accepts), listener)


def _check(listener: Listener, kind: str, answer: object) -> Iterator[Found]:
    where = f"{listener.process or 'something'} listens on {listener.address}"
    if isinstance(answer, HttpAnswer) and kind in ("promql", "prometheus"):
        yield _prometheus(listener, kind, where)
    elif isinstance(answer, HttpAnswer):
        yield from _web(listener, answer, where)
    elif isinstance(answer, SmtpAnswer):
        yield _smtp(listener, answer, where)
    elif kind == "postgres":
        yield Found(
            _name("postgres", listener, 5432),
            {"type": "postgres", "dsn": answer},
            f"{where}; {user_name()} may log in over its Unix socket",
            below="A role of its own sees more and needs less: CREATE ROLE watchd LOGIN; GRANT pg_monitor TO watchd;\n"
            "The upkeep of each database is for checks of their own: postgres_statements, postgres_tables,\n"
            "postgres_indexes; that of the server for postgres_settings, postgres_archive.",
        )
    elif kind == "redis":
        yield _redis(listener, str(answer), where)
    elif kind == "pgbouncer":
        yield _pgbouncer(listener, where)
    elif kind == "ssh":
        settings = {"type": "tcp", "address": listener.address, "expect": str(answer)}
        yield Found(_name("ssh", listener, 22), settings, where)
    else:
        yield Found(_name(kind, listener, listener.port), {"type": "tcp", "address": listener.address}, where)


def _name(base: str, listener: Listener, usual_port: int) -> str:
    return base if listener.port == usual_port else f"{base}-{listener.port}"


def _web(listener: Listener, answer: HttpAnswer, where: str) -> Iterator[Found]:
    name = _clean(f"{listener.process if listener.process in WEB_PROCESSES else 'web'}-{listener.port}")
    if not answer.tls:
        settings = {"type": "http", "url": f"http://{listener.address}/", **_expected(answer)}
        yield Found(name, settings, where, _expected_comments(answer))
    elif answer.trusted:
        port = "" if listener.port == 443 else f":{listener.port}"
        settings = {
            "type": "http",
            "url": f"https://{answer.name}{port}/",
            "resolve": listener.host,
            **_expected(answer),
        }
        yield Found(name, settings, f"{where} for {answer.name}", _expected_comments(answer))
    else:
        settings = {"type": "http", "url": f"https://{listener.address}/", "verify": False, **_expected(answer)}
        comments = {"verify": "its certificate is not trusted here; name its authority as ca_file instead"}
        yield Found(name, settings, where, comments | _expected_comments(answer))


def _prometheus(listener: Listener, kind: str, where: str) -> Found:
    """A Prometheus server, or an exporter of a machine's numbers."""
    if kind == "promql":
        return Found(_name("prometheus", listener, 9090), {"type": kind, "url": f"http://{listener.address}"}, where)
    url = f"http://{listener.address}/metrics"
    return Found(_name("node-exporter", listener, 9100), {"type": kind, "url": url}, where)


def _expected(answer: HttpAnswer) -> dict[str, Any]:
    """What ``/`` answers now is what is expected of it, unless that is a failure."""
    if 200 <= answer.status < 300 or answer.status >= 500:
        return {}
    redirects = {"follow_redirects": False} if 300 <= answer.status < 400 else {}
    return {**redirects, "expect": {"status": answer.status}}


def _expected_comments(answer: HttpAnswer) -> dict[str, str]:
    if not _expected(answer):
        return {}
    return {"expect.status": "its answer when this was written; better ask for a page that must be there"}


def _smtp(listener: Listener, answer: SmtpAnswer, where: str) -> Found:
    settings: dict[str, Any] = {"type": "smtp", "url": f"smtp://{listener.address}"}
    comments: dict[str, str] = {}
    if answer.starttls:  # a certificate for the address it is reached by here would be a rare thing
        settings["verify"] = False
        comments["verify"] = "asked by its address, which no certificate is for; use its name instead"
    return Found(_name("smtp", listener, 25), settings, where, comments)


def _redis(listener: Listener, answer: str, where: str) -> Found:
    name, url = _name("redis", listener, 6379), f"redis://{listener.address}"
    if answer == "open":
        return Found(name, {"type": "redis", "url": url}, where)
    return Found(
        name,
        {"type": "tcp", "address": listener.address},
        f"{where} and wants a password",
        below="With the password it can be watched in depth:",
        deeper={"type": "redis", "url": url, "password": "${credential:redis_password}"},
    )


def _pgbouncer(listener: Listener, where: str) -> Found:
    return Found(
        _name("pgbouncer", listener, 6432),
        {"type": "tcp", "address": listener.address},
        where,
        below="As a user in stats_users its pools can be watched:",
        deeper={
            "type": "pgbouncer",
            "dsn": f"postgresql://stats@{listener.address}/pgbouncer",
            "password": "${credential:pgbouncer_password}",
        },
    )


def _closed_postgres(listener: Listener) -> Found:
    return Found(
        _name("postgres", listener, 5432),
        {"type": "tcp", "address": listener.address},
        f"{listener.process or 'something'} listens on {listener.address}; {user_name()} may not log in",
        below="With a role of its own (CREATE ROLE watchd LOGIN PASSWORD '…'; GRANT pg_monitor TO watchd;) it can be\n"
        "watched in depth:",
        deeper={
            "type": "postgres",
            "dsn": f"postgresql://watchd@{listener.address}/postgres",
            "password": "${credential:pg_password}",
        },
    )


def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "check"


# --- files ------------------------------------------------------------------------------------------------------------


def _certificates(root: Path, services: list[Found], notes: list[str]) -> Iterator[Found]:
    folder = root / "etc/letsencrypt/live"
    try:
        lineages = sorted(one for one in folder.iterdir() if one.name != "README")
    except FileNotFoundError:
        return
    except OSError:
        notes.append(f"/etc/letsencrypt/live may not be read by {user_name()}: certificates there were not looked for.")
        return
    for lineage in lineages[:MOST_CERTIFICATES]:
        path = f"/etc/letsencrypt/live/{lineage.name}/fullchain.pem"
        if not os.access(lineage / "fullchain.pem", os.R_OK):
            notes.append(f"{path} may not be read by {user_name()} (or leads nowhere): not watched.")
            continue
        settings: dict[str, Any] = {"type": "certfile", "path": path}
        if any(str(one.settings.get("url", "")).startswith(f"https://{lineage.name}/") for one in services):
            settings["served"] = "127.0.0.1:443"
        yield Found(_clean(f"certificate-{lineage.name}"), settings, "a certificate of certbot's")


# --- services without a port ------------------------------------------------------------------------------------------


def _systemd(seen: Seen, services: list[Found]) -> Iterator[Found]:
    """Services that systemd can be asked about; else programs that run. Those greeted already are left out."""
    greeted = {one.name.split("-")[0] for one in services}
    units = [unit for unit in seen.units if _is_worth_a_check(unit, greeted)]
    if seen.units:
        settings = {"type": "systemd", "units": units, "critical": "down", "warning": _UNIT_RULES}
        yield Found("systemd", settings, f"systemd runs {', '.join(units) or 'this machine'}; failed units are noticed")
        return
    for program in DAEMONS:
        if program in seen.processes:
            settings = {"type": "process", "name": program, "critical": [], "warning": "down"}
            yield Found(_clean(program), settings, f"{program} runs")


def _is_worth_a_check(unit: str, greeted: set[str]) -> bool:
    base = unit.removesuffix(".service").partition("@")[0]
    return base in UNITS and not _is_greeted(base, greeted)


def _is_greeted(unit: str, greeted: set[str]) -> bool:
    service = {"sshd": "ssh", "postgresql": "postgres", "redis-server": "redis", "mariadb": "mysql", "postfix": "smtp"}
    return unit in greeted or service.get(unit, unit) in greeted


# --- writing ----------------------------------------------------------------------------------------------------------

_HEAD = """\
# Watches what was found on {host}. Adapt it and keep it; `wcr-watchd check-config` says what is wrong with it,
# `wcr-watchd check-config --show NAME` prints all settings and rules of a check, and where each comes from.
"""

_PEOPLE = """\
--- Telling people: nobody is told until a channel, a contact and a policy are here; the dashboard shows all ---

[channel.mail]
type = "email"
servers = ["smtp://relay.example.org:587"]
from = "watch@example.org"
username = "watch"
password = "${credential:smtp_password}"

[channel.sms]
type = "sms"
provider = "twilio"
account_sid = "${credential:twilio_sid}"
auth_token = "${credential:twilio_token}"
from = "+15550100"
limit = "10/1h"

[channel.slack]
type = "slack"
webhook = "${credential:slack_webhook}"

[contact.me]
phone = "+15550101"
email = "me@example.org"

[policy.default.critical]
tell = ["sms:me", "mail:me"]
repeat = "15m"

[policy.default.warning]
tell = ["mail:me"]
repeat = "4h"

[policy.default.info]
tell = ["slack"]
digest = "1h"
"""

_DAEMON = """\
--- The daemon itself ---

[web]
listen = ["127.0.0.1:9848"]
public_url = "https://watch.example.org"  # where people reach the dashboard; links in messages begin with it
token = "${credential:web_token}"  # what opens dashboard and API; openssl rand -hex 32

[defaults]
every = "1m"
timeout = "10s"
retry = { times = 2, every = "10s" }  # confirm a failure quickly before anybody is told
"""

_MORE = """\
--- More to watch ---

[check.website]
type = "http"
url = "https://www.example.org/"
expect.body = "Welcome"

[check.website-certificate]
type = "tls"
address = "www.example.org:443"

[check.name]
type = "dns"
name = "www.example.org"

[check.router]
type = "icmp"
host = "192.0.2.1"
"""


def render(discovery: Discovery) -> str:
    """A configuration (TOML) with a comment on everything; it can be used as it is."""
    watchd = table_text(
        ("watchd",),
        {"name": discovery.host, "timezone": discovery.timezone},
        {"name": "stands in every message", "timezone": "of messages and schedules"},
    )
    notes = ["# Seen, but not watched:\n" + "".join(commented(f"- {note}") for note in discovery.notes)]
    parts = [
        _HEAD.format(host=discovery.host),
        watchd,
        *(notes if discovery.notes else []),
        *map(_check_text, discovery.checks),
        commented(_MORE),
        commented(_PEOPLE),
        commented(_DAEMON),
    ]
    return "\n".join(parts)


def _check_text(found: Found) -> str:
    table = table_text(("check", found.name), found.settings, found.comments)
    deeper = table_text(("check", found.name), found.deeper) if found.deeper else ""
    return commented(found.why) + table + commented(found.below) + commented(deeper)
