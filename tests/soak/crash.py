"""``kill -9`` at random moments during faults, with slow and failing receivers: nothing is lost, nothing is doubled.

Whatever the moment, these hold in the end:

* every failure that lasted long enough to be confirmed is an incident, and every incident is over;
* of each incident every receiver was told the beginning and the end, under one idempotency key each;
* what a receiver was told twice was on its way when the daemon was killed, or its answer got lost;
* what an operator was promised (an acknowledgement) is kept;
* the records are sound.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.daemon.harness import RunningDaemon, eventually
from tests.real.servers.providers import WEBHOOK_SECRET
from tests.soak import judge
from tests.soak.world import MoodyReceiver, Sites, running
from wcr_watchd.cli.client import NoDaemonError, RefusedError
from wcr_watchd.core.model import EventKind, Incident

CONFIRMED_BY = 2
"""Failing runs in a row, within one life, after which a failure is confirmed (``retry`` once)."""
LONGEST_WORK = 2.3
"""Seconds that a life may go on after it has started."""
ALL_DELIVERED_WITHIN = 90.0


@dataclass
class Life:
    """One life of the daemon: monotonic seconds of its begin and end, and whether it was killed or asked to stop."""

    begun: float
    ended: float = 0.0
    killed: bool = True


@dataclass
class Campaign:
    """A seeded series of kills. ``sites`` are watched twice a second by a daemon in ``folder``."""

    folder: Path
    kills: int
    seed: int = 1
    names: Sequence[str] = tuple(f"site-{number}" for number in range(12))
    lives: list[Life] = field(default_factory=list)
    acknowledged: set[int] = field(default_factory=set)

    def run(self) -> str:
        """Kill, let everything settle, and judge; returns the figures in a sentence. Raises ``AssertionError``."""
        self.chance = Random(self.seed)
        self.sites = Sites(list(self.names))
        self.receivers = {
            "quick": MoodyReceiver(self.seed),
            "slow": MoodyReceiver(self.seed + 1, delay=1.0),
            "failing": MoodyReceiver(self.seed + 2, delay=0.2, trouble=0.4),
        }
        with running(self.sites, *self.receivers.values()):
            self.daemon = RunningDaemon(self.folder, self._config())
            try:
                self._measure_a_start()
                while sum(life.killed for life in self.lives) < self.kills:
                    self._one_life()
                self._settle()
            finally:
                if self.daemon.process is not None:
                    self.daemon.kill()
        return self._judge()

    def _config(self) -> str:
        parts = ['[defaults]\nretry = { times = 1, every = "100ms" }\n']
        for name, receiver in self.receivers.items():
            parts.append(f'[channel.{name}]\ntype = "webhook"\nurl = "{receiver.url}"\nsecret = "{WEBHOOK_SECRET}"\n')
        tell = ", ".join(f'"{name}"' for name in self.receivers)
        parts.append(f'[policy.default.critical]\ntell = [{tell}]\nrepeat = "5s"\n')
        for name in self.names:
            more = 'every = "500ms"\ntimeout = "450ms"\nwarning = []'
            parts.append(f'[check.{name}]\ntype = "http"\nurl = "{self.sites.url(name)}"\n{more}\n')
        return "".join(parts)

    def _measure_a_start(self) -> None:
        """How long a life may last: a start, as long as it takes on this machine now, and some seconds of work."""
        begun = time.monotonic()
        self.daemon.start()
        self.longest_life = time.monotonic() - begun + LONGEST_WORK
        self.daemon.kill()

    # --- one life ---

    def _one_life(self) -> None:
        """Start, let sites fail and recover, and end it at a moment that chance picks."""
        chance = self.chance
        life = Life(time.monotonic(), killed=chance.random() < 0.85)
        changes = sorted((chance.uniform(0, self.longest_life), name) for name in self.names if chance.random() < 0.3)
        acknowledges = chance.random() < 0.3
        pick = chance.choice([self._any_time, self._any_time, self._message_under_way, self._site_changed])
        self.daemon.spawn()
        moment = pick(life)
        for offset, name in changes:
            if not self._sleep_until(min(life.begun + offset, moment())) or time.monotonic() >= moment():
                break
            self._change(name)
        if acknowledges:
            self._acknowledge()
        while time.monotonic() < moment():
            time.sleep(0.002)
        if life.killed:
            self.daemon.kill()
        else:
            assert self.daemon.stop() in (0, -15), self.daemon.log()[-2000:]  # 15: before it could listen to signals
        life.ended = time.monotonic()
        self.lives.append(life)

    def _sleep_until(self, at: float) -> bool:
        time.sleep(max(0.0, at - time.monotonic()))
        return True

    def _any_time(self, life: Life) -> Callable[[], float]:
        at = life.begun + self.chance.uniform(0.0, self.longest_life)
        return lambda: at

    def _message_under_way(self, life: Life) -> Callable[[], float]:
        """A moment after the next message comes in anywhere."""
        after = self.chance.uniform(0.0, 0.2)
        before = self._requests()
        hit: list[float] = []

        def at() -> float:
            if not hit and self._requests() > before:
                hit.append(time.monotonic() + after)
            return hit[0] if hit else life.begun + self.longest_life

        return at

    def _site_changed(self, life: Life) -> Callable[[], float]:
        """A moment after a site fails or recovers: while that is confirmed, stored and told."""
        after = self.longest_life - LONGEST_WORK + self.chance.uniform(0.0, 0.8)
        name = self.chance.choice(self.names)
        self._change(name)
        return lambda: life.begun + after

    def _requests(self) -> int:
        return sum(receiver.requests for receiver in self.receivers.values())

    def _change(self, name: str) -> None:
        site = self.sites.sites[name]
        site.mood = "down" if site.mood == "up" else "up"

    def _acknowledge(self) -> None:
        """Acknowledge the newest open incident, if the daemon is there to take it."""
        with suppress(NoDaemonError, RefusedError):
            for row in self.daemon.incidents(open_only=True)[:1]:
                self.daemon.api("POST", f"/incidents/{row['id']}/acknowledge", {"by": "ann"})
                self.acknowledged.add(row["id"])

    def _settle(self) -> None:
        """Mend everything, and let a last life deliver what is owed."""
        for site in self.sites.sites.values():
            site.mood = "up"
        for receiver in self.receivers.values():
            receiver.calm_down()
        self.daemon.start()
        self.lives.append(Life(time.monotonic(), ended=float("inf"), killed=False))
        eventually(lambda: not self.daemon.incidents(open_only=True), "all incidents are over", ALL_DELIVERED_WITHIN)
        eventually(
            lambda: not judge.pending(self.daemon.database), "all that is owed is delivered", ALL_DELIVERED_WITHIN
        )
        assert self.daemon.stop() == 0

    # --- judgement ---

    def _judge(self) -> str:
        records = judge.read(self.folder / "watchd.db")
        assert "Traceback" not in self.daemon.log()
        assert '"level": "error"' not in self.daemon.log()
        judge.all_is_over_and_told(records, self.receivers)
        again = judge.told_again(self.receivers.values(), [life.ended for life in self.lives if life.killed])
        self._every_confirmed_failure_is_an_incident(records.incidents)
        for number in self.acknowledged:
            assert EventKind.ACKNOWLEDGED in {event.kind for event in records.events[number]}, records.events[number]
        assert len(records.incidents) >= min(5, self.kills // 5), "too little happened for the kills to prove anything"
        taken = sum(len(receiver.taken) for receiver in self.receivers.values())
        killed = sum(life.killed for life in self.lives)
        return (
            f"{killed} kills and {len(self.lives) - killed - 1} stops (seed {self.seed}): "
            f"{len(records.incidents)} incidents, {taken} messages taken, {again} of them again under their own key, "
            f"{len(self.acknowledged)} acknowledgements; nothing lost, nothing doubled"
        )

    def _every_confirmed_failure_is_an_incident(self, incidents: Iterable[Incident]) -> None:
        """Judged by what the sites themselves answered, in each life apart."""
        shift = time.time() - time.monotonic()
        opened: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for one in incidents:
            opened[one.check].append((one.opened_at - shift, (one.resolved_at or 0.0) - shift))
        for name, site in self.sites.sites.items():
            for life in self.lives:
                answers = [(at, mood) for at, mood in site.seen if life.begun < at < life.ended - judge.RECORDED_WITHIN]
                for confirmed in _confirmations(answers):
                    covered = any(begun - 1 <= confirmed <= ended + 1 for begun, ended in opened[name])
                    assert covered, f"{name} failed at {confirmed:.1f}, confirmed, but no incident: {opened[name]}"


def _confirmations(answers: Iterable[tuple[float, str]]) -> Iterable[float]:
    """When a row of failing answers had become long enough."""
    failing = 0
    for at, mood in answers:
        failing = failing + 1 if mood == "down" else 0
        if failing == CONFIRMED_BY:
            yield at
