"""A knowledge folder for tests."""

from __future__ import annotations

from pathlib import Path

from wcr_watchd.config.load import Loaded, load

CHECKS = """
[web]
public_url = "https://watch.example.org/"
[knowledge]
folder = "knowledge"
review_every = "90d"
[check.database]
type = "tcp"
address = "127.0.0.1:5432"
tags = ["data"]
[check.api]
type = "tcp"
address = "127.0.0.1:5001"
runbook = "https://wiki.example.org/api"
vendor = "hosting"
[check.mail]
type = "tcp"
address = "127.0.0.1:25"
"""
DATABASE = """\
+++
kind = "runbook"
tags = ["data"]
owner = "ann"
reviewed = 2026-11-01
+++
# The database does not answer

1. Is it [running](#is-it-running)?
2. Ask the [hosting](vendors/hosting.md#tickets), see [how it was](picture.png) and [the status](https://status.example.org/).

## Is it running?

Never <b onclick="x()">this</b> [or this](javascript:alert(1)).

| a | b |
|---|--:|
| 1 | 2 |
"""
HOSTING = """\
+++
kind = "vendor"
title = "Hosting, Inc."
support = "+1 555 0100, <support@hosting.example>"
hours = "all day"
account = "customer 4711"
agreement = "99.9 % a month"
reviewed = 2020-01-01
[[escalation]]
after = "4h"
contact = "the manager"
[[escalation]]
after = "1h"
contact = "second level"
+++
## Tickets

Say the customer number.
"""
RISK = """\
+++
kind = "risk"
checks = ["data*", "api"]
likelihood = "low"
impact = "high"
status = "accepted"
+++
# One disk holds all data
"""
ARTICLE = """\
+++
kind = "article"
checks = ["api"]
words = ["Too many clients"]
+++
# What ate the connections
"""


def write(folder: Path, **files: str) -> Path:
    """A configuration beside a knowledge folder with the usual files and these; returns the configuration's path."""
    known = {"database": DATABASE, "vendors/hosting": HOSTING, "disk": RISK, "connections": ARTICLE}
    for name, text in (known | files).items():
        path = folder / "knowledge" / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "watchd.toml").write_text(CHECKS)
    return folder / "watchd.toml"


def loaded(folder: Path, **files: str) -> Loaded:
    """That configuration, loaded."""
    return load(write(folder, **files))
