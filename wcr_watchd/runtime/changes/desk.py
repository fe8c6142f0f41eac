"""The desk at which people ask for changes: what they ask is checked, put into effect, kept and answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from wcr_watchd.core import changes, versions
from wcr_watchd.core.announcements import covered, in_short
from wcr_watchd.core.changes import Change, ChangeState, ChangeWish, Outcome, Phase, Plan, Tick, Verified
from wcr_watchd.core.checklist import looked_over, tells
from wcr_watchd.core.clock import Clock
from wcr_watchd.core.comparison import Finding
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.message import clock_time
from wcr_watchd.core.model import Observation
from wcr_watchd.core.protocols import Store
from wcr_watchd.core.run import Announced
from wcr_watchd.core.units import format_duration
from wcr_watchd.runtime.changes.course import BROKE_OFF, OVERRUNS, UNFINISHED, Course
from wcr_watchd.runtime.changes.hooks import Hooks
from wcr_watchd.runtime.changes.mode import HALFWAY, MaintenanceMode
from wcr_watchd.runtime.changes.register import Engine, Register
from wcr_watchd.runtime.changes.verification import Verification

USUAL_LENGTH = 3_600.0
"""Seconds for which the window of a change is open that is not in the configuration, unless it says."""


class ChangeDesk:
    """Takes what people ask of changes.

    ``run_now`` runs a check out of turn, ``hooks`` the programs that switch maintenance mode; ``restored`` and
    ``watching_since`` are as in :class:`~wcr_watchd.runtime.changes.register.Register`.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        clock: Clock,
        run_now: Callable[[str], Awaitable[Observation]],
        hooks: Hooks,
        restored: Iterable[Change] = (),
        watching_since: float = 0.0,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._register = Register(engine, store, clock, restored, watching_since)
        self._mode = MaintenanceMode(self._register, hooks)
        self._verification = Verification(engine, store, run_now)
        self._course = Course(self._register, self._mode, self._verification)

    async def serve(self) -> None:
        """Look after changes as time passes. Runs until cancelled."""
        await self._course.serve()

    # --- to look at ---

    @property
    def known(self) -> tuple[Change, ...]:
        """The changes that are not over, and the last of those that are; newest first."""
        return self._register.known

    def announced(self) -> tuple[Announced, ...]:
        """The work that explains what is found different."""
        return changes.announced(self.known, self._clock.now())

    async def change(self, number: int) -> Change:
        """One change. Raises ``CommandError`` when there is none of this number."""
        return await self._register.change(number)

    def why_not(self, change: Change) -> tuple[str, ...]:
        """For each step that is not done, what it waits for; empty for those that are."""
        sight = self._register.sight()
        return tuple("" if done else tells(change, step, sight).why for step, done in change.steps)

    # --- to ask for ---

    async def prepare(self, wish: ChangeWish, by: str) -> Outcome:
        """Begin a checklist."""
        plan = self._plan(wish)
        same = self._register.under_way(plan.name, () if wish.plan else plan.matchers)
        if same is not None:
            raise CommandError(f"{same.name} is {same.state.value} already; finish or abandon it first")
        number, now = self._register.take_number(), self._clock.now()
        change = self._register.keep(changes.prepare(number, plan, wish.title, by, now, wish.version))
        await self._register.look_for_versions()
        change = looked_over(change, self._register.sight())
        return await self._register.kept(change, f"{change.name} is prepared", self._to_do(change, Phase.PRE))

    async def start(self, wish: ChangeWish, by: str, override: str = "") -> Outcome:
        """Start the prepared change of this plan, or a new one: open its window, then switch maintenance mode on."""
        change = self._register.under_way(wish.plan) if wish.plan else None
        if change is None:
            change = (await self.prepare(wish, by)).change
        elif change.state is ChangeState.PREPARED:
            self._register.keep(changes.altered(change, wish, by, self._clock.now()))
        return await self.start_prepared(change.id, by, override)

    async def start_prepared(self, number: int, by: str, override: str = "") -> Outcome:
        """Start a change that was prepared."""
        async with self._register.alone(number, "started"):
            change = await self.change(number)
            await self._verification.results(change.plan.backups)  # what they tell is to be of now
            await self._register.look_for_versions()
            change = self._register.keep(looked_over(await self.change(number), self._register.sight()))
            changes.must_be_startable(change, override, self.why_not(change))
            now = self._clock.now()
            window, said = await self._mode.switch_on(change, by)
            change = changes.started(
                self._register.newest(change), by, window.id, window.ends_at, override, self._clock.now()
            )
            change = self._with_words(change, "maintenance mode on", said)
            change = self._with_words(change, "ran before", self._versions(change))
            self._not_halfway_any_more(change, f"it is started by {by}")
            until = clock_time(window.ends_at, self._engine.setup.timezone, now)
            self._register.say(
                change,
                f"{change.name} begins, until {until}; nobody is told of {self._register.about(change)} meanwhile",
            )
            return await self._register.kept(
                change, f"{change.name} runs until {until}", self._to_do(change, Phase.DURING)
            )

    async def extend(self, number: int, seconds: float, by: str) -> Outcome:
        """Keep its window open for so much longer."""
        change = await self.change(number)
        changes.must_run(change, "extended")
        now = self._clock.now()
        ends = max(now, change.ends_at or now) + seconds
        holds = await self._mode.prolong(change, by, ends)
        until = clock_time(ends, self._engine.setup.timezone, now)
        change = replace(self._register.newest(change), ends_at=ends, silence=holds.id, overran=False)
        self._register.trouble_over(change, OVERRUNS, f"it is extended by {by}")
        change = changes.logged(change, by, f"extended until {until}", now)
        return await self._register.kept(change, f"{change.name} may go on until {until}")

    async def tell(self, number: int, by: str) -> Outcome:
        """Tell those who must know that it is about to come."""
        change = await self.change(number)
        if change.state.over:
            raise CommandError(f"{change.name} is {change.state.value}; there is nothing to tell")
        lasts = format_duration(change.plan.length)
        count = self._register.say(
            change, f"{change.name} is about to begin, for about {lasts}; it touches {self._register.about(change)}"
        )
        if not count:
            raise CommandError(
                f"nobody is configured to be told of {change.name}: give `tell` in [change.{change.plan.name}], "
                "or a policy that tells somebody of an info"
            )
        now = self._clock.now()
        said = f"{count} {'messages are' if count > 1 else 'message is'} on the way"
        change = changes.ticked_by_itself(changes.logged(change, by, f"told: {said}", now), Tick.TOLD, said, now)
        return await self._register.kept(change, said)

    async def tick(self, number: int, step: int, by: str, text: str = "") -> Outcome:
        """Say that a step is done."""
        change = changes.tick(await self.change(number), step, by, text, self._clock.now())
        return await self._register.kept(change, f"step {step} is done: {change.steps[step - 1][0].text}")

    async def note(self, number: int, by: str, text: str) -> Outcome:
        """Write something into its log."""
        change = changes.note(await self.change(number), by, text, self._clock.now())
        return await self._register.kept(change, f"noted in {change.name}")

    async def abandon(self, number: int, by: str, why: str = "") -> Outcome:
        """Give a prepared change up."""
        await self._course.look_after(number)  # the last life may have ended while it started this
        async with self._register.alone(number, "abandoned"):
            change = changes.abandoned(await self.change(number), by, why, self._clock.now())
            self._not_halfway_any_more(change, f"it is abandoned by {by}")
            return await self._register.kept(change, f"{change.name} is abandoned")

    async def verify(self, number: int, by: str) -> Outcome:
        """Run its checks now, and compare with before it began."""
        changes.must_run(await self.change(number), "verified")
        found = await self._verification.verified(await self.change(number))
        change = await self.change(number)
        changes.must_run(change, "verified")  # it may have been finished meanwhile
        change = self._register.keep(changes.verified(change, by, found, self._clock.now()))
        change = await self._course.compared(change)
        red = [one for one in found if not one.good]
        said = f"{len(found) - len(red)} of {len(found)} checks are green"
        return await self._register.kept(change, f"{change.name}: {said}", (*_lines(red), *_comparison_lines(change)))

    async def finish(self, number: int, by: str, override: str = "") -> Outcome:
        """Switch maintenance mode off, run its checks, close the window; what is still broken is told then."""
        async with self._register.alone(number, "finished"):
            change = await self.change(number)
            changes.must_run(change, "finished")
            await self._mode.switch_off(change, by, override)
            change = self._register.newest(change)
            found = await self._verification.verified(change)
            change = await self._course.compared(self._register.newest(change))
            await self._mode.close(change.silence)
            bad = [one for one in found if not one.good]
            change = changes.finished(self._register.newest(change), by, bad, self._clock.now())
            change = self._with_words(change, "runs now", self._versions(change))
            for what in (OVERRUNS, UNFINISHED):
                self._register.trouble_over(change, what, f"it is finished by {by}")
            verdict = f"still bad: {in_short([one.check for one in bad])}" if bad else "nothing is bad"
            self._register.say(change, f"{change.name} is over; {verdict}")
            lines = (*_lines(bad), *_comparison_lines(change), *self._to_do(change, Phase.POST))
            return await self._register.kept(change, f"{change.name} is finished; {verdict}", lines)

    # --- what these have in common ---

    def _not_halfway_any_more(self, change: Change, why: str) -> None:
        """Whatever a failed start left behind is settled."""
        for what in (BROKE_OFF, HALFWAY):
            self._register.trouble_over(change, what, why)

    def _plan(self, wish: ChangeWish) -> Plan:
        setup = self._engine.setup
        if wish.plan:
            plan = setup.changes.get(wish.plan)
            if plan is None:
                known = ", ".join(setup.changes) or "none"
                raise CommandError(f"there is no change {wish.plan!r} in the configuration; there are: {known}")
            hooks = self._mode.without_secrets(plan.hooks)
            return self._filled(replace(plan, length=wish.length or plan.length, hooks=hooks))
        category = setup.change_categories.get(wish.category)
        if category is None:
            known = ", ".join(setup.change_categories) or "none; add [change_category.NAME]"
            raise CommandError(f"there is no category {wish.category!r}; there are: {known}")
        if not wish.matchers:
            raise CommandError('say what the change touches, such as check="api"')
        return self._filled(Plan(category.name, category, wish.matchers, wish.length or USUAL_LENGTH, wish.title))

    def _filled(self, plan: Plan) -> Plan:
        """The plan with the checks that verify and are compared, where it does not say."""
        verify = plan.verify or tuple(covered(self._engine.setup, plan.matchers))
        return replace(plan, verify=verify, compare=plan.compare or verify)

    def _versions(self, change: Change) -> str:
        """Which versions its checks see: what to go back to, and what came of it."""
        names = dict.fromkeys((*change.plan.verify, *change.plan.compare))
        return versions.in_words(self._engine.latest.get(name) for name in names)[: changes.LONGEST_NOTE]

    @staticmethod
    def _with_words(change: Change, what: str, said: str) -> Change:
        """The change with what a hook said, or checks saw, in its log."""
        if not said:
            return change
        at = change.entries[-1].at if change.entries else change.prepared_at
        return changes.logged(change, "", f"{what}: {said}", at)

    def _to_do(self, change: Change, *phases: Phase) -> tuple[str, ...]:
        """The steps of these phases that are not done, and what each waits for."""
        why_not = self.why_not(change)
        return tuple(
            f"{number}. {step.text}{' (required)' if step.required else ''}: {why}"
            for number, ((step, done), why) in enumerate(zip(change.steps, why_not, strict=True), 1)
            if done is None and step.phase in phases
        )


def _lines(found: Iterable[Verified]) -> tuple[str, ...]:
    return tuple(
        f"{one.check}: {one.severity if one.severity != 'ok' else one.outcome}: {one.summary}" for one in found
    )


def _comparison_lines(change: Change) -> tuple[str, ...]:
    """What is worse than before, in words; what cannot be told yet in one line."""
    bad = changes.worse(change.compared)
    if bad:
        return tuple(f"worse than before: {one.text}" for one in bad)
    decided = [one for one in change.compared if one.finding is not Finding.UNDECIDED]
    if decided:
        return (f"{len(decided)} series are no worse than before the change",)
    return (f"it cannot be told yet whether anything is worse: {_TOO_FEW}",) if change.compared else ()


_TOO_FEW = "too few runs before or after the update, or they follow each other too closely; verify again later"
