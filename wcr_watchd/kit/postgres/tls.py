"""The TLS context that a PostgreSQL DSN asks for, made in a thread.

asyncpg makes it on the event loop; reading the authorities of a whole system holds everything else up for 40 ms.
"""

from __future__ import annotations

import ssl
from urllib.parse import parse_qsl, urlsplit

from wcr_watchd.kit.threads import Threads

_CHECKED_MODES = ("require", "verify-ca", "verify-full")


async def context_of(dsn: str, threads: Threads) -> ssl.SSLContext | None:
    """The context for a DSN that names authorities (``sslrootcert``); None: asyncpg's own, which reads little.

    Parameters and their meaning: https://www.postgresql.org/docs/current/libpq-ssl.html. Raises ``OSError`` when a file
    cannot be read or used.
    """
    options = dict(parse_qsl(urlsplit(dsn).query))
    if options.get("sslmode") not in _CHECKED_MODES or "sslrootcert" not in options:
        return None
    return await threads.call(_context, tuple(options.items()))


def _context(given: tuple[tuple[str, str], ...]) -> ssl.SSLContext:
    options = dict(given)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = options["sslmode"] == "verify-full"
    context.load_verify_locations(cafile=options["sslrootcert"])
    if "sslcert" in options:
        context.load_cert_chain(options["sslcert"], options.get("sslkey"), options.get("sslpassword"))
    if "sslcrl" in options:
        context.load_verify_locations(cafile=options["sslcrl"])
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    oldest = options.get("ssl_min_protocol_version", "TLSv1.2")
    context.minimum_version = ssl.TLSVersion[oldest.replace(".", "_")]
    return context
