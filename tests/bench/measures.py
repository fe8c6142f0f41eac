"""What is measured. Every function starts what it needs, measures, ends it, and yields results."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from statistics import median

from tests.bench import charts, tools
from tests.bench.processes import eventually
from tests.bench.receiver import Receiver
from tests.bench.target import Target
from tests.bench.tools import Job, Monit, Ours, Stack
from wcr_watchd.runtime.scheduler import fraction

Kind = type[Ours | Stack | Monit]


@dataclass(frozen=True)
class Result:
    """One figure: of which measure, in which case, of which tool; all its repetitions, and the unit."""

    measure: str
    case: str
    tool: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one of the repetitions."""
        return median(self.values)


@dataclass(frozen=True)
class Plan:
    """How much is measured: loads as (checks, seconds), repetitions, and the sizes of the rest."""

    loads: tuple[tuple[int, int], ...] = ((2000, 5), (1000, 5), (200, 1))
    schemes: tuple[str, ...] = ("http", "https")
    windows: int = 5
    repeats: int = 5
    faults: int = 30
    crowd: int = 500
    many: int = 10_000
    minute: int = 60
    """Interval of the many, in seconds."""
    streams: int = 500
    watched: tuple[int, int] = (500, 30)
    """Checks and their interval in seconds, while so many streams are open."""
    kinds: tuple[Kind, ...] = (Ours, Stack, Monit)


QUICK = Plan(loads=((200, 1),), windows=2, repeats=2, faults=5, crowd=50, many=500, minute=5, watched=(500, 10))


class Bench:
    """The measures, in folders under ``folder``, to the extent of ``plan``."""

    def __init__(self, folder: Path, plan: Plan, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._plan = plan
        self._say = say
        self._made = 0

    # --- processor time, memory, bytes written ---

    def cost(self) -> Iterator[Result]:
        """What a check costs, from its schedule to the store, alerting rules included."""
        for scheme in self._plan.schemes:
            for count, every in self._plan.loads:
                case = f"{count} {scheme} checks every {every} s"
                for kind in self._plan.kinds:
                    try:
                        with self._target() as target, self._running(kind, Job(target, count, every, scheme)) as tool:
                            time.sleep(every)
                            yield from self._windows(case, tool, target, float(max(every, 3)))
                    except TimeoutError as error:  # this machine is too slow for it
                        self._say(f"{kind.name} cannot carry out {case}: {error}")

    def _windows(self, case: str, tool: tools.Tool, target: Target, seconds: float) -> Iterator[Result]:
        found: dict[tuple[str, str], list[float]] = defaultdict(list)
        for _ in range(self._plan.windows):
            before = (tools.cpu(tool), tools.written(tool), target.program.cpu(), time.monotonic())
            asked = target.requests()
            time.sleep(seconds)
            checks = target.requests() - asked
            after = (tools.cpu(tool), tools.written(tool), target.program.cpu(), time.monotonic())
            used, wrote, served, passed = (b - a for a, b in zip(before, after, strict=True))
            found["processor time per check", "ms"].append(1000 * used / checks)
            found["written to disk per check", "bytes"].append(wrote / checks)
            found["the target's own processor time per check", "ms"].append(1000 * served / checks)
            found["checks per second", "1/s"].append(checks / passed)
            found["memory (PSS)", "MiB"].append(tools.memory(tool))
        for (measure, unit), values in found.items():
            yield Result(measure, case, tool.name, unit, tuple(values))

    # --- faults ---

    def faults(self) -> Iterator[Result]:
        """From fault to accepted notification, and from repair to its end; one target after another, at random."""
        confirm, every = 2, 5
        case = f"checks every {every} s, confirmed for {confirm} s"
        for kind in self._plan.kinds:
            with self._target() as target, self._receiver() as receiver:
                job = Job(target, self._plan.faults, every, "http", confirm, receiver.url, receiver.smtp_port)
                with self._running(kind, job) as tool:
                    time.sleep(2 * every)
                    yield from self._faults(case, tool.name, job, receiver, confirm)

    def _faults(self, case: str, tool: str, job: Job, receiver: Receiver, confirm: int) -> Iterator[Result]:
        random = Random(1)
        starts = {name: random.uniform(0, 2 * job.every) for name in job.names}

        def one(name: str) -> tuple[float, float, float]:
            time.sleep(starts[name])
            failed = time.time()
            job.target.fail(name)
            told = receiver.first(name, over=False, since=failed, within=60)
            time.sleep(0.5)
            repaired = time.time()
            job.target.repair(name)
            return failed, told, receiver.first(name, over=True, since=repaired, within=60) - repaired

        with ThreadPoolExecutor(len(job.names)) as threads:
            times = dict(zip(job.names, threads.map(one, job.names), strict=True))
        seen: dict[str, float] = {}
        for at, name, status in job.target.arrivals():
            if status != 200:
                seen.setdefault(name, at)
        fault, told, repair = zip(*times.values(), strict=True)
        yield Result("fault to accepted notification", case, tool, "s", _differences(told, fault))
        first = tuple(seen[name] for name in times)
        yield Result("fault to first failing answer", case, tool, "s", _differences(first, fault))
        rest = tuple(t - f - confirm for t, f in zip(told, first, strict=True))
        yield Result("first failing answer to accepted notification, beyond confirmation", case, tool, "s", rest)
        yield Result("repair to accepted notification of the end", case, tool, "s", tuple(repair))

    def crowd(self) -> Iterator[Result]:
        """Very many targets fail at once: when does the first message come, when the last one?"""
        confirm, every = 2, 5
        case = f"{self._plan.crowd} targets fail at once, checks every {every} s, confirmed for {confirm} s"
        for kind in (Ours, Stack):
            with self._target() as target, self._receiver() as receiver:
                job = Job(target, self._plan.crowd, every, "http", confirm, receiver.url)
                with self._running(kind, job) as tool:
                    time.sleep(every)
                    failed = time.time()
                    target.fail()
                    everyone = set(job.names)
                    eventually(
                        lambda since=failed, all_=everyone: {one.target for one in receiver.since(since)} >= all_,
                        f"messages about all {len(everyone)}",
                    )
                    told = receiver.since(failed)
                    noticed = next(at for at, _, status in target.arrivals() if status != 200)
                    first = min(one.at for one in told) - noticed - confirm
                    yield Result("delay of the first message", case, tool.name, "s", (first,))
                    last = max(min(one.at for one in told if one.target == name) for name in everyone) - failed
                    yield Result("fault to the last of the messages", case, tool.name, "s", (last,))

    # --- start ---

    def start_of_few(self) -> Iterator[Result]:
        """From the start of the program until all of 100 checks have their first verdict; and their memory."""
        found: dict[str, list[float]] = defaultdict(list)
        memory: dict[str, list[float]] = defaultdict(list)
        for _ in range(self._plan.repeats):
            with self._target() as target:
                tool = Ours(self._new_folder(), Job(target, 100, 60))
                started = time.monotonic()
                try:
                    eventually(tool.is_ready, "the first verdicts")
                    found[tool.name].append(time.monotonic() - started)
                    memory[tool.name].append(tools.memory(tool))
                finally:
                    tool.stop()
        with self._target() as target, self._running(Stack, Job(target, 100, 60)) as stack:
            memory[stack.name].append(tools.memory(stack))
        for name, values in found.items():
            yield Result("start to first verdict of all", "100 checks", name, "s", tuple(values))
        for name, values in memory.items():
            yield Result("memory (PSS)", "100 checks every 60 s, after the first round", name, "MiB", tuple(values))

    # --- very many checks ---

    def many_of_ours(self) -> Iterator[Result]:
        """First round, lateness, memory, scrapes and reload with very many checks."""
        many, minute = self._plan.many, self._plan.minute
        case = f"{many} checks every {minute} s"
        with self._target(log_all=True) as target:
            job = Job(target, many, minute)
            tool = Ours(self._new_folder(), job)
            started = time.monotonic()
            try:
                eventually(tool.is_ready, "the first verdicts", within=10 * minute, every=0.2)
                yield Result("start to first verdict of all", case, tool.name, "s", (time.monotonic() - started,))
                time.sleep(minute / 2)
                since = time.time()
                time.sleep(minute)
                yield from self._lateness(case, target, minute, since)
                yield Result("memory (PSS)", case, tool.name, "MiB", (tools.memory(tool),))
                yield from self._scrapes(case, tool)
                yield from self._reloads(case, tool, job)
                yield Result("memory (PSS), after scrapes and reloads", case, tool.name, "MiB", (tools.memory(tool),))
            finally:
                tool.stop()

    def year_charts(self) -> Iterator[Result]:
        """What charts and availability cost on a year of records; in this process, with nothing beside it."""
        checks, series = 100, 8
        found = charts.measured(self._new_folder(), checks, series)
        for (measure, unit), values in found.items():
            yield Result(measure, f"{checks} checks with {series} series, a year", Ours.name, unit, tuple(values))

    def _lateness(self, case: str, target: Target, every: int, since: float) -> Iterator[Result]:
        """How much after its slot each request arrived: the slots are fixed on the machine's monotonic clock."""
        offset = time.time() - time.monotonic()
        late = []
        for at, name, _ in target.arrivals():
            if at >= since:
                passed = (at - offset - fraction(name) * every) % every
                late.append(passed if passed < every / 2 else passed - every)
        late.sort()
        self._say(f"{len(late)} arrivals")
        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
            value = late[min(len(late) - 1, int(share * len(late)))]
            yield Result(f"lateness of arrivals, {name}", case, Ours.name, "ms", (1000 * value,))

    def _scrapes(self, case: str, tool: Ours) -> Iterator[Result]:
        page = self._new_folder() / "metrics"
        url = f"http://127.0.0.1:{tool.port}/metrics"
        times, sizes, stalls, quiet = [], [], [], []
        for _ in range(self._plan.repeats):
            with _pinging(tool) as answered:
                time.sleep(1.5)
            quiet.append(1000 * max(answered))
            with _pinging(tool) as answered:
                started = time.monotonic()
                subprocess.run(["curl", "--silent", "--fail", "--output", page, url], check=True)
                times.append(time.monotonic() - started)
            stalls.append(1000 * max(answered))
            sizes.append(page.stat().st_size / 1024 / 1024)
        yield Result("/metrics, time", case, tool.name, "s", tuple(times))
        yield Result("/metrics, size", case, tool.name, "MiB", tuple(sizes))
        yield Result("longest stall of the loop during a scrape", case, tool.name, "ms", tuple(stalls))
        yield Result("longest stall of the loop in 1.5 s without one", case, tool.name, "ms", tuple(quiet))

    def _reloads(self, case: str, tool: Ours, job: Job) -> Iterator[Result]:
        times, stalls = [], []
        for number in range(self._plan.repeats):
            tool.configure(replace(job, count=job.count - 1 - number))
            with _pinging(tool) as answered:
                started = time.monotonic()
                done = _reloaded(tool) + 1
                tool.reload()
                eventually(lambda wanted=done: _reloaded(tool) >= wanted, "the reload")
                times.append(time.monotonic() - started)
            stalls.append(1000 * max(answered))
            time.sleep(1)
        yield Result("reload", case, tool.name, "s", tuple(times))
        yield Result("longest stall of the loop during a reload", case, tool.name, "ms", tuple(stalls))

    def many_of_the_stack(self) -> Iterator[Result]:
        """The stack's memory with very many targets."""
        many, minute = self._plan.many, self._plan.minute
        with self._target() as target, self._running(Stack, Job(target, many, minute)) as tool:
            time.sleep(minute / 2)
            yield Result("memory (PSS)", f"{many} checks every {minute} s", tool.name, "MiB", (tools.memory(tool),))

    # --- open event streams ---

    def streams(self) -> Iterator[Result]:
        """What open event streams cost, and how late probes are with and without them."""
        checks, every = self._plan.watched
        watched, followed = f"{checks} checks every {every} s", f"{self._plan.streams} open event streams"
        with self._target(log_all=True) as target, self._running(Ours, Job(target, checks, every)) as tool:
            assert isinstance(tool, Ours)
            time.sleep(every)
            without = yield from self._window(f"{watched}, no event stream", tool, target, every)
            with self._readers(tool):
                time.sleep(every)
                with_them = yield from self._window(f"{watched}, {followed}", tool, target, every)
        for case, cores in ((f"{watched}, no event stream", without), (f"{watched}, {followed}", with_them)):
            yield Result("processor time in all", case, tool.name, "% of a core", tuple(100 * used for used in cores))
        figures = tuple(100 * (b - a) for a, b in zip(without, with_them, strict=True))
        yield Result("processor time for streams", f"{watched}, {followed}", tool.name, "% of a core", figures)

    def _window(self, case: str, tool: Ours, target: Target, every: int) -> Generator[Result, None, tuple[float, ...]]:
        """Lateness of a few rounds; returns the cores that were used in each."""
        since, used = time.time(), []
        for _ in range(self._plan.windows):
            before, started = tools.cpu(tool), time.monotonic()
            time.sleep(every)
            used.append((tools.cpu(tool) - before) / (time.monotonic() - started))
        yield from self._lateness(case, target, every, since)
        return tuple(used)

    @contextmanager
    def _readers(self, tool: Ours) -> Iterator[None]:
        """Programs that follow along."""
        command = [sys.executable, "-m", "tests.bench.streams", str(tool.port), str(self._plan.streams)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as readers:
            assert readers.stdin is not None
            assert readers.stdout is not None
            try:
                print(tool.token, file=readers.stdin, flush=True)
                if readers.stdout.readline() != "open\n":
                    raise RuntimeError("the streams were not opened")
                yield
            finally:
                readers.terminate()
                self._say(f"on {self._plan.streams} streams there were {readers.stdout.readline().strip()}")

    # --- what they need ---

    def _new_folder(self) -> Path:
        self._made += 1
        folder = self._folder / str(self._made)
        folder.mkdir()
        return folder

    @contextmanager
    def _target(self, *, log_all: bool = False) -> Iterator[Target]:
        target = Target(self._new_folder(), log_all=log_all)
        try:
            yield target
        finally:
            target.stop()

    @contextmanager
    def _running(self, kind: Kind, job: Job) -> Iterator[Ours | Stack | Monit]:
        self._say(f"{kind.name}: {job.count} {job.scheme} checks every {job.every} s")
        tool = tools.start(kind, self._new_folder(), job)
        try:
            yield tool
        finally:
            tool.stop()

    @contextmanager
    def _receiver(self) -> Iterator[Receiver]:
        receiver = Receiver()
        try:
            yield receiver
        finally:
            receiver.stop()


def _differences(later: tuple[float, ...], earlier: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(b - a for a, b in zip(earlier, later, strict=True))


def _reloaded(tool: Ours) -> int:
    return tool.programs[0].output.read_text().count("configuration reloaded")


@contextmanager
def _pinging(tool: Ours) -> Iterator[list[float]]:
    """Ask for a tiny page all the time: the longest answer is the longest stall of the loop (seconds)."""
    answered: list[float] = []
    over = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", tool.port, timeout=60)
        while not over.is_set():
            started = time.monotonic()
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            answered.append(time.monotonic() - started)
            time.sleep(0.001)
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        eventually(lambda: answered, "the first answer")
        yield answered
    finally:
        over.set()
        thread.join()
