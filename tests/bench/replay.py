"""``python -m tests.bench.replay``: how long a replay of many days of many checks takes, on generated records.

Half of the checks are http, half tcp, once a minute; each fails for ten minutes about every tenth day. Written as the
daemon files them: raw observations by slot, rolled up by hour and day.
"""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import tempfile
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click

from wcr_watchd.store.codec import labels_text
from wcr_watchd.store.migrate import read_migrations
from wcr_watchd.store.pack import PackedRow, pack
from wcr_watchd.store.rollup import DAY, FIVE_MINUTES, HOUR, decode, encode, roll_up_day, roll_up_hour

MINUTE = 60_000
SERIES = ("response_time", "connect_time", "tls_time", "body_size", "certificate_expires")
FAILS_FOR = 10 * MINUTE

Rows = list[tuple[int, int, bytes]]
Made = tuple[Rows, Rows, Rows]
"""Slots, hour rows and day rows."""


def of_day(day: int, checks: int, failing: dict[int, int]) -> Made:
    """A day's records; ``failing`` says by check when it fails. All others differ in nothing but their number."""
    calm_slots, hours, of_days = _made(0, day, None)
    texts = [(slot, zlib.decompress(body).decode()) for slot, _, body in calm_slots]
    slots: Rows = []
    sources = [source for source in range(1, checks + 1) if source not in failing]
    for source in sources:
        slots += [(slot, source, zlib.compress(text.replace("[0,", f"[{source},").encode())) for slot, text in texts]
    made = (
        slots,
        [(at, source, body) for at, _, body in hours for source in sources],
        [(at, source, body) for at, _, body in of_days for source in sources],
    )
    for source, begin in failing.items():
        for known, own in zip(made, _made(source, day, begin), strict=True):
            known += own
    return made


def _made(source: int, day: int, broken: int | None) -> Made:
    chance = random.Random(day + source)
    slots: Rows = []
    hours = []
    for hour in range(day, day + DAY, HOUR):
        rows = [_run(source, at, broken, chance) for at in range(hour, hour + HOUR, MINUTE)]
        slots += [(hour + n * MINUTE, source, pack(rows[n : n + 15])) for n in range(0, 60, 15)]
        hours.append((hour, source, encode(roll_up_hour(hour, rows))))
    day_row = encode(roll_up_day(day, [(hour, decode(body)) for hour, _, body in hours]))
    return slots, hours, [(day, source, day_row)]


def _run(source: int, at: int, broken: int | None, chance: random.Random) -> PackedRow:
    down = broken is not None and broken <= at < broken + FAILS_FOR
    values = [] if down else [chance.uniform(0.05, 0.4), chance.uniform(0.01, 0.05), 0.03, 4711.0, 5_000_000.0]
    series = [] if down else [1, 2, 3, 4, 5]
    said = "connection refused, expected an answer" if down else "HTTP 200 in 0.2 s"
    return PackedRow(source, at, 0.2, int(down), "connect" if down else "", said, series, values, None)


@click.command()
@click.option("--days", default=30, show_default=True)
@click.option("--checks", default=500, show_default=True)
@click.option("--calm", is_flag=True, help="Nothing ever fails.")
@click.option("--looking-back", is_flag=True, help="The rule of half of the checks looks back five minutes.")
@click.option("--keep", type=click.Path(path_type=Path), help="Folder for the records, kept for the next time.")
def main(days: int, checks: int, calm: bool, looking_back: bool, keep: Path | None) -> None:
    """Generate records unless they are there, replay them, and say how long that took."""
    folder = keep or Path(tempfile.mkdtemp(prefix="watchd-replay-"))
    folder.mkdir(exist_ok=True)
    database, config = folder / f"{days}-{checks}.db", folder / f"{days}-{checks}.toml"
    if not database.exists():
        generate(database, days, checks, calm)
    config.write_text(_config(database, checks, looking_back))
    began = time.monotonic()
    command = [sys.executable, "-m", "wcr_watchd", "replay", "--since", f"{days + 2}d", "-c", str(config)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    click.echo(said.stdout.splitlines()[0])
    click.echo(f"replay of {days} days of {checks} checks a minute: {time.monotonic() - began:.1f} s")


def generate(database: Path, days: int, checks: int, calm: bool) -> None:
    first = int(time.time() * 1000) // DAY * DAY - days * DAY
    with sqlite3.connect(database) as connection:
        for migration in read_migrations():
            connection.executescript(migration.sql)
        connection.executemany(
            "INSERT INTO source VALUES (?, ?, 'local', 0)", [(n, f"c{n}") for n in range(1, checks + 1)]
        )
        rows = [(number, name, labels_text(())) for number, name in enumerate(SERIES, 1)]
        connection.executemany("INSERT INTO series VALUES (?, ?, ?, 0)", rows)
        chance = random.Random(1)
        each = [range(first + number * DAY, first + (number + 1) * DAY) for number in range(days)]
        fails = [
            {}
            if calm
            else {n: chance.randrange(day.start, day.stop) for n in range(1, checks + 1) if not chance.randrange(10)}
            for day in each
        ]
        with ProcessPoolExecutor() as pool:
            tasks = [pool.submit(of_day, day.start, checks, failing) for day, failing in zip(each, fails, strict=True)]
            for task in tasks:
                slots, hours, of_days = task.result()
                connection.executemany("INSERT INTO observation VALUES (?, ?, ?)", slots)
                for width, filed in ((FIVE_MINUTES, hours), (HOUR, of_days)):
                    connection.executemany(f"INSERT INTO rollup VALUES ({width}, ?, ?, ?)", filed)
                for made in task.result():
                    made.clear()


def _config(database: Path, checks: int, looking_back: bool) -> str:
    head = (
        f'[store]\nurl = "sqlite:///{database}"\n[channel.hook]\ntype = "webhook"\nurl = "http://127.0.0.1:9/"\n'
        '[policy.default.critical]\ntell = ["hook"]\nrepeat = "15m"\n[policy.default.warning]\ntell = ["hook"]\n'
    )
    rule = "avg(response_time, 5m) > 1s" if looking_back else "response_time > 1s for 5m"
    http = f'type = "http"\nurl = "http://127.0.0.1:9/"\nwarning = "{rule}"\n'
    tcp = 'type = "tcp"\naddress = "127.0.0.1:9"\n'
    return head + "".join(f"[check.c{n}]\n{http if n % 2 else tcp}" for n in range(1, checks + 1))


if __name__ == "__main__":
    main()
