"""The strip of the last day: what was not watched is not green, what was worse stays."""

from __future__ import annotations

from wcr_watchd.web.dashboard.strips import SLOT, Mark, Strips

NOW = 1_795_456_800.0
"""The beginning of a slot."""


def test_a_day_nobody_watched_says_so() -> None:
    drawn = Strips().draw("api", NOW)
    assert drawn.words == "not watched 1 d"
    assert [mark for mark, _ in drawn.paths] == ["none"]


def test_worse_stays_and_is_higher() -> None:
    strips = Strips()
    strips.note("api", NOW - 3 * SLOT, NOW, Mark.UP)
    strips.note("api", NOW - SLOT, NOW - 1, Mark.CRITICAL)
    strips.note("api", NOW - SLOT, NOW, Mark.UP)
    drawn = strips.draw("api", NOW)
    assert dict(drawn.paths) == {
        "none": "M0 16v-2h92v2z",
        "up": "M92 16v-7h2v7zM95 16v-7h1v7z",
        "critical": "M94 16v-16h1v16z",
    }
    assert drawn.words == "critical or down 15 min, up 45 min, not watched 23 h"


def test_time_moves_on_and_what_is_too_old_is_dropped() -> None:
    strips = Strips()
    strips.note("api", NOW - 10 * 86_400, NOW, Mark.UP)
    assert strips.draw("api", NOW).words == "up 1 d"
    assert strips.draw("api", NOW + 4 * SLOT).words == "up 23 h, not watched 1 h"
    strips.note("api", NOW - 86_400, NOW - 86_000, Mark.CRITICAL)
    assert strips.draw("api", NOW + 4 * SLOT).words == "up 23 h, not watched 1 h"
    assert strips.draw("api", NOW + 40 * 86_400).words == "not watched 1 d"


def test_what_is_no_longer_watched_is_forgotten() -> None:
    strips = Strips()
    strips.note("api", NOW, NOW, Mark.UP)
    strips.forget(["site"])
    assert strips.draw("api", NOW).words == "not watched 1 d"
