"""Fixtures that every test may use: the real servers."""

import asyncio
import logging
import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from tests.virtual_time import LOOKS

# A deadline per example is a timed assertion: on a busy machine it fails what is right.
settings.register_profile("watchd", deadline=None)
settings.load_profile("watchd")

# The width of whoever's terminal runs the tests (pytest-xdist hands it on) is no business of the commands under test.
os.environ.pop("COLUMNS", None)

# pytest-asyncio asks for the current event loop before its first test; where none was ever set (Python below 3.14)
# that makes one which nobody closes, and some later test would be blamed for it.
asyncio.set_event_loop(None)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command run in this process sets up logging for all of it: its neighbours would be logged in its way.

    So a web server's access log held bytes that are no UTF-8, which pytest-xdist cannot hand on, and the run broke off.
    """
    root, structured = logging.getLogger(), structlog.get_config()
    level = root.level
    yield
    root.setLevel(level)
    for handler in [each for each in root.handlers if type(each) is logging.StreamHandler]:
        root.removeHandler(handler)
    structlog.configure(**structured)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Have tests of many virtual days jump without ado."""
    if item.get_closest_marker("looptime"):
        item.add_marker(pytest.mark.looptime(noop_cycles=LOOKS))


pytest_plugins = [
    "pytester",
    "tests.daemon.harness",
    "tests.real.running",
    "tests.real.servers.alertmanager",
    "tests.real.servers.certificates",
    "tests.real.servers.dns",
    "tests.real.servers.engine",
    "tests.real.servers.imap",
    "tests.real.servers.mail",
    "tests.real.servers.nginx",
    "tests.real.servers.odd",
    "tests.real.servers.postgres",
    "tests.real.servers.prometheus",
    "tests.real.servers.redis",
    "tests.real.servers.storage",
    "tests.real.tools",
    "tests.real.servers.service_manager",
    # each builds on the one before, and pytest wants to import it itself
    "tests.real.servers.pgbouncer",
    "tests.real.servers.providers",
    "tests.real.servers.pagers",
    "tests.real.servers.chats",
    "tests.real.servers.backup_machine",
    "tests.real.servers.beats",
]
