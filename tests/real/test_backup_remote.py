"""The backup_remote probe against moto's S3 server (Apache-2.0, a protocol-true peer) on loopback."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.real.backup_files import DAY, HOUR, put, sql_dump
from tests.real.ports import free_port
from tests.real.running import carry_out, children, descriptors, measured, names, new_run, none_left_open, probe_of
from tests.real.servers.odd import Odd, silence
from tests.real.servers.storage import PREFIX, Bucket
from wcr_watchd.core.model import Observation, Outcome
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.probes.backup_remote import _DOWN, _digest_told

NAME = "production_%Y%m%d_%H%M%S.sql.gz"
Look = Callable[..., Awaitable[Observation]]


@pytest.fixture
def look(bucket: Bucket, tmp_path: Path, shared: SharedHelpers) -> Look:
    """``await look()`` runs a check on the bucket and the folder; a second call remembers what the first one left."""
    kept: dict[str, Any] = {}

    async def once(later: float = 0.0, timeout: float = 90.0, **options: Any) -> Observation:
        run = new_run(shared, timeout, time.time() + later)
        run.memory = kept
        standard = {
            "url": f"s3://{bucket.name}/{PREFIX}{NAME}", "endpoint": bucket.endpoint, "access_key": "an-access-key",
            "secret_key": "a-secret-key", "timezone": "UTC", "local": {"path": f"{tmp_path}/{NAME}", "timezone": "UTC"},
        }  # fmt: skip
        return await carry_out(probe_of("backup_remote", {**standard, **options}), run)

    return once


def dumps(folder: Path, *hours: float) -> list[Path]:
    """Dumps of so many hours ago."""
    return [put(folder, gzip.compress(sql_dump()), age * HOUR) for age in hours]


async def test_copies_in_order(bucket: Bucket, tmp_path: Path, look: Look) -> None:
    for path in dumps(tmp_path, 49, 25, 1):
        bucket.upload(path)
    bucket.client.put_object(Bucket=bucket.name, Key=f"{PREFIX}backup.log", Body=b"x")
    bucket.client.put_object(Bucket=bucket.name, Key="elsewhere/production_20990101_000000.sql.gz", Body=b"x")
    seen = await look()
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), (seen.summary, seen.evidence)
    assert measured(seen, "copies") == 3
    assert measured(seen, "age") == pytest.approx(HOUR, abs=60)
    assert measured(seen, "missed") == 0
    newest = sorted(tmp_path.iterdir())[-1]
    assert measured(seen, "size") == newest.stat().st_size
    assert measured(seen, "total_size") == sum(path.stat().st_size for path in tmp_path.iterdir())
    for name in ("lag", "not_copied", "size_differs", "content_differs", "versioning", "object_lock"):
        assert measured(seen, name) == 0, name
    assert "all backups have one" in seen.summary
    assert "a-secret-key" not in str(seen)
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    later = await look(later=2.5 * DAY, local=None)
    assert measured(later, "versioning") == 1
    assert measured(later, "missed") == 2
    assert "lag" not in names(later), "nothing to compare with"


async def test_copies_that_are_missing_or_wrong(bucket: Bucket, tmp_path: Path, look: Look) -> None:
    oldest, second, third, newest = dumps(tmp_path, 73, 49, 25, 1)
    bucket.upload(second, second.read_bytes()[:-1])
    bucket.upload(newest)
    seen = await look()
    assert measured(seen, "not_copied") == 1, "copies are kept for a shorter time: the oldest is not missed"
    assert third.name in seen.evidence["not copied"]
    assert measured(seen, "lag") == pytest.approx(25 * HOUR - 60, abs=60)
    assert measured(seen, "size_differs") == 1
    assert second.name in seen.evidence["of another size"]
    assert oldest.name not in str(seen.evidence)


@pytest.mark.parametrize("how", ["etag", "sha256", "metadata", "s3cmd"])
async def test_the_content_of_the_newest(bucket: Bucket, tmp_path: Path, look: Look, how: str) -> None:
    (path,) = dumps(tmp_path, 1)
    content = path.read_bytes()
    options: dict[str, dict[str, Any]] = {
        "etag": {},
        "sha256": {"ChecksumSHA256": base64.b64encode(hashlib.sha256(content).digest()).decode()},
        "metadata": {"Metadata": {"sha256": hashlib.sha256(content).hexdigest()}},
        "s3cmd": {"Metadata": {"s3cmd-attrs": f"uid:0/mtime:1/md5:{hashlib.md5(content).hexdigest()}/mode:33188"}},
    }
    bucket.upload(path, **options[how])
    assert measured(await look(), "content_differs") == 0
    path.write_bytes(content[:-4] + b"spoi")
    os.utime(path, (time.time() - HOUR,) * 2)
    assert measured(await look(), "content_differs") == 1


async def test_uploaded_in_parts(bucket: Bucket, tmp_path: Path, look: Look) -> None:
    path = put(tmp_path, os.urandom(6 * 2**20), HOUR)
    bucket.upload_in_parts(path)
    seen = await look()
    assert measured(seen, "size_differs") == 0
    assert "content_differs" not in names(seen)
    assert "tells no digest" in seen.evidence["absent"]


def test_digests_that_are_told() -> None:
    raw = hashlib.sha256(b"x").digest()
    assert _digest_told({"sha256": base64.b64encode(raw).decode()}) == ("sha256", raw.hex())
    assert _digest_told({"sha256": base64.b64encode(raw).decode() + "-2", "etag": "a" * 32}) == ("md5", "a" * 32)
    assert _digest_told({"etag": f"{'a' * 32}-2"}) == ("", "")


async def test_what_is_not_there(bucket: Bucket, tmp_path: Path, look: Look) -> None:
    none = await look()
    assert (none.outcome, none.reason) == (Outcome.DOWN, "missing")
    assert "does the upload run" in none.summary
    bucket.upload(put(tmp_path, b"", HOUR))
    empty = await look()
    assert (empty.outcome, empty.reason) == (Outcome.DOWN, "content")
    nowhere = await look(url=f"s3://no-such-bucket/{NAME}")
    assert (nowhere.outcome, nowhere.reason) == (Outcome.DOWN, "missing")
    assert "NoSuchBucket" in nowhere.summary
    nobody = await look(endpoint=f"http://127.0.0.1:{free_port()}")
    assert (nobody.outcome, nobody.reason) == (Outcome.DOWN, "connect")
    bucket.upload(dumps(tmp_path, 1)[0])
    unseen = await look(local={"path": f"{tmp_path}/no/{NAME}"})
    assert unseen.outcome is Outcome.UP
    assert "not compared" in unseen.summary
    assert "lag" not in names(unseen)


def refusal(code: str) -> bytes:
    """What S3 answers to a key it does not know (its documentation, "Error responses")."""
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>not you</Message></Error>'
    head = f"HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("talk", "reason"),
    [(refusal("InvalidAccessKeyId"), "auth"), (refusal("SlowDown"), "status"), (b"nonsense\r\n\r\n", "connect")],
)
async def test_a_server_that_refuses_or_makes_no_sense(
    look: Look, odd: Callable[..., Awaitable[Odd]], talk: bytes, reason: str
) -> None:
    server = await odd(talk)
    seen = await look(endpoint=f"http://{server.address}")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, reason), seen.summary


async def test_cancelling_leaves_no_process(look: Look, odd: Callable[..., Awaitable[Odd]]) -> None:
    server = await odd(silence)
    before, others = descriptors(), children()
    running = asyncio.create_task(look(endpoint=f"http://{server.address}"))
    async with asyncio.timeout(60):
        while not server.connections:
            await asyncio.sleep(0.02)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert not children() - others
    async with asyncio.timeout(60):
        while server.open:
            await asyncio.sleep(0.02)
    await none_left_open(before)


def test_without_the_library() -> None:
    """It is an extra; that it is not there says nothing of the copies, and is not among what makes the check down."""
    code = (
        "import runpy, sys\n"
        "sys.modules['aiobotocore'] = None\n"
        "runpy.run_module('wcr_watchd.kit.backups.s3_worker', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "{}"], capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert answer["trouble"] not in _DOWN
    assert "wcr-watchd[s3]" in answer["said"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "https://bucket/key"}, "names no objects"),
        ({"url": "s3://bucket"}, "names no objects"),
        ({"url": "s3://bucket/%Q"}, "not known here"),
        ({"url": "s3://b/k", "endpoint": "s3.example.org"}, "not an http"),
    ],
)
def test_wrong_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        probe_of("backup_remote", options)
