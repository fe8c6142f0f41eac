"""Changes: from tables ``[change_category.NAME]`` and ``[change.NAME]`` to core values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from wcr_watchd.config.faults import Faults, did_you_mean
from wcr_watchd.config.maintenance import Coverage, Known, WindowLength, covering
from wcr_watchd.config.models import Span, Texts
from wcr_watchd.config.people import People, targets
from wcr_watchd.config.positions import Place
from wcr_watchd.config.typed import named_tables
from wcr_watchd.core.changes import Category, Hooks, Phase, Plan, Step, Tick
from wcr_watchd.core.matchers import is_glob
from wcr_watchd.core.units import SECONDS_OF
from wcr_watchd.kit.options import Options, Ratio
from wcr_watchd.kit.refused import RefusedError

MOST_STEPS = 100
_GREEN = ("staging", "logs")
"""Ticks that ask for how long something is green."""


class ChecklistStep(Options):
    """One step of a checklist."""

    text: Annotated[str, Field(min_length=1, max_length=200)]
    """What is to be done."""
    tick: Literal[
        "hand",
        "staging",
        "backups",
        "told",
        "window",
        "started",
        "updated",
        "verified",
        "compared",
        "logs",
        "finished",
    ] = "hand"
    """What ticks it: a person (`hand`, `updated`), the checks that the change names as `staging`, `backups` or `logs`,
    a planned `window`, or a command (`told`, `started`, `verified`, `compared`, `finished`)."""
    for_: Span | None = Field(default=None, alias="for")
    """For how long `staging` or `logs` must be green."""
    within: Span | None = None
    """How old `backups` may be at most."""
    required: bool = False
    """Whether a change does not start without it; it can be overridden with a reason."""
    evidence: bool = False
    """Whether whoever ticks it must write something."""

    @model_validator(mode="after")
    def _fits_together(self) -> ChecklistStep:
        if (self.within is None) is (self.tick == "backups"):
            raise RefusedError("`within` and the tick `backups` go together", 'write within = "2h"')
        if self.for_ is not None and self.tick not in _GREEN:
            raise RefusedError("`for` goes with the ticks `staging` and `logs`", "remove it")
        return self


Steps = Annotated[tuple[ChecklistStep, ...], Field(max_length=MOST_STEPS)]


class CategoryTable(Options):
    """A category of changes: its checklist, and how before and after are compared."""

    comment: str = ""
    """What belongs to it, and how urgent it is."""
    pre: Steps = ()
    """The steps before the update."""
    during: Steps = ()
    """The steps while it is made."""
    post: Steps = ()
    """The steps after it."""
    comparison: WindowLength = SECONDS_OF["h"]
    """How long before and after are compared."""
    worse_by: Annotated[Ratio, Field(ge=0, le=10)] = 0.25
    """How much worse something must be to be called so; the difference must also be certain."""

    @model_validator(mode="after")
    def _has_steps(self) -> CategoryTable:
        if not (self.pre or self.during or self.post):
            raise RefusedError("has no steps", "give `pre`, `during` or `post`")
        if any(step.required for step in (*self.during, *self.post)):
            raise RefusedError("only a step of `pre` can be required", "remove `required`")
        return self


class ChangeTable(Coverage):
    """A kind of update that comes again: what it touches, and what tells whether all is well."""

    category: str
    """Its category: a table [change_category.NAME]."""
    comment: str = ""
    """What is done; stands in messages unless a title is given."""
    duration: WindowLength = SECONDS_OF["h"]
    """How long its window is open unless it is finished before."""
    verify: Texts = ()
    """Checks that tell whether all is well; default: those that it covers. * stands for any part of a name."""
    compare: Texts = ()
    """Checks that are compared before and after; default: those of `verify`."""
    staging: Texts = ()
    """Checks that tell how it works in staging."""
    backups: Texts = ()
    """Checks that tell of backups."""
    logs: Texts = ()
    """Checks that tell of errors in logs."""
    tell: Texts = ()
    """Who is told of it; default: those whom the policies of its checks tell of an info."""
    on: tuple[str, ...] = ()
    """Program and arguments that switch the platform's maintenance mode on; status 0 means that it is on."""
    off: tuple[str, ...] = ()
    """Program and arguments that switch it off again."""
    hook_timeout: Annotated[Span, Field(le=600)] = 60.0
    """Longest time `on` or `off` may take."""

    @model_validator(mode="after")
    def _fits_together(self) -> ChangeTable:
        if not self.checks and not self.tags and not self.match:
            raise RefusedError("does not say what it touches", 'write checks = ["*"] for everything')
        if bool(self.on) is not bool(self.off):
            raise RefusedError("`on` and `off` go together", "give both, or neither")
        return self


def read_changes(
    faults: Faults, data: Mapping[str, Any], people: People, known: Known, running: Collection[str]
) -> tuple[dict[str, Plan], dict[str, Category]]:
    """Read the sections change and change_category; of the checks named, those that are ``running`` count."""
    categories = {
        name: _category(name, table)
        for name, raw in named_tables(faults, data, "change_category")
        if (table := faults.validate(CategoryTable, raw, ("change_category", name))) is not None
    }
    names = data.get("change_category")
    reading = _Reading(faults, people, known, running, categories, names if isinstance(names, Mapping) else {})
    plans = {}
    for name, raw in named_tables(faults, data, "change"):
        plan = reading.plan(name, raw)
        if plan is not None:
            plans[name] = plan
    return plans, categories


def _category(name: str, table: CategoryTable) -> Category:
    steps = (
        Step(phase, one.text, Tick(one.tick), one.within or one.for_ or 0.0, one.required, one.evidence)
        for phase, some in ((Phase.PRE, table.pre), (Phase.DURING, table.during), (Phase.POST, table.post))
        for one in some
    )
    return Category(name, tuple(steps), table.comparison, table.worse_by, table.comment)


class _Reading:
    """Reads one change after the other; ``named`` are all categories, also faulty ones."""

    def __init__(
        self,
        faults: Faults,
        people: People,
        known: Known,
        running: Collection[str],
        categories: Mapping[str, Category],
        named: Collection[str],
    ) -> None:
        self._faults = faults
        self._people = people
        self._known = known
        self._running = running
        self._categories = categories
        self._named = named

    def plan(self, name: str, raw: Mapping[str, Any]) -> Plan | None:
        """The change of this name; None, with the reasons noted, when it cannot be used."""
        place = ("change", name)
        table = self._faults.validate(ChangeTable, raw, place)
        if table is None:
            return None
        if table.category not in self._named:
            hint = did_you_mean(table.category, self._named) or "add [change_category.NAME]"
            self._faults.add_reference((*place, "category"), f'there is no category "{table.category}"', hint)
        matchers = covering(self._faults, place, table, self._known)
        targets(self._faults, self._people, (*place, "tell"), table.tell)
        roles = {
            role: tuple(self._checks((*place, role), getattr(table, role)))
            for role in ("verify", "compare", "staging", "backups", "logs")
        }
        if matchers is None or table.category not in self._categories:
            return None
        return Plan(
            name,
            self._categories[table.category],
            matchers,
            table.duration,
            table.comment,
            tell=table.tell,
            hooks=Hooks(table.on, table.off, table.hook_timeout),
            **roles,
        )

    def _checks(self, place: Place, texts: tuple[str, ...]) -> Iterator[str]:
        """The running checks that are named, each once; a name of none is noted."""
        seen = set()
        for index, text in enumerate(texts):
            found = [name for name in self._known.checks if fnmatchcase(name, text)]
            if not found:
                hint = did_you_mean(text, self._known.checks)
                what = "no check has a name like" if is_glob(text) else "there is no check"
                self._faults.add_reference((*place, index), f'{what} "{text}"', hint)
            for name in found:
                if name in self._running and name not in seen:
                    seen.add(name)
                    yield name
