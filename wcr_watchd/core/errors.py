"""The error tree of the project.

WatchdError
├── ConfigError            a configuration that cannot be used; carries every problem found
├── RuleError              a rule text that cannot be used; carries the column and a suggestion
├── UnitError              a quantity such as ``5 parsecs`` that cannot be read
├── MatcherError           a label matcher that cannot be used; carries the column
├── ScheduleError          a schedule that cannot be read, or of which it cannot be told when it is next
├── CommandError           an operator's command that cannot be carried out (unknown incident, …)
├── ChannelError           a notification was not accepted; says whether trying again can help
└── StoreError             the store did not take or give what it was asked for
    ├── StoreLockedError   another daemon holds this state folder
    └── StoreDamagedError  what is stored cannot be used any more; new records can take its place
"""

from __future__ import annotations

from dataclasses import dataclass


class WatchdError(Exception):
    """Base of every error this project raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration.

    ``file`` and ``key`` say where (``key`` is dotted, ``check.api.url``), ``line`` is 1-based (0 when it cannot
    be told), ``reason`` says what was wrong and ``suggestion`` what would be right (empty when nothing is known).
    """

    file: str
    line: int
    key: str
    reason: str
    suggestion: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        hint = f" ({self.suggestion})" if self.suggestion else ""
        return f"{place}: {self.key}: {self.reason}{hint}" if self.key else f"{place}: {self.reason}{hint}"


class ConfigError(WatchdError):
    """A configuration that cannot be used; ``problems`` holds all that is wrong with it, in file order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class UnitError(WatchdError):
    """A quantity that cannot be read, such as a duration without a unit."""


class RuleError(WatchdError):
    """A rule text that cannot be used; ``column`` is 0-based into the text."""

    def __init__(self, reason: str, column: int = 0, suggestion: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.column = column
        self.suggestion = suggestion


class MatcherError(WatchdError):
    """A label matcher that cannot be used, or a text of matchers; ``column`` is 0-based into the text."""

    def __init__(self, reason: str, column: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.column = column


class ScheduleError(WatchdError):
    """A schedule (cron, OnCalendar) that cannot be read, or whose next time cannot be told; the text says why."""


class CommandError(WatchdError):
    """An operator's command that cannot be carried out; the text says why and what to do."""


class ChannelError(WatchdError):
    """A notification that its provider did not accept.

    ``permanent`` means that trying the same again cannot help (bad number, revoked webhook). ``retry_after`` is
    the provider's own wish in seconds, if it named one. ``reason`` is a short label for metrics
    (``connect``, ``timeout``, ``rate_limited``, ``rejected``, ``auth``, ``server``, ``config``).
    """

    def __init__(self, summary: str, *, reason: str, permanent: bool, retry_after: float | None = None) -> None:
        super().__init__(summary)
        self.summary = summary
        self.reason = reason
        self.permanent = permanent
        self.retry_after = retry_after


class StoreError(WatchdError):
    """The store did not take or give what it was asked for."""


class StoreLockedError(StoreError):
    """Another daemon already works with this state folder."""


class StoreDamagedError(StoreError):
    """What is stored is damaged, or was taken away: no waiting mends that, but ``Store.mend`` can."""
