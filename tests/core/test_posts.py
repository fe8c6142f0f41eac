"""Posts: what people write, and what follows outages by itself."""

from __future__ import annotations

import pytest

from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.posts import (
    Impact,
    Post,
    PostState,
    Settings,
    Trouble,
    follow,
    published,
    said,
    without_drafts,
    written,
)

NOW = 1_795_456_800.0
DRAFT, PUBLISH = Settings(False, 120, 300), Settings(True, 120, 300)


def outage(name: str = "Website", since: float = NOW - 200) -> Trouble:
    return Trouble(name, since, Impact.CRITICAL)


def test_an_outage_is_drafted_once_it_has_lasted() -> None:
    assert follow((), {"site": outage(since=NOW - 119)}, {}, DRAFT, NOW) == ()
    (post,) = follow((), {"site": outage()}, {}, DRAFT, NOW)
    assert (post.title, post.components, post.state) == ("Website is unavailable", ("site",), PostState.INVESTIGATING)
    assert post.automatic
    assert not post.published
    assert follow((post,), {"site": outage()}, {}, DRAFT, NOW + 60) == ()


def test_what_fails_soon_after_joins_and_later_begins_anew() -> None:
    (first,) = follow((), {"site": outage()}, {}, PUBLISH, NOW)
    both = {"site": outage(), "api": outage("API")}
    (joined,) = follow((first,), both, {}, PUBLISH, NOW + 60)
    assert (joined.id, joined.components, len(joined.updates)) == (first.id, ("site", "api"), 2)
    assert joined.published
    (other,) = follow((first,), both, {}, PUBLISH, NOW + 901)
    assert other.id != first.id


def test_what_fails_together_is_told_in_one_post() -> None:
    (post,) = follow((), {"site": outage(), "api": outage("API"), "x": outage(since=NOW)}, {}, PUBLISH, NOW)
    assert (post.title, post.components) == ("Website and API are unavailable", ("site", "api"))
    assert len(post.updates) == 1


def test_it_is_resolved_when_all_has_been_well_for_a_while() -> None:
    (post,) = follow((), {"site": outage()}, {}, PUBLISH, NOW)
    assert follow((post,), {}, {"site": NOW + 100}, PUBLISH, NOW + 399) == ()
    assert follow((post,), {}, {"site": None}, PUBLISH, NOW + 9_999) == ()
    (over,) = follow((post,), {}, {"site": NOW + 100}, PUBLISH, NOW + 400)
    assert over.resolved_at == NOW + 400
    assert follow((over,), {}, {"site": NOW + 100}, PUBLISH, NOW + 500) == ()


def test_a_post_that_somebody_took_over_is_theirs_to_resolve() -> None:
    post = said(written("Slow", ("site",), Impact.MINOR, NOW), PostState.IDENTIFIED, "x", NOW, "ann", publish=True)
    assert follow((post,), {}, {"site": NOW - 9_999}, PUBLISH, NOW) == ()


def test_drafts_are_published_together_and_discarded_alone() -> None:
    post = said(written("Slow", (), Impact.MINOR, NOW), PostState.INVESTIGATING, "a", NOW, "ann", publish=True)
    post = said(post, PostState.IDENTIFIED, "b", NOW + 5, "ann", publish=False)
    assert [one.text for one in post.public().updates] == ["a"]
    left = without_drafts(post)
    assert left is not None
    assert [one.text for one in left.updates] == ["a"]
    whole = published(post, NOW + 60, "ben")
    assert [one.at for one in whole.updates] == [NOW, NOW + 60]
    assert not whole.drafts
    with pytest.raises(CommandError, match="nothing to publish"):
        published(whole, NOW, "ben")


def test_who_wrote_it_is_not_public() -> None:
    post = said(written("Slow", (), Impact.MINOR, NOW), PostState.INVESTIGATING, "a", NOW, "ann", publish=True)
    assert "'ann'" not in str(post.public())


@pytest.mark.parametrize("title", ["", "  ", "x" * 201])
def test_a_title_has_a_length(title: str) -> None:
    with pytest.raises(CommandError, match="title"):
        written(title, (), Impact.NONE, NOW)


def test_an_update_has_a_text_and_its_own_time() -> None:
    post: Post = written("Slow", (), Impact.NONE, NOW)
    with pytest.raises(CommandError, match="text"):
        said(post, PostState.RESOLVED, " \n ", NOW, "ann", publish=True)
    post = said(post, PostState.IDENTIFIED, "a", NOW, "ann", publish=True)
    post = said(post, PostState.RESOLVED, "b", NOW - 50, "ann", publish=True)
    assert post.updates[1].at > post.updates[0].at
