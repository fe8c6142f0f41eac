"""Asking a container engine by the Docker Engine API (https://docs.docker.com/reference/api/engine/).

Podman answers it as well. Only reading requests are made, without a version in the path, so that the engine answers in
its own one. What an engine leaves out of an answer (Podman has no limit of processes, a stopped container no
statistics) is None.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import aiohttp
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_pascal
from yarl import URL

from wcr_watchd.kit.network import NameResolver, connect_problem, split_address

T = TypeVar("T")

LARGEST_ANSWER = 1024 * 1024
"""Bytes of one answer; a list of five hundred containers has that."""
_AT_ONCE = 4
"""Requests at a time; an engine works off more of them no faster."""


def _engine_address(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme == "tcp":
        split_address(parts.netloc)
    elif parts.scheme not in ("", "unix") or not parts.path.startswith("/"):
        raise ValueError(
            f"{address!r} names no engine: write /var/run/docker.sock, or tcp://host:2375 for a proxy of it"
        )
    return address


EngineAddress = Annotated[str, AfterValidator(_engine_address)]
"""Where an engine listens, as an option: the path of a socket (also unix:///path), or tcp://host:port."""


class EngineError(Exception):
    """The engine gave no usable answer. ``reason`` is a label, the text says what was asked and what came."""

    def __init__(self, reason: str, summary: str, status: int = 0) -> None:
        super().__init__(summary)
        self.reason = reason
        self.summary = summary
        self.status = status


# --- what it answers --------------------------------------------------------------------------------------------------


class _Pascal(BaseModel):
    model_config = ConfigDict(alias_generator=to_pascal, frozen=True)


class Listed(_Pascal):
    """A container in the list of all."""

    id: str
    names: tuple[str, ...] = ()
    state: str = ""

    @property
    def name(self) -> str:
        """Its own name; the others are those under which containers that are linked to it know it."""
        own = [name.lstrip("/") for name in self.names if "/" not in name.lstrip("/")]
        return own[0] if own else self.id[:12]


class HealthLog(_Pascal):
    """One run of a container's own health check."""

    exit_code: int = 0
    output: str = ""


class Health(_Pascal):
    """What a container's own health check says: ``healthy``, ``unhealthy``, ``starting`` or ``none``."""

    status: str = ""
    log: tuple[HealthLog, ...] | None = None


class State(_Pascal):
    """How a container is: ``created running paused restarting removing exited dead``, and how its last run ended."""

    status: str
    exit_code: int = 0
    oom_killed: bool = Field(False, alias="OOMKilled")
    error: str = ""
    started_at: str = ""
    finished_at: str = ""
    health: Health | None = None


class RestartPolicy(_Pascal):
    """When the engine starts it again: ``no always unless-stopped on-failure`` (empty means no)."""

    name: str = ""


class LogConfig(_Pascal):
    """Where the engine keeps what it writes: the driver, and its settings."""

    type: str = ""
    config: Mapping[str, str] | None = None

    @property
    def unbounded(self) -> bool:
        """Whether it goes into a file that grows for ever."""
        return self.type == "json-file" and "max-size" not in (self.config or {})


class HostConfig(_Pascal):
    """Its limits, 0 meaning none: bytes, billionths of processors, microseconds per period of microseconds."""

    memory: int = 0
    nano_cpus: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    restart_policy: RestartPolicy = RestartPolicy()
    log_config: LogConfig = LogConfig()

    @property
    def processors(self) -> float:
        """How many processors it may use; 0 when that is not limited."""
        if self.nano_cpus > 0:
            return self.nano_cpus / 1e9
        return self.cpu_quota / (self.cpu_period or 100_000) if self.cpu_quota > 0 else 0.0


class Container(_Pascal):
    """All about a container."""

    state: State
    image: str = ""
    restart_count: int = 0
    host_config: HostConfig = HostConfig()


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True)


class CpuUsage(_Plain):
    """Nanoseconds of processor time used since it was started."""

    total_usage: int | None = None


class CpuStats(_Plain):
    """What it uses of the processors, and how many the machine has."""

    cpu_usage: CpuUsage = CpuUsage()
    online_cpus: int | None = None


class MemoryStats(_Plain):
    """Bytes in use with the cache of files, the limit, and the parts."""

    usage: int | None = None
    limit: int | None = None
    stats: Mapping[str, int] | None = None

    @property
    def used(self) -> int | None:
        """Bytes in use without what the kernel can take back, as ``docker stats`` shows it (cgroups 1 and 2)."""
        parts = self.stats or {}
        cache = parts.get("total_inactive_file", parts.get("inactive_file", 0))
        return None if self.usage is None else self.usage - min(cache, self.usage)


class PidsStats(_Plain):
    """Processes and threads, and how many there may be (0 or the largest number: as many as it likes)."""

    current: int | None = None
    limit: int | None = None


class Stats(_Plain):
    """What a running container uses."""

    cpu_stats: CpuStats = CpuStats()
    memory_stats: MemoryStats = MemoryStats()
    pids_stats: PidsStats = PidsStats()


class Image(_Pascal):
    """An image; ``created`` is when it was built."""

    created: str = ""


class StoredImage(_Pascal):
    """What an image takes: bytes in all, those shared with other images (-1: not counted), containers made of it."""

    size: int = 0
    shared_size: int = -1
    containers: int = 0


class CacheRecord(_Pascal):
    """A piece of the cache of builds."""

    size: int = 0
    in_use: bool = False
    shared: bool = False


class Space(_Pascal):
    """What the engine's images and its cache of builds take on the disk, in bytes."""

    layers_size: int = 0
    images: tuple[StoredImage, ...] | None = None
    build_cache: tuple[CacheRecord, ...] | None = None

    @property
    def reclaimable(self) -> int:
        """What `docker image prune --all` and `docker builder prune` would free, as `docker system df` counts it."""
        used = sum(one.size - one.shared_size for one in self.images or () if one.containers and one.shared_size >= 0)
        cache = sum(one.size for one in self.build_cache or () if not one.in_use and not one.shared)
        return max(0, self.layers_size - used) + cache


class Actor(_Pascal):
    """What an event happened to."""

    id: str = Field("", alias="ID")


class EngineEvent(_Pascal):
    """Something that happened."""

    actor: Actor = Actor()


_LISTED = TypeAdapter(tuple[Listed, ...])
_CONTAINER = TypeAdapter(Container)
_STATS = TypeAdapter(Stats)
_IMAGE = TypeAdapter(Image)
_EVENT = TypeAdapter(EngineEvent)
_SPACE = TypeAdapter(Space)


def moment(text: str) -> float | None:
    """Epoch seconds of a time as the engine writes it; None for its year 1 and for the 1970 of reproducible images."""
    try:
        seconds = datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if seconds > 86_400 else None


# --- asking -----------------------------------------------------------------------------------------------------------


class Engine:
    """An open way to the engine at ``address``; see :func:`engine_at`."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self._address = address
        self._session = session
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def containers(self) -> tuple[Listed, ...]:
        """All containers, those that do not run included."""
        return await self._get(_LISTED, "/containers/json", all="true")

    async def container(self, identity: str) -> Container:
        """All about one container."""
        return await self._get(_CONTAINER, f"/containers/{identity}/json")

    async def stats(self, identity: str) -> Stats:
        """What a container uses at this moment; processor time is a sum, not a rate."""
        return await self._get(_STATS, f"/containers/{identity}/stats", **{"stream": "false", "one-shot": "true"})

    async def image(self, identity: str) -> Image:
        """About an image."""
        return await self._get(_IMAGE, f"/images/{identity}/json")

    async def space(self) -> Space:
        """What images and the cache of builds take; an engine with many of them needs some seconds to tell."""
        return await self._get(_SPACE, "/system/df")

    async def killed_for_memory(self, since: float, until: float) -> list[str]:
        """The containers, one by one, in which something was killed for lack of memory in this time (epoch seconds).

        The engine remembers its last 256 events.
        """
        wanted = json.dumps({"type": ["container"], "event": ["oom"]})
        text = await self._text("/events", since=f"{since:.6f}", until=f"{until:.6f}", filters=wanted)
        return [self._read(_EVENT, "/events", line).actor.id for line in text.splitlines() if line.strip()]

    async def _get(self, kind: TypeAdapter[T], path: str, **query: str) -> T:
        return self._read(kind, path, await self._text(path, **query))

    def _read(self, kind: TypeAdapter[T], path: str, text: bytes) -> T:
        try:
            return kind.validate_json(text)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise EngineError(
                "protocol",
                f"{self._address} does not answer {path} as a container engine does: {where}: {first['msg']}",
            ) from error

    async def _text(self, path: str, **query: str) -> bytes:
        async with self._turn:
            try:
                async with self._session.get(path, params=query, allow_redirects=False) as answer:
                    content = await _bounded(answer.content)
                    status = answer.status
            except (aiohttp.ClientError, OSError) as error:
                raise _no_answer(self._address, path, error) from error
        if len(content) > LARGEST_ANSWER:
            raise EngineError("protocol", f"{self._address} answers {path} with more than {LARGEST_ANSWER} bytes")
        if status != 200:
            raise EngineError(
                "status", f"{self._address} answers {path} with status {status}: {_message(content)}", status
            )
        return content


async def _bounded(stream: aiohttp.StreamReader) -> bytes:
    content = bytearray()
    while len(content) <= LARGEST_ANSWER and (piece := await stream.readany()):
        content += piece
    return bytes(content)


def _message(content: bytes) -> str:
    """What the engine says about an error: ``{"message": …}``."""
    try:
        said = json.loads(content)["message"]
    except (ValueError, KeyError, TypeError):
        said = content.decode(errors="replace")
    return str(said)[:200].strip() or "nothing more"


def _no_answer(address: str, path: str, error: aiohttp.ClientError | OSError) -> EngineError:
    if isinstance(error, aiohttp.ClientConnectorError):
        return _no_connection(address, error.os_error)
    said = connect_problem(error) if isinstance(error, OSError) else str(error) or "it closed the connection"
    return EngineError("protocol", f"{address} gave no answer to {path}: {said}")


def _no_connection(address: str, error: OSError) -> EngineError:
    if isinstance(error, PermissionError):
        return EngineError(
            "permission",
            f"{address} may not be used by this user: give it access to the socket (group docker, which is as good as "
            'root), or watch a read-only proxy of it, socket = "tcp://127.0.0.1:2375"',
        )
    if isinstance(error, FileNotFoundError):
        return EngineError("connect", f"there is no container engine at {address}: the socket does not exist")
    return EngineError("connect", f"no connection to the container engine at {address}: {connect_problem(error)}")


@asynccontextmanager
async def engine_at(address: str, names: NameResolver) -> AsyncIterator[Engine]:
    """An engine; every connection to it is closed at the end. Raises :class:`EngineError`."""
    parts = urlsplit(address)
    if parts.scheme == "tcp":
        base = await _base(parts.netloc, names)
        connector: aiohttp.BaseConnector = aiohttp.TCPConnector(limit=_AT_ONCE)
    else:
        base = URL("http://engine")
        connector = aiohttp.UnixConnector(parts.path, limit=_AT_ONCE)
    timeout = aiohttp.ClientTimeout(total=None)  # the run has its own deadline
    async with aiohttp.ClientSession(base, connector=connector, timeout=timeout, auto_decompress=False) as session:
        yield Engine(address, session)


async def _base(place: str, names: NameResolver) -> URL:
    host, port = split_address(place)
    try:
        found = await names.addresses(host, port)
    except socket.gaierror as error:
        raise EngineError("dns", f"{host} cannot be looked up: {connect_problem(error)}") from error
    return URL.build(scheme="http", host=found[0][4][0], port=port)
