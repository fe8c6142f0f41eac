"""Subscribers of the status page, as operators see and remove them."""

from __future__ import annotations

import json
import re

from tests.web.access import SECRETS
from tests.web.test_web import Served

PATH = "/status-posts/subscribers"


async def test_operators_see_who_subscribed_and_never_the_secret_of_their_links(served: Served) -> None:
    status, page = await served.get(PATH)
    assert (status, "3 subscribers" in page) == (200, True)
    assert page.index("Ann@example.com") < page.index("o&#39;brien+status@example.net") < page.index("zoe@example.org")
    assert "secret-of" not in page
    _, page = await served.get(PATH + "?q=EXAMPLE.ORG")
    assert ("zoe@" in page, "Ann@" in page, "3 subscribers" in page) == (True, False, True)
    assert "No address has that in it" in (await served.get(PATH + "?q=nobody"))[1]


async def test_one_is_removed_by_the_button_and_the_log_does_not_say_who(served: Served) -> None:
    _, page = await served.get(PATH + "?q=zoe")
    [action] = re.findall(r'action="(/status-posts/subscribers/[0-9a-f]{16}/remove)"', page)
    assert (await served.post(action))[0] == 303
    assert "2 subscribers" in (await served.get(PATH))[1]
    assert (await served.post(action))[0] == 409
    [first, second] = await served.access.audit.entries()
    assert (second.result, first.result.startswith("refused: there is no subscriber")) == ("done", True)
    assert "zoe" not in repr((first, second))


async def test_viewers_and_strangers_see_nobody(guarded: Served) -> None:
    viewer = {"Authorization": f"Bearer {SECRETS['viewer']}"}
    for path, stranger in ((PATH, 303), ("/api/v1/status-subscribers", 401)):
        for headers, expected in ((viewer, 403), ({}, stranger)):
            status, text = await guarded.get(path, **headers)
            assert (status, "example.org" in text) == (expected, False)


async def test_the_api_lists_in_pieces_and_removes(served: Served) -> None:
    _, text = await served.get("/api/v1/status-subscribers?limit=2")
    first = json.loads(text)
    assert ([one["address"] for one in first["subscribers"]], first["count"]) == (
        ["Ann@example.com", "o'brien+status@example.net"],
        3,
    )
    assert first["subscribers"][0].keys() == {"id", "address", "since"}
    rest = json.loads((await served.get(f"/api/v1/status-subscribers?limit=2&cursor={first['next']}"))[1])
    assert ([one["address"] for one in rest["subscribers"]], rest["next"]) == (["zoe@example.org"], None)
    url = f"{served.base}/api/v1/status-subscribers/{rest['subscribers'][0]['id']}"
    async with served.session.delete(url) as answer:
        assert answer.status == 200
        assert "zoe" not in await answer.text()
    async with served.session.delete(url) as answer:
        assert answer.status == 409


async def test_when_nobody_subscribed_the_page_says_how_one_does(served: Served) -> None:
    served.control.status_page.known = []
    _, page = await served.get(PATH)
    assert ("No subscribers" in page, "Nobody has subscribed yet" in page, "names no channel" in page) == (True,) * 3
