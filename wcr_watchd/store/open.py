"""From the ``[store] url`` of the configuration to a store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from wcr_watchd.core.errors import StoreError
from wcr_watchd.core.protocols import Store
from wcr_watchd.store.sqlite import SqliteStore
from wcr_watchd.store.upkeep import Retention


def folder_of(url: str) -> Path:
    """The folder of the file that the URL of a store names: what belongs to the records is kept beside them."""
    return file_of(url).parent


def file_of(url: str) -> Path:
    """The file that the URL of a store names; with four slashes, as other programs write it, it is the same one."""
    return Path("/" + unquote(urlsplit(url).path).lstrip("/"))


def from_url(url: str, *, retention: Retention | None = None, timeout: float = 10.0) -> Store:
    """Return the store a URL names, not opened yet: ``sqlite:///absolute/path.db``.

    ``timeout`` bounds every call of it, in seconds. Raises :class:`StoreError` for a URL that names none.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise StoreError(f"[store] url is not a URL ({error}): write sqlite:///absolute/path.db") from error
    if parts.scheme in ("postgresql", "postgres"):
        raise StoreError(
            "[store] url: a shared PostgreSQL store comes in a later version; "
            "this one stores into a file: write sqlite:///absolute/path.db"
        )
    if parts.scheme != "sqlite":
        raise StoreError(f"[store] url: there is no store {parts.scheme!r}: write sqlite:///absolute/path.db")
    if parts.netloc or not parts.path.startswith("/") or not parts.path.strip("/") or parts.query or parts.fragment:
        raise StoreError(
            f"[store] url {url!r} must be sqlite:// and an absolute path, so three slashes: sqlite:///absolute/path.db"
        )
    return SqliteStore(file_of(url), retention=retention, timeout=timeout)
