"""The web application with the people of :mod:`tests.web.access`, as its tests are given it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.web.access import access_for
from tests.web.test_web import Served, serve


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """For whoever is signed in."""
    async for one in serve(access_for(), signed_in=True):
        yield one


@pytest.fixture
async def guarded() -> AsyncIterator[Served]:
    """For whoever comes without a credential."""
    async for one in serve(access_for()):
        yield one
