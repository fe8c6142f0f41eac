"""A real IMAP server (dovecot) on loopback that offers STARTTLS."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.ports import free_port
from tests.real.servers.certificates import Authority, Pair

PATIENCE = 20.0


@pytest.fixture
def imap(authority: Authority) -> Iterator[int]:
    """Its port on 127.0.0.1, for which it has a certificate."""
    program = shutil.which("dovecot") or "/usr/sbin/dovecot"
    assert Path(program).exists(), "dovecot is not installed: apt-get install dovecot-imapd"
    # Not pytest's folder: the login process runs as a user of its own, which may not enter that.
    with tempfile.TemporaryDirectory(prefix="dovecot-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        config = folder / "dovecot.conf"
        config.write_text(_config(folder, port, authority.issue("127.0.0.1")))
        output = (folder / "output").open("wb")
        process = subprocess.Popen([program, "-F", "-c", str(config)], stdout=output, stderr=output)
        try:
            _wait(process, port, folder)
            yield port
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
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={login} gid={login} home={folder}
}}
"""


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
