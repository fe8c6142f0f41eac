"""A page of HTML as PDF, printed by Chromium where there is one."""

from __future__ import annotations

import asyncio
from base64 import b64decode

from wcr_watchd.kit.chromium import BrowserError, CallError, browser
from wcr_watchd.kit.threads import Threads

DONE_WITHIN = 60.0
"""Seconds for the browser to start and to print."""
PIECE = 256 * 1024
LARGEST = 32 * 1024 * 1024
"""Bytes of a PDF at most."""


async def pdf(threads: Threads, html: str) -> bytes:
    """Print a page that needs nothing from elsewhere; it is shown no network.

    Raises :class:`BrowserError` when there is no browser, it fails, or it takes too long.
    """
    try:
        async with asyncio.timeout(DONE_WITHIN), browser(threads, "", ("--proxy-server=127.0.0.1:9",)) as page:
            tree = await page.call("Page.getFrameTree")
            await page.call("Page.setDocumentContent", frameId=tree["frameTree"]["frame"]["id"], html=html)
            settings = {"printBackground": True, "preferCSSPageSize": True, "transferMode": "ReturnAsStream"}
            printed = await page.call("Page.printToPDF", **settings)
            found = bytearray()
            while len(found) <= LARGEST:
                piece = await page.call("IO.read", handle=printed["stream"], size=PIECE)
                found += b64decode(piece["data"]) if piece.get("base64Encoded") else piece["data"].encode()
                if piece["eof"]:
                    return bytes(found)
    except TimeoutError as error:
        raise BrowserError("timeout", f"the browser did not print the page within {DONE_WITHIN:.0f} s") from error
    except CallError as error:
        raise BrowserError("protocol", f"the browser cannot print the page: {error}") from error
    raise BrowserError("protocol", f"the page has more than {LARGEST // 1024**2} MiB as PDF")
