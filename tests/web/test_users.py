"""Users with passwords, tokens with scopes, roles, throttling, and what of it is in the audit log and the store."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from tests.web.access import SECRETS, TOKEN, MemoryRecords, access_for, api_token
from tests.web.test_sign_in import Clock
from tests.web.test_web import Served, serve
from wcr_watchd.core.access import ALERTS, METRICS, AccessSettings, Role, Session, User
from wcr_watchd.core.errors import StoreError
from wcr_watchd.core.view import Touched
from wcr_watchd.kit import passwords
from wcr_watchd.kit.passwords import fault_of, hash_of, matches
from wcr_watchd.web.access.peer import user_name
from wcr_watchd.web.access.sessions import LONGEST_SECONDS, NOTE_EVERY
from wcr_watchd.web.access.sign_in import MOST_FAILURES_RECORDED
from wcr_watchd.web.access.throttle import MOST_KEYS, Throttle

PASSWORD = "correct horse battery"
HASH = hash_of(PASSWORD)
ANN = User("ann", HASH, Role.OPERATOR, "ann")
USERS = {"ann": ANN, "vic": User("vic", HASH, Role.VIEWER), "root": User("root", HASH, Role.ADMIN)}
SETTINGS = AccessSettings(users=USERS, tokens=(api_token("robot", TOKEN, Role.OPERATOR),))


class Place(Served):
    """A served application whose configuration the test changes."""

    records: MemoryRecords
    clock: Clock

    def configure(self, settings: AccessSettings) -> None:
        self.access._settings = lambda: settings

    async def enter(self, name: str, password: str = PASSWORD, source: str = "", **more: str) -> tuple[int, str, str]:
        """Sign in: status, page, and the cookie."""
        form = {"name": name, "password": password, **more}
        async with self.session.post(
            self.base + "/sign-in", data=form, headers={"Origin": self.base}, allow_redirects=False
        ) as answer:
            cookies = [f"{one.key}={one.value}" for one in answer.cookies.values()]
            return answer.status, await answer.text(), "".join(cookies)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    clock, records = Clock(), MemoryRecords()
    async for one in serve(access_for(SETTINGS, now=clock, monotonic=clock, records=records)):
        found = Place(one.app, one.control, one.access, one.base, one.session)
        found.records, found.clock = records, clock
        yield found


# --- passwords --------------------------------------------------------------------------------------------------------


def test_a_hash_is_of_its_password_alone_and_never_twice_the_same() -> None:
    assert matches(HASH, PASSWORD)
    assert not matches(HASH, PASSWORD + " ")
    assert hash_of(PASSWORD) != HASH
    assert HASH.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_nobody_costs_as_much_as_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Hasher:
        def verify(self, known: str, password: str) -> bool:
            asked.append(known)
            return True

        def hash(self, password: str) -> str:
            return HASH

    monkeypatch.setattr(passwords, "_HASHER", Hasher())
    assert not matches("", PASSWORD)
    assert matches(HASH, PASSWORD)
    assert [known.split("$")[1:4] for known in asked] == [HASH.split("$")[1:4]] * 2


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (HASH, ""),
        ("hunter2", "is not an Argon2 hash"),
        ("$2b$12$abcdefghijklmnopqrstuv", "is not an Argon2 hash"),
        (HASH.replace("m=19456", "m=9999999"), "costs too much"),
        (HASH.replace("t=2", "t=99"), "costs too much"),
    ],
    ids=["good", "plain", "bcrypt", "much memory", "much time"],  # a hash has a salt: another name in each process
)
def test_what_a_hash_must_be(known: str, said: str) -> None:
    assert said in fault_of(known)
    assert bool(fault_of(known)) == bool(said)


# --- signing in -------------------------------------------------------------------------------------------------------


async def test_a_user_signs_in_with_a_password_and_acts_under_this_name(place: Place) -> None:
    status, _, cookie = await place.enter("ann")
    assert status == 303
    assert (await place.post("/incidents/42/acknowledge", Cookie=cookie, Origin=place.base))[0] == 303
    assert place.control.acknowledged == [(42, "ann")]


@pytest.mark.parametrize(("name", "password"), [("ann", "wrong"), ("nobody", PASSWORD), ("", ""), ("ANN", PASSWORD)])
async def test_wrong_names_and_wrong_passwords_look_the_same(place: Place, name: str, password: str) -> None:
    status, text, cookie = await place.enter(name, password)
    assert (status, "The name or the password is wrong." in text, cookie) == (403, True, "")


async def test_a_session_follows_the_configuration(place: Place) -> None:
    _, _, cookie = await place.enter("ann")
    place.configure(replace(SETTINGS, users={"ann": replace(ANN, role=Role.VIEWER)}))
    assert (await place.get("/", Cookie=cookie))[0] == 200
    assert (await place.post("/incidents/42/acknowledge", Cookie=cookie, Origin=place.base))[0] == 403
    place.configure(replace(SETTINGS, users={"ann": replace(ANN, password=hash_of("another password"))}))
    assert (await place.get("/", Cookie=cookie))[0] == 303, "a changed password ends what it began"
    place.configure(SETTINGS)
    assert (await place.get("/", Cookie=cookie))[0] == 200
    place.configure(replace(SETTINGS, users={}))
    assert (await place.get("/", Cookie=cookie))[0] == 303


async def test_a_session_by_a_token_ends_with_the_token(place: Place) -> None:
    status, _, cookie = await place.enter("", "", token=TOKEN)
    assert status == 303
    assert (await place.get("/", Cookie=cookie))[0] == 200
    place.configure(replace(SETTINGS, tokens=()))
    assert (await place.get("/", Cookie=cookie))[0] == 303


async def test_signing_out_everywhere_ends_all_of_ones_own_sessions(place: Place) -> None:
    cookies = [(await place.enter(name))[2] for name in ("ann", "ann", "vic")]
    text = (await place.get("/account", Cookie=cookies[0]))[1]
    assert text.count(">password</td>") == 2
    await place.post("/sign-out", {"everywhere": "1"}, Cookie=cookies[0], Origin=place.base)
    assert [(await place.get("/", Cookie=cookie))[0] for cookie in cookies] == [303, 303, 200]


async def test_the_page_of_ones_own_says_whether_one_is_on_call(place: Place) -> None:
    for contact, said in (("lead", "on call now in"), ("ann", "the contact <strong>ann</strong>."), ("", "")):
        place.configure(replace(SETTINGS, users={"ann": replace(ANN, contact=contact)}))
        text = (await place.get("/account", Cookie=(await place.enter("ann"))[2]))[1]
        assert said in text
        assert ("You are the contact" in text) == bool(contact)


async def test_a_stream_ends_with_its_session(place: Place) -> None:
    cookie = (await place.enter("ann"))[2]
    async with (
        asyncio.timeout(20),
        place.session.get(place.base + "/api/v1/events", headers={"Cookie": cookie}) as stream,
    ):
        await stream.content.readline()
        await place.post("/sign-out", Cookie=cookie, Origin=place.base)
        while not stream.content.at_eof():
            place.control.happen(Touched(check="api"))
            assert b'"name"' not in await stream.content.readline(), "nothing is told any more"


async def test_a_person_acts_under_no_other_name_but_a_program_may(place: Place) -> None:
    own = {"Cookie": (await place.enter("ann"))[2], "Origin": place.base}
    await place.post("/api/v1/incidents/42/acknowledge", {"by": "ben"}, **own)
    await place.post("/api/v1/incidents/42/acknowledge", {"by": "ben"}, Authorization=f"Bearer {TOKEN}")
    assert place.control.acknowledged == [(42, "ann"), (42, "ben")]


# --- roles and tokens -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reads", "acts", "administers"),
    [("vic", 200, 403, 403), ("ann", 200, 200, 403), ("root", 200, 200, 200)],
)
async def test_what_a_role_may(place: Place, name: str, reads: int, acts: int, administers: int) -> None:
    own = {"Cookie": (await place.enter(name))[2], "Origin": place.base}
    assert (await place.get("/api/v1/status", **own))[0] == reads
    assert (await place.post("/api/v1/incidents/42/acknowledge", {}, **own))[0] == acts
    assert (await place.post("/api/v1/reload", {}, **own))[0] == administers
    assert (await place.get("/audit", **own))[0] == administers
    assert (await place.get("/api/v1/audit", **own))[0] == administers


async def test_a_token_opens_what_it_is_for_until_it_expires(place: Place) -> None:
    tokens = (
        api_token("reader", SECRETS["viewer"], Role.VIEWER, expires_at=place.clock.now + 60.0),
        api_token("scraper", SECRETS["metrics"], Role.NONE, METRICS),
        api_token("prometheus", SECRETS["alerts"], Role.NONE, ALERTS),
    )
    place.configure(AccessSettings(tokens=tokens))

    async def asked(secret: str, path: str) -> int:
        proxied = {"X_Forwarded_For": "192.0.2.1", "Authorization": f"Bearer {SECRETS[secret]}"}
        return (await place.get(path, **proxied))[0]

    assert await asked("viewer", "/api/v1/status") == 200
    assert await asked("viewer", "/metrics") == 200
    assert await asked("metrics", "/metrics") == 200
    assert await asked("metrics", "/api/v1/status") == 403
    assert await asked("alerts", "/api/v2/alerts") in {200, 404}
    assert await asked("alerts", "/metrics") == 403
    assert await asked("alerts", "/api/v1/incidents") == 403
    place.clock.now += 60.0
    assert await asked("viewer", "/api/v1/status") == 401


# --- throttling -------------------------------------------------------------------------------------------------------


def test_failures_make_the_next_attempt_wait_ever_longer_but_never_for_ever() -> None:
    clock = Clock()
    throttle = Throttle(clock, free=3, longest=10.0)
    waits = []
    for _ in range(9):
        waits.append(throttle.wait("ann"))
        clock.now += waits[-1]
        throttle.fail("ann")
    assert waits == [0.0, 0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert throttle.wait("ben") == 0.0
    throttle.forget("ann")
    assert throttle.wait("ann") == 0.0


def test_failures_are_forgotten_and_their_number_is_bounded() -> None:
    clock = Clock()
    throttle = Throttle(clock, free=0, longest=10.0)
    for number in range(MOST_KEYS + 1):
        throttle.fail(str(number))
    assert (throttle.wait("0"), throttle.wait("1")) == (0.0, 2.0)
    clock.now += 3_600.0
    throttle.fail("1")
    assert throttle.wait("1") == 2.0


async def test_guessing_passwords_is_slowed_down(place: Place) -> None:
    for _ in range(5):
        assert (await place.enter("ann", "wrong"))[0] == 403
    status, text, _ = await place.enter("ann", PASSWORD)
    assert (status, "Try again in 1 s." in text) == (429, True)
    place.clock.now += 1.0
    assert (await place.enter("ann", PASSWORD))[0] == 303
    assert (await place.enter("ann", "wrong"))[0] == 403, "what went well begins anew"


async def test_many_at_once_are_as_many(place: Place) -> None:
    found = await asyncio.gather(*(place.enter("ann", f"guess {number}") for number in range(30)))
    assert sorted({status for status, *_ in found}) == [403, 429]
    assert sum(status == 403 for status, *_ in found) == 5


async def test_nobody_can_lock_another_out(place: Place) -> None:
    """Neither where the user has signed in before, nor elsewhere for longer than half a minute."""
    throttle = place.access.sign_in.by_account
    for _ in range(50):
        throttle.fail("ann")
        throttle.fail("vic")
    assert throttle.wait("ann") == 30.0
    assert (await place.enter("ann"))[0] == 429
    place.clock.now += 30.0
    assert (await place.enter("ann"))[0] == 303
    for _ in range(50):
        throttle.fail("ann")
    assert (await place.enter("ann"))[0] == 303, "from where she signed in before, she need not wait"


async def test_who_shares_an_address_is_not_kept_out_for_long(place: Place) -> None:
    """All have the address of a proxy that [web] trusted_proxies does not name."""
    for _ in range(50):
        place.access.sign_in.by_source.fail("127.0.0.1")
    form, proxied = {"name": "ann", "password": PASSWORD}, {"X_Forwarded_For": "192.0.2.1"}
    place.clock.now += 30.0
    assert (await place.post("/sign-in", form, Origin=place.base))[0] == 429
    assert (await place.post("/sign-in", form, Origin=place.base, **proxied))[0] == 303
    for _ in range(50):
        place.access.sign_in.by_source.fail("127.0.0.1")
    place.clock.now += 30.0
    assert (await place.post("/sign-in", form, Origin=place.base))[0] == 303, "she has signed in from here before"


async def test_guessing_from_where_somebody_signed_in_before_is_slowed_down_as_well(place: Place) -> None:
    assert (await place.enter("ann"))[0] == 303
    statuses = [(await place.enter("ann", "wrong"))[0] for _ in range(6)]
    assert statuses == [403] * 5 + [429]


# --- audit log and store ----------------------------------------------------------------------------------------------


async def test_what_is_done_and_tried_is_in_the_audit_log(place: Place) -> None:
    await place.enter("ann", "wrong")
    await place.enter("a password in the wrong field", "wrong")
    vic = {"Cookie": (await place.enter("vic"))[2], "Origin": place.base}
    await place.post("/incidents/42/acknowledge", **vic)
    robot = {"Authorization": f"Bearer {TOKEN}"}
    await place.post("/api/v1/incidents/42/notes", {"text": "disk swapped"}, **robot)
    await place.post("/api/v1/incidents/7/acknowledge", {}, **robot)
    await place.get("/", **vic)
    found = [(one.who, one.means, one.action, one.target, one.result) for one in place.records.log]
    assert found == [
        ("ann", "password", "sign in", "", "refused: wrong name or password"),
        ("", "password", "sign in", "", "refused: wrong name or password"),
        ("vic", "password", "sign in", "", "done"),
        ("vic", "session", "POST /incidents/{number}/acknowledge", "42", found[3][4]),
        ("robot", "token", "POST /api/v1/incidents/{number}/notes", "42", "done"),
        ("robot", "token", "POST /api/v1/incidents/{number}/acknowledge", "7", "refused: there is no open incident #7"),
    ]
    assert found[3][4] == "refused: this needs the role operator; vic has viewer"
    assert {one.source for one in place.records.log} == {"127.0.0.1"}
    assert "disk swapped" in place.records.log[4].detail
    assert PASSWORD not in str(place.records.log)


async def test_a_flood_of_failures_does_not_push_out_what_was_done(place: Place) -> None:
    for _ in range(MOST_FAILURES_RECORDED + 5):
        assert (await place.enter("", "", token="wrong"))[0] == 403
        place.access.sign_in.by_source._failed.clear()
    assert len(place.records.log) == MOST_FAILURES_RECORDED


async def test_admins_read_the_audit_log(place: Place) -> None:
    own = {"Cookie": (await place.enter("root"))[2], "Origin": place.base}
    for number in range(120):
        await place.post(f"/incidents/{number}/note", {"text": f"note <b>{number}</b>"}, **own)
    text = (await place.get("/audit", **own))[1]
    assert "note+%3Cb%3E119" in text
    assert "/audit?before=22" in text
    assert "note+%3Cb%3E5%3C" in (await place.get("/audit?before=22", **own))[1]
    rows = json.loads((await place.get("/api/v1/audit?limit=2&who=root", **own))[1])["entries"]
    assert [(row["number"], row["target"]) for row in rows] == [(121, "119"), (120, "118")]
    assert json.loads((await place.get("/api/v1/audit?who=ann", **own))[1])["entries"] == []
    assert (await place.get("/audit?before=x", **own))[0] == 400


async def test_sessions_outlive_the_daemon(place: Place) -> None:
    cookie = (await place.enter("ann"))[2]
    secret = cookie.partition("=")[2]
    assert list(place.records.kept) == [sha256(secret.encode()).hexdigest()], "never the cookie itself"
    old = Session("0" * 64, "ann", Role.OPERATOR, "password", "", place.clock.now - LONGEST_SECONDS, 0.0)
    place.records.kept[old.digest] = old
    again = access_for(SETTINGS, now=place.clock, monotonic=place.clock, records=place.records)
    await again.sessions.load()
    assert old.digest not in place.records.kept
    async for next_life in serve(again):
        assert (await next_life.get("/", Cookie=cookie))[0] == 200
        place.clock.now += NOTE_EVERY + 1
        assert (await next_life.get("/", Cookie=cookie))[0] == 200
        await again.sessions.keep()
        assert [one.seen_at for one in place.records.kept.values()] == [place.clock.now]
        assert (await next_life.post("/sign-out", Cookie=cookie, Origin=next_life.base))[0] == 303
    assert place.records.kept == {}


async def test_a_store_that_does_not_work_keeps_nobody_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(place.records, "keep_sessions", broken)
    monkeypatch.setattr(place.records, "record", broken)
    _, _, cookie = await place.enter("ann")
    assert (await place.get("/", Cookie=cookie))[0] == 200


async def test_what_is_done_over_the_unix_socket_is_recorded_under_the_systems_user(tmp_path: Path) -> None:
    records = MemoryRecords()
    async for local in serve(access_for(SETTINGS, records=records), tmp_path / "s"):
        assert (await local.post("/api/v1/incidents/42/acknowledge", {"by": "ben"}))[0] == 200
    (entry,) = records.log
    assert (entry.who, entry.means, entry.source) == (user_name(os.getuid()), "Unix socket", "")
    assert '"by": "ben"' in entry.detail
