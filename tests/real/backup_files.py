"""Backups as the platform's jobs and other people's make them, by the real programs."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path

HOUR, DAY = 3_600.0, 86_400.0
PASSPHRASE = "a passphrase"
OPENSSL = ("-aes-256-cbc", "-pbkdf2")


def sql_dump(lines: int = 200) -> bytes:
    """A script as pg_dump writes it, of so many rows; never twice the same."""
    rows = "".join(f"{index}\t{os.urandom(24).hex()}\n" for index in range(lines))
    return (
        "--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE t (id int, v text);\nCOPY t (id, v) FROM stdin;\n"
        f"{rows}\\.\n\n--\n-- PostgreSQL database dump complete\n--\n\n"
    ).encode()


def encrypted(content: bytes, passphrase: str = PASSPHRASE) -> bytes:
    """As ``openssl enc`` encrypts."""
    words = ("openssl", "enc", *OPENSSL, "-pass", f"pass:{passphrase}")
    return subprocess.run(words, input=content, capture_output=True, check=True).stdout


def gpg(content: bytes, home: Path, passphrase: str = PASSPHRASE) -> bytes:
    """As ``gpg --symmetric`` encrypts."""
    home.mkdir(mode=0o700, exist_ok=True)
    words = (
        *("gpg", "--batch", "--homedir", str(home), "--pinentry-mode", "loopback"),
        *("--passphrase", passphrase, "--symmetric", "-o", "-"),
    )
    try:
        return subprocess.run(words, input=content, capture_output=True, check=True).stdout
    finally:
        subprocess.run(("gpgconf", "--homedir", str(home), "--kill", "gpg-agent"), check=True)


def tar(files: Mapping[str, bytes]) -> bytes:
    """A tar archive, packed by gzip."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), int(time.time() - DAY)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def put(
    folder: Path, content: bytes, age: float, name: str = "production_%Y%m%d_%H%M%S.sql.gz", took: float = 60.0
) -> Path:
    """A backup that was begun so many seconds ago, named in UTC, and took so long."""
    began = time.time() - age
    path = folder / time.strftime(name, time.gmtime(began))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (began + took, began + took))
    return path


def put_dump(folder: Path, age: float, lines: int = 200) -> Path:
    """A dump packed by gzip."""
    return put(folder, gzip.compress(sql_dump(lines)), age)


def checksum(path: Path, line: str = "{digest}  /elsewhere/{name}\n") -> Path:
    """The file of a checksum beside a backup, as the platform's job writes it: with an absolute path."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    beside = path.with_name(path.name + ".sha256")
    beside.write_text(line.format(digest=digest, name=path.name))
    return beside


def spoil(path: Path, at: float = 0.5) -> None:
    """Change one byte, and not the time, as a bad disk would."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 0xFF
    path.write_bytes(content)
    os.utime(path, (status.st_mtime, status.st_mtime))
