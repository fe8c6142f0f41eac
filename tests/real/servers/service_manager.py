"""A real systemd: the manager of a user's services, which runs anywhere, with a real D-Bus of its own.

It thinks that the machine was started by systemd, because it sees a /run of its own (a mount namespace).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_PROGRAM = "/usr/lib/systemd/systemd"
_SANDBOX = "mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec {program} --user --log-target=console"
_BUS_SOCKET = "[Socket]\nListenStream=%t/bus\n"
_BUS_SERVICE = """
[Unit]
Requires=dbus.socket
[Service]
Type=notify
NotifyAccess=main
ExecStart=/usr/bin/dbus-daemon --session --address=systemd: --nofork --nopidfile --systemd-activation --syslog-only
"""


@dataclass
class ServiceManager:
    """A running systemd; ``bus`` is the address of its D-Bus."""

    folder: Path

    @property
    def runtime(self) -> Path:
        """Its folder for sockets."""
        return self.folder / "run"

    @property
    def bus(self) -> str:
        """The address of its D-Bus."""
        return f"unix:path={self.runtime}/bus"

    @property
    def environment(self) -> dict[str, str]:
        """What programs need to find it."""
        return {"XDG_RUNTIME_DIR": str(self.runtime), "DBUS_SESSION_BUS_ADDRESS": self.bus}

    def unit(self, name: str, text: str) -> None:
        """Write a unit."""
        (self.folder / "config/systemd/user" / name).write_text(text)

    def control(self, *words: str, check: bool = True) -> str:
        """Run systemctl for it."""
        done = subprocess.run(
            ["systemctl", "--user", *words],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip()

    def reach(self, state: str, name: str, what: str = "ActiveState") -> None:
        """Wait until a property of a unit has this value."""
        deadline = time.monotonic() + 20
        while (now := self.control("show", "--value", f"--property={what}", name)) != state:
            assert time.monotonic() < deadline, f"{name} is {now}, not {state}"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def service_manager() -> Iterator[ServiceManager]:
    """A systemd with nothing but its bus."""
    # Not below pytest's folders, whose names are longer than a socket's may be.
    manager = ServiceManager(Path(tempfile.mkdtemp(prefix="watchd-systemd-")))
    (manager.folder / "config/systemd/user").mkdir(parents=True)
    manager.runtime.mkdir(mode=0o700)
    manager.unit("dbus.socket", _BUS_SOCKET)
    manager.unit("dbus.service", _BUS_SERVICE)
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    home = {"HOME": str(manager.folder), "XDG_CONFIG_HOME": str(manager.folder / "config")}
    with (manager.folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*unshare, "sh", "-c", _SANDBOX.format(program=_PROGRAM)],
            env={"PATH": os.environ["PATH"]} | manager.environment | home,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_for(manager.runtime / "systemd/private", process, manager.folder / "log")
        manager.control("start", "dbus.service")
        yield manager
    finally:
        manager.control("exit", check=False)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(manager.folder, ignore_errors=True)


def _wait_for(path: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()  # noqa: PT018 - one condition
        time.sleep(0.02)
