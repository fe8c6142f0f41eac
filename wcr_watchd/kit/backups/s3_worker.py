"""The process that asks S3-compatible storage: its library takes the loop for longer than a daemon may be held up.

``python -m wcr_watchd.kit.backups.s3_worker JOB``: the arguments of :func:`look` as a JSON object; the answer is one,
too. Credentials come in the environment, as that library reads them (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from typing import Any
from zoneinfo import ZoneInfo

from wcr_watchd.kit.backups.names import IGNORED, NamePattern, time_in
from wcr_watchd.kit.local_zone import local_timezone

try:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session
    from botocore import UNSIGNED
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    json.dump({"trouble": "exec", "said": "aiobotocore is not installed: pip install 'wcr-watchd[s3]'"}, sys.stdout)
    sys.exit()

MOST_KEYS = 100_000
"""Keys of a bucket that are listed."""
_DENIED = (
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "403",
    "ExpiredToken",
    "AuthorizationHeaderMalformed",
)
_NOT_THERE = ("NoSuchBucket", "404")


async def look(
    bucket: str,
    path: str,
    endpoint: str,
    region: str,
    ca_file: str,
    timezone: str,
    most: int,
    daily: bool,
    seconds: float,
) -> dict[str, Any]:
    """The objects whose keys are in the pattern ``/path``, as rows of key, size, time of upload and time taken;
    ``newest`` with the checksums that the storage has of the newest; ``versioning``, ``object_lock`` (None: not told).
    """
    signed = "AWS_ACCESS_KEY_ID" in os.environ
    config = AioConfig(
        connect_timeout=min(10.0, seconds),
        read_timeout=seconds,
        retries={"total_max_attempts": 1},
        signature_version=None if signed else UNSIGNED,
        s3={"addressing_style": "path"} if endpoint else {},
    )
    async with get_session().create_client(
        "s3", region_name=region, endpoint_url=endpoint or None, config=config, verify=ca_file or None
    ) as client:
        pattern, zone = NamePattern(f"/{path}"), ZoneInfo(timezone or local_timezone())
        rows, count = await _listed(client, bucket, pattern, zone)
        # Later ones of a day take the place of earlier ones.
        kept = list({row[3] // 86_400: row for row in rows}.values()) if daily else rows
        return {
            "files": kept[-most:],
            "count": count,
            "size": sum(row[1] for row in rows),
            "newest": await _checksums(client, bucket, rows[-1][0]) if rows else {},
            **await _protection(client, bucket),
        }


async def _listed(client: Any, bucket: str, pattern: NamePattern, zone: ZoneInfo) -> tuple[list[list[Any]], int]:
    prefix = pattern.folder.strip("/")
    whole = re.compile("/".join(pattern.levels))
    rows, looked_at = [], 0
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/" if prefix else "")
    async for page in pages:
        for one in page.get("Contents", ()):
            looked_at += 1
            key = one["Key"]
            found = whole.fullmatch(key.removeprefix(prefix).lstrip("/"))
            if found is None or key.endswith(IGNORED) or os.path.basename(key).startswith("."):
                continue
            uploaded = one["LastModified"].timestamp()
            named = time_in(found.groupdict(), uploaded, zone)
            rows.append([key, one["Size"], uploaded, uploaded if named is None else min(named, uploaded)])
        if looked_at >= MOST_KEYS:
            break
    rows.sort(key=lambda row: (row[3], row[0]))
    return rows, len(rows)


async def _checksums(client: Any, bucket: str, key: str) -> dict[str, str]:
    """What the storage says of the content of an object: ``sha256`` in hexadecimal, or ``md5``."""
    head = await client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    # With a key of the customer's or of KMS, the ETag is no digest of the content.
    opaque = head.get("SSECustomerAlgorithm") or head.get("ServerSideEncryption", "").startswith("aws:kms")
    told = {"etag": "" if opaque else head.get("ETag", "").strip('"'), "sha256": head.get("ChecksumSHA256", "")}
    metadata = {name.lower(): value for name, value in head.get("Metadata", {}).items()}
    return told | {name: metadata[name] for name in ("sha256", "md5", "s3cmd-attrs") if metadata.get(name)}


async def _protection(client: Any, bucket: str) -> dict[str, bool | None]:
    """Whether old versions are kept, and whether objects can be locked; None where that may not be asked."""
    found: dict[str, bool | None] = {"versioning": None, "object_lock": None}
    try:
        versioning = await client.get_bucket_versioning(Bucket=bucket)
        found["versioning"] = versioning.get("Status") == "Enabled"
        lock = await client.get_object_lock_configuration(Bucket=bucket)
        found["object_lock"] = lock.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "ObjectLockConfigurationNotFoundError":
            found["object_lock"] = False
    return found


def _trouble(error: Exception) -> dict[str, str]:
    if isinstance(error, ClientError):
        told = error.response.get("Error", {})
        code = str(told.get("Code", ""))
        reason = "auth" if code in _DENIED else "missing" if code in _NOT_THERE else "status"
        return {"trouble": reason, "said": f"it answered {code}: {told.get('Message', '')}"[:300]}
    return {"trouble": "connect", "said": " ".join(str(error).split())[:300]}


def main(argument: str) -> None:
    """Ask, and print the answer."""
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    try:
        answer = asyncio.run(look(**json.loads(argument)))
    except (ClientError, BotoCoreError, OSError) as error:
        answer = _trouble(error)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
