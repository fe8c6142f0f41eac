"""What is said of planned maintenance: a notice some time before each window, and that one begins or ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

from wcr_watchd.core.escalation import escalation_of, quiet_until, recipients
from wcr_watchd.core.message import clock_time
from wcr_watchd.core.model import EventKind, Notification, Recipient, Severity
from wcr_watchd.core.mute import facts_of_check
from wcr_watchd.core.notices import notice
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.silence import Matcher, Window
from wcr_watchd.core.units import format_duration

NAMED = 5
"""Checks that an announcement names."""
MOST_MISSED = 20
"""Windows that are looked at for what is due: after years without anybody watching not all of them matter."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A window begins or ends."""

    at: float
    window: Window
    begins: bool


def announcements(setup: Setup, since: float, now: float) -> tuple[Notification, ...]:
    """The notices of windows that became due after ``since``, at the latest now, to those who are told of an info.

    Each window is announced once by each of its notices; where several are due at once (nobody was watching), once.
    """
    found = []
    for window in setup.windows:
        for start, end in dict.fromkeys(_due(window, since, now)):
            to = readers(setup, window.matchers, now)
            found += [one for who in to if (one := _announcement(setup, window, (start, end), who, now))]
    return tuple(found)


def _due(window: Window, since: float, now: float) -> Iterator[tuple[float, float]]:
    for before in window.notice:
        for start, end in islice(window.spans.after(since + before), MOST_MISSED):
            if start > now + before:
                break
            if start > max(now, since + before):
                yield start, end


def next_notice(setup: Setup, now: float) -> float | None:
    """When the next notice is due (epoch seconds)."""
    times = (
        span[0] - before
        for window in setup.windows
        for before in window.notice
        for span in islice(window.spans.after(now + before), 2)
        if span[0] - before > now
    )
    return min(times, default=None)


def edges(setup: Setup, since: float, now: float) -> list[Edge]:
    """The windows that began or ended after ``since``, at the latest now, in order."""
    found = []
    for window in setup.windows:
        held = window.spans.around(since)
        coming = takewhile(lambda span: span[0] <= now, window.spans.after(since))
        # One that begins just at ``since`` is held, and comes as well.
        for start, end in dict.fromkeys((*filter(None, (held,)), *islice(coming, MOST_MISSED))):
            found += [Edge(at, window, at == start) for at in (start, end) if since < at <= now]
    return sorted(found, key=lambda edge: edge.at)


def next_edge(setup: Setup, now: float) -> float | None:
    """When the next window begins or ends (epoch seconds)."""
    spans = [window.spans.around(now) or next(iter(window.spans.after(now)), None) for window in setup.windows]
    times = [at for span in spans if span is not None for at in span if at > now]
    return min(times, default=None)


def readers(setup: Setup, matchers: Sequence[Matcher], now: float) -> tuple[Recipient, ...]:
    """Whom the policies of the covered checks tell of an info; those of all where no check is covered."""
    policies = [setup.checks[name].policy for name in covered(setup, matchers)] or list(setup.policies)
    targets = [
        target for policy in dict.fromkeys(policies) for target in escalation_of(setup, policy, Severity.INFO).tell
    ]
    return recipients(setup, targets, now)


def covered(setup: Setup, matchers: Sequence[Matcher]) -> list[str]:
    """The checks that matchers cover, going by what is known of a check when nothing is wrong with it."""
    found = []
    for name, check in setup.checks.items():
        facts = facts_of_check(setup, check)
        if all(matcher.holds(facts) for matcher in matchers if matcher.name in facts):
            found.append(name)
    return found


def in_short(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _announcement(
    setup: Setup, window: Window, span: tuple[float, float], who: Recipient, now: float
) -> Notification | None:
    """The notice for one recipient; none where it could only be read when the window has begun."""
    start, end = span
    due = quiet_until(setup, who, Severity.INFO, now)
    if due >= start:
        return None
    about = in_short(covered(setup, window.matchers))
    times = f"{clock_time(start, window.timezone, now)} to {clock_time(end, window.timezone, now)}"
    summary = f"maintenance {window.name} begins in {format_duration(start - now)}: {times}"
    details = "; ".join(filter(None, (window.comment, f"nobody is told of {about}" if about else "")))
    identifier = f"{setup.name}-window-{window.name}-{int(start)}-{int(start - now)}"
    reason = f"the maintenance window {window.name} is announced beforehand"
    return notice(
        setup, EventKind.PLANNED, who, f"{summary}; {details}" if details else summary, reason, identifier, now, due
    )
