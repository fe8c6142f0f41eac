"""A few seconds of fuzzing for every target, by hypothesis; ``make fuzz`` goes on for as long as one likes."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.run import RATE
from tests.fuzz.targets import NAMES, PLAIN, WORDS, served

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
SETTINGS: Any = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}


def made_of(name: str) -> st.SearchStrategy[bytes]:
    """Inputs of a target: its words in any order, with noise between them."""
    return st.lists(st.sampled_from(WORDS[name]) | st.binary(max_size=8), max_size=25).map(b"".join)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.timeout(0 if EXAMPLES else 120)
def test_plain(name: str) -> None:
    @settings(max_examples=EXAMPLES or 250, **SETTINGS)
    @given(made_of(name))
    def no_harm(data: bytes) -> None:
        PLAIN[name](data)

    no_harm()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PLAIN])
@pytest.mark.timeout(0 if EXAMPLES else 120)
def test_served(name: str) -> None:
    target = served(name)
    with asyncio.Runner() as loop:

        @settings(max_examples=EXAMPLES or 200, **SETTINGS)
        @given(made_of(name))
        def no_harm(data: bytes) -> None:
            loop.run(target(data))

        no_harm()
        loop.run(target.close())


def test_make_fuzz_knows_every_target() -> None:
    assert set(RATE) == set(NAMES)
