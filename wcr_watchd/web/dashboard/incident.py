"""The page of one incident: what is wrong, what may be the cause, who was told, what happened, what one can do."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Sequence

from aiohttp import web

from wcr_watchd.core import review
from wcr_watchd.core.errors import CommandError, UnitError
from wcr_watchd.core.follow_up import LONGEST_OWNER, LONGEST_TEXT, end_of_day
from wcr_watchd.core.model import Incident
from wcr_watchd.core.units import parse_duration
from wcr_watchd.core.view import Touched
from wcr_watchd.core.work import check_of
from wcr_watchd.web import investigation, reasons
from wcr_watchd.web.access.roles import VISITOR
from wcr_watchd.web.article import article
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.guidance import shown_guidance
from wcr_watchd.web.health import CONTROL
from wcr_watchd.web.live import CHANGED, Event, follow

PATH = "/incidents/{number:\\d{1,9}}"
MAX_NOTE = 4_000
MAX_OWNER = 200


def add_routes(app: web.Application) -> None:
    """Put the page's routes into the application."""
    app.router.add_get(PATH, show)
    app.router.add_get(f"{PATH}/live", live)
    app.router.add_get(f"{PATH}/review.md", review_as_markdown)
    app.router.add_get(f"{PATH}/review.html", review_as_page)
    app.router.add_get(f"{PATH}/article.md", review_as_article)
    for name, handler in (
        ("acknowledge", acknowledge),
        ("resolve", resolve),
        ("note", note),
        ("assign", assign),
        ("review", write_review),
        ("follow-up", follow_up),
    ):
        app.router.add_post(f"{PATH}/{name}", handler)


async def show(request: web.Request) -> web.Response:
    """One incident: what is wrong, who was told and why, what happened since; ``?contact=…`` asks why of somebody."""
    return await _page(request)


async def live(request: web.Request) -> web.StreamResponse:
    """Server-sent events: ``changed`` at once and whenever something happened to the incident."""
    number = _number(request)

    def changed(batch: Sequence[Touched]) -> Iterator[Event]:
        if any(one.incident == number for one in batch):
            yield CHANGED

    return await follow(request, [CHANGED], changed, request.app[CONTROL].touched())


async def acknowledge(request: web.Request) -> web.Response:
    """Take an incident, for a time (``for``) or until it is over; ``sticky``: also when it gets worse."""
    control, form = request.app[CONTROL], await request.post()
    text = str(form.get("for", "")).strip()
    try:
        until = control.now() + parse_duration(text) if text else None
    except UnitError as error:
        return await _page(request, said=f"{error}; write for example 2h", status=400)
    who, sticky = request[VISITOR].name, bool(form.get("sticky"))
    # The buttons of the overview come back to it.
    to = "/" if form.get("from") == "overview" else ""
    return await _done(request, control.acknowledge(_number(request), who, until=until, sticky=sticky), to)


async def resolve(request: web.Request) -> web.Response:
    """End an incident by hand, from its button."""
    return await _done(request, request.app[CONTROL].resolve(_number(request), request[VISITOR].name))


async def note(request: web.Request) -> web.Response:
    """Add a note to the timeline, from the form under it."""
    text = str((await request.post()).get("text", ""))[:MAX_NOTE]
    return await _done(request, request.app[CONTROL].note(_number(request), request[VISITOR].name, text))


async def assign(request: web.Request) -> web.Response:
    """Say who works on the incident, from the form."""
    owner = str((await request.post()).get("owner", "")).strip()[:MAX_OWNER]
    return await _done(request, request.app[CONTROL].assign(_number(request), owner, request[VISITOR].name))


async def write_review(request: web.Request) -> web.Response:
    """Keep the four texts of the review, from their form."""
    control, form = request.app[CONTROL], await request.post()
    texts = {name: str(form.get(name, "")) for name in review.TEXTS}
    written = review.rewritten(review.Review(_number(request)), texts, request[VISITOR].name, control.now())
    return await _done(request, control.review(written))


async def follow_up(request: web.Request) -> web.Response:
    """Plan something to do after the incident, from its form: what, who, and until when."""
    control, form = request.app[CONTROL], await request.post()
    text, owner, date = (str(form.get(name, "")).strip() for name in ("text", "owner", "due"))
    try:
        due = end_of_day(date, control.setup.timezone)
    except CommandError as error:
        return await _page(request, said=str(error), status=400)
    return await _done(request, control.follow_up(_number(request), text, owner, due, request[VISITOR].name))


async def _done(request: web.Request, command: Awaitable[str], to: str = "") -> web.Response:
    """Carry a command out and go back to the page; say on it what is in the way."""
    try:
        await command
    except CommandError as error:
        return await _page(request, said=str(error), status=409)
    raise web.HTTPSeeOther(to or request.path.rpartition("/")[0])


# --- what the page shows ---


async def _page(request: web.Request, *, said: str = "", status: int = 200) -> web.Response:
    view = request.app[CONTROL]
    found = await _found(request)
    contact = request.query.get("contact", "")
    timeline = await view.store.events(found.id)
    deliveries = await view.store.deliveries(incident=found.id, limit=investigation.MOST_DELIVERIES)
    causes = await investigation.causes(view, found)
    earlier, recent_count = await investigation.earlier(view, found)
    check = check_of(view.setup, found) if found.alert else view.setup.checks.get(found.check)
    latest = view.latest.get(found.check)
    facts = await investigation.facts(view, found, timeline, deliveries, causes)
    response = page(
        request,
        "incident.html",
        incident=found,
        said=said,
        people=list(view.setup.contacts),
        contact=contact,
        answer=await reasons.answer(view, found, contact) if contact else None,
        check=check,
        guidance=await shown_guidance(view.setup, check_of(view.setup, found), found),
        generator=_safe_url(found.alert.generator) if found.alert else "",
        timeline=timeline,
        deliveries=deliveries,
        causes=causes,
        earlier=earlier,
        recent_count=recent_count,
        evidence=latest.evidence if latest and found.resolved_at is None else {},
        figures=review.figures(facts),
        written=await view.store.review(found.id) or review.Review(found.id),
        texts=review.TEXTS,
        longest=review.LONGEST_TEXT,
        longest_follow_up=LONGEST_TEXT,
        longest_owner=LONGEST_OWNER,
    )
    response.set_status(status)
    return response


async def review_as_markdown(request: web.Request) -> web.Response:
    """The review as a Markdown file."""
    facts, written = await investigation.reviewed(request.app[CONTROL], await _found(request))
    text = review.markdown(facts, written, request.app[CONTROL].setup.timezone)
    name = f'attachment; filename="incident-{facts.incident.id}.md"'
    return web.Response(text=text, content_type="text/markdown", headers={"Content-Disposition": name})


async def review_as_page(request: web.Request) -> web.Response:
    """The review as one page without anything around it, to print or to keep."""
    facts, written = await investigation.reviewed(request.app[CONTROL], await _found(request))
    return page(
        request,
        "review.html",
        facts=facts,
        incident=facts.incident,
        figures=review.figures(facts),
        written=written,
        texts={heading: getattr(written, name) for name, heading in review.TEXTS.items()},
    )


async def review_as_article(request: web.Request) -> web.Response:
    """The review as a draft for the knowledge folder: a file with its head."""
    view = request.app[CONTROL]
    facts, written = await investigation.reviewed(view, await _found(request))
    text = article(view.setup, facts, written, written.by or request[VISITOR].name, view.now())
    name = f'attachment; filename="incident-{facts.incident.id}.md"'
    return web.Response(text=text, content_type="text/markdown", headers={"Content-Disposition": name})


async def _found(request: web.Request) -> Incident:
    view, number = request.app[CONTROL], _number(request)
    found = view.state.incidents.get(number) or await view.store.incident(number)
    if found is None:
        raise web.HTTPNotFound(text=f"there is no incident #{number}\n")
    return found


def _safe_url(url: str) -> str:
    """A URL that somebody else sent, if it leads to a page and does not run anything."""
    return url if url.startswith(("http://", "https://")) else ""


def _number(request: web.Request) -> int:
    return int(request.match_info["number"])
