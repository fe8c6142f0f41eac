"""Keeps the public status page: watches the components, posts their outages, has the page made anew, writes its copy.

The page is made here, not when somebody asks: however many visitors come, they are handed what lies ready.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Protocol

import structlog

from wcr_watchd.core.errors import CommandError, StoreError
from wcr_watchd.core.model import Incident
from wcr_watchd.core.planned_mails import follow_planned
from wcr_watchd.core.posts import (
    Impact,
    Post,
    PostState,
    Settings,
    Trouble,
    follow,
    published,
    said,
    without_drafts,
    written,
)
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.state import State
from wcr_watchd.core.status import (
    DAY,
    Chart,
    Component,
    ComponentStatus,
    Condition,
    PlannedWork,
    Posting,
    PublicFile,
    PublicStatus,
    ShownFrom,
    StatusPage,
    any_in_maintenance,
    checks_of,
    condition_of,
    condition_of_check,
    impact_of,
    past_maintenance,
    planned_work,
)
from wcr_watchd.core.status_days import Course, day_bars, troubles, uptime, watched
from wcr_watchd.core.uptime import Span, joined
from wcr_watchd.core.view import View
from wcr_watchd.runtime.status_copy import CopyError, StatusCopy

log = structlog.get_logger(__name__)

LOOK_EVERY = 5.0
"""Seconds between two looks at the components."""
ASLEEP = 60.0
"""Seconds late from which on nobody watched: the machine slept."""
READ_EVERY = 3_600.0
"""Seconds between two readings of the whole history; in between it is carried on from what is seen."""
CHART_EVERY = 300.0
CHART_POINTS = 96
MOST_INCIDENTS = 1_000
"""Incidents of one check that are looked at, the newest."""
AT_A_TIME = 100
"""Checks that are looked at before others have their turn on the loop."""

Files = Mapping[str, PublicFile]
"""What is served, by its path below the page's own address."""


class Render(Protocol):
    """Makes the files of the page: ``copy`` for those that a web server goes on serving when the daemon is down."""

    def __call__(self, status: PublicStatus, *, copy: bool) -> Files:
        """Return all of them."""
        ...


@dataclass(slots=True)
class _Known:
    """What is known of the past of one check."""

    watched: tuple[Span, ...]
    incidents: dict[int, Incident]
    seen_at: float


@dataclass(slots=True)
class _Seen:
    """What is remembered between two looks."""

    conditions: dict[str, Condition] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)
    out_since: dict[str, float] = field(default_factory=dict)
    """Since when an outage of a component goes on, however bad."""
    calm_since: dict[str, float] = field(default_factory=dict)


class StatusDesk:
    """Everything about the public status page that moves. ``page`` gives its settings in force, None without one."""

    def __init__(self, page: Callable[[], StatusPage | None], view: View, render: Render) -> None:
        self._page = page
        self._view = view
        self._render = render
        self._on_news: list[Callable[[], None]] = []
        self._files: Files = {}
        self._posts: dict[str, Post] = {}
        self._posts_are_known = False
        self._members: dict[str, tuple[str, ...]] = {}
        self._members_of: tuple[Setup, StatusPage] | None = None
        self._seen = _Seen()
        self._known: dict[str, _Known] = {}
        self._read_at = float("-inf")
        self._charts: dict[str, Chart | None] = {}
        self._charts_at = float("-inf")
        self._made: tuple[object, ...] = ()
        self._made_at = float("-inf")
        self._changing = asyncio.Lock()
        self._written = asyncio.Event()
        self._copy = StatusCopy()
        self._copy_fails = ""

    # --- for the web ---

    @property
    def settings(self) -> StatusPage | None:
        """The page's settings in force; None when there is no page."""
        return self._page()

    @property
    def files(self) -> Files:
        """What lies ready to be served."""
        return self._files

    @property
    def posts(self) -> Sequence[Post]:
        """All posts with their drafts, newest first; not for the public."""
        shown = (post for post in self._posts.values() if not post.planned)
        return sorted(shown, key=lambda post: post.created_at, reverse=True)

    def post(self, identity: str) -> Post | None:
        """A post by its id, with its drafts."""
        return self._posts.get(identity)

    def on_news(self, tell: Callable[[], None]) -> None:
        """Call this when mails came to be owed."""
        self._on_news.append(tell)

    # --- what operators do ---

    async def write(
        self,
        title: str,
        components: Sequence[str],
        impact: Impact,
        state: PostState,
        text: str,
        by: str,
        *,
        publish: bool,
    ) -> Post:
        """Begin a post. Raises ``CommandError`` when that makes no sense, ``StoreError`` when it cannot be kept."""
        page, now = self._must_exist(), self._view.now()
        for component in components:
            if page.component(component) is None:
                known = ", ".join(one.id for one in page.components)
                raise CommandError(f"there is no component {component!r}; there are: {known}")
        post = said(written(title, tuple(components), impact, now), state, text, now, by, publish=publish)
        return await self._keep(post)

    async def update(self, post: str, state: PostState, text: str, by: str, *, publish: bool) -> Post:
        """Say more in a post; what people write no longer follows the checks by itself."""
        found = replace(self._must_find(post), automatic=False)
        if found.resolved_at is not None and state is not PostState.RESOLVED:
            raise CommandError("this post is resolved; begin a new one")
        return await self._keep(said(found, state, text, self._view.now(), by, publish=publish))

    async def publish(self, post: str, by: str) -> Post:
        """Make the drafts of a post public."""
        return await self._keep(published(self._must_find(post), self._view.now(), by))

    async def discard(self, post: str, by: str) -> str:
        """Throw the drafts of a post away; returns a sentence."""
        found = self._must_find(post)
        if not found.drafts:
            raise CommandError("there is nothing to discard: all of this post is public")
        left = without_drafts(found)
        if left is not None:
            await self._keep(left)
            return f"the drafts of {found.title!r} are discarded"
        # It stays known as settled, lest the same outage be drafted anew at once.
        await self._keep(
            replace(
                said(found, PostState.RESOLVED, f"Discarded by {by}.", self._view.now(), by, publish=False),
                automatic=False,
            )
        )
        return f"the draft {found.title!r} is discarded"

    def _must_exist(self) -> StatusPage:
        page = self._page()
        if page is None:
            raise CommandError("there is no status page: add [status_page] to the configuration")
        return page

    def _must_find(self, post: str) -> Post:
        self._must_exist()
        if post not in self._posts or self._posts[post].planned:
            raise CommandError(f"there is no post {post!r}; `wcr-watchd status-page posts` lists them")
        return self._posts[post]

    async def _keep(self, *posts: Post) -> Post:
        """Store posts with the mails they owe, then show them."""
        async with self._changing:
            news = [
                (post.id, update.id)
                for post in posts
                for update in post.updates
                if update.published and not self._was_published(post.id, update.id)
            ]
            await self._view.store.status_page.keep(posts, news, self._view.now())
            self._posts.update((post.id, post) for post in posts)
        self._written.set()
        for tell in self._on_news if news else ():
            tell()
        return posts[0]

    def _was_published(self, post: str, update: str) -> bool:
        known = self._posts.get(post)
        return known is not None and any(one.id == update and one.published for one in known.updates)

    # --- keeping it up to date ---

    @property
    def _setup(self) -> Setup:
        """What the components were looked up in: a reload in the middle of the work changes nothing in it."""
        return self._members_of[0] if self._members_of is not None else self._view.setup

    async def serve(self) -> None:
        """Keep the page fresh until cancelled."""
        while True:
            self._written.clear()
            try:
                await self.refresh()
            except StoreError as error:
                log.warning("the status page is not renewed: the records cannot be read", error=str(error))
            except Exception:  # a defect of this page must not end the watch over everything else
                log.exception("the status page is not renewed; please report this")
            page = self._page()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(LOOK_EVERY, page.every) if page else LOOK_EVERY):
                    await self._written.wait()

    async def refresh(self) -> None:
        """Look at the components, post what is to be posted, and make the page anew when something is different."""
        page = self._page()
        if page is None:
            self._files = {}
            return
        if not self._posts_are_known:
            self._posts = {post.id: post for post in await self._view.store.status_page.posts()}
            self._posts_are_known = True
        now = self._view.now()
        await self._look(page, now)
        await self._post(page, now)
        state = State(silences=dict(self._view.state.silences))  # a copy: it is worked out in a thread
        planned = await asyncio.to_thread(planned_work, self._setup, state, dict(self._members), now)
        await self._mail_planned(page, planned, now)
        made = (page, dict(self._seen.conditions), tuple(self.posts), planned)
        if made == self._made and 0 <= now - self._made_at < page.every:
            return
        await self._read_history(page, now)
        status = await asyncio.to_thread(self._picture(page, now))
        self._files = await asyncio.to_thread(self._render, replace(status, planned=planned), copy=False)
        self._made, self._made_at = made, now
        if page.folder:
            await self._write_copy(page, replace(status, planned=planned))

    async def _look(self, page: StatusPage, now: float) -> None:
        view, setup, seen = self._view, self._view.setup, self._seen
        if self._members_of is None or self._members_of[0] is not setup or self._members_of[1] != page:
            components = page.components
            self._members = await asyncio.to_thread(lambda: {one.id: checks_of(setup, one) for one in components})
            self._members_of = setup, page
            self._read_at = self._charts_at = float("-inf")
        for component in page.components:
            names = self._members[component.id]
            conditions = []
            for number, name in enumerate(names, 1):
                check, shown_from = setup.checks[name], component.shown_from
                conditions.append(condition_of_check(setup, view.state, check, shown_from, view.started_at, now))
                if not number % AT_A_TIME:
                    await asyncio.sleep(0)
            maintenance = any_in_maintenance(setup, view.state, names, now)
            condition = condition_of(component, conditions, maintenance=maintenance)
            if seen.conditions.get(component.id) is not condition:
                seen.conditions[component.id] = condition
                seen.since[component.id] = now
            _note(seen.out_since, component.id, now, holds=condition.outage)
            calm = condition in (Condition.OPERATIONAL, Condition.DEGRADED)
            _note(seen.calm_since, component.id, now, holds=calm)
            await asyncio.sleep(0)
        for gone in seen.conditions.keys() - self._members.keys():
            del seen.conditions[gone]
            for noted in (seen.since, seen.out_since, seen.calm_since):
                noted.pop(gone, None)

    async def _post(self, page: StatusPage, now: float) -> None:
        """Post the outages there are, and their ends."""
        if page.posting is Posting.NONE:
            return
        seen = self._seen
        out = {
            one.id: Trouble(one.name, seen.out_since[one.id], impact_of([seen.conditions[one.id]]))
            for one in page.components
            if one.id in seen.out_since
        }
        calm = {one.id: seen.calm_since.get(one.id) for one in page.components if one.id not in out}
        going_on = tuple(post for post in self.posts if post.resolved_at is None or _is_settled(post, out))
        settings = Settings(page.posting is Posting.PUBLISH, page.post_after, page.resolve_after)
        changed = follow(going_on, out, calm, settings, now)
        if changed:
            await self._keep(*changed)

    async def _mail_planned(self, page: StatusPage, planned: Sequence[PlannedWork], now: float) -> None:
        """Have subscribers told of planned maintenance, as configured."""
        if not page.mail or not page.maintenance_mails.any:
            return
        known = {one.id: one for one in self._posts.values() if one.planned and one.resolved_at is None}
        changed = follow_planned(known, planned, page.maintenance_mails, page.timezone, now)
        if changed:
            await self._keep(*changed)

    # --- the past ---

    async def _read_history(self, page: StatusPage, now: float) -> None:
        """Know when each check was watched and what was wrong with it: from the records, then from what is seen."""
        since = now - (page.days + 1) * DAY
        checks = dict.fromkeys(chain.from_iterable(self._members.values()))
        if now - self._read_at >= READ_EVERY or now < self._read_at:
            self._known = {name: await self._read_check(name, since, now) for name in checks}
            self._read_at = now
        state = self._view.state
        for incident in (*state.ended.values(), *state.incidents.values()):
            if incident.check in self._known:
                self._known[incident.check].incidents[incident.id] = incident
        for number, name in enumerate(checks, 1):
            if not number % AT_A_TIME:
                await asyncio.sleep(0)
            known, check = self._known[name], self._setup.checks[name]
            condition = condition_of_check(self._setup, state, check, ShownFrom.DOWN, self._view.started_at, now)
            if condition is not Condition.UNKNOWN and 0 <= now - known.seen_at <= page.every + ASLEEP:
                known.watched = joined((*known.watched, (known.seen_at, now)))
            known.seen_at = now
        if now - self._charts_at >= CHART_EVERY or now < self._charts_at:
            self._charts = {one.id: await self._read_chart(one, now) for one in page.components if one.chart}
            self._charts_at = now

    async def _read_check(self, name: str, since: float, now: float) -> _Known:
        store = self._view.store
        outcomes = await store.outcomes(name, since=since, until=now)
        every = self._setup.checks[name].every
        spans = await asyncio.to_thread(watched, outcomes, every, now)
        found = await store.incidents(check=name, since=since, limit=MOST_INCIDENTS)
        return _Known(spans, {one.id: one for one in found}, now)

    async def _read_chart(self, component: Component, now: float) -> Chart | None:
        for name in self._members[component.id]:
            spec = next((spec for spec in self._view.specs.get(name, ()) if spec.name == component.chart), None)
            if spec is not None:
                points = await self._view.store.history(
                    name, component.chart, (), since=now - DAY, until=now, points=CHART_POINTS
                )
                title = component.chart.replace("_", " ").capitalize()
                return Chart(title, spec.unit, tuple((point.at, point.mean) for point in points))
        return None

    def _picture(self, page: StatusPage, now: float) -> Callable[[], PublicStatus]:
        """What visitors see; worked out in a thread, from what does not change meanwhile."""
        setup = self._setup
        silences = dict(self._view.state.silences)
        seen = replace(self._seen, conditions=dict(self._seen.conditions), since=dict(self._seen.since))
        known = {name: (one.watched, tuple(one.incidents.values())) for name, one in self._known.items()}
        posts = tuple(post.public() for post in self.posts if post.published)
        members, charts = dict(self._members), dict(self._charts)

        def paint() -> PublicStatus:
            components = []
            for one in page.components:
                names = members[one.id]
                courses = [
                    Course(spans, troubles(incidents, one.shown_from, now))
                    for spans, incidents in (known[name] for name in names)
                ]
                since = now - (page.days + 1) * DAY
                planned = joined(past_maintenance(setup, silences, names, since, now))
                bars = day_bars(courses, one.together, planned, page.timezone, page.days, now)
                components.append(
                    ComponentStatus(
                        one.id,
                        one.name,
                        one.description,
                        one.group,
                        seen.conditions[one.id],
                        seen.since.get(one.id),
                        bars,
                        uptime(bars),
                        charts.get(one.id),
                    )
                )
            return PublicStatus(page, tuple(components), posts, (), now)

        return paint

    async def _write_copy(self, page: StatusPage, status: PublicStatus) -> None:
        files = await asyncio.to_thread(self._render, status, copy=True)
        try:
            await asyncio.to_thread(self._copy.write, page.folder, files)
        except (CopyError, OSError) as error:
            if str(error) != self._copy_fails:
                log.warning("the copy of the status page is not written", folder=page.folder, error=str(error))
            self._copy_fails = str(error)
        else:
            self._copy_fails = ""


def _note(since: dict[str, float], component: str, now: float, *, holds: bool) -> None:
    """Remember since when something holds, or that it does not."""
    if holds:
        since.setdefault(component, now)
    else:
        since.pop(component, None)


def _is_settled(post: Post, out: Mapping[str, Trouble]) -> bool:
    """Whether somebody ended or discarded it while the outage still goes on: that is not told anew."""
    return any(component in out and out[component].since <= post.changed_at for component in post.components)
