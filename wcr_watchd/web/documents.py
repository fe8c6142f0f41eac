"""Reports that were written, as whatever form somebody wants to read them in: for the pages and the API alike."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from aiohttp import web

from wcr_watchd.core.report import Document, Filed
from wcr_watchd.core.run import Shared
from wcr_watchd.kit.chromium import BrowserError
from wcr_watchd.kit.printed import pdf
from wcr_watchd.kit.threads import Threads
from wcr_watchd.web.health import CONTROL

SHARED = web.AppKey("shared", Shared)
FORMS = {
    "html": "text/html",
    "txt": "text/plain",
    "json": "application/json",
    "csv": "text/csv",
    "pdf": "application/pdf",
}


async def filed(request: web.Request) -> Filed:
    """The report whose number stands in the path."""
    number = int(request.match_info["number"])
    found = await request.app[CONTROL].store.report(number)
    if found is None:
        raise web.HTTPNotFound(text=f"there is no report {number}; `wcr-watchd report list` lists them\n")
    return found


async def answer(request: web.Request, document: Document, form: str) -> web.Response:
    """The document in one of :data:`FORMS`."""
    if form == "pdf":
        body = await _printed(request, document)
    else:
        texts = {"html": document.html, "txt": document.text, "json": document.json, "csv": document.csv}
        body = texts[form].encode()
    headers = {"Cache-Control": "no-store"}
    if form == "html":
        # The page is one file, for mails and disks; the browser is told by its hash which style it may take.
        headers["Content-Security-Policy"] = (
            f"default-src 'none'; style-src {_style_of(document.html)}; img-src data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    elif form in ("csv", "pdf"):
        headers["Content-Disposition"] = f'attachment; filename="report.{form}"'
    charset = None if form == "pdf" else "utf-8"
    response = web.Response(body=body, content_type=FORMS[form], charset=charset, headers=headers)
    response.enable_compression()
    return response


async def _printed(request: web.Request, document: Document) -> bytes:
    try:
        return await pdf(request.app[SHARED].get(Threads), document.html)
    except BrowserError as error:
        raise web.HTTPServiceUnavailable(text=f"no PDF: {error.summary}\n") from error


def _style_of(html: str) -> str:
    style = html.partition("<style>")[2].partition("</style>")[0]
    return f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'"
