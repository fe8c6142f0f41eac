"""What every store promises (:class:`wcr_watchd.core.protocols.Store`), asked of each implementation."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.store.samples import MAIL, NOW, a_notification, an_event, an_incident, an_observation
from wcr_watchd.core import changes
from wcr_watchd.core.access import AuditEntry, OwnPassword, Role, Session
from wcr_watchd.core.changes import Category, Plan, Step, Tick
from wcr_watchd.core.drill_report import DrillMessage, DrillReport, DrillState
from wcr_watchd.core.errors import StoreError, StoreLockedError
from wcr_watchd.core.heartbeat import KEPT_SIGNALS, Heard, HeartbeatState, Phase, Ping, PingKind, Standing
from wcr_watchd.core.model import (
    Delivery,
    DeliveryState,
    IncidentState,
    Measurement,
    Message,
    Outcome,
    Recipient,
    Severity,
)
from wcr_watchd.core.modifications import KnownFacts, Modification
from wcr_watchd.core.protocols import Batch, Restored, Store, Wanted
from wcr_watchd.core.review import Review
from wcr_watchd.core.rules import InstanceState, RuleState, Verdict
from wcr_watchd.core.silence import Matcher, Operator, Silence
from wcr_watchd.core.state import CheckState
from wcr_watchd.core.task import KEPT_RECORDS, TaskOutcome, TaskRecord, TaskState
from wcr_watchd.store.open import from_url

Reopen = Callable[[], Store]


def _sqlite(folder: Path) -> Store:
    return from_url(f"sqlite://{folder}/watchd.db")


IMPLEMENTATIONS = {"sqlite": _sqlite}


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Reopen:
    """Makes stores that share one place."""
    return lambda: IMPLEMENTATIONS[request.param](tmp_path)


@pytest.fixture
async def store(make: Reopen) -> AsyncIterator[Store]:
    opened = make()
    await opened.open()
    yield opened
    await opened.close()


async def reopened(store: Store, make: Reopen) -> Restored:
    """What a next life reads."""
    await store.close()
    again = make()
    await again.open()
    try:
        return await again.restore()
    finally:
        await again.close()
        await store.open()


async def test_a_new_store_knows_nothing(store: Store) -> None:
    assert await store.restore() == Restored(
        states=(), incidents=(), ended=(), silences=(), next_incident=1, pending=(), last_seen_at=None
    )
    assert await store.observations("api", since=0.0) == []
    assert await store.incident(1) is None
    assert await store.history("api", "response_time", (), since=0.0, until=NOW) == ()


async def test_a_next_life_goes_on_where_the_last_one_was(store: Store, make: Reopen) -> None:
    firing = InstanceState(Verdict.FIRING, since=NOW - 20.25, runs=3, because="disk_used 93 % > 90 %")
    state = CheckState(
        "api",
        Outcome.DOWN,
        since=NOW,
        severity=Severity.CRITICAL,
        last_at=NOW,
        failing_since=NOW - 20,
        rules=(("disk_used > 90%", RuleState(instances=(((("mount", "/"),), firing),))),),
    )
    over = an_incident(6, state=IncidentState.RESOLVED, resolved_at=NOW - 5)
    open_one = an_incident(7)
    owed = a_notification(7, not_before=NOW + 60.5)
    await store.commit(
        Batch(
            observations=(an_observation(outcome=Outcome.DOWN),),
            states=(state,),
            incidents=(over, open_one),
            events=(an_event(7),),
            notifications=(owed,),
        )
    )
    restored = await reopened(store, make)
    assert restored.states == (state,)
    assert restored.incidents == (open_one,)
    assert restored.next_incident == 8
    assert restored.pending == (Delivery(owed, next_attempt_at=NOW + 60.5),)
    assert restored.last_seen_at == NOW


async def test_what_probes_keep_is_there_in_the_next_life_until_the_check_is_forgotten(
    store: Store, make: Reopen
) -> None:
    await store.commit(Batch(observations=(an_observation(),), memories=(("log", '{"a":1}'), ("apt", '{"b":1}'))))
    await store.commit(Batch(memories=(("log", '{"a":2}'),)))
    assert (await reopened(store, make)).memories == {"log": '{"a":2}', "apt": '{"b":1}'}
    await store.forget(["log"])
    assert (await reopened(store, make)).memories == {"apt": '{"b":1}'}


async def test_what_is_owed_comes_back_in_the_order_in_which_it_came_to_be_owed(store: Store, make: Reopen) -> None:
    first, second = a_notification(7, not_before=NOW + 60), a_notification(8, "8-1-mail", created_at=NOW - 90)
    await store.commit(Batch(notifications=(first, second)))
    assert [row.notification.incident for row in (await reopened(store, make)).pending] == [7, 8]


async def test_last_seen_is_the_newest_thing_written(store: Store, make: Reopen) -> None:
    await store.commit(Batch(observations=(an_observation(at=NOW + 10), an_observation("db", at=NOW + 30))))
    await store.commit(Batch(events=(an_event(at=NOW + 20),)))
    assert (await reopened(store, make)).last_seen_at == NOW + 30
    await store.commit(Batch(events=(an_event(sequence=2, at=NOW + 40),)))
    assert (await reopened(store, make)).last_seen_at == NOW + 40


async def test_observations_come_back_as_they_were(store: Store, make: Reopen) -> None:
    first = an_observation(
        outcome=Outcome.DOWN,
        evidence={"body": "zwölf\nlines"},
        measurements=(
            Measurement("disk_used", 0.93, (("mount", '/a "b"'),)),
            Measurement("disk_used", 0.12, (("mount", "/"),)),
            Measurement("bytes", 123_456_789_012_345.0),
            Measurement("tiny", 1e-300),
            Measurement("endless", math.inf),
        ),
    )
    second = an_observation(at=NOW + 60, measurements=())
    unknown = an_observation("db", at=NOW + 1, outcome=Outcome.UNKNOWN, location="elsewhere")
    await store.commit(Batch(observations=(second, first, unknown)))
    assert await store.observations("api", since=NOW) == [first, second]
    assert await store.observations("api", since=NOW + 0.001) == [second]
    assert await store.observations("db", since=0) == [unknown]
    await reopened(store, make)
    assert await store.observations("api", since=NOW) == [first, second]


async def test_a_limit_keeps_the_newest_observations(store: Store) -> None:
    runs = [an_observation(at=NOW + 60 * number) for number in range(10)]
    await store.commit(Batch(observations=tuple(runs)))
    assert await store.observations("api", since=NOW, limit=3) == runs[-3:]


async def test_observations_of_several_locations_are_one_course(store: Store) -> None:
    here, there = an_observation(), an_observation(at=NOW + 1, location="there")
    await store.commit(Batch(observations=(there, here)))
    assert await store.observations("api", since=NOW) == [here, there]


async def test_evidence_is_kept_while_something_is_wrong_or_has_just_changed(store: Store) -> None:
    outcomes = (Outcome.UP, Outcome.UP, Outcome.DOWN, Outcome.UP, Outcome.UP)
    runs = [
        an_observation(at=NOW + number, outcome=outcome, evidence={"head": str(number)})
        for number, outcome in enumerate(outcomes)
    ]
    await store.commit(Batch(observations=tuple(runs)))
    kept = [observation.evidence for observation in await store.observations("api", since=NOW)]
    assert kept == [{"head": "0"}, {}, {"head": "2"}, {"head": "3"}, {}]


async def test_storing_a_batch_twice_changes_nothing(store: Store, make: Reopen) -> None:
    batch = Batch(
        observations=(an_observation(),),
        states=(CheckState("api", Outcome.UP),),
        incidents=(an_incident(),),
        events=(an_event(),),
        notifications=(a_notification(),),
    )
    await store.commit(batch)
    once = await reopened(store, make)
    await store.commit(batch)
    assert await reopened(store, make) == once
    assert await store.observations("api", since=0) == [an_observation()]
    assert await store.events(1) == (an_event(),)


async def test_a_notification_that_was_delivered_is_not_owed_again(store: Store, make: Reopen) -> None:
    owed = a_notification()
    sent = Delivery(owed, DeliveryState.DELIVERED, attempts=2, delivered_at=NOW + 3, receipt="250 ok", fell_back=True)
    await store.commit(Batch(notifications=(owed,)))
    await store.commit(Batch(deliveries=(sent,)))
    await store.commit(Batch(notifications=(owed,)))
    assert await store.deliveries() == (sent,)
    assert (await reopened(store, make)).pending == ()


async def test_a_failed_attempt_is_remembered_with_its_next_time(store: Store, make: Reopen) -> None:
    owed = a_notification()
    tried = Delivery(owed, attempts=3, next_attempt_at=NOW + 240.25, last_error="relay-1: connection refused")
    await store.commit(Batch(notifications=(owed,), deliveries=(tried,)))
    assert (await reopened(store, make)).pending == (tried,)


async def test_a_delivery_whose_notification_was_never_stored_is_stored_whole(store: Store) -> None:
    sent = Delivery(a_notification(), DeliveryState.DELIVERED, attempts=1, delivered_at=NOW)
    await store.commit(Batch(deliveries=(sent,)))
    assert await store.deliveries() == (sent,)


async def test_a_digest_keeps_the_messages_it_stands_for(store: Store) -> None:
    inner: Message = a_notification().message
    digest = a_notification(key="digest", message=replace(inner, items=(inner, inner)), digest=True)
    unlike_json = replace(digest.message, measurements=(("rate", math.inf, ""),))
    odd = a_notification(key="odd", message=unlike_json)
    await store.commit(Batch(notifications=(digest, odd)))
    assert {row.notification.id: row.notification for row in await store.deliveries()} == {"digest": digest, "odd": odd}


async def test_deliveries_are_found_by_incident_state_recipient_and_time(store: Store) -> None:
    slack = Recipient("slack")
    first = Delivery(a_notification(1, "first", NOW), DeliveryState.FAILED)
    second = Delivery(a_notification(2, "second", NOW + 10, recipient=slack), DeliveryState.PENDING)
    third = Delivery(a_notification(2, "third", NOW + 20), DeliveryState.DELIVERED, delivered_at=NOW + 21)
    await store.commit(Batch(deliveries=(first, second, third)))
    failed_or_pending = (DeliveryState.FAILED, DeliveryState.PENDING)
    assert await store.deliveries() == (third, second, first)
    assert await store.deliveries(limit=1) == (third,)
    assert await store.deliveries(incident=2) == (third, second)
    assert await store.deliveries(states=failed_or_pending) == (second, first)
    assert await store.deliveries(recipient=slack) == (second,)
    assert await store.deliveries(recipient=MAIL, since=NOW + 1) == (third,)
    assert await store.deliveries(recipient=Recipient("mail")) == ()


async def test_incidents_are_found_by_check_and_time_newest_first(store: Store) -> None:
    old = an_incident(1, state=IncidentState.RESOLVED, opened_at=NOW - 100, resolved_at=NOW - 50)
    lasting = an_incident(2, "db", opened_at=NOW - 90)
    new = an_incident(3, state=IncidentState.ACKNOWLEDGED, acknowledged_at=NOW, acknowledged_by="lead")
    await store.commit(Batch(incidents=(new, old, lasting)))
    assert await store.incidents() == (new, lasting, old)
    assert await store.incidents(limit=2) == (new, lasting)
    assert await store.incidents(check="api") == (new, old)
    assert await store.incidents(open_only=True) == (new, lasting)
    assert await store.incidents(since=NOW - 60) == (new, lasting, old)
    assert await store.incidents(since=NOW - 40) == (new, lasting)
    assert await store.incident(2) == lasting


async def test_an_incident_changes_in_place(store: Store) -> None:
    await store.commit(Batch(incidents=(an_incident(),)))
    over = an_incident(state=IncidentState.RESOLVED, resolved_at=NOW + 5, severity=Severity.OK)
    await store.commit(Batch(incidents=(over,)))
    assert await store.incidents() == (over,)
    assert await store.incidents(open_only=True) == ()


async def test_events_are_the_timeline_oldest_first(store: Store) -> None:
    events = tuple(an_event(sequence=number, at=NOW + number) for number in (1, 2, 3))
    await store.commit(Batch(events=(events[2], events[0])))
    await store.commit(Batch(events=(events[1], an_event(2))))
    assert await store.events(1) == events
    assert await store.events(3) == ()


async def test_the_state_of_a_removed_check_is_dropped_and_its_history_stays(store: Store) -> None:
    states = (CheckState("api"), CheckState("db"))
    await store.commit(Batch(observations=(an_observation(),), states=states, incidents=(an_incident(),)))
    await store.forget(["api", "never configured"])
    restored = await store.restore()
    assert [state.check for state in restored.states] == ["db"]
    assert [incident.id for incident in restored.incidents] == [1]
    assert await store.observations("api", since=0) == [an_observation()]


async def test_history_of_few_points_is_raw(store: Store) -> None:
    disk = (("mount", "/data"),)
    runs = [
        an_observation(
            at=NOW + 60 * number,
            measurements=(Measurement("used", number / 10, disk), Measurement("used", 1.0, (("mount", "/"),))),
        )
        for number in range(5)
    ]
    await store.commit(Batch(observations=tuple(runs)))
    points = await store.history("api", "used", disk, since=NOW + 60, until=NOW + 240)
    assert [(point.at, point.count, point.mean) for point in points] == [
        (NOW + 60, 1, 0.1),
        (NOW + 120, 1, 0.2),
        (NOW + 180, 1, 0.3),
    ]
    assert await store.history("api", "used", (), since=NOW, until=NOW + 240) == ()
    assert await store.history("db", "used", disk, since=NOW, until=NOW + 240) == ()


async def test_history_of_many_points_is_merged_into_the_wanted_number(store: Store) -> None:
    runs = [
        an_observation(at=NOW + number, measurements=(Measurement("used", float(number)),)) for number in range(100)
    ]
    await store.commit(Batch(observations=tuple(runs)))
    points = await store.history("api", "used", (), since=NOW, until=NOW + 100, points=4)
    assert [(point.count, point.minimum, point.maximum, point.mean) for point in points] == [
        (25, 25.0 * part, 25.0 * part + 24, 25.0 * part + 12) for part in range(4)
    ]


async def test_a_second_daemon_is_refused_while_the_first_one_lives(store: Store, make: Reopen) -> None:
    second = make()
    with pytest.raises(StoreLockedError, match=r"process \d+, which"):
        await second.open()
    await store.commit(Batch(states=(CheckState("api"),)))
    await store.close()
    await second.open()
    assert len((await second.restore()).states) == 1
    await second.close()
    await store.open()


async def test_silences_and_the_incidents_that_ended_last_are_known_to_the_next_life(
    store: Store, make: Reopen
) -> None:
    matchers = (Matcher("check", Operator.MATCHES, "api|web"), Matcher("tag", Operator.NOT_EQUAL, "quiet"))
    silence = Silence("s1", matchers, NOW, NOW + 3_600.5, "ann", "moving house", NOW, maintenance=True)
    over = replace(an_incident(), id=7, state=IncidentState.RESOLVED, resolved_at=NOW + 1)
    await store.commit(Batch(incidents=(replace(over, id=8, resolved_at=NOW + 9), over), silences=(silence,)))
    await store.commit(Batch(silences=(replace(silence, ends_at=NOW + 60),)))
    restored = await reopened(store, make)
    assert restored.silences == (replace(silence, ends_at=NOW + 60),)
    assert [incident.id for incident in restored.ended] == [7, 8]
    quiet = replace(silence, id="s2", maintenance=False)
    await store.commit(Batch(silences=(quiet,)))
    await store.prune(NOW + 60 + 6 * 86_400)
    kept = (await reopened(store, make)).silences
    assert [one.id for one in kept] == ["s1"], "what was planned is told apart for three months"
    await store.prune(NOW + 60 + 101 * 86_400)
    assert (await reopened(store, make)).silences == ()


async def test_a_store_that_is_not_open_says_so(make: Reopen) -> None:
    store = make()
    with pytest.raises(StoreError, match="not open"):
        await store.restore()
    with pytest.raises(StoreError, match="not open"):
        await store.commit(Batch(states=(CheckState("api"),)))
    await store.close()


async def test_signals_and_what_they_say_of_a_job_outlive_the_daemon(store: Store, make: Reopen) -> None:
    known = HeartbeatState(
        "backup",
        "db",
        standing=Standing.DOWN,
        count=2,
        last_at=NOW,
        started_at=NOW - 5,
        run_id="11111111-1111-4111-8111-111111111111",
        exit_status=3,
        down_at=NOW,
        down_by=Phase.FAILED,
        heard=(Heard(NOW, PingKind.FAIL, 3, "zwölf"),),
    )
    said = Ping(PingKind.FAIL, "backup", "db", number=2, at=NOW, exit_status=3, body=b"\xe9\x00 not text")
    await store.commit(Batch(heartbeats=(replace(known, count=1), known), pings=(said,)))
    assert (await reopened(store, make)).heartbeats == (known,)
    assert await store.pings("backup") == (said,)
    assert await store.pings("other") == ()


async def test_the_newest_signals_of_each_job_are_kept(store: Store) -> None:
    for job in ("a", "b"):
        said = [Ping(PingKind.LOG, "backup", job, number=n, at=NOW + n) for n in range(1, KEPT_SIGNALS + 6)]
        await store.commit(Batch(pings=tuple(said[:3])))
        await store.commit(Batch(pings=tuple(said[3:])))
    kept = await store.pings("backup", limit=1_000)
    assert sorted({one.number for one in kept}) == list(range(6, KEPT_SIGNALS + 6))
    assert len(kept) == 2 * KEPT_SIGNALS
    assert [one.at for one in kept] == sorted((one.at for one in kept), reverse=True)


async def test_a_check_that_is_gone_takes_its_signals_along(store: Store, make: Reopen) -> None:
    for check in ("gone", "stays"):
        await store.commit(Batch(heartbeats=(HeartbeatState(check),), pings=(Ping(PingKind.LOG, check, number=1),)))
    await store.forget(["gone"])
    assert (await reopened(store, make)).heartbeats == (HeartbeatState("stays"),)
    assert await store.pings("gone") == ()
    assert len(await store.pings("stays")) == 1


async def test_tasks_and_how_they_ended_outlive_the_daemon_and_their_check(store: Store, make: Reopen) -> None:
    ends = [
        TaskRecord(
            "task.review", number, TaskOutcome.DONE, NOW + number, by="ann", note="zwölf", evidence=("https://wiki/1",)
        )
        for number in range(1, KEPT_RECORDS + 3)
    ]
    known = TaskState("task.review", NOW, count=len(ends), last_success_at=NOW, duration=1.5, last=ends[-1])
    await store.commit(Batch(tasks=(replace(known, count=1),), task_records=tuple(ends[:50])))
    await store.commit(Batch(tasks=(known,), task_records=tuple(ends[40:])))
    await store.forget(["task.review"])
    assert (await reopened(store, make)).tasks == (known,)
    kept = await store.task_records("task.review")
    assert kept == tuple(reversed(ends[2:]))
    assert await store.task_records("task.review", limit=1) == (ends[-1],)
    assert await store.task_records("task.other") == ()


async def test_incidents_are_found_by_what_they_are(store: Store) -> None:
    over = {"state": IncidentState.RESOLVED, "resolved_at": NOW + 500}
    await store.commit(
        Batch(
            incidents=(
                an_incident(1, "api", NOW, summary="HTTP 500, expected 2xx", **over),
                an_incident(2, "db", NOW + 100, severity=Severity.INFO, peak=Severity.WARNING, subject="disk /data"),
                an_incident(3, "api", NOW + 1_000, summary="timeout after 10 s"),
            )
        )
    )

    async def found(before: int = 0, limit: int = 50, **wanted: object) -> list[int]:
        rows = await store.find_incidents(Wanted(**wanted), before=before, limit=limit)  # type: ignore[arg-type]
        return [one.id for one in rows]

    assert await found() == [3, 2, 1]
    assert await found(before=3, limit=1) == [2]
    assert await found(checks=frozenset({"api", "gone"})) == [3, 1]
    assert await found(checks=frozenset()) == []
    assert await found(states=(IncidentState.OPEN, IncidentState.SILENCED)) == [3, 2]
    assert await found(severity=Severity.CRITICAL) == [3, 1]
    assert await found(text="http 500") == [1]
    assert await found(text="DISK /d") == [2]
    assert await found(text="100%") == []
    assert await found(since=NOW + 600) == [3, 2]
    assert await found(until=NOW + 100) == [1]


async def test_a_review_is_kept_and_goes_with_its_incident(store: Store) -> None:
    over = {"state": IncidentState.RESOLVED, "resolved_at": NOW + 500}
    await store.commit(Batch(incidents=(an_incident(1, **over), an_incident(2))))
    written = Review(1, root_cause="ä", by="ann", at=NOW)
    await store.commit(Batch(reviews=(replace(written, impact="old"),)))
    await store.commit(Batch(reviews=(written,)))
    assert await store.review(1) == written
    assert await store.review(2) is None
    await store.prune(NOW + 3_000 * 86_400.0)
    assert await store.incident(1) is None
    assert await store.review(1) is None


async def test_several_courses_are_read_at_once_and_runs_are_counted(store: Store) -> None:
    up, down, unknown = Outcome.UP, Outcome.DOWN, Outcome.UNKNOWN
    for number, outcome in enumerate((up, down, unknown, up)):
        await store.commit(Batch(observations=(an_observation(at=NOW + 60 * number, outcome=outcome),)))
    wanted = [("body_size", ()), ("nothing", ()), ("response_time", ())]
    size, nothing, time = await store.courses("api", wanted, since=NOW, until=NOW + 240)
    assert ([point.mean for point in size], list(nothing), [point.mean for point in time]) == (
        [512.0] * 4,
        [],
        [0.0213] * 4,
    )
    counted = await store.outcomes("api", since=NOW, until=NOW + 240)
    assert [sum(kind) for kind in zip(*((one.up, one.down, one.unknown) for one in counted), strict=True)] == [2, 1, 1]
    assert list(await store.outcomes("db", since=NOW, until=NOW + 240)) == []


async def test_sessions_are_kept_until_they_end(store: Store, make: Reopen) -> None:
    ann = Session("d1", "ann", Role.OPERATOR, "password", "bound", NOW, NOW, "192.0.2.1", "a browser")
    ben = replace(ann, digest="d2", name="ben", role=Role.ADMIN)
    await store.keep_sessions([ann, ben], [])
    used = replace(ann, seen_at=NOW + 60.0)
    await store.keep_sessions([used], ["d2", "never"])
    await store.close()
    again = make()
    await again.open()
    assert list(await again.sessions()) == [used]
    await again.close()


async def test_of_each_user_the_last_own_password_is_kept(store: Store, make: Reopen) -> None:
    first = OwnPassword("ann", "$argon2id$1", "f1", NOW)
    await store.keep_own_password(first)
    await store.keep_own_password(OwnPassword("ben", "$argon2id$2", "f2", NOW))
    await store.keep_own_password(replace(first, password="$argon2id$3", at=NOW + 1))
    await store.close()
    again = make()
    await again.open()
    kept = {one.name: one for one in await again.own_passwords()}
    assert (len(kept), kept["ann"]) == (2, replace(first, password="$argon2id$3", at=NOW + 1))
    await again.close()


async def test_drills_that_are_over_are_kept_for_good(store: Store, make: Reopen) -> None:
    told = DrillMessage(NOW + 1, 0.0, "at once", "mail", "lead", True, 0.4, "250 queued", "", "")
    first = DrillReport(
        7, "default", Severity.CRITICAL, DrillState.ACKNOWLEDGED, NOW, (told,), "lead", NOW + 60, NOW + 60
    )
    second = replace(first, number=9, state=DrillState.UNANSWERED, started_at=NOW + 90.0, by="ann", contact="ben")
    await store.commit(Batch(drills=(second, first)))
    await store.prune(NOW + 4_000 * 86_400.0)
    await store.close()
    again = make()
    await again.open()
    assert list(await again.drills()) == [first, second]
    assert list(await again.drills(since=NOW + 1)) == [second]
    await again.close()


async def test_the_audit_log_is_read_from_its_end_and_forgets_what_is_old(store: Store) -> None:
    entry = AuditEntry(NOW, "ann", "session", "192.0.2.1", "POST /silences", "42", "done", "for=2h")
    for number in range(4):
        await store.record(replace(entry, at=NOW + number, who="ben" if number % 2 else "ann"))
    newest = await store.audit(limit=2)
    assert newest == (replace(entry, at=NOW + 3, who="ben", number=4), replace(entry, at=NOW + 2, number=3))
    assert [one.number for one in await store.audit(before=3)] == [2, 1]
    assert [one.number for one in await store.audit(who="ann")] == [3, 1]
    await store.prune(NOW + 2 + 400 * 86_400.0)
    assert [one.number for one in await store.audit()] == [4, 3]


async def test_changes_and_modifications_are_kept_and_found(store: Store, make: Reopen) -> None:
    step = Step(changes.Phase.PRE, "backup", Tick.BACKUPS, 7_200.0, required=True)
    plan = Plan("release", Category("feature", (step,)), (Matcher("check", Operator.EQUAL, "api"),), verify=("api",))
    first = changes.prepare(1, plan, "2.3", "ann", NOW)
    running = changes.started(first, "ann", "s1", NOW + 600, "trust me", NOW + 1)
    begun = changes.started(replace(first, id=2), "ann", "s2", NOW, "yes", NOW + 2)
    second = changes.finished(begun, "ann", (), NOW + 3)
    upgrade = Modification(NOW, "apt", "package", "openssl", "3.0.11", "3.0.15")
    noted = Modification(NOW + 5, "ann", "note", "1", after="moved the cables")
    known = KnownFacts("apt", (("package", "openssl", "3.0.15"),), NOW)
    batch = Batch(changes=(running, second), modifications=(upgrade, noted), facts=(known,))
    await store.commit(Batch(changes=(first,)))
    await store.commit(batch)
    await store.commit(batch)
    restored = await reopened(store, make)
    assert (restored.changes, restored.facts) == ((second, running), (known,))
    assert await store.change(1) == running
    assert await store.change(3) is None
    assert await store.changes(since=NOW + 60) == (running,), "what is not over belongs to any time"
    assert await store.changes(limit=1) == (second,)
    assert await store.modifications(since=NOW, until=NOW + 60) == (noted, upgrade)
    assert await store.modifications(since=NOW, until=NOW + 5) == (upgrade,)
    assert await store.modifications(since=NOW, until=NOW + 60, limit=1) == (noted,)
    await store.forget(["apt"])
    assert (await reopened(store, make)).facts == ()


async def test_old_changes_and_modifications_go_but_not_one_that_is_open_nor_the_last_number(store: Store) -> None:
    plan = Plan("release", Category("feature", (Step(changes.Phase.PRE, "look"),)), ())
    gone, open_one, last = (changes.prepare(number, plan, "", "ann", NOW) for number in (1, 2, 3))
    over = [changes.abandoned(one, "ann", "", NOW + 1) for one in (gone, last)]
    old = Modification(NOW, "apt", "package", "openssl", "", "3.0.15")
    young = replace(old, at=NOW + 500 * 86_400.0)
    await store.commit(Batch(changes=(*over, open_one), modifications=(old, young)))
    await store.prune(NOW + 500 * 86_400.0)
    assert [one.id for one in await store.changes()] == [3, 2]
    assert await store.modifications(since=0.0, until=young.at + 1) == (young,)
