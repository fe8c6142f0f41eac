"""What happens to others, to the machine or to the clock turns no healthy target into a failure and wakes nobody.

One daemon goes through it all: it is stopped for a while (as by a debugger, or on a paused machine), the wall clock
steps, neighbours burn the processors, and at last a third of the targets hang while every channel hangs and the disk is
slow. Lateness is judged by what the targets see, not by what the daemon says of itself.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from tests.daemon.harness import RunningDaemon, eventually
from tests.real.servers.providers import WEBHOOK_SECRET
from tests.soak.sickness import Sickness
from tests.soak.world import MoodyReceiver, Sites, running

EVERY = 2.0
HOUR = 3600
NEVER = 10**6
SLOW_WRITE = 0.25
"""Seconds that one write to the records takes on the slow disk; a commit has several."""
BURNERS = 4
LATE_AT_MOST = 0.1
_FAILURES = re.compile(r'^watchd_check_failures_total\{check="([^"]+)".*\} ([0-9.]+)$', re.MULTILINE)


@dataclass
class Trial:
    """The trials with their lengths in seconds: ``stop`` of SIGSTOP, ``calm`` of everything else.

    ``punctual`` also judges lateness (p99 below a tenth of a second), which says something on a quiet machine only.
    """

    folder: Path
    stop: float = 30.0
    calm: float = 30.0
    punctual: bool = True

    def run(self) -> str:
        """Go through it; returns the figures. Raises ``AssertionError``."""
        self.sites = Sites([f"site-{number}" for number in range(30)])
        self.receivers = {"first": MoodyReceiver(), "second": MoodyReceiver()}
        sickness = Sickness(self.folder)
        with running(self.sites, *self.receivers.values()):
            self.daemon = RunningDaemon(self.folder, self._config(), sickness.environment)
            try:
                self.daemon.start()
                eventually(lambda: self.daemon.get("/readyz")[0] == 200, "everything was seen once")
                return "\n".join(
                    (
                        self._nobody_is_woken("stopped", lambda: self._stop(self.stop)),
                        self._nobody_is_woken("clock + 1 h", lambda: sickness.suffer(step=HOUR)),
                        self._nobody_is_woken("clock - 1 h", lambda: sickness.suffer(step=-HOUR)),
                        self._beside_burning_neighbours(),
                        self._while_all_else_hangs(sickness),
                    )
                )
            finally:
                if self.daemon.process is not None:
                    self.daemon.kill()

    def _config(self) -> str:
        parts = ['[defaults]\nretry = { times = 2, every = "200ms" }\n']
        for name, receiver in self.receivers.items():
            parts.append(f'[channel.{name}]\ntype = "webhook"\nurl = "{receiver.url}"\nsecret = "{WEBHOOK_SECRET}"\n')
        policy = f"tell = {list(self.receivers)}\n".replace("'", '"')
        parts += [f"[policy.default.{severity}]\n{policy}" for severity in ("critical", "warning", "info")]
        pace = f'every = "{EVERY:g}s"\ntimeout = "{EVERY * 900:g}ms"'
        for name in self.sites.sites:
            rules = 'warning = "response_time > 2s"'
            parts.append(f'[check.{name}]\ntype = "http"\nurl = "{self.sites.url(name)}"\n{pace}\n{rules}\n')
        parts.append(f'[check.port]\ntype = "tcp"\naddress = "127.0.0.1:{self.sites.port}"\n{pace}\n')
        parts.append(f'[check.plugin]\ntype = "command"\nrun = ["/bin/echo", "OK - fine | users=3"]\n{pace}\n')
        # Its numbers are read, but this machine may really be busy, which would be the target's fault.
        parts.append(f'[check.host]\ntype = "host"\n{pace}\nwarning = []\ninfo = []\ncritical = ["down"]\n')
        return "".join(parts)

    # --- trials ---

    def _nobody_is_woken(self, what: str, do: Callable[[], object]) -> str:
        """Whatever is done, every check goes on at its pace and none fails."""
        do()
        begun = time.monotonic() + EVERY  # what a stop has held up comes first, out of its phase
        time.sleep(self.calm / 2)  # what is watched is that nothing happens in this time
        self._all_is_well(what)
        return f"{what}: no failure, nobody woken; {self._punctuality(list(self.sites.sites), begun)}"

    def _stop(self, seconds: float) -> None:
        assert self.daemon.process is not None
        self.daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.daemon.process.send_signal(signal.SIGCONT)

    def _beside_burning_neighbours(self) -> str:
        with burning(BURNERS):
            time.sleep(self.calm / 2)
            self._all_is_well("burning neighbours")
        return f"{BURNERS} burning neighbours: no failure, nobody woken"

    def _while_all_else_hangs(self, sickness: Sickness) -> str:
        """Healthy targets keep their interval; the hanging ones are told of as soon as the channels work again."""
        names = list(self.sites.sites)
        hanging, healthy = names[:10], names[10:]
        sickness.suffer(delay=SLOW_WRITE)
        for receiver in self.receivers.values():
            receiver.delay = NEVER
        for name in hanging:
            self.sites.sites[name].mood = "hang"
        begun = time.monotonic()
        time.sleep(self.calm)
        figures = self._punctuality(healthy, begun)
        failed = {name: count for name, count in self._failures().items() if name not in hanging}
        assert not failed, f"healthy checks failed beside hanging ones: {failed}"
        sickness.heal()
        for receiver in self.receivers.values():
            receiver.calm_down()
            receiver.let_go()
        eventually(lambda: all(len(self._told_of(one)) == 10 for one in self.receivers.values()), "all are told", 90)
        eventually(
            lambda: {row["check"] for row in self.daemon.incidents()} == set(hanging),
            f"they are in the records: {self.daemon.incidents()}",
        )
        return f"10 of 30 targets, all channels and the disk hang: healthy ones {figures}"

    # --- judgement ---

    def _all_is_well(self, what: str) -> None:
        eventually(self._has_new_results, f"{what}: every check has run again")
        failures = self._failures()
        assert not failures, f"{what}: {failures}\n{self.daemon.log()[-3000:]}"
        assert not self.daemon.incidents(), f"{what}: {self.daemon.incidents()}"
        assert not any(receiver.taken for receiver in self.receivers.values()), f"{what}: somebody was woken"

    def _has_new_results(self) -> bool:
        since = time.monotonic() - 2 * EVERY
        return all(site.seen and site.seen[-1][0] > since for site in self.sites.sites.values())

    def _failures(self) -> dict[str, float]:
        found = _FAILURES.findall(self.daemon.get("/metrics")[1])
        return {name: float(count) for name, count in found if float(count)}

    def _told_of(self, receiver: MoodyReceiver) -> set[str]:
        return {one.key for one in receiver.told("opened")}

    def _punctuality(self, names: list[str], begun: float) -> str:
        """How late runs began, by the clock of the targets, and how many slots were missed since then."""
        late: list[float] = []
        missed = 0
        now = time.monotonic()
        for name in names:
            seen = [at for at, _ in self.sites.sites[name].seen if begun <= at <= now]
            missed += max(0, int((now - begun) / EVERY) - 1 - len(seen))
            late += lateness(seen)
        percentile = quantiles(late, n=100)[98]
        slots = int((now - begun) / EVERY) * len(names)
        assert missed <= slots / 50 or not self.punctual, f"{missed} of {slots} slots missed"
        assert missed <= slots / 4, f"{missed} of {slots} slots missed"
        assert percentile < LATE_AT_MOST or not self.punctual, f"p99 {percentile * 1000:.0f} ms late"
        return (
            f"p99 {percentile * 1000:.0f} ms late, at most {max(late) * 1000:.0f} ms, {missed} of {slots} slots missed"
        )


def lateness(seen: list[float]) -> list[float]:
    """By how much each run was later than the earliest phase of its check (seconds)."""
    if not seen:
        return []
    offsets = [(at - seen[0] + EVERY / 2) % EVERY - EVERY / 2 for at in seen]
    return [offset - min(offsets) for offset in offsets]


@contextmanager
def burning(processes: int) -> Iterator[None]:
    """So many processes that use all the processor they get."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
