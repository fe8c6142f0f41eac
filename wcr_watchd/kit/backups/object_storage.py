"""S3-compatible storage as the probes see it: asked by another process, because its library holds a loop up."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator

from wcr_watchd.core.run import Run
from wcr_watchd.kit.backups.names import NamePattern
from wcr_watchd.kit.backups.sets import MOST_FILES, work
from wcr_watchd.kit.options import Options, Secret


def _objects_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or not parts.path.strip("/"):
        raise ValueError(f"{url!r} names no objects: write s3://bucket/folder/name_%Y%m%d.gz")
    NamePattern(_path(url)).check()
    return url


def _path(url: str) -> str:
    """The path of the objects: all that follows the bucket, a ``?`` with it."""
    return "/" + url.removeprefix("s3://").partition("/")[2]


def _endpoint(url: str) -> str:
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise ValueError(f"{url!r} is not an http or https URL")
    return url


ObjectsUrl = Annotated[str, AfterValidator(_objects_url)]
"""The bucket and the names of objects, ``s3://bucket/folder/name``, with patterns in the manner of strptime."""


class StorageOptions(Options):
    """Where the storage is, and how to sign in."""

    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = None
    """Where the storage answers; Amazon's own, when it is not set."""
    region: str = "us-east-1"
    """The region."""
    access_key: Secret | None = None
    """The key's identity; it needs no more than the right to list and to read."""
    secret_key: Secret | None = None
    """The key itself."""
    ca_file: str = ""
    """Certificates to trust in place of the system's."""


async def list_objects(
    run: Run, storage: StorageOptions, url: str, timezone: str, seconds: float, *, daily: bool = False
) -> dict[str, Any]:
    """What ``s3_worker.look`` says of the objects, with ``daily`` the last of every day (UTC).

    Raises :class:`WorkError`.
    """
    job = {
        "bucket": urlsplit(url).netloc, "path": _path(url).lstrip("/"), "endpoint": storage.endpoint or "",
        "region": storage.region, "ca_file": storage.ca_file, "timezone": timezone, "most": MOST_FILES,
        "daily": daily, "seconds": seconds * 0.9,
    }  # fmt: skip
    given = {"AWS_ACCESS_KEY_ID": storage.access_key, "AWS_SECRET_ACCESS_KEY": storage.secret_key}
    signed = {name: secret.get_secret_value() for name, secret in given.items() if secret is not None}
    return await work(run, job, seconds, environment=signed, program="s3_worker")
