"""A real IMAP server (dovecot) on loopback that offers STARTTLS."""

from __future__ import annotations

import base64
import contextlib
import email
import getpass
import hashlib
import imaplib
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest

from tests.real.ports import free_port
from tests.real.servers.certificates import Authority, Pair

PATIENCE = 20.0


PASSWORD = 'a "password" that must \\ never be seen'


@dataclass
class MailServer:
    """A running dovecot with mailboxes for everybody who knows the password; ``user`` is one of them."""

    port: int
    authority: Authority
    user: str = ""

    @contextlib.contextmanager
    def session(self) -> Iterator[imaplib.IMAP4]:
        """A signed-in session of the user."""
        session = imaplib.IMAP4("127.0.0.1", self.port)
        try:
            session.starttls(ssl.create_default_context(cafile=self.authority.ca_file))
            session.authenticate("PLAIN", lambda _: f"\0{self.user}\0{PASSWORD}".encode())
            yield session
        finally:
            session.logout()

    def deliver(self, raw: bytes, folder: str = "INBOX", at: float | None = None) -> None:
        """Put a mail into a folder, which is made if need be, as if it had arrived then (default: now)."""
        with self.session() as session:
            session.create(folder)
            moment = imaplib.Time2Internaldate(time.time() if at is None else at)
            status, said = session.append(folder, "", moment, raw)
            assert status == "OK", said

    def subjects(self, folder: str = "INBOX") -> list[str]:
        """What is in a folder."""
        with self.session() as session:
            if session.select(folder)[0] != "OK":
                return []
            (numbers,) = session.search(None, "ALL")[1]
            found = [session.fetch(one, "(BODY.PEEK[HEADER])")[1][0][1] for one in numbers.decode().split()]
            return [str(email.message_from_bytes(raw)["Subject"]) for raw in found]


@pytest.fixture
def imap(dovecot: MailServer) -> int:
    """Its port on 127.0.0.1, for which it has a certificate."""
    return dovecot.port


@pytest.fixture
def mail_server(dovecot: MailServer) -> MailServer:
    """An empty mailbox of a new user."""
    return replace(dovecot, user=f"watch-{uuid4().hex[:8]}@example.org")


@pytest.fixture(scope="session")
def dovecot(authority: Authority) -> Iterator[MailServer]:
    """The server, once for all tests: it takes a second to end."""
    program = shutil.which("dovecot") or "/usr/sbin/dovecot"
    assert Path(program).exists(), "dovecot is not installed: apt-get install dovecot-imapd"
    # Not pytest's folder: the login process runs as a user of its own, which may not enter that.
    with tempfile.TemporaryDirectory(prefix="dovecot-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        (folder / "mail").mkdir()
        if os.geteuid() == 0:
            shutil.chown(folder / "mail", "dovenull", "dovenull")
        config = folder / "dovecot.conf"
        config.write_text(_config(folder, port, authority.issue("127.0.0.1")))
        output = (folder / "output").open("wb")
        process = subprocess.Popen([program, "-F", "-c", str(config)], stdout=output, stderr=output)
        try:
            _wait(process, port, folder)
            yield MailServer(port, authority)
        finally:
            process.terminate()
            process.wait(PATIENCE)
            output.close()


def _config(folder: Path, port: int, pair: Pair) -> str:
    login, internal = ("dovenull", "dovecot") if os.geteuid() == 0 else (getpass.getuser(),) * 2
    return f"""\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{pair.certificate}
ssl_key = <{pair.key}
mail_location = maildir:{folder}/mail/%u
first_valid_uid = 1
auth_failure_delay = 0
first_valid_gid = 1
default_login_user = {login}
default_internal_user = {internal}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
passdb {{
  driver = static
  args = {_password()}
}}
userdb {{
  driver = static
  args = uid={login} gid={login} home={folder}
}}
"""


def _password() -> str:
    """Hashed: the configuration can hold no quotes."""
    return "password={SHA256}" + base64.b64encode(hashlib.sha256(PASSWORD.encode()).digest()).decode()


def _wait(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            said = (folder / "output").read_text()
            assert process.poll() is None, f"dovecot ended: {said}"
            assert time.monotonic() < deadline, f"dovecot did not come up: {said}"
            time.sleep(0.02)
        else:
            return
