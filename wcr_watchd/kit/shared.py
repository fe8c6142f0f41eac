"""Helpers that live as long as the daemon and are shared by all runs: one HTTP client, one pool of threads."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any, TypeVar

T = TypeVar("T")


class SharedHelpers:
    """Makes one instance of each helper class on first use and closes them all, last first, when it is closed itself.

    A helper class takes no arguments; if it has ``async def close(self)``, that is called at the end.
    """

    def __init__(self) -> None:
        self._instances: dict[type[Any], Any] = {}
        self._stack = AsyncExitStack()

    def get(self, kind: type[T]) -> T:
        """Return the one instance of ``kind``."""
        if kind not in self._instances:
            instance = kind()
            self._instances[kind] = instance
            close = getattr(instance, "close", None)
            if close is not None:
                self._stack.push_async_callback(close)
        found: T = self._instances[kind]
        return found

    async def close(self) -> None:
        """Close every helper."""
        self._instances.clear()
        await self._stack.aclose()
