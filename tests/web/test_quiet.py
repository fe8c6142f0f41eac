"""The page of silences: it lists, adds, says what is wrong, ends, and acts for nobody's foreign page."""

from __future__ import annotations

from tests.web.showcase import NOW
from tests.web.test_web import Served
from wcr_watchd.core.matchers import parse_matchers
from wcr_watchd.core.silence import Silence

FORM = {"matchers": 'check=~"a.*"', "for": "2h", "comment": "moving"}


async def test_the_form_adds_a_silence_and_the_page_lists_it(served: Served) -> None:
    status, text = await served.get("/silences?match=check%3D%22api%22")
    assert status == 200
    assert 'value="check=&#34;api&#34;"' in text
    assert "Nothing is silenced" in text
    status, _ = await served.post("/silences", FORM)
    assert status == 303
    (added,) = served.control.state.silences.values()
    assert (added.author, added.comment, added.ends_at) == ("operator", "moving", NOW + 7_200.0)
    assert added.matchers == parse_matchers(FORM["matchers"])
    _, text = await served.get("/silences")
    assert "check=~&#34;a.*&#34;" in text
    assert f'action="/silences/{added.id}/expire"' in text


async def test_what_is_wrong_is_said_beside_the_form_which_keeps_what_was_written(served: Served) -> None:
    status, text = await served.post("/silences", FORM | {"matchers": "check~api"})
    assert status == 400
    assert "matchers, column 6: expected =, !=, =~ or !~ after check" in text
    assert 'value="check~api"' in text
    assert 'value="moving"' in text
    assert served.control.state.silences == {}


async def test_the_button_ends_it_and_another_site_s_page_does_nothing(served: Served) -> None:
    known = Silence("s1-long", parse_matchers("check=api"), NOW - 10.0, NOW + 10.0, "ann", "", NOW)
    served.control.state.silences[known.id] = known
    for path, body in (("/silences", FORM), ("/silences/s1-long/expire", None)):
        status, _ = await served.post(path, body, Origin="https://evil.example")
        assert status == 403
    assert list(served.control.state.silences.values()) == [known]
    status, _ = await served.post("/silences/s1-long/expire")
    assert status == 303
    status, text = await served.post("/silences/s1-long/expire")
    assert (status, text) == (409, "there is no silence s1-long\n")


async def test_the_dashboard_says_what_is_silenced(served: Served) -> None:
    for number, maintenance in enumerate((False, False, True)):
        wanted = Silence(
            f"s{number}", parse_matchers("check=api"), NOW - 1.0, NOW + 60.0, "ann", "disks", NOW, maintenance
        )
        served.control.state.silences[wanted.id] = wanted
    _, text = await served.get("/")
    assert "2 silences" in text
    assert "Maintenance by ann until" in text


async def test_the_api_by_the_beginning_of_an_id(served: Served) -> None:
    for name in ("abcd-1", "abcd-2"):
        served.control.state.silences[name] = Silence(
            name, parse_matchers("check=api"), NOW, NOW + 60.0, "ann", "", NOW
        )
    async with served.session.delete(f"{served.base}/api/v1/silences/abcd") as answer:
        assert answer.status == 409
        assert "is the beginning of 2 ids" in await answer.text()
    async with served.session.delete(f"{served.base}/api/v1/silences/abcd-1") as answer:
        assert answer.status == 200
    status, text = await served.get("/api/v1/silences")
    assert (status, "abcd-2" in text, "abcd-1" in text) == (200, True, False)
