"""How `wcr-watchd probe` lays measurements out."""

from __future__ import annotations

from typing import Any

from wcr_watchd.cli.measurements import MOST_ROWS, lines


def one(name: str, value: float, unit: str = "", **labels: str) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "labels": labels}


DISKS = [
    one("load1", 2.5),
    one("disk_used", 0.5, "ratio", mount="/"),
    one("disk_free", 2**30, "bytes", mount="/"),
    one("uptime", 60, "seconds"),
    one("disk_used", 0.25, "ratio", mount="/data"),
]


def test_what_has_the_same_labels_shares_a_table() -> None:
    assert list(lines(DISKS, 80)) == [
        "load1   2.5",
        "uptime  1 min",
        "",
        "mount  disk_used  disk_free",
        "/      50 %       1 GiB",
        "/data  25 %       -",
    ]


def test_where_there_is_no_room_for_a_table_each_has_its_line() -> None:
    assert [" ".join(line.split()) for line in lines(DISKS, 20)] == [
        "load1 2.5",
        "uptime 1 min",
        "",
        'disk_used{mount="/"} 50 %',
        'disk_free{mount="/"} 1 GiB',
        'disk_used{mount="/data"} 25 %',
    ]


def test_a_long_table_ends_and_says_so() -> None:
    many = [one("size", number, container=f"c{number}", image="x") for number in range(MOST_ROWS + 3)]
    printed = list(lines(many, 80))
    assert printed[1] == "container  image  size"
    assert printed[-2].split() == [f"c{MOST_ROWS - 1}", "x", str(MOST_ROWS - 1)]
    assert printed[-1] == "… and 3 more; --json shows all"


def test_nothing_is_nothing() -> None:
    assert list(lines([], 80)) == []
