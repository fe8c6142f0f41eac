"""The ups probe on the real upsd of Network UPS Tools, whose driver `dummy-ups` plays the device."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.real.ports import free_port
from tests.real.running import Observe, measured, names
from tests.real.servers.odd import Odd
from wcr_watchd.core.model import Outcome

_PROGRAMS = Path("/usr/lib/nut")


class Nut:
    """A running upsd, and a driver for each of its UPSes."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="watchd-nut-"))
        self.port = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        """Where upsd listens."""
        return f"127.0.0.1:{self.port}"

    def start(self, **devices: dict[str, object]) -> None:
        """Start with these UPSes, each with its variables."""
        configuration = "".join(f"[{name}]\ndriver = dummy-ups\nport = {name}.dev\n" for name in devices)
        (self.folder / "ups.conf").write_text(configuration)
        (self.folder / "upsd.conf").write_text(f"LISTEN 127.0.0.1 {self.port}\n")
        (self.folder / "upsd.users").touch()
        for name, values in devices.items():
            text = "".join(f"{variable}: {value}\n" for variable, value in values.items())
            (self.folder / f"{name}.dev").write_text(text)
            self._run("dummy-ups", "-a", name)
            self._wait(lambda name=name: (self.folder / f"dummy-ups-{name}").exists())
        self._run("upsd")
        self._wait(lambda: all("WAIT" not in (said := self._says(name)) and "ups.status" in said for name in devices))

    def _run(self, program: str, *words: str) -> None:
        command = [str(_PROGRAMS / program), *words, "-u", "root" if os.geteuid() == 0 else os.environ["USER"], "-D"]
        places = dict.fromkeys(("NUT_CONFPATH", "NUT_STATEPATH", "NUT_ALTPIDPATH"), str(self.folder))
        log = (self.folder / f"{program}.log").open("ab")
        with log:
            self._processes.append(subprocess.Popen(command, env=os.environ | places, stdout=log, stderr=log))

    def _says(self, name: str) -> str:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=20) as asking:
                asking.sendall(f"LIST VAR {name}\n".encode())
                said = b""
                while not said.endswith((b"END LIST VAR " + name.encode() + b"\n",)) and not said.startswith(b"ERR"):
                    said += asking.recv(10_000)
                return said.decode()
        except ConnectionRefusedError:
            return ""

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, [path.read_text() for path in self.folder.glob("*.log")]
            time.sleep(0.05)

    def stop_driver(self) -> None:
        """End the first driver, as when its cable is pulled."""
        self._processes[0].kill()
        self._processes[0].wait()

    def stop(self) -> None:
        """End all."""
        for process in self._processes:
            process.kill()
            process.wait()
        shutil.rmtree(self.folder)


@pytest.fixture
def nut() -> Iterator[Nut]:
    """Nothing runs yet."""
    made = Nut()
    yield made
    made.stop()


async def test_on_mains(nut: Nut, observe: Observe) -> None:
    values = {"ups.status": "OL CHRG", "battery.charge": 98, "battery.runtime": 1_860, "ups.load": 23}
    nut.start(rack={**values, "ups.mfr": 'Some "Maker" \\ Ltd'})
    seen = await observe("ups", address=nut.address)
    assert (seen.outcome, seen.reason, seen.summary) == (Outcome.UP, "", "rack: nothing is wrong")
    assert {one.name: one.value for one in seen.measurements} == {
        "on_mains": 1, "on_battery": 0, "low_battery": 0, "replace_battery": 0, "overload": 0,
        "battery_charge": 0.98, "battery_runtime": 1_860, "load": 0.23,
    }  # fmt: skip
    seen = await observe("ups", address=nut.address, names=["rack", "cellar"])
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "content")
    assert "has no UPS cellar; it has rack" in seen.summary


async def test_what_is_wrong(nut: Nut, observe: Observe) -> None:
    nut.start(
        one={"ups.status": "OB DISCHRG LB", "battery.runtime": 120},
        two={"ups.status": "OL RB OVER BYPASS", "battery.charge": "unknown"},
    )
    seen = await observe("ups", address=nut.address)
    assert (seen.outcome, seen.reason) == (Outcome.UP, "power")
    assert "one is on battery, its battery is low, for 2 min more" in seen.summary
    assert "two its battery must be replaced, is overloaded, does not protect, as it is bypassed" in seen.summary
    flags = ("on_mains", "on_battery", "low_battery", "replace_battery", "overload")
    assert [measured(seen, name, ups="one") for name in flags] == [0, 1, 1, 0, 0]
    assert [measured(seen, name, ups="two") for name in flags] == [1, 0, 0, 1, 1]
    assert "battery_charge" not in names(seen)
    nut.stop_driver()
    deadline = time.monotonic() + 30
    while (seen := await observe("ups", address=nut.address)).outcome is Outcome.UP:
        assert time.monotonic() < deadline
    assert seen.reason == "stale"
    assert "one: upsd does not hear from it" in seen.summary
    assert measured(seen, "overload", ups="two") == 1, "the other is told of all the same"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"ERR ACCESS-DENIED\n", "refused"),
        (b"HTTP/1.0 400 Bad Request\r\n\r\n", "protocol"),
        (b'BEGIN LIST UPS\nVAR a ups.status "OL"\nEND LIST UPS\n', "protocol"),
        (b"BEGIN LIST UPS\nEND LIST UPS\n", "content"),
        (b"BEGIN LIST UPS\n" + b'UPS a "A"\n' * 2_001, "protocol"),
        (b"x" * 100_000, "protocol"),
        (b"BEGIN LIST UPS\n", "protocol"),
    ],
)
async def test_what_no_upsd_says(
    odd: Callable[..., Awaitable[Odd]], observe: Observe, said: bytes, reason: str
) -> None:
    async def talk(reader: object, writer: object) -> None:
        await reader.readline()  # type: ignore[attr-defined]
        writer.write(said)  # type: ignore[attr-defined]
        await writer.drain()  # type: ignore[attr-defined]

    server = await odd(talk)
    seen = await observe("ups", address=server.address)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, reason), seen.summary
    assert not names(seen)
