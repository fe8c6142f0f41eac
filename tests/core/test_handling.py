"""Mean times to acknowledge, to resolve and between failures."""

from __future__ import annotations

from tests.core.world import World, check, setup
from tests.store.samples import NOW, an_incident
from wcr_watchd.core.handling import Handling, handling
from wcr_watchd.core.model import Severity


def test_each_is_of_those_to_which_it_happened() -> None:
    found = [
        an_incident(1, at=NOW, acknowledged_at=NOW + 60, resolved_at=NOW + 600),
        an_incident(2, at=NOW + 3_600, acknowledged_at=NOW + 3_780),
        an_incident(3, at=NOW + 5_000, peak=Severity.WARNING, resolved_at=NOW + 5_200),
        an_incident(4, at=NOW + 10_800),
    ]
    assert handling(found) == Handling(4, acknowledge=120.0, resolve=400.0, between=5_400.0)


def test_nothing_is_no_zero() -> None:
    assert handling([]) == Handling(0, None, None, None)
    assert handling([an_incident(1)]).between is None


def test_somebody_took_it_though_it_came_back_later() -> None:
    """An acknowledgement ends when an incident gets worse or comes back; how long the first one took does not."""
    world = World(setup(check("api")))
    for _ in range(3):
        world.see("api", "down")
    world.now += 30.0
    world.acknowledge(1)
    world.see("api", "up")
    for _ in range(3):
        world.see("api", "down")
    again = world.state.incidents[1]
    assert (again.acknowledged_at, again.acknowledged_by, again.taken_by) == (None, "", "ann")
    assert handling([again]).acknowledge == 30.0
    world.acknowledge(1, "ben")
    taken = world.state.incidents[1]
    assert (taken.acknowledged_by, taken.taken_by) == ("ben", "ann")
    assert handling([taken]).acknowledge == 30.0
