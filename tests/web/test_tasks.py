"""Tasks over the JSON API, and their calendar."""

from __future__ import annotations

import json

import pytest

from tests.web.test_on_call import unfolded, values
from tests.web.test_web import Served

CALENDAR = "/api/v1/tasks/due.ics"


async def test_all_tasks_as_they_stand(served: Served) -> None:
    status, text = await served.get("/api/v1/tasks")
    rows = {row["name"]: row for row in json.loads(text)["tasks"]}
    assert status == 200
    assert {name: (row["kind"], row["phase"]) for name, row in rows.items()} == {
        "restore-by-hand": ("signed", "soon"),
        "access-review": ("signed", "overdue"),
        "licences": ("signed", "due"),
        "offsite": ("run", "failed"),
        "backup": ("run", "running"),
        "vacuum <i>": ("reported", "waiting"),
    }
    assert rows["backup"]["started_at"] == "2026-11-23T17:56:00.000+00:00"
    assert rows["restore-by-hand"]["last"]["evidence"] == ["https://wiki.example.org/restore/3", "ticket 4711"]


async def test_one_task_with_its_history(served: Served) -> None:
    for name in ("offsite", "task.offsite"):
        status, text = await served.get(f"/api/v1/tasks/{name}")
        found = json.loads(text)
        assert status == 200
        assert len(found["times"]) == 2
        (record,) = found["history"]
        assert (record["outcome"], record["exit_status"], record["attempts"]) == ("failed", 7, 3)
        assert record["output"] == "copying\nno room"
    status, text = await served.get("/api/v1/tasks/ghost")
    assert (status, json.loads(text)["detail"]) == (404, "there is no task 'ghost'; GET /api/v1/tasks lists all")


async def test_signing_off_with_note_and_evidence(served: Served) -> None:
    status, text = await served.post(
        "/api/v1/tasks/licences/done", {"by": "ann", "note": "all paid", "evidence": ["https://wiki/1"]}
    )
    assert (status, json.loads(text)["done"]) == (200, "licences is done, signed off by ann; due again in 7 d")
    assert served.control.asked == [("licences done by ann: all paid", ("https://wiki/1",))]
    status, text = await served.post("/api/v1/tasks/backup/done", {"by": "ann"})
    assert (status, json.loads(text)["detail"]) == (409, "backup is running; sign it off when that is over")


@pytest.mark.parametrize("body", [{"note": 3}, {"evidence": "https://wiki/1"}, {"evidence": [1]}])
async def test_a_sign_off_in_another_form_is_refused(served: Served, body: object) -> None:
    status, text = await served.post("/api/v1/tasks/licences/done", body)
    assert status == 422
    assert "evidence" in json.loads(text)["detail"]
    assert served.control.asked == []


async def test_having_one_run_now(served: Served) -> None:
    status, text = await served.post("/api/v1/tasks/offsite/run", {"by": "ann"})
    assert (status, json.loads(text)["done"]) == (200, "offsite is begun")
    assert served.control.asked == [("offsite run by ann", None)]


async def test_the_calendar_of_what_people_have_to_do(served: Served) -> None:
    status, text = await served.get(CALENDAR)
    lines = unfolded(text)
    assert status == 200
    assert (lines[0], lines[-1]) == ("BEGIN:VCALENDAR", "END:VCALENDAR")
    assert values(lines, "SUMMARY")[:3] == ["access-review (lead)", "licences (lead)", "restore-by-hand (lead)"]
    assert values(lines, "DTSTART")[2] == "20261124T180000Z"
    assert len(set(values(lines, "UID"))) == len(values(lines, "UID")) == 6
    assert (
        "What to do for licences\\nhttps://wiki.example.org/tasks\\nevery Monday at 09:00 (America/New_York)"
        in values(lines, "DESCRIPTION")
    )
    everything = unfolded((await served.get(f"{CALENDAR}?all=1"))[1])
    assert values(everything, "SUMMARY").count("offsite (lead)") == 2


async def test_the_calendar_opens_by_its_own_key(guarded: Served) -> None:
    assert (await guarded.get(CALENDAR))[0] == 401
    assert (await guarded.get(f"{CALENDAR}?key={guarded.access.key_of(CALENDAR)}"))[0] == 200
