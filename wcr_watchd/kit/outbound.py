"""Handing something to an HTTP API: one client for all channels, and what its answers mean for trying again."""

from __future__ import annotations

import asyncio
import json
import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
from pydantic import AfterValidator, SecretStr

from wcr_watchd.core.errors import ChannelError

T = TypeVar("T")

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read; providers say what they have to say in far less."""
ANSWER_TIMEOUT = 5.0
"""Seconds to wait for the rest of an answer whose status is known already."""
LONGEST_EXCHANGE = 60.0
"""Seconds for a whole exchange; a backstop, the caller's own deadline is shorter."""
TRANSIENT_STATUSES = frozenset({408, 425, 429})
"""4xx answers that ask to come again (RFC 9110, RFC 8470, RFC 6585); all others refuse for good."""


NOTHING_TO_DO = "about no incident: nothing to do"
"""The receipt of a provider of incidents for a notice that is about none."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What an API answered. ``text`` is its body; ``complete`` is False when the body broke off after the status."""

    status: int
    headers: Mapping[str, str]
    text: str
    complete: bool = True

    @property
    def accepted(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    def document(self) -> Mapping[str, Any]:
        """The body as a JSON object; empty when it is none."""
        try:
            found = json.loads(self.text)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class OutboundHttp:
    """One HTTP client for everything that is handed out; get it by ``shared.get(OutboundHttp)``.

    It keeps no connection open (the next message may come in a week; one on a connection that has died meanwhile
    would fail), follows no redirects (a message must not be posted to where nobody configured), keeps no cookies and
    reads no proxy settings from the environment.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def send(
        self,
        url: str,
        body: bytes,
        *,
        content_type: str,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
    ) -> Reply:
        """Send ``body`` and return the answer, whatever its status. ``auth`` is a user and password (Basic).

        Raises :class:`ChannelError`, transient, when no answer came. Its text names scheme and host only, since
        the path of many an API is a secret.
        """
        session = self._opened()
        sent = {**(headers or {}), "Content-Type": content_type}
        if auth is not None:
            sent["Authorization"] = aiohttp.encode_basic_auth(*auth)
        try:
            async with session.request(method, url, data=body, headers=sent, allow_redirects=False) as response:
                text, complete = await _read(response)
                return Reply(response.status, dict(response.headers), text, complete)
        except TimeoutError as error:
            raise ChannelError(
                f"no answer from {where(url)} within {LONGEST_EXCHANGE:.0f} s", reason="timeout", permanent=False
            ) from error
        except aiohttp.InvalidURL as error:
            raise ChannelError(
                f"{where(url)} is no URL that can be used; correct it in the configuration",
                reason="config",
                permanent=True,
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ChannelError(
                f"no answer from {where(url)}: {_cause(error, url)}", reason="connect", permanent=False
            ) from error

    async def send_json(
        self,
        url: str,
        document: object,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
    ) -> Reply:
        """Send ``document`` as JSON; otherwise as :meth:`send`."""
        body = json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        return await self.send(
            url, body, content_type="application/json; charset=utf-8", method=method, headers=headers, auth=auth
        )

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=100, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=LONGEST_EXCHANGE),
                headers={"User-Agent": "wcr-watchd"},
                trust_env=False,
            )
        return self._session


class Progress:
    """How far messages that take many requests have got, so that the next attempt goes on where one broke off.

    In memory only: after a restart a message is sent from its beginning. ``remembered`` messages at most.
    """

    def __init__(self, remembered: int = 100) -> None:
        self._done: OrderedDict[str, int] = OrderedDict()
        self._remembered = remembered

    def remaining(self, key: str, requests: Sequence[T]) -> Iterator[T]:
        """The requests of the message called ``key`` that are not done yet; asking for the next one means one is."""
        for done in range(self._done.pop(key, 0), len(requests)):
            self._done[key] = done
            if len(self._done) > self._remembered:
                self._done.popitem(last=False)
            yield requests[done]
        self._done.pop(key, None)


async def _read(response: aiohttp.ClientResponse) -> tuple[str, bool]:
    """The body up to the bound. That it breaks off does not undo the status: a 2xx has been accepted by then."""
    read = bytearray()
    complete = True
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            async for chunk in response.content.iter_chunked(8192):
                read += chunk
                if len(read) >= MAX_ANSWER:
                    break
    except (TimeoutError, aiohttp.ClientError, OSError):
        complete = False
    return bytes(read[:MAX_ANSWER]).decode("utf-8", "replace").strip(), complete


def refused(url: str, reply: Reply, said: str, wait: float | None = None) -> ChannelError:
    """The error that a reply which is not an acceptance means; ``said`` is what the provider gave as its reason.

    ``wait`` are the seconds that it asks for in its own way, where that is not the header Retry-After.
    """
    permanent = reply.status < 500 and reply.status not in TRANSIENT_STATUSES
    reason = {401: "auth", 403: "auth", 408: "timeout", 429: "rate_limited"}.get(
        reply.status, "rejected" if permanent else "server"
    )
    detail = f": {said[:300]}" if said else ""
    return ChannelError(
        f"{where(url)} answered HTTP {reply.status}{detail}",
        reason=reason,
        permanent=permanent,
        retry_after=retry_after(reply.headers, datetime.now(UTC)) if wait is None else wait,
    )


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait by the Retry-After header (RFC 9110, 10.2.3: seconds or an HTTP date); None without one."""
    value = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    try:
        seconds = float(value)
    except ValueError:
        pass
    else:
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        return max(0.0, (parsedate_to_datetime(value).astimezone(UTC) - now).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def where(url: str) -> str:
    """Scheme, host and port of a URL, without anything in it that could be a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the configured address"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}" if host else "the configured address"


def check_http_url(url: str) -> str:
    """Return the URL when it is http or https with a host; else ``ValueError``, without the URL: it may be a secret."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(character.isspace() for character in url):
        raise ValueError("must be a URL that begins with https:// (or http://) and names a host")
    return url


def check_secret_url(url: SecretStr) -> SecretStr:
    """Like :func:`check_http_url`, for a URL that is itself a secret."""
    check_http_url(url.get_secret_value())
    return url


Url = Annotated[str, AfterValidator(check_http_url)]
"""An http or https URL, as an option."""
SecretUrl = Annotated[SecretStr, AfterValidator(check_secret_url)]
"""An http or https URL whose path or query is a secret, as an option."""


def _cause(error: Exception, url: str) -> str:
    text = str(error) or type(error).__name__
    return text.replace(url, where(url))
