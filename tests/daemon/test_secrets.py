"""No secret leaves the daemon: known ones are planted wherever a configuration can hold one, everything is searched.

The servers are of the worst kind: they send back whatever they are told, in the status line, in headers, bodies and
error messages, quoted, as JSON and in base64.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from tests.daemon.harness import RunningDaemon, eventually
from tests.real.servers.certificates import Authority
from wcr_watchd.cli.main import cli
from wcr_watchd.store.sqlite import SqliteStore

Daemons = Callable[..., RunningDaemon]


class Planted:
    """Secrets by what they are for. Each has a core that appears nowhere else, between characters that are escaped."""

    def __init__(self) -> None:
        self.cores: dict[str, str] = {}

    def plain(self, what: str) -> str:
        """A secret that fits anywhere, such as a path of a URL or a header."""
        number = len(self.cores)
        self.cores[what] = base64.b32encode(f"{number:02}-{what}".encode()).decode().strip("=")[:24]
        return self.cores[what]

    def awkward(self, what: str) -> str:
        """One with characters that URLs, JSON, HTML and shells escape."""
        return f"{self.plain(what)}+/%&<'\"\\ü"

    def found_in(self, text: str, but: tuple[str, ...] = ()) -> list[str]:
        """Which secrets a text gives away, as they are or in base64; ``but`` those are allowed to be there."""
        return [
            f"{what} in {text[max(0, text.find(form) - 80) : text.find(form) + 80]!r}"
            for what, core in self.cores.items()
            if what not in but
            for form in (core, *_in_base64(core))
            if form in text
        ]


def _in_base64(core: str) -> Iterator[str]:
    for before in range(3):
        yield base64.b64encode(bytes(before) + core.encode()).decode()[4:24]


@dataclass
class Echoes:
    """Servers that repeat what they hear. ``heard`` is everything that came in, by server."""

    context: ssl.SSLContext
    heard: dict[str, list[str]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _open(self) -> None:
        self._servers = []
        talks = {"http": self._http, "redis": self._redis, "smtps": self._smtp, "postgres": self._postgres}
        for name, talk in {**talks, "lines": self._lines}.items():
            self.heard[name] = []
            server = await asyncio.start_server(
                self._carefully(talk), "127.0.0.1", 0, ssl=self.context if name == "smtps" else None
            )
            self.ports[name] = server.sockets[0].getsockname()[1]
            self._servers.append(server)

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        talking = asyncio.all_tasks() - {asyncio.current_task()}
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()

    @staticmethod
    def _carefully(talk: Callable[..., object]) -> Callable[..., object]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                with suppress(OSError, asyncio.IncompleteReadError):
                    await talk(reader, writer)  # type: ignore[misc]
            finally:
                writer.close()

        return serve

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """All of the request comes back; a path with ``accept`` is taken, one with ``redirect`` leads elsewhere."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("utf-8", "replace")
        length = next((int(line.split(":")[1]) for line in head.lower().split("\r\n") if "content-length" in line), 0)
        body = (await reader.readexactly(length)).decode("utf-8", "replace")
        self.heard["http"].append(head + body)
        said = " | ".join(line for line in head.split("\r\n") if not line.lower().startswith(("host", "accept")))
        echo = (
            f"wrong: {said} {body} {json.dumps([head, body])} {quote(head)} {base64.b64encode(head.encode()).decode()}"
        )
        path = head.split(" ")[1]
        status = "202 Taken" if "accept" in path else "302 Found" if "redirect" in path else f"500 no {said[:400]}"
        reply = f"HTTP/1.1 {status}\r\nX-Echo: {said}\r\nLocation: ftp://elsewhere/?{quote(said)}\r\n"
        reply += f"Content-Length: {len(echo.encode())}\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n{echo}"
        writer.write(reply.encode())
        await writer.drain()

    async def _redis(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = (await reader.read(4096)).decode("utf-8", "replace")
        self.heard["redis"].append(said)
        writer.write(f"-WRONGPASS you said {said!r}\r\n".encode())
        await writer.drain()

    async def _lines(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        self.heard["lines"].append(line.decode())
        writer.write(b"what do you mean by " + line)
        await writer.drain()

    async def _smtp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 echo ESMTP\r\n")
        while line := (await reader.readline()).decode().strip():
            self.heard["smtps"].append(line)
            if line.startswith("EHLO"):
                writer.write(b"250-echo\r\n250 AUTH PLAIN\r\n")
            elif line == "QUIT":
                return
            else:
                decoded = base64.b64decode(line.split(" ")[-1] + "==").decode("utf-8", "replace").replace("\0", " ")
                writer.write(f"535 5.7.8 bad credentials {line} that is {decoded}\r\n".encode())
            await writer.drain()

    async def _postgres(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Asks for the password in clear and repeats it (message flow of the PostgreSQL protocol 3.0)."""
        length = int.from_bytes(await reader.readexactly(4), "big")
        start = await reader.readexactly(length - 4)
        if start[:4] == (80877103).to_bytes(4, "big"):  # SSLRequest
            writer.write(b"N")
            length = int.from_bytes(await reader.readexactly(4), "big")
            start = await reader.readexactly(length - 4)
        writer.write(b"R" + (8).to_bytes(4, "big") + (3).to_bytes(4, "big"))
        await writer.drain()
        await reader.readexactly(1)
        length = int.from_bytes(await reader.readexactly(4), "big")
        password = (await reader.readexactly(length - 4)).rstrip(b"\0")
        self.heard["postgres"].append(password.decode("utf-8", "replace"))
        text = b"SFATAL\0C28P01\0Mpassword " + password + b" is wrong for " + start[4:].replace(b"\0", b" ") + b"\0\0"
        writer.write(b"E" + (len(text) + 4).to_bytes(4, "big") + text)
        await writer.drain()


@pytest.fixture
def echoes(authority: Authority) -> Iterator[Echoes]:
    pair = authority.issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    servers = Echoes(context)
    servers.start()
    yield servers
    servers.stop()


class Plan:
    """A configuration with a secret wherever one can stand, by environment, file and credential, and in the open."""

    def __init__(self, folder: Path, echoes: Echoes, ca_file: str) -> None:
        self.planted = Planted()
        self.folder = folder
        self.environment = {"CREDENTIALS_DIRECTORY": str(folder)}
        self._turn = 0
        http = f"http://127.0.0.1:{echoes.ports['http']}"
        plain, awkward = self._plain, self._awkward
        self.checks = {
            "headers": f'type = "http"\nurl = "{http}/a"\nheaders.X-Key = "{plain("header")}"\n'
            f'auth = {{ bearer = "{plain("bearer")}" }}',
            "basic": f'type = "http"\nurl = "{http}/b"\nauth = {{ user = "ann", password = "{awkward("basic")}" }}',
            "query": f'type = "http"\nurl = "{http}/d?key={plain("query")}"',
            "form": f'type = "http"\nurl = "{http}/e"\nmethod = "POST"\nform.password = "{awkward("form")}"',
            "body": f'type = "http"\nurl = "{http}/f"\nmethod = "POST"\nbody = "pw={awkward("body")}"',
            "json": f'type = "http"\nurl = "{http}/g"\nmethod = "POST"\njson.password = "{awkward("json")}"',
            "redirect": f'type = "http"\nurl = "{http}/redirect"\nheaders.X-Key = "{plain("redirected header")}"',
            "missing": f'type = "http"\nurl = "{http}/accept"\nheaders.X-Key = "{plain("expected header")}"\n'
            'expect.headers.X-Echo = "nothing"\nexpect.body = "nothing"',
            "cache": f'type = "redis"\nurl = "redis://127.0.0.1:{echoes.ports["redis"]}/0"\n'
            f'password = "{awkward("redis")}"',
            "relay": f'type = "smtp"\nurl = "smtps://localhost:{echoes.ports["smtps"]}"\nca_file = "{ca_file}"\n'
            f'username = "ann"\npassword = "{awkward("smtp")}"',
            "database": f'type = "postgres"\ndsn = "postgresql://watch:{plain("dsn")}@127.0.0.1:'
            f'{echoes.ports["postgres"]}/app?sslmode=disable"',
            "database2": f'type = "postgres"\ndsn = "postgresql://watch@127.0.0.1:{echoes.ports["postgres"]}/app'
            f'?sslmode=disable"\npassword = "{awkward("postgres password")}"',
            "port": f'type = "tcp"\naddress = "127.0.0.1:{echoes.ports["lines"]}"\nexpect = "ready"\n'
            f'send = "LOGIN {plain("tcp")}\\n"',
            "plugin": 'type = "command"\nrun = ["/bin/sh", "-c", "echo CRITICAL $TOKEN; echo $TOKEN >&2; exit 2"]\n'
            f'env.TOKEN = "{awkward("plugin environment")}"',
            "argument": f'type = "command"\nrun = ["/bin/sh", "-c", "echo CRITICAL $0; exit 2", '
            f'"{plain("plugin argument")}"]',
        }
        self.channels = {
            "hook": f'type = "webhook"\nurl = "{http}/{plain("webhook path")}"\n'
            f'secret = "{awkward("webhook secret")}"\nheaders.X-Key = "{plain("webhook header")}"',
            "taking": f'type = "webhook"\nurl = "{http}/accept/{plain("taking path")}"\n'
            f'headers.Authorization = "Bearer {plain("taking header")}"',
            "chat": f'type = "slack"\nwebhook = "{http}/services/{plain("slack")}"',
            "twilio": f'type = "sms"\nprovider = "twilio"\napi_url = "{http}"\naccount_sid = "{plain("account")}"\n'
            f'auth_token = "{plain("auth token")}"\nfrom = "+15550100"',
            "gateway": f'type = "sms"\nprovider = "http"\nurl = "{http}/sms?key={plain("gateway url")}"\n'
            f'headers.X-Key = "{plain("gateway header")}"\nbody = {{ to = "{{to}}", text = "{{text}}", '
            f'key = "{awkward("gateway body")}" }}',
            "mail": f'type = "email"\nservers = ["smtps://localhost:{echoes.ports["smtps"]}"]\nca_file = "{ca_file}"\n'
            f'from = "watch@example.org"\nusername = "ann"\npassword = "{awkward("mail")}"',
        }
        self.token = self._plain("web token")
        self.userinfo = self._plain("user information")

    def _plain(self, what: str) -> str:
        return self._refer(self.planted.plain(what))

    def _awkward(self, what: str) -> str:
        return self._refer(self.planted.awkward(what))

    def _refer(self, secret: str) -> str:
        """The reference to it, by each way in turn."""
        self._turn += 1
        name = f"PLANTED_{self._turn}"
        if self._turn % 3 == 0:
            self.environment[name] = secret
            return f"${{env:{name}}}"
        (self.folder / name).write_text(secret + "\n")
        return f"${{file:{self.folder}/{name}}}" if self._turn % 3 == 1 else f"${{credential:{name}}}"

    def text(self) -> str:
        """The configuration."""
        parts = [
            '[defaults]\nretry = { times = 0, every = "1s" }\n[contact.ann]\nphone = "+15550101"\nemail = "a@b.org"\n'
        ]
        parts += [f"[channel.{name}]\n{body}\n" for name, body in self.channels.items()]
        tell = '"hook", "taking", "chat", "twilio:ann", "gateway:ann", "mail:ann"'
        parts += [f"[policy.default.{severity}]\ntell = [{tell}]\n" for severity in ("critical", "warning")]
        pace = 'every = "5s"\ntimeout = "4s"'
        parts += [f"[check.{name}]\n{pace}\n{body}\n" for name, body in self.checks.items()]
        return "".join(parts)


def test_no_secret_leaves_the_daemon(
    make_daemon: Daemons, echoes: Echoes, authority: Authority, tmp_path: Path
) -> None:
    plan = Plan(tmp_path, echoes, str(authority.ca_file))
    daemon = make_daemon(plan.text(), start=False, environment=plan.environment)
    daemon.config.write_text(daemon.config.read_text().replace("listen = []", f'listen = []\ntoken = "{plan.token}"'))
    daemon.log_level = "debug"
    daemon.start()
    eventually(lambda: len(daemon.incidents(open_only=True)) == len(plan.checks), "every check fails")
    eventually(lambda: _attempted(daemon) == set(plan.channels), f"every channel was tried: {_attempted(daemon)}")
    for server, heard in echoes.heard.items():
        assert heard, f"nothing came to {server}: nothing could be echoed"
    _nothing_shown(plan, daemon)
    _nothing_said_on_the_command_line(plan, daemon)
    _nothing_sent_to_others(plan, echoes)
    assert daemon.stop() == 0
    assert not plan.planted.found_in(daemon.log())
    assert not plan.planted.found_in(asyncio.run(_stored(daemon.database, plan)))
    for file in daemon.folder.glob("watchd.db*"):
        assert not plan.planted.found_in(file.read_bytes().decode("latin-1")), file


def _attempted(daemon: RunningDaemon) -> set[str]:
    rows = daemon.api("GET", "/deliveries")["deliveries"]
    return {row["channel"] for row in rows if row["attempts"]}


def _nothing_shown(plan: Plan, daemon: RunningDaemon) -> None:
    """Pages, API, metrics, health, the process itself."""
    incidents = [row["id"] for row in daemon.incidents()]
    paths = [
        "/",
        "/metrics",
        "/healthz",
        "/readyz",
        "/sign-in",
        "/api/v1/status",
        "/api/v1/checks",
        "/api/v1/incidents",
    ]
    paths += ["/api/v1/deliveries", "/api/v1/nothing", "/checks/nothing", "/incidents/999"]
    paths += [f"{part}/checks/{name}" for name in plan.checks for part in ("", "/api/v1")]
    paths += [f"/api/v1/checks/{name}/history?measurement=response_time" for name in plan.checks]
    paths += [f"{part}/incidents/{number}" for number in incidents for part in ("", "/api/v1")]
    for path in paths:
        _, text = daemon.get(path)
        assert text, path
        assert not plan.planted.found_in(text), path
    assert daemon.process is not None
    for name in ("cmdline", "comm"):
        assert not plan.planted.found_in(Path(f"/proc/{daemon.process.pid}/{name}").read_text())
    live = subprocess.run(
        ["curl", "-sN", "-m", "3", "--unix-socket", str(daemon.socket), "http://localhost/live"], capture_output=True
    )
    assert live.stdout
    assert not plan.planted.found_in(live.stdout.decode())


def _nothing_said_on_the_command_line(plan: Plan, daemon: RunningDaemon) -> None:
    """In this process, which is quicker than a hundred of them; logging goes to where it went before."""
    config = ("-c", str(daemon.config))
    broken = daemon.folder / "broken.toml"
    broken.write_text(daemon.config.read_text() + _wrong_everywhere(plan))
    commands = [["list"], ["status"], ["incidents"], ["incidents", "--json"]]
    commands += [["notify-test", name] for name in ("hook", "taking", "chat")]
    commands += [["notify-test", name, "ann"] for name in ("twilio", "gateway", "mail")]
    commands += [["check-config", *config, "--show", name, *more] for name in plan.checks for more in ((), ("--json",))]
    commands += [["probe", "all", *config], ["probe", "all", *config, "--json"], ["check-config", "-c", str(broken)]]
    runner = CliRunner(env={**plan.environment, "WATCHD_SOCKET": str(daemon.socket)})
    for words in commands:
        done = runner.invoke(cli, words)
        assert isinstance(done.exception, SystemExit | None), (words, done.exception)
        assert done.output, words
        assert not plan.planted.found_in(done.output), words
    refused = daemon.command("run", "-c", str(broken))
    assert refused.returncode == 2
    assert not plan.planted.found_in(refused.stdout + refused.stderr)
    daemon.config.write_text(broken.read_text())
    daemon.reload()
    eventually(lambda: daemon.api("GET", "/status")["reload_problems"], "the broken file is refused")
    assert not plan.planted.found_in(daemon.get("/")[1] + daemon.get("/api/v1/status")[1])


def _wrong_everywhere(plan: Plan) -> str:
    """The same references where they are wrong: whatever is complained of must not be quoted in clear."""
    lines = []
    references = [body.split("${")[1].split("}")[0] for body in (*plan.checks.values(), *plan.channels.values())]
    for number, reference in enumerate(references):
        for place, key in enumerate(("url", "every", "timeout", "critical", "nonsense", "expect.status", "method")):
            others = 'type = "http"\n' + ("" if key == "url" else 'url = "http://127.0.0.1/"\n')
            lines.append(f'[check.wrong-{number}-{place}]\n{others}{key} = "${{{reference}}}"\n')
    for number, scheme in enumerate(("http", "redis", "smtp")):
        lines.append(f'[check.user-{number}]\ntype = "{scheme}"\nurl = "{scheme}://ann:{plan.userinfo}@127.0.0.1/"\n')
    return "".join(lines)


def _nothing_sent_to_others(plan: Plan, echoes: Echoes) -> None:
    """A message carries its channel's own key where the provider wants it, and no other secret anywhere."""
    own = {
        "webhook path": ("webhook path", "webhook header"),
        "taking path": ("taking path", "taking header"),
        "slack": ("slack",),
        "account": ("account", "auth token"),
        "gateway url": ("gateway url", "gateway header", "gateway body"),
    }
    for address, allowed in own.items():
        messages = [said for said in echoes.heard["http"] if plan.planted.cores[address] in said.split("\r\n")[0]]
        assert messages, address
        for message in messages:
            assert not plan.planted.found_in(message, but=allowed), address
            if address != "gateway url":
                assert not plan.planted.found_in(message.split("\r\n\r\n", 1)[1]), address


async def _stored(database: Path, plan: Plan) -> str:
    """Everything in the records, unpacked."""
    store = SqliteStore(database)
    await store.open()
    try:
        found: list[object] = [await store.restore()]
        for name in plan.checks:
            observations = await store.observations(name, since=0)
            assert observations
            found += observations
        for incident in await store.incidents(limit=10_000):
            found += (incident, *await store.events(incident.id))
        found += await store.deliveries(limit=10_000)
        return "\n".join(map(repr, found))
    finally:
        await store.close()
