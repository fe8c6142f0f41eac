"""Reloads in a row during an outage, with broken files and with half of the checks changed.

Nothing stops, nothing is told twice, reminders keep their time across reloads and a restart, and nothing is left over.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.daemon.harness import RunningDaemon, eventually
from tests.real.servers.providers import WEBHOOK_SECRET
from tests.soak import judge
from tests.soak.figures import of_process
from tests.soak.world import MoodyReceiver, Sites, running
from wcr_watchd.core.model import EventKind

SITES = 40
FAILING = 5
EVERY = 1.0
REPEAT = 5.0
"""Seconds between two reminders."""
WARM_UP = 15
"""Reloads before the first look at what the daemon uses."""
POOL = min(32, (os.cpu_count() or 1) + 4)
"""Threads of the loop's own pool: a call right behind another one begins one more, until it is full. A thread that each
reload left behind would be far more."""
BROKEN = '[check.broken]\ntype = "htp"\n', "this is no TOML [", '[check.broken]\ntype = "http"\n'


@dataclass
class Reloads:
    """So many reloads of a daemon in ``folder``; in the midst of them it is stopped and started once."""

    folder: Path
    reloads: int = 100

    def run(self) -> str:
        """Reload, and judge; returns the figures. Raises ``AssertionError``."""
        self.sites = Sites([f"site-{number}" for number in range(SITES)])
        self.receivers = {"hook": MoodyReceiver()}
        with running(self.sites, *self.receivers.values()):
            self.daemon = RunningDaemon(self.folder, self._config(0))
            try:
                return self._go_through()
            finally:
                if self.daemon.process is not None:
                    self.daemon.kill()

    def _config(self, variant: int, end: str = "") -> str:
        """Checks with an even number stay as they are; the others have another URL in every variant."""
        hook = self.receivers["hook"]
        parts = ['[defaults]\nretry = { times = 1, every = "100ms" }\n']
        parts.append(f'[channel.hook]\ntype = "webhook"\nurl = "{hook.url}"\nsecret = "{WEBHOOK_SECRET}"\n')
        parts.append(f'[policy.default.critical]\ntell = ["hook"]\nrepeat = "{REPEAT:g}s"\n')
        for number, name in enumerate(self.sites.sites):
            url = self.sites.url(name) + (f"?{variant}" if number % 2 else "")
            pace = f'every = "{EVERY:g}s"\ntimeout = "{EVERY * 900:g}ms"\nwarning = []'
            parts.append(f'[check.{name}]\ntype = "http"\nurl = "{url}"\n{pace}\n')
        return "".join(parts) + end

    def _go_through(self) -> str:
        failing = list(self.sites.sites)[:FAILING]
        self.daemon.start()
        eventually(lambda: self.daemon.get("/readyz")[0] == 200, "everything was seen once")
        for name in failing:
            self.sites.sites[name].mood = "down"
        # On a busy machine runs are void for a while, as this process was held up in them.
        eventually(lambda: len(self._told("opened")) == FAILING, "the outage is told of", within=80.0)
        first_half = self._reload_in_a_row(self.reloads // 2)
        eventually(lambda: len(self._told("reminded")) >= FAILING, "a reminder came")
        stopped = time.monotonic()
        assert self.daemon.stop() == 0
        self.daemon.write(self._config(0))  # the last one may have been broken
        self.daemon.start()
        restarted = time.monotonic()
        second_half = self._reload_in_a_row(self.reloads - self.reloads // 2)
        eventually(lambda: len(self._told("reminded")) >= 3 * FAILING, "reminders go on")
        for name in failing:
            self.sites.sites[name].mood = "up"
        eventually(lambda: len(self._told("resolved")) == FAILING, "its end is told of")
        eventually(lambda: not judge.pending(self.daemon.database), "all is noted")
        assert self.daemon.stop() == 0
        return self._judge(stopped, restarted, (*first_half, *second_half))

    def _reload_in_a_row(self, count: int) -> Sequence[str]:
        """Every fourth file is broken; returns what grew and by how much since the warm-up."""
        assert self.daemon.process is not None
        before: dict[str, float] = {}
        for number in range(count):
            broken = number % 4 == 3
            self.daemon.write(self._config(number % 5, BROKEN[number // 4 % len(BROKEN)] if broken else ""))
            answered = self.daemon.log().count("is refused") + self.daemon.log().count("configuration reloaded")
            self.daemon.reload()
            eventually(
                lambda seen=answered: (
                    self.daemon.log().count("is refused") + self.daemon.log().count("configuration reloaded") > seen
                ),
                "the reload is answered",
            )
            if number == min(WARM_UP, count // 2):
                before = self._used()
        after = self._used()
        assert after["descriptors"] <= before["descriptors"] + 5, (before, after)
        assert after["threads"] <= before["threads"] + POOL, (before, after)
        assert after["tasks"] <= before["tasks"] + 5, (before, after)
        allowed = max(3.0, 0.02 * (count - WARM_UP))  # 2.4 was seen once, and less than 2 in most runs
        assert after["memory MiB"] <= before["memory MiB"] + allowed, (before, after)
        return [f"memory {before['memory MiB']:.1f} to {after['memory MiB']:.1f} MiB in {count} reloads"]

    def _used(self) -> dict[str, float]:
        """What the daemon uses when nothing is going on: the least of some looks."""
        assert self.daemon.process is not None
        looks = []
        for _ in range(5):
            tasks = next(
                line.split()[1]
                for line in self.daemon.get("/metrics")[1].splitlines()
                if line.startswith("watchd_event_loop_tasks ")
            )
            looks.append(of_process(self.daemon.process.pid) | {"tasks": float(tasks)})
            time.sleep(0.3)
        return {name: min(look[name] for look in looks) for name in looks[0]}

    def _told(self, event: str) -> list[int]:
        return [one.incident for one in self.receivers["hook"].told(event)]

    # --- judgement ---

    def _judge(self, stopped: float, restarted: float, figures: Sequence[str]) -> str:
        assert "Traceback" not in self.daemon.log()
        records = judge.read(self.daemon.database)
        judge.all_is_over_and_told(records, self.receivers)
        assert judge.told_again(self.receivers.values()) == 0
        for event in ("opened", "resolved"):
            assert sorted(self._told(event)) == list(range(1, FAILING + 1)), (event, Counter(self._told(event)))
        worst = self._reminders_kept_their_time(records, restarted - stopped)
        gap = self._nothing_stopped(stopped, restarted)
        return (
            f"{self.reloads} reloads and a restart: {FAILING} incidents told once each and "
            f"{len(self._told('reminded'))} reminders, at most {worst:.1f} s late; unchanged checks paused for at most "
            f"{gap:.1f} s; " + "; ".join(figures)
        )

    def _reminders_kept_their_time(self, records: judge.Records, down: float) -> float:
        """Each comes one interval after the one before; one that was due while the daemon was down, at its start.

        That none is early is told by the records: a message that a busy machine held up is followed by the next one the
        sooner.
        """
        worst = 0.0
        for number in range(1, FAILING + 1):
            decided = [one.at for one in records.events[number] if one.kind in (EventKind.OPENED, EventKind.REMINDED)]
            for earlier, later in pairwise(decided):
                early = earlier + REPEAT - later
                assert early < 0.01, f"a reminder of #{number} was decided {early:.2f} s before its time"
            about = [one.at for one in self.receivers["hook"].taken if one.incident == number]
            for earlier, later in pairwise(about[:-1]):  # the last one tells of the end
                late = later - earlier - REPEAT
                assert late < down + 3.0, f"a reminder of #{number} came {late:.1f} s late"
                worst = max(worst, late)
        return worst

    def _nothing_stopped(self, stopped: float, restarted: float) -> float:
        """The longest pause of a check that no reload changed, the restart apart."""
        longest = 0.0
        for name in list(self.sites.sites)[::2]:
            seen = [at for at, _ in self.sites.sites[name].seen]
            for earlier, later in pairwise(seen):
                if not (later > stopped and earlier < restarted + 2 * EVERY):
                    longest = max(longest, later - earlier)
        assert longest < 3 * EVERY + 2.0, f"an unchanged check paused for {longest:.1f} s"
        return longest
