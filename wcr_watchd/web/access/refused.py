"""What is said to somebody who may not come in."""

from __future__ import annotations


class SignInRefusedError(Exception):
    """It was not right, or it is too soon; ``wait`` are the seconds until the next attempt."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait
