"""The SQL of the store, read from ``sql/*.sql``: every statement has a name, and a comment where it needs one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def read_statements() -> Mapping[str, str]:
    """Return all statements by name.

    Parameters are written ``$1 $2 …``: SQLite takes that as names, PostgreSQL as positions, so the same text can
    serve both. Raises ``ValueError`` when two statements have the same name.
    """
    statements: dict[str, str] = {}
    for file in sorted(files(__package__).joinpath("sql").iterdir(), key=lambda entry: entry.name):
        _, *parts = _NAME.split(file.read_text(encoding="utf-8"))
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            if name in statements:
                raise ValueError(f"{file.name}: statement {name!r} exists already")
            statements[name] = text.strip()
    return statements


STATEMENTS = read_statements()
