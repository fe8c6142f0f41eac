"""Reads a backup to its end and says whether it is whole: digest, decryption, compression, what is inside.

Everything here blocks, for as long as the file is long: it runs in a process of its own
(:mod:`wcr_watchd.kit.backups.worker`). Formats are told by their first bytes: gzip (RFC 1952), zstd (RFC 8878), xz,
bzip2, lz4, zip, tar (POSIX ustar), PostgreSQL's custom dump (``PGDMP``), OpenSSL's enc (``Salted__``), age, OpenPGP
(RFC 4880).
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import os
import shutil
import subprocess
import tarfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any

CHUNK = 256 * 1024
PASSPHRASE = "WATCHD_PASSPHRASE"
"""The environment variable by which a passphrase comes, and goes on to openssl."""
MOST_ERRORS = 64 * 1024
"""Bytes that are kept of what a program complains of."""
MOST_LINKS = 40
"""Links that are followed to what a path leads to, as by the kernel (path_resolution(7))."""
_TAIL = 4096
_SQL_BEGINS = b"--\n-- PostgreSQL database "
"""How pg_dump and pg_dumpall begin a script; both end one with a line that says ``dump complete``."""
_MAGIC = (
    (b"Salted__", "openssl"), (b"age-encryption.org/", "age"), (b"-----BEGIN PGP MESSAGE", "gpg"),
    (b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\x00", "xz"), (b"BZh", "bzip2"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"PK\x03\x04", "zip"), (b"PGDMP", "pgdump"), (_SQL_BEGINS, "sql"),
)  # fmt: skip
_TAR_AT = 257
ENCRYPTIONS = frozenset({"openssl", "age", "gpg"})
COMPRESSIONS = frozenset({"gzip", "zstd", "xz", "bzip2", "lz4", "zip", "pgdump"})
"""A custom dump of PostgreSQL is compressed unless told otherwise."""


Each = Callable[[tarfile.TarInfo, IO[bytes] | None], None]


class OutOfTimeError(Exception):
    """The time for reading is over."""


class DamagedError(Exception):
    """The backup is not whole; the text says how that was seen."""


class CannotTellError(Exception):
    """Reading on needs what is not there: a program, a key."""


class Source(io.RawIOBase):
    """A file read at most so fast (bytes a second), to its digest, until a deadline (monotonic seconds)."""

    def __init__(self, path: str, algorithm: str, rate: float, deadline: float) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._digest = hashlib.new(algorithm, usedforsecurity=False) if algorithm else None
        self._rate, self._deadline, self._begun = rate, deadline, time.monotonic()
        self.amount = 0
        # What lies in memory says nothing of the disk; and what is read for a check need not stay there.
        self._forget()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next piece, when it is time for it; raises :class:`OutOfTimeError`."""
        if time.monotonic() > self._deadline:
            raise OutOfTimeError
        chunk = os.read(self._file, min(len(buffer), CHUNK))
        buffer[: len(chunk)] = chunk
        self.amount += len(chunk)
        if self._digest is not None:
            self._digest.update(chunk)
        ahead = self.amount / self._rate - (time.monotonic() - self._begun)
        if ahead > 0:
            time.sleep(min(ahead, max(0.0, self._deadline - time.monotonic()) + 0.01))
        return len(chunk)

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._forget()
            os.close(self._file)
        super().close()

    def status(self) -> os.stat_result:
        """The file's status now."""
        return os.fstat(self._file)

    def finish(self) -> str:
        """Read what is left; the digest of all (empty: none was asked for)."""
        drain(self)
        return self._digest.hexdigest() if self._digest is not None else ""

    def _forget(self) -> None:
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)


def drain(stream: Any) -> bytes:
    """Read to the end; the last bytes of it."""
    tail = b""
    while chunk := stream.read(CHUNK):
        tail = (tail + chunk)[-_TAIL:]
    return tail


class Filter(io.RawIOBase):
    """What a program makes of a stream. At its end :class:`DamagedError` when the program says that it failed."""

    def __init__(
        self,
        source: Any,
        words: Sequence[str],
        *,
        handed: int | None = None,
        environment: Mapping[str, str] | None = None,
        blame: str = "",
        **options: Any,
    ) -> None:
        self._source, self._words, self._blame = source, words, blame
        self._failure: BaseException | None = None
        self.errors = b""
        try:
            self._child = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **(environment or {})},
                pass_fds=() if handed is None else (handed,),
                **options,
            )
        except OSError as error:
            raise CannotTellError(f"{words[0]} cannot be run ({error.strerror}); install it") from error
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._feed, self._listen)]
        for thread in self._threads:
            thread.start()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what the program has written; raises what the source raised, and :class:`DamagedError`."""
        assert self._child.stdout is not None
        chunk = os.read(self._child.stdout.fileno(), len(buffer))
        buffer[: len(chunk)] = chunk
        if not chunk:
            self._ended()
        return len(chunk)

    def close(self) -> None:
        """End the program, if it has not ended."""
        if not self.closed:
            self._child.kill()
            self._child.wait()
            for thread in self._threads:
                thread.join()
            for pipe in (self._child.stdout, self._child.stderr):
                if pipe is not None:
                    pipe.close()
        super().close()

    def _feed(self) -> None:
        stdin = self._child.stdin
        assert stdin is not None
        try:
            while chunk := self._source.read(CHUNK):
                stdin.write(chunk)
        except BrokenPipeError:
            pass  # it has ended, and its status says why
        except BaseException as error:  # noqa: BLE001 - handed to the thread that reads
            self._failure = error
        finally:
            with contextlib.suppress(OSError):
                stdin.close()

    def _listen(self) -> None:
        assert self._child.stderr is not None
        with contextlib.suppress(OSError, ValueError):
            while chunk := os.read(self._child.stderr.fileno(), CHUNK):
                self.errors = (self.errors + chunk)[:MOST_ERRORS]

    def _ended(self) -> None:
        status = self._child.wait()
        for thread in self._threads:
            thread.join()
        if self._failure is not None:
            raise self._failure
        if status:
            said = " ".join(self.errors.decode(errors="replace").split())[-200:]
            raise DamagedError(f"{self._blame or self._words[0]} failed with status {status}: {said}")


@dataclass(frozen=True, slots=True)
class Keys:
    """What opens encrypted backups: a passphrase in the environment, openssl's options, a folder of GnuPG keys."""

    passphrase: bool = False
    openssl: tuple[str, ...] = ()
    gnupg_home: str = ""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Keys:
        """As they stand in a job."""
        return cls(given["passphrase"], tuple(given["openssl"]), given["gnupg_home"])


@dataclass(slots=True)
class Content:
    """What was found in a backup, layer by layer from outside: ``["openssl", "gzip", "sql"]``."""

    stream: Any
    """The innermost stream that was reached, at its beginning; to begin with the file's own."""
    layers: list[str] = field(default_factory=list)
    files: int | None = None
    """Entries of the archive; None when it is none."""
    absent: list[str] = field(default_factory=list)
    """Required paths that it does not hold."""


@contextlib.contextmanager
def opened(content: Content, path: str, keys: Keys) -> Iterator[None]:
    """Open the content's encryption and compression; raises :class:`CannotTellError` when a layer cannot be opened."""
    with contextlib.ExitStack() as stack:
        while True:
            kind = kind_of(content.stream.peek(512)[:512])
            if not kind and not content.layers and path.endswith((".gpg", ".pgp")):
                kind = "gpg"
            if kind:
                content.layers.append(kind)
            if kind not in _OPENERS or len(content.layers) > 6:
                break
            inner = stack.enter_context(contextlib.closing(_OPENERS[kind](content.stream, keys)))
            content.stream = io.BufferedReader(inner, CHUNK)
        yield


def kind_of(head: bytes) -> str:
    """The format that begins like this; empty when it is none that is known."""
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        return "tar"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), "")


def _openssl(stream: Any, keys: Keys) -> Any:
    if not keys.passphrase:
        raise CannotTellError("it is encrypted by openssl and no passphrase is given (decrypt.passphrase)")
    words = ("openssl", "enc", "-d", *keys.openssl, "-pass", f"env:{PASSPHRASE}")
    return Filter(stream, words, blame="decrypting (wrong passphrase or options, or damaged)")


def _gpg(stream: Any, keys: Keys) -> Any:
    if not keys.passphrase and not keys.gnupg_home:
        raise CannotTellError("it is encrypted by GnuPG and no key is given (decrypt.passphrase or decrypt.gnupg_home)")
    words = ["gpg", "--batch", "--quiet", "--no-tty", "--homedir", keys.gnupg_home]
    if not keys.passphrase:
        return Filter(stream, (*words, "--decrypt"), blame="decrypting by gpg")
    read_end, write_end = os.pipe()
    try:
        os.write(write_end, os.environ[PASSPHRASE].encode() + b"\n")
        os.close(write_end)
        words += ["--pinentry-mode", "loopback", "--passphrase-fd", str(read_end), "--decrypt"]
        return Filter(stream, words, handed=read_end, blame="decrypting by gpg")
    finally:
        os.close(read_end)


def _gunzip(stream: Any) -> Any:
    return gzip.GzipFile(fileobj=stream, mode="rb")


_OPENERS: dict[str, Callable[[Any, Keys], Any]] = {
    "openssl": _openssl,
    "gpg": _gpg,
    "gzip": lambda stream, keys: _gunzip(stream),
    "xz": lambda stream, keys: lzma.LZMAFile(stream),  # noqa: SIM115 - closed by who opened it
    "bzip2": lambda stream, keys: bz2.BZ2File(stream),
    "zstd": lambda stream, keys: Filter(stream, ("zstd", "-dcq"), blame="unpacking by zstd"),
    "lz4": lambda stream, keys: Filter(stream, ("lz4", "-dcq"), blame="unpacking by lz4"),
}


def look_through(content: Content, path: str, required: Sequence[str], each: Each | None = None) -> None:
    """Read the content to its end and note what is in it; raises :class:`DamagedError` when it ends too early.

    ``each`` is called with every member of a tar archive and its opened file (None for what is none).
    """
    kind = content.layers[-1] if content.layers else ""
    if kind == "tar":
        _look_through_tar(content, required, each)
    elif kind == "zip" and len(content.layers) == 1:
        _look_through_zip(content, path, required)
    elif kind == "pgdump":
        words = (pg_program("pg_restore"), "-f", "-")
        with contextlib.closing(Filter(content.stream, words, blame="reading the dump by pg_restore")) as script:
            drain(script)
    elif kind == "age":
        raise CannotTellError("it is encrypted by age, which is not opened here")
    elif b"dump complete" not in drain(content.stream) and kind == "sql":
        raise DamagedError("the dump is cut short: its last line, 'PostgreSQL database dump complete', is missing")
    if required and content.files is None:
        raise CannotTellError("it is no tar or zip archive, so that required paths cannot be looked for")


def _look_through_tar(content: Content, required: Sequence[str], each: Each | None) -> None:
    missing, names = set(required), set[int]()
    found_as: dict[str, list[str]] = {}
    links: dict[int, str] = {}
    content.files = 0
    with tarfile.open(fileobj=content.stream, mode="r|") as archive:
        for member in archive:
            content.files += 1
            name = _plain(member.name)
            if required:
                names.add(hash(name))  # of a whole machine the names themselves would be too many
                if member.issym():
                    links[hash(name)] = _target(member)
            found = {one for one in missing if _stands_for(one, name)}
            if member.issym():
                for one in found:
                    found_as.setdefault(one, []).append(name)
            else:
                missing -= found
            if each is not None:
                each(member, archive.extractfile(member) if member.isreg() else None)
            vars(archive)["members"].clear()  # it would keep them all
    drain(content.stream)
    content.absent = sorted(
        one for one in missing if not any(_is_there(name, names, links) for name in found_as.get(one, ()))
    )


def _look_through_zip(content: Content, path: str, required: Sequence[str]) -> None:
    with zipfile.ZipFile(path) as archive:
        if bad := archive.testzip():
            raise DamagedError(f"the checksum of {bad} in it is wrong")
        names = archive.namelist()
    content.files = len(names)
    content.absent = [one for one in required if not any(_stands_for(one, name) for name in names)]


def _plain(name: str) -> str:
    return name.removeprefix("./").strip("/")


def _target(link: tarfile.TarInfo) -> str:
    """What a link leads to, by its name in the archive."""
    return os.path.normpath(os.path.join("/", os.path.dirname(_plain(link.name)), link.linkname)).strip("/")


def _is_there(path: str, names: Container[int], links: Mapping[int, str]) -> bool:
    """Whether what a path leads to is in the archive, by links of it on the way, too; a link alone is no backup."""
    for _ in range(MOST_LINKS):
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            target = links.get(hash("/".join(parts[:count])))
            if target is not None:
                path = os.path.normpath(os.path.join("/", target, *parts[count:])).strip("/")
                break
        else:
            return hash(path) in names
    return False


def _stands_for(required: str, name: str) -> bool:
    """Whether an entry of an archive is the required path, is under it, or is what the shell's pattern means."""
    name, required = _plain(name), required.strip("/")
    return name == required or name.startswith(required + "/") or fnmatchcase(name, required)


def pg_program(name: str) -> str:
    """Where one of PostgreSQL's programs is: the newest of Debian's, which are not in PATH, or that in PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: _version(path.parts[-3]))
    return str(found[-1]) if found else shutil.which(name) or name


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


BROKEN = (
    EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, DamagedError,
)  # fmt: skip
"""What says that a backup is damaged. ``bz2`` raises a plain ``OSError`` without a number for it."""


def fault_in_words(error: Exception) -> str:
    """What is wrong with a backup, for people."""
    if isinstance(error, DamagedError):
        return str(error)
    if isinstance(error, EOFError):
        return "it is cut short: the packed data has no end"
    return f"its data is damaged ({error or type(error).__name__})"


def is_broken(error: Exception) -> bool:
    """Whether an error means damage, and not that the disk cannot be read."""
    return isinstance(error, BROKEN) or (isinstance(error, OSError) and error.errno is None)
