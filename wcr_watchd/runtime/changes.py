"""Changes in progress: what people ask for, put into effect, and what ticks itself as time passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Protocol
from uuid import uuid4

import structlog

from wcr_watchd.core import changes
from wcr_watchd.core.announcements import covered, in_short, readers
from wcr_watchd.core.changes import Change, ChangeState, ChangeWish, Outcome, Phase, Plan, Tick, Verified
from wcr_watchd.core.checklist import Sight, looked_over, tells
from wcr_watchd.core.clock import Clock
from wcr_watchd.core.comparison import Finding
from wcr_watchd.core.errors import CommandError, StoreError
from wcr_watchd.core.escalation import recipients
from wcr_watchd.core.life import Finding as Trouble
from wcr_watchd.core.message import clock_time
from wcr_watchd.core.model import EventKind, Notification, Observation, Severity
from wcr_watchd.core.notices import notice
from wcr_watchd.core.protocols import Store
from wcr_watchd.core.run import Announced
from wcr_watchd.core.setup import Setup, Target
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.state import State
from wcr_watchd.core.units import format_duration
from wcr_watchd.runtime.verification import Verification

log = structlog.get_logger(__name__)

LOOK_EVERY = 30.0
"""Seconds after which it is looked again what ticks itself."""
SHORTEST_WAIT = 0.5
USUAL_LENGTH = 3_600.0
"""Seconds for which the window of a change is open that is not in the configuration, unless it says."""
OVERRUNS, BROKE_OFF, WORSE = "overruns", "was not started", "made it worse"
KEPT_IN_MIND = 50
"""Changes that are over and still at hand; all of them are in the store."""


class Engine(Protocol):
    """What is known and decided, and where it is stored."""

    setup: Setup
    state: State

    @property
    def latest(self) -> Mapping[str, Observation]:
        """The newest observation of each check."""
        ...

    async def silence(self, wanted: Silence, changes: str = "") -> tuple[Silence, str]:
        """Put a window in force, or change the one named."""
        ...

    async def expire(self, identifier: str) -> str:
        """End a window."""
        ...

    def keep_change(self, change: Change) -> None:
        """Store a change."""
        ...

    async def flush(self) -> bool:
        """Store what waits."""
        ...

    def tell(self, notifications: Iterable[Notification]) -> None:
        """Owe messages."""
        ...

    def trouble(self, subject: str, finding: Trouble, confirmed: str) -> None:
        """Open an incident of the daemon itself."""
        ...

    def trouble_over(self, subject: str, why: str) -> None:
        """End that incident."""
        ...


Hook = Callable[[Sequence[str], Mapping[str, str], float], Awaitable[str]]
"""Runs a program with further environment variables within so many seconds and returns what it said.

Raises ``CommandError`` when it did not end with status 0.
"""


class ChangeDesk:
    """Takes what people ask of changes, and looks after those that are under way.

    ``run_now`` runs a check out of turn, ``hook`` the programs that switch maintenance mode. ``restored`` are the
    changes of the last life, with the newest of those that are over; ``watching_since`` is when this life began to
    watch (epoch seconds), if nobody did for a while before it.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        clock: Clock,
        run_now: Callable[[str], Awaitable[Observation]],
        hook: Hook,
        restored: Iterable[Change] = (),
        watching_since: float = 0.0,
    ) -> None:
        self._engine = engine
        self._store = store
        self._clock = clock
        self._verification = Verification(engine, store, run_now)
        self._hook = hook
        self._watching_since = watching_since
        self._changes = {one.id: one for one in sorted(restored, key=lambda one: one.id)}
        self._next = max(self._changes, default=0) + 1
        self._busy: dict[int, str] = {}
        self._asked = asyncio.Event()

    # --- to look at ---

    @property
    def known(self) -> tuple[Change, ...]:
        """The changes that are not over, and the last of those that are; newest first."""
        return tuple(reversed(self._changes.values()))

    def announced(self) -> tuple[Announced, ...]:
        """The work that explains what is found different."""
        return changes.announced(self._changes.values(), self._clock.now())

    async def change(self, number: int) -> Change:
        """One change. Raises ``CommandError`` when there is none of this number."""
        found = self._changes.get(number) or await self._store.change(number)
        if found is None:
            raise CommandError(f"there is no change #{number}; `wcr-watchd change list --all` shows all")
        return found

    def why_not(self, change: Change) -> tuple[str, ...]:
        """For each step that is not done, what it waits for; empty for those that are."""
        sight = self._sight()
        return tuple("" if done else tells(change, step, sight).why for step, done in change.steps)

    # --- to ask for ---

    async def prepare(self, wish: ChangeWish, by: str) -> Outcome:
        """Begin a checklist."""
        plan = self._plan(wish)
        same = self._under_way(plan.name)
        if same is not None:
            raise CommandError(f"{same.name} is {same.state.value} already; finish or abandon it first")
        change = changes.prepare(self._next, plan, wish.title, by, self._clock.now())
        self._next += 1
        change = looked_over(change, self._sight())
        return await self._kept(change, f"{change.name} is prepared", self._to_do(change, Phase.PRE))

    async def start(self, wish: ChangeWish, by: str, override: str = "") -> Outcome:
        """Start the prepared change of this plan, or a new one: open its window, then switch maintenance mode on."""
        same = self._under_way(wish.plan) if wish.plan else None
        change = same or (await self.prepare(wish, by)).change
        return await self.start_prepared(change.id, by, override)

    async def start_prepared(self, number: int, by: str, override: str = "") -> Outcome:
        """Start a change that was prepared."""
        async with self._alone(number, "started"):
            change = await self.change(number)
            await self._verification.results(change.plan.backups)  # what they tell is to be of now
            change = self._keep(looked_over(await self.change(number), self._sight()))
            changes.must_be_startable(change, override)
            now = self._clock.now()
            window, said = await self._open(change, by)
            change = changes.started(self._changes[number], by, window.id, window.ends_at, override, self._clock.now())
            change = self._with_words(change, "maintenance mode on", said)
            self._engine.trouble_over(_subject(change, BROKE_OFF), f"it is started by {by}")
            until = clock_time(window.ends_at, self._engine.setup.timezone, now)
            self._say(change, f"{change.name} begins, until {until}; nobody is told of {self._about(change)} meanwhile")
            return await self._kept(change, f"{change.name} runs until {until}", self._to_do(change, Phase.DURING))

    async def extend(self, number: int, seconds: float, by: str) -> Outcome:
        """Keep its window open for so much longer."""
        change = await self.change(number)
        changes.must_run(change, "extended")
        now = self._clock.now()
        ends = max(now, change.ends_at or now) + seconds
        held = self._engine.state.silences.get(change.silence)
        if held is not None and held.active(now):
            holds, _ = await self._engine.silence(replace(held, ends_at=ends), held.id)
        else:
            holds, _ = await self._engine.silence(self._window(change, by, ends))
        until = clock_time(ends, self._engine.setup.timezone, now)
        change = replace(self._changes[number], ends_at=ends, silence=holds.id, overran=False)
        self._engine.trouble_over(_subject(change, OVERRUNS), f"it is extended by {by}")
        change = changes.logged(change, by, f"extended until {until}", now)
        return await self._kept(change, f"{change.name} may go on until {until}")

    async def tell(self, number: int, by: str) -> Outcome:
        """Tell those who must know that it is about to come."""
        change = await self.change(number)
        if change.state.over:
            raise CommandError(f"{change.name} is {change.state.value}; there is nothing to tell")
        lasts = format_duration(change.plan.length)
        count = self._say(
            change, f"{change.name} is about to begin, for about {lasts}; it touches {self._about(change)}"
        )
        if not count:
            raise CommandError(
                f"nobody is configured to be told of {change.name}: give `tell` in [change.{change.plan.name}], "
                "or a policy that tells somebody of an info"
            )
        now = self._clock.now()
        said = f"{count} {'messages are' if count > 1 else 'message is'} on the way"
        change = changes.ticked_by_itself(changes.logged(change, by, f"told: {said}", now), Tick.TOLD, said, now)
        return await self._kept(change, said)

    async def tick(self, number: int, step: int, by: str, text: str = "") -> Outcome:
        """Say that a step is done."""
        change = changes.tick(await self.change(number), step, by, text, self._clock.now())
        return await self._kept(change, f"step {step} is done: {change.steps[step - 1][0].text}")

    async def note(self, number: int, by: str, text: str) -> Outcome:
        """Write something into its log."""
        change = changes.note(await self.change(number), by, text, self._clock.now())
        return await self._kept(change, f"noted in {change.name}")

    async def abandon(self, number: int, by: str, why: str = "") -> Outcome:
        """Give a prepared change up."""
        async with self._alone(number, "abandoned"):
            change = changes.abandoned(await self.change(number), by, why, self._clock.now())
            self._engine.trouble_over(_subject(change, BROKE_OFF), f"it is abandoned by {by}")
            return await self._kept(change, f"{change.name} is abandoned")

    async def verify(self, number: int, by: str) -> Outcome:
        """Run its checks now, and compare with before it began."""
        changes.must_run(await self.change(number), "verified")
        found = await self._verification.verified(await self.change(number))
        change = await self.change(number)
        changes.must_run(change, "verified")  # it may have been finished meanwhile
        change = self._keep(changes.verified(change, by, found, self._clock.now()))
        change = await self._compared(change)
        red = [one for one in found if not one.good]
        said = f"{len(found) - len(red)} of {len(found)} checks are green"
        return await self._kept(change, f"{change.name}: {said}", (*_lines(red), *_comparison_lines(change)))

    async def finish(self, number: int, by: str, override: str = "") -> Outcome:
        """Switch maintenance mode off, run its checks, close the window; what is still broken is told then."""
        async with self._alone(number, "finished"):
            change = await self.change(number)
            changes.must_run(change, "finished")
            said = await self._switch_off(change, override)
            found = await self._verification.verified(change)
            change = await self._compared(self._changes[number])
            await self._close(change.silence)
            bad = [one for one in found if not one.good]
            change = changes.finished(self._changes[number], by, bad, self._clock.now())
            change = self._with_words(change, "maintenance mode off", said)
            self._engine.trouble_over(_subject(change, OVERRUNS), f"it is finished by {by}")
            verdict = f"still bad: {in_short([one.check for one in bad])}" if bad else "nothing is bad"
            self._say(change, f"{change.name} is over; {verdict}")
            lines = (*_lines(bad), *_comparison_lines(change), *self._to_do(change, Phase.POST))
            return await self._kept(change, f"{change.name} is finished; {verdict}", lines)

    # --- as time passes ---

    async def serve(self) -> None:
        """Tick what ticks itself, notice windows that are over, compare after the end. Runs until cancelled."""
        while True:
            for number in [one.id for one in self.known]:
                try:
                    await self._look_after(number)
                except StoreError as error:
                    log.warning("a change is compared when the store works again", change=number, error=str(error))
            self._asked.clear()
            try:
                async with asyncio.timeout(self._until_next_end()):
                    await self._asked.wait()
            except TimeoutError:
                pass

    def _until_next_end(self) -> float:
        """Seconds until it is looked again: soon when a window ends soon."""
        now = self._clock.now()
        ends = (one.ends_at - now for one in self.known if one.state is ChangeState.RUNNING and one.ends_at is not None)
        return max(SHORTEST_WAIT, min((LOOK_EVERY, *(left for left in ends if left > 0))))

    async def _look_after(self, number: int) -> None:
        change = self._changes.get(number)
        now = self._clock.now()
        if change is None:  # there were too many that are over to keep all at hand
            return
        if change.state is ChangeState.PREPARED and change.silence and number not in self._busy:
            change = await self._broke_off(change)
        if change.state in (ChangeState.PREPARED, ChangeState.RUNNING) or _waits(change):
            change = self._keep(looked_over(change, self._sight()))
        if change.state is ChangeState.RUNNING and change.ends_at is not None and now >= change.ends_at:
            self._overran(change, now)
        elif change.watched_until is not None and change.state is ChangeState.FINISHED:
            last = change.compared_at or 0.0
            if now <= change.watched_until + LOOK_EVERY and last < change.watched_until:
                await self._compared(change)

    async def _broke_off(self, change: Change) -> Change:
        """The last life ended while it started this: nobody waits for that start, and its window hides what breaks."""
        async with self._alone(change.id, "cleared up"):
            await self._close(change.silence)
            seen = ", and visitors may see the page of maintenance" if change.plan.hooks.on else ""
            because = f"the daemon ended while {change.name} was started; its window is closed{seen}"
            because += f". Start it again, or: wcr-watchd change abandon {change.id}"
            self._engine.trouble(_subject(change, BROKE_OFF), Trouble(Severity.WARNING, because, ""), "by its start")
            return self._keep(changes.not_started(change, "the daemon ended meanwhile", self._clock.now()))

    def _overran(self, change: Change, now: float) -> None:
        if change.overran:
            return
        self._keep(changes.overrun(change, now))
        because = (
            f"{change.name} goes on although its window is over; finish it, or: wcr-watchd change extend {change.id}"
        )
        self._engine.trouble(_subject(change, OVERRUNS), Trouble(Severity.WARNING, because, ""), "by its window")

    # --- what these have in common ---

    def _plan(self, wish: ChangeWish) -> Plan:
        setup = self._engine.setup
        if wish.plan:
            plan = setup.changes.get(wish.plan)
            if plan is None:
                known = ", ".join(setup.changes) or "none"
                raise CommandError(f"there is no change {wish.plan!r} in the configuration; there are: {known}")
            return self._filled(replace(plan, length=wish.length or plan.length))
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

    def _window(self, change: Change, by: str, ends_at: float) -> Silence:
        """The window of a change, from now on."""
        now = self._clock.now()
        matchers = change.plan.matchers
        return Silence(str(uuid4()), matchers, now, ends_at, by, change.name, now, maintenance=True)

    def _under_way(self, plan: str) -> Change | None:
        return next((one for one in self.known if one.plan.name == plan and not one.state.over), None)

    @asynccontextmanager
    async def _alone(self, number: int, doing: str) -> AsyncIterator[None]:
        """Only one of the commands that take their time is carried out on a change at once."""
        if number in self._busy:
            raise CommandError(f"change #{number} is being {self._busy[number]} just now")
        self._busy[number] = doing
        try:
            yield
        finally:
            del self._busy[number]

    async def _open(self, change: Change, by: str) -> tuple[Silence, str]:
        """Open its window, then switch maintenance mode on; when that fails, close the window again."""
        window = self._window(change, by, self._clock.now() + change.plan.length)
        self._keep(changes.starting(change, window.id))
        try:
            holds, _ = await self._engine.silence(window)
            return holds, await self._run_hook(change, change.plan.hooks.on)
        except CommandError as error:
            await self._close(window.id)
            failed = changes.not_started(self._changes[change.id], str(error), self._clock.now())
            await self._kept(failed, "")
            raise CommandError(f"{change.name} was not started: {error}") from error

    async def _close(self, window: str) -> None:
        held = self._engine.state.silences.get(window)
        if held is not None and held.active(self._clock.now()):
            await self._engine.expire(window)

    async def _switch_off(self, change: Change, override: str) -> str:
        try:
            return await self._run_hook(change, change.plan.hooks.off)
        except CommandError as error:
            if override.strip():
                return f"failed, and finished although: {override.strip()} ({error})"
            failed = changes.logged(change, "", f"not finished: {error}", self._clock.now())
            await self._kept(failed, "")
            raise CommandError(
                f"{change.name} is not finished: {error}. Repair that, or finish with --override and the reason"
            ) from error

    async def _run_hook(self, change: Change, words: Sequence[str]) -> str:
        if not words:
            return ""
        variables = {
            "WATCHD_CHANGE": str(change.id),
            "WATCHD_CHANGE_NAME": change.plan.name,
            "WATCHD_CHANGE_CATEGORY": change.plan.category.name,
            "WATCHD_CHANGE_TITLE": change.title.replace("\0", ""),
        }
        return await self._hook(words, variables, change.plan.hooks.timeout)

    @staticmethod
    def _with_words(change: Change, what: str, said: str) -> Change:
        """The change with what a hook said in its log."""
        if not said:
            return change
        at = change.entries[-1].at if change.entries else change.prepared_at
        return changes.logged(change, "", f"{what}: {said}", at)

    async def _compared(self, change: Change) -> Change:
        """Compare the time after the update with that before it began, and keep what that says."""
        found = await self._verification.comparison(change)
        before = changes.worse(change.compared)
        now_known = self._changes.get(change.id, change)
        change = self._keep(changes.with_comparison(now_known, found, self._clock.now()))
        bad, subject = changes.worse(found), _subject(change, WORSE)
        if bad and change.state is ChangeState.FINISHED:
            because = f"after {change.name}: {'; '.join(one.text for one in bad[:3])}"
            self._engine.trouble(subject, Trouble(Severity.WARNING, because, ""), "by comparison")
        elif before and not bad:
            self._engine.trouble_over(subject, "it is no worse than before any more")
        return change

    def _sight(self) -> Sight:
        engine = self._engine
        return Sight(engine.setup, engine.state, engine.latest, self._clock.now(), self._watching_since)

    def _about(self, change: Change) -> str:
        return in_short(covered(self._engine.setup, change.plan.matchers)) or "no check"

    def _to_do(self, change: Change, *phases: Phase) -> tuple[str, ...]:
        """The steps of these phases that are not done, and what each waits for."""
        why_not = self.why_not(change)
        return tuple(
            f"{number}. {step.text}{' (required)' if step.required else ''}: {why}"
            for number, ((step, done), why) in enumerate(zip(change.steps, why_not, strict=True), 1)
            if done is None and step.phase in phases
        )

    def _say(self, change: Change, summary: str) -> int:
        """Tell those whom the change names, or else the readers of infos; returns how many messages that are."""
        setup, now = self._engine.setup, self._clock.now()
        targets = tuple(Target(channel, who) for channel, _, who in (one.partition(":") for one in change.plan.tell))
        to = recipients(setup, targets, now) if targets else readers(setup, change.plan.matchers, now)
        identifier = f"{setup.name}-change-{change.id}-{int(now * 1000)}"
        reason = f"{change.name} is announced"
        self._engine.tell(notice(setup, EventKind.PLANNED, who, summary, reason, identifier, now) for who in to)
        return len(to)

    def _keep(self, change: Change) -> Change:
        """Know and store the change, if it is another than before."""
        if self._changes.get(change.id) != change:
            self._changes[change.id] = change
            self._engine.keep_change(change)
            self._forget_old()
        return change

    async def _kept(self, change: Change, said: str, lines: tuple[str, ...] = ()) -> Outcome:
        """The outcome of a command, once it is stored."""
        self._keep(change)
        self._asked.set()
        if not await self._engine.flush():
            said = f"{said}; not stored yet, a restart would forget it"
        return Outcome(change, said, lines)

    def _forget_old(self) -> None:
        over = [one.id for one in self._changes.values() if one.state.over]
        for number in over[: max(0, len(over) - KEPT_IN_MIND)]:
            del self._changes[number]


def _subject(change: Change, what: str) -> str:
    return f"{changes.SUBJECT}{change.id} {what}"


def _waits(change: Change) -> bool:
    """Whether a step of a finished change may still tick itself."""
    return change.state is ChangeState.FINISHED and any(
        step.tick is Tick.LOGS and done is None for step, done in change.steps
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
    return ("too few runs before or after the update to compare; verify again later",) if change.compared else ()
