"""Looks at the copies of backups on S3-compatible storage: their age, and whether they are those that are here.

Lists the keys (LIST) and asks for the checksum of the newest (HEAD); nothing is loaded, nothing is changed. With
`local` every copy is compared with the file it was made of: what is missing and for how long, what has another size,
and whether the newest has the same content, where the storage tells its SHA-256 or MD5.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration, format_value
from wcr_watchd.kit.backups.object_storage import ObjectsUrl, StorageOptions, list_objects
from wcr_watchd.kit.backups.sets import SetFile, SetOptions, TimeZone, WorkError, list_set, work
from wcr_watchd.kit.options import Duration, Size

_LISTING = 0.3
_ASKING = 0.5
_MOST_TOLD = 5
_DOWN = ("missing", "connect", "status", "auth")
"""What is the storage's doing; everything else is ours."""
_MD5 = re.compile(r"[0-9a-f]{32}")
_S3CMD_MD5 = re.compile(r"(?:^|/)md5:([0-9a-f]{32})")
"""s3cmd keeps the file's MD5 among the attributes it stores with an object."""
_SHA256_BYTES = 32


class Local(SetOptions):
    """The set of files that the objects are copies of."""


class BackupRemote(StorageOptions):
    """Looks at copies of backups on S3-compatible storage."""

    type: ClassVar[str] = "backup_remote"
    target_key: ClassVar[str] = "url"
    every: ClassVar[float] = 3_600.0
    timeout: ClassVar[float] = 300.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("age", Unit.SECONDS, "Age of the newest copy, by the time in its name or else its upload"),
        MeasurementSpec("missed", Unit.COUNT, "Copies that should have come since the newest one"),
        MeasurementSpec("copies", Unit.COUNT, "Copies there"),
        MeasurementSpec("total_size", Unit.BYTES, "Size of all of them"),
        MeasurementSpec("size", Unit.BYTES, "Size of the newest"),
        MeasurementSpec(
            "lag", Unit.SECONDS, "Time for which the oldest backup without a copy has had none", topic="lag"
        ),
        MeasurementSpec("not_copied", Unit.COUNT, "Backups without a copy", topic="lag"),
        MeasurementSpec("size_differs", Unit.COUNT, "Copies of another size than the backup", topic="integrity"),
        MeasurementSpec("content_differs", Unit.COUNT, "1 when the newest has other content", topic="integrity"),
        MeasurementSpec("versioning", Unit.COUNT, "Whether the storage keeps what is overwritten (1)"),
        MeasurementSpec("object_lock", Unit.COUNT, "Whether objects can be locked against removal (1)"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down or missed >= 2"),
        (Severity.CRITICAL, "lag > 48h"),
        (Severity.CRITICAL, "size_differs > 0 or content_differs > 0"),
        (Severity.WARNING, "missed >= 1"),
        (Severity.WARNING, "lag > 24h"),
    )
    example: ClassVar[str] = """\
url = "s3://wcr-backups/backups/database/production_%Y%m%d_%H%M%S.sql.gz.enc"
endpoint = "https://nyc3.storage.example.org"
region = "nyc3"
access_key = "${credential:s3_access_key}"
secret_key = "${credential:s3_secret_key}"
timezone = "America/New_York"
local = { path = "/opt/backups/app/database/production_%Y%m%d_%H%M%S.sql.gz.enc", timezone = "America/New_York" }
"""

    url: ObjectsUrl
    """Bucket and names of the objects, `s3://bucket/folder/name`, with the patterns of a backup's `path`."""
    timezone: TimeZone = ""
    """Time zone of the time in the name; this machine's, when it is not set."""
    period: Duration = 86_400.0
    """How often a copy is made."""
    grace: Duration = 21_600.0
    """How much later it may be there."""
    local: Local | None = None
    """The backups here that the objects are copies of."""
    most_read: Size = 10_000_000_000
    """A newest backup that is larger is not read to compare its MD5."""

    @property
    def target(self) -> str:
        """The URL."""
        return self.url

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """List what is there and compare it with what is here."""
        run.step = f"asking for {self.url}"
        try:
            there = await list_objects(run, self, self.url, self.timezone, run.timeout * _ASKING)
        except WorkError as error:
            said = f"{self.url} at {self.endpoint or 'Amazon S3'}: {error.summary}"
            return run.down(error.reason, said) if error.reason in _DOWN else run.unknown(error.reason, said)
        run.measure("copies", there["count"])
        run.measure_all({name: there[name] for name in ("versioning", "object_lock")})
        if not there["files"]:
            return run.down("missing", f"there is no copy {self.url}; does the upload run, and with this name?")
        key, size, uploaded, taken = there["files"][-1]
        run.measure_all({"age": run.started - taken, "size": size, "total_size": there["size"]})
        run.measure("missed", max(0, (run.started - taken - self.grace) // self.period))
        said = f"{os.path.basename(key)}, {format_duration(run.started - taken)} old, {format_value(size, Unit.BYTES)}"
        if size == 0:
            return run.down("content", f"the newest copy, {key}, is empty (0 bytes)")
        compared = await self._compare(run, self.local, there) if self.local is not None else ""
        return run.up(
            f"{said}, uploaded {format_duration(run.started - uploaded)} ago; {there['count']} copies{compared}"
        )

    async def _compare(self, run: Run, local: Local, there: Mapping[str, Any]) -> str:
        """Measure what is not there, and what is not the same; in words, for the summary."""
        try:
            here = await list_set(run, local, run.timeout * _LISTING)
        except WorkError as error:
            run.missing(("lag", "not_copied", "size_differs", "content_differs"), error.summary)
            return "; not compared with what is here"
        copies = {os.path.basename(key): size for key, size, _, _ in there["files"]}
        oldest = there["files"][0][3]
        # Copies may be kept for a shorter time than backups; what is older than all of them is not missed.
        owed = [one for one in here.files if one.taken >= oldest or one.name in copies]
        absent = [one for one in owed if one.name not in copies]
        wrong = [one.name for one in owed if copies.get(one.name, one.size) != one.size]
        run.measure("not_copied", len(absent))
        run.measure("lag", run.started - min((one.mtime for one in absent), default=run.started))
        run.measure("size_differs", len(wrong))
        for what, names in (("not copied", [one.name for one in absent]), ("of another size", wrong)):
            if names:
                run.evidence[what] = ", ".join(names[:_MOST_TOLD])
        newest = next((one for one in here.files if one.name == os.path.basename(there["files"][-1][0])), None)
        if newest is not None:
            await self._compare_content(run, newest, there["newest"])
        return f", {len(absent)} of {len(owed)} backups have none" if absent else ", all backups have one"

    async def _compare_content(self, run: Run, file: SetFile, told: Mapping[str, str]) -> None:
        """Compare digests of the newest, once for every state of it."""
        algorithm, digest = _digest_told(told)
        if not digest:
            why = "the storage tells no digest of it (uploaded in parts, without checksum)"
        elif file.size > self.most_read:
            why = f"{file.name} is larger than most_read"
        else:
            why = ""
            known = [file.path, *file.stamp, digest]
            if run.memory.get("compared", {}).get("of") != known:
                run.step = f"reading {file.path}"
                try:
                    job = {"do": "digest", "path": file.path, "algorithm": algorithm, "seconds": run.remaining * 0.9}
                    own = (await work(run, job, run.remaining * 0.95))["digest"]
                    run.memory["compared"] = {"of": known, "differs": own != digest}
                except WorkError as error:
                    why = f"{file.name}: {error.summary}"
        if why:
            run.missing(("content_differs",), why)
        else:
            run.measure("content_differs", run.memory["compared"]["differs"])


def _digest_told(told: Mapping[str, str]) -> tuple[str, str]:
    """The algorithm and digest, in hexadecimal, that the storage has of a whole object; empty when it has none."""
    sha256 = told.get("sha256", "").lower()
    if re.fullmatch(r"[0-9a-f]{64}", sha256):
        return "sha256", sha256
    try:
        if len(raw := base64.b64decode(told.get("sha256", ""), validate=True)) == _SHA256_BYTES:
            return "sha256", raw.hex()
    except binascii.Error:
        pass  # of parts, it ends in "-2"
    if found := _S3CMD_MD5.search(told.get("s3cmd-attrs", "")):
        return "md5", found[1]
    for name in ("md5", "etag"):
        if _MD5.fullmatch(told.get(name, "").lower()):
            return "md5", told[name].lower()
    return "", ""
