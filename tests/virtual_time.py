"""Loops whose time is a number: looptime's, told to jump without ado."""

from __future__ import annotations

import asyncio

import looptime

LOOKS = 2
"""How often such a loop looks for something to do before it jumps; by itself looptime looks 42 times, at each jump."""


def virtual_loop() -> asyncio.AbstractEventLoop:
    """For a test that runs a loop of its own."""
    return looptime.new_event_loop(noop_cycles=LOOKS)
