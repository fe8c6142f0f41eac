"""A user changes the own password in the browser: the old one is asked for, others are signed out, nobody notes it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.web.access import TOKEN, access_for
from tests.web.test_users import ANN, PASSWORD, SETTINGS, USERS, Place, place
from wcr_watchd.core.errors import StoreError
from wcr_watchd.kit.passwords import hash_of

__all__ = ["place"]

NEW = "a few other words"


async def change(place: Place, cookie: str, **more: str) -> tuple[int, str, str]:
    """Ask for a change: status, what is said, and the new cookie."""
    form = {"old": PASSWORD, "new": NEW, "again": NEW, **more}
    headers = {"Cookie": cookie, "Origin": place.base}
    async with place.session.post(
        place.base + "/account/password", data=form, headers=headers, allow_redirects=False
    ) as answer:
        cookies = "".join(f"{one.key}={one.value}" for one in answer.cookies.values())
        return answer.status, await answer.text(), cookies


async def signed_in(place: Place, cookie: str) -> bool:
    return (await place.get("/account", Cookie=cookie))[0] == 200


async def test_the_new_password_holds_and_other_browsers_are_signed_out(place: Place) -> None:
    _, _, elsewhere = await place.enter("ann")
    _, _, here = await place.enter("ann")
    _, _, vic = await place.enter("vic")
    _, page = await place.get("/account", Cookie=here)
    assert 'action="/account/password"' in page
    status, _, cookie = await change(place, here)
    assert status == 303
    assert await signed_in(place, cookie)
    assert [await signed_in(place, one) for one in (elsewhere, here, vic)] == [False, False, True]
    assert (await place.enter("ann"))[0] == 403, "the old one is over"
    assert (await place.enter("ann", NEW))[0] == 303
    assert "The new password holds" in (await place.get("/account?done", Cookie=cookie))[1]


async def test_it_outlives_the_daemon_until_somebody_writes_another_one_into_the_configuration(place: Place) -> None:
    await change(place, (await place.enter("ann"))[2])
    again = access_for(SETTINGS, now=place.clock, monotonic=place.clock, records=place.records)
    await again.own_passwords.load()
    await again.sessions.load()
    assert again.own_passwords.of(ANN) == place.records.chosen["ann"].password != ANN.password
    assert len(again.sessions.theirs("ann")) == 1
    reset = replace(ANN, password=hash_of("written by an admin"))
    place.configure(replace(SETTINGS, users={**USERS, "ann": reset}))
    assert (await place.enter("ann", NEW))[0] == 403
    assert (await place.enter("ann", "written by an admin"))[0] == 303


@pytest.mark.parametrize(
    ("form", "status", "said"),
    [
        ({"old": "wrong"}, 403, "The old password is wrong. Nothing was changed."),
        ({"new": "short", "again": "short"}, 400, "has 5 characters; take 12 or more"),
        ({"again": NEW + "!"}, 400, "not typed the same way twice"),
        ({"new": PASSWORD, "again": PASSWORD}, 400, "is the old one"),
    ],
)
async def test_what_is_wrong_is_said_and_changes_nothing(
    place: Place, form: dict[str, str], status: int, said: str
) -> None:
    _, _, cookie = await place.enter("ann")
    found, page, _ = await change(place, cookie, **form)
    assert found == status
    assert said in page
    assert place.records.chosen == {}
    assert await signed_in(place, cookie)


async def test_guessing_the_old_one_is_made_to_wait(place: Place) -> None:
    _, _, cookie = await place.enter("ann")
    answers = [await change(place, cookie, old="wrong") for _ in range(6)]
    assert [status for status, _, _ in answers] == [403] * 5 + [429]
    assert "Too many attempts failed. Try again in 1 s." in answers[-1][1]
    assert (await change(place, cookie))[0] == 429, "not even the right one"
    place.clock.now += 2.0
    assert (await change(place, cookie))[0] == 303


async def test_it_is_recorded_without_what_was_typed(place: Place) -> None:
    _, _, cookie = await place.enter("ann")
    await change(place, cookie, old="guessed-wrongly")
    await change(place, cookie)
    entries = [one for one in place.records.log if one.action == "change password"]
    assert [(one.who, one.result) for one in entries] == [("ann", "refused: wrong old password"), ("ann", "done")]
    log = repr(place.records.log)
    assert not any(word in log for word in (PASSWORD, NEW, NEW.replace(" ", "+"), "guessed-wrongly", "argon2"))


async def test_who_has_no_password_has_none_to_change(place: Place) -> None:
    form = {"token": TOKEN}
    async with place.session.post(
        place.base + "/sign-in", data=form, headers={"Origin": place.base}, allow_redirects=False
    ) as answer:
        cookie = "".join(f"{one.key}={one.value}" for one in answer.cookies.values())
    assert "/account/password" not in (await place.get("/account", Cookie=cookie))[1]
    assert (await change(place, cookie))[0] == 409


async def test_one_that_cannot_be_kept_is_not_taken(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(chosen: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(place.records, "keep_own_password", full)
    _, _, cookie = await place.enter("ann")
    status, page, _ = await change(place, cookie)
    assert status == 503
    assert "so the old one holds: the disk is full" in page
    assert await signed_in(place, cookie)


async def test_another_site_changes_nobodys_password(place: Place) -> None:
    _, _, cookie = await place.enter("ann")
    form = {"old": PASSWORD, "new": NEW, "again": NEW}
    assert (await place.post("/account/password", form, Cookie=cookie, Origin="https://evil.example"))[0] == 403
    assert place.records.chosen == {}
