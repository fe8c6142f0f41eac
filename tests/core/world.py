"""A small world for tests of the engine: checks, people, a policy, and a hand on the clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from wcr_watchd.core import commands, engine
from wcr_watchd.core.connectivity import as_seen
from wcr_watchd.core.model import (
    Event,
    Measurement,
    MeasurementSpec,
    Notification,
    Observation,
    Outcome,
    Retry,
    Severity,
)
from wcr_watchd.core.on_call import weekly
from wcr_watchd.core.rules import parse_rule
from wcr_watchd.core.setup import Check, Contact, Escalation, Policy, Setup, Step, Target
from wcr_watchd.core.state import State
from wcr_watchd.core.units import Unit

SPECS = (
    MeasurementSpec("response_time", Unit.SECONDS, "How long the answer took."),
    MeasurementSpec("disk_used", Unit.RATIO, "Used part of a disk.", labels=("mount",), topic="disk"),
    MeasurementSpec("cpu_used", Unit.RATIO, "Used part of the processor.", topic="cpu"),
)
PEOPLE = {
    "lead": Contact("lead", {"phone": ("+15550101",), "email": ("lead@example.org",)}),
    "second": Contact("second", {"phone": ("+15550102",), "email": ("second@example.org",)}),
}
POLICY = Policy(
    "default",
    {
        Severity.CRITICAL: Escalation(
            tell=(Target("sms", "ops"), Target("mail", "ops")),
            steps=(Step(900.0, (Target("sms", "second"),)),),
            repeat=600.0,
        ),
        Severity.WARNING: Escalation(
            tell=(Target("mail", "ops"),), steps=(Step(86_400.0, raise_to=Severity.CRITICAL),), repeat=14_400.0
        ),
        Severity.INFO: Escalation(tell=(Target("slack"),), digest=3_600.0),
    },
)


def check(
    name: str, *, critical: str = "down", warning: str = "", depends_on: tuple[str, ...] = (), times: int = 2
) -> Check:
    """A check with at most one rule per severity."""
    texts = ((Severity.CRITICAL, critical), (Severity.WARNING, warning))
    return Check(
        name=name,
        probe="http",
        target=f"http://{name}.example/",
        every=60.0,
        timeout=10.0,
        rules=tuple(parse_rule(text, severity, SPECS) for severity, text in texts if text),
        retry=Retry(times, 10.0),
        depends_on=depends_on,
    )


def setup(*checks: Check, policy: Policy = POLICY) -> Setup:
    """A configuration with these checks; `ops` is always the lead."""
    return Setup(
        name="prod",
        location="here",
        timezone="UTC",
        public_url="https://watch.example",
        checks={one.name: one for one in checks},
        policies={policy.name: policy},
        contacts=PEOPLE,
        on_call={"ops": weekly("ops", "UTC", ("lead",))},
        channels={"sms": "phone", "mail": "email", "slack": ""},
        units={one.name: {spec.name: spec.unit.value for spec in SPECS} for one in checks},
    )


@dataclass
class World:
    """The engine with its state; keeps everything it said."""

    setup: Setup
    now: float = 1_000_000.0
    state: State = field(default_factory=State)
    events: list[Event] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)
    rechecks: list[tuple[str, float]] = field(default_factory=list)
    latest: dict[str, Observation] = field(default_factory=dict)

    def see(
        self, name: str, outcome: str, *measured: tuple[str, float, str], after: float = 10.0, reason: str = ""
    ) -> list[str]:
        """Let time pass, observe, and return the kinds of events that followed."""
        self.pass_time(after)
        observation = Observation(
            check=name,
            location="here",
            at=self.now,
            duration=0.1,
            outcome=Outcome(outcome),
            reason=reason if outcome == "up" else "connect",
            summary=f"{name} is {outcome}",
            measurements=tuple(
                Measurement(what, value, (("mount", mount),) if mount else ()) for what, value, mount in measured
            ),
        )
        observation = as_seen(self.setup, self.state, observation)
        self.latest[name] = observation
        return self.take(engine.observe(self.setup, self.state, observation, self.now))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, ticking every incident whose deadline comes, in order."""
        until = self.now + seconds
        while True:
            due = [
                (at, number) for number, one in self.state.incidents.items() if (at := engine.deadline(one)) is not None
            ]
            at, number = min(due, default=(float("inf"), 0))
            if at > until:
                break
            self.now = max(self.now, at)
            latest = self.latest.get(self.state.incidents[number].check)
            self.take(engine.tick(self.setup, self.state, number, self.now, latest))
        self.now = until

    def acknowledge(self, number: int, by: str = "ann") -> list[str]:
        """Somebody acknowledges."""
        latest = self.latest.get(self.state.incidents[number].check) if number in self.state.incidents else None
        return self.take(commands.acknowledge(self.setup, self.state, number, by, self.now, latest))

    def take(self, decision: engine.Decision) -> list[str]:
        """Make a decision part of the world."""
        engine.apply(self.state, decision)
        self.events += decision.events
        self.notifications += decision.notifications
        self.rechecks += decision.rechecks
        return [event.kind.value for event in decision.events]

    def told(self, event: str | None = None) -> list[str]:
        """Who was told, as `channel:contact`, in order."""
        return [
            one.recipient.channel + (f":{one.recipient.contact}" if one.recipient.contact else "")
            for one in self.notifications
            if event is None or one.event.value == event
        ]
