"""What browsers are told with every answer (OWASP Secure Headers; Content Security Policy Level 3)."""

from __future__ import annotations

from aiohttp import web

from wcr_watchd.web.access.peer import is_https

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: with that a browser says "Origin: null" when our own button is pressed.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Not which versions of what is behind it.
    "Server": "wcr-watchd",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
UNLESS_SAID = {
    # Scripts and styles from our own files only, so nothing injected can run.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""For whatever does not say otherwise, as reports (their policy is stricter), badges and files that never change."""
HTTPS_FOR = "max-age=31536000"
"""A year in which browsers ask by HTTPS only (RFC 6797); for this host alone, others may stand beside it."""


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Complete an answer, of whatever kind, just before it is sent."""
    response.headers.update(ALWAYS)
    for name, value in UNLESS_SAID.items():
        response.headers.setdefault(name, value)
    if is_https(request):
        response.headers.setdefault("Strict-Transport-Security", HTTPS_FOR)
