"""The page of the reports: those that were written, and the buttons that write one now."""

from __future__ import annotations

from aiohttp import web

from wcr_watchd.core.errors import CommandError, StoreError
from wcr_watchd.core.report import PERIODIC, Audience, ReportWish
from wcr_watchd.web import documents
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.health import CONTROL

PATH = "/reports"
ONE = PATH + "/{number:\\d{1,9}}"


def add_routes(app: web.Application) -> None:
    """Put the page's routes into the application."""
    app.router.add_get(PATH, show)
    app.router.add_post(PATH, write)
    app.router.add_get(ONE, read)
    app.router.add_get(ONE + "/{form:" + "|".join(documents.FORMS) + "}", download)


async def show(request: web.Request) -> web.Response:
    """All reports that are kept, newest first."""
    view = request.app[CONTROL]
    filed = await view.store.reports()
    return page(request, "reports.html", filed=filed, kinds=PERIODIC, forms=[*documents.FORMS][1:])


async def write(request: web.Request) -> web.Response:
    """Write a report now, from its button; shows it."""
    form = await request.post()
    try:
        audience = Audience(str(form.get("audience", Audience.TEAM)))
        wish = ReportWish(str(form.get("report", "")), audience, incident=int(str(form.get("incident", "0"))))
        filed = await request.app[CONTROL].write_report(wish)
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from error
    except (CommandError, StoreError) as error:
        raise web.HTTPConflict(text=f"the report was not written: {error}\n") from error
    raise web.HTTPSeeOther(f"{PATH}/{filed.number}")


async def read(request: web.Request) -> web.Response:
    """One report as the page that it is."""
    return await documents.answer(request, (await documents.filed(request)).document, "html")


async def download(request: web.Request) -> web.Response:
    """One report in another form."""
    return await documents.answer(request, (await documents.filed(request)).document, request.match_info["form"])
