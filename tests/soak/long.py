"""A long run: sites fail and are mended all the time, pages are read, the configuration is reloaded; all stays flat.

Memory, descriptors, threads and tasks are flat when the median of the last quarter is not above that of the first one
after the warm-up by more than a bound (``figures.BOUNDS``). The database keeps days of observations by design and grows
until retention is reached: what an observation costs must not grow. That it stops growing is seen in virtual time
(``virtual.py``).
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.daemon.harness import RunningDaemon, eventually
from tests.real.servers.providers import WEBHOOK_SECRET
from tests.soak import judge
from tests.soak.figures import Figures, children_of, of_process, size_of
from tests.soak.world import MoodyReceiver, Sites, running

SITES = 40
LOOK_EVERY = 5.0
RELOAD_EVERY = 60.0
JUDGED_FROM = 600.0
"""Seconds that a run must have for its figures to say anything."""
BYTES_PER_OBSERVATION = 1024
PAGES = (
    "/",
    "/metrics",
    "/healthz",
    "/api/v1/status",
    "/api/v1/checks",
    "/checks/site-1",
    "/incidents",
    "/incidents/1",
)
_SAMPLE = re.compile(r"^(\w+?)(?:_total)?(?:\{[^}]*\})? ([0-9.e+-]+)$", re.MULTILINE)


@dataclass
class LongRun:
    """``seconds`` of faults and repairs for a daemon in ``folder``, by a seed."""

    folder: Path
    seconds: float
    seed: int = 1
    figures: Figures = field(default_factory=Figures)
    runs: float = 0.0
    changes: int = 0
    reloads: int = 0

    def run(self) -> str:
        """Run, and return the figures. Raises ``AssertionError`` when something is lost, doubled, or not flat."""
        self.chance = Random(self.seed)
        self.sites = Sites([f"site-{number}" for number in range(SITES)])
        self.receivers = {"quick": MoodyReceiver(1), "moody": MoodyReceiver(2, delay=0.5, trouble=0.3)}
        with running(self.sites, *self.receivers.values()):
            self.daemon = RunningDaemon(self.folder, self._config())
            try:
                self.daemon.start()
                self._go_on()
                self._settle()
            finally:
                if self.daemon.process is not None:
                    self.daemon.kill()
        return self._judge()

    def _config(self, variant: int = 0) -> str:
        """Every other reload changes half of the checks."""
        parts = ['[defaults]\nretry = { times = 1, every = "200ms" }\n']
        for name, receiver in self.receivers.items():
            parts.append(f'[channel.{name}]\ntype = "webhook"\nurl = "{receiver.url}"\nsecret = "{WEBHOOK_SECRET}"\n')
        policy = 'tell = ["quick", "moody"]\nrepeat = "20s"\n'
        parts += [f"[policy.default.{severity}]\n{policy}" for severity in ("critical", "warning", "info")]
        for number, name in enumerate(self.sites.sites):
            url = self.sites.url(name) + (f"?variant={variant}" if number % 2 else "")
            more = 'every = "1s"\ntimeout = "900ms"\nwarning = "p95(response_time, 1m) > 30s"'
            parts.append(f'[check.{name}]\ntype = "http"\nurl = "{url}"\n{more}\n')
        quick = 'every = "2s"\ntimeout = "1900ms"'
        parts.append(f'[check.port]\ntype = "tcp"\naddress = "127.0.0.1:{self.sites.port}"\n{quick}\n')
        parts.append(f'[check.plugin]\ntype = "command"\nrun = ["/bin/echo", "OK - fine | users=3"]\n{quick}\n')
        parts.append(
            '[check.host]\ntype = "host"\nevery = "5s"\ntimeout = "4s"\ncritical = []\nwarning = []\ninfo = []\n'
        )
        return "".join(parts)

    def _go_on(self) -> None:
        begun = time.monotonic()
        ends, look_at, reload_at = begun + self.seconds, begun, begun + RELOAD_EVERY
        while (now := time.monotonic()) < ends:
            self._change_a_site()
            if now >= look_at:
                look_at += LOOK_EVERY
                self._look((now - begun) / 3600)
            if now >= reload_at:
                reload_at += RELOAD_EVERY
                self.reloads += 1
                self.daemon.write(self._config(self.reloads % 3))
                self.daemon.reload()
            time.sleep(self.chance.uniform(0.1, 0.7))

    def _change_a_site(self) -> None:
        site = self.sites.sites[self.chance.choice(list(self.sites.sites))]
        site.mood = self.chance.choice(["down", "hang"]) if site.mood == "up" else "up"
        self.changes += 1

    def _look(self, hours: float) -> None:
        """Read pages as people and Prometheus do, and sample what the daemon uses."""
        assert self.daemon.process is not None
        for path in self.chance.sample(PAGES, 3):
            status, _ = self.daemon.get(path)
            assert status in (200, 404), (path, status)
        samples = dict(_SAMPLE.findall(self.daemon.get("/metrics")[1]))
        figures = of_process(self.daemon.process.pid)
        figures["tasks"] = float(samples["watchd_event_loop_tasks"])
        figures["database MiB"] = size_of(self.daemon.database)
        self.figures.note(hours, figures)
        with (self.folder / "figures.jsonl").open("a") as file:
            file.write(json.dumps({"hours": round(hours, 4)} | figures) + "\n")

    def _settle(self) -> None:
        for site in self.sites.sites.values():
            site.mood = "up"
        for receiver in self.receivers.values():
            receiver.calm_down()
        eventually(lambda: not self.daemon.incidents(open_only=True), "all incidents are over", 90)
        eventually(lambda: not judge.pending(self.daemon.database), "all that is owed is delivered", 90)
        runs = re.findall(r"^watchd_check_runs_total\{.*\} ([0-9.e+]+)$", self.daemon.get("/metrics")[1], re.MULTILINE)
        self.runs = sum(map(float, runs))
        assert self.daemon.process is not None
        eventually(lambda: not children_of(self.daemon.process.pid), "no child process is left over")
        assert self.daemon.stop() == 0

    def _judge(self) -> str:
        assert "Traceback" not in self.daemon.log()
        assert '"level": "error"' not in self.daemon.log()
        records = judge.read(self.daemon.database)
        judge.all_is_over_and_told(records, self.receivers)
        again = judge.told_again(self.receivers.values())
        taken = sum(len(receiver.taken) for receiver in self.receivers.values())
        per_observation = size_of(self.daemon.database) * 1024 * 1024 / max(1.0, self.runs)
        if self.seconds >= JUDGED_FROM:
            self.figures.assert_flat()
            assert per_observation < BYTES_PER_OBSERVATION, f"{per_observation:.0f} bytes per observation"
        return (
            f"{self.seconds / 60:.1f} min (seed {self.seed}): {self.runs:.0f} runs, {self.changes} faults and repairs, "
            f"{self.reloads} reloads, {len(records.incidents)} incidents, {taken} messages taken, {again} of them "
            f"again because their answer got lost; {per_observation:.0f} bytes of database per run\n"
            + self.figures.table()
        )
