"""The pages of channels, tasks and the configuration: what they show, and what their buttons do."""

from __future__ import annotations

import pytest

from tests.web.access import SECRETS, access_for
from tests.web.test_web import Served, serve
from wcr_watchd.core.model import Severity
from wcr_watchd.core.setup import Escalation, Policy, Step, Target
from wcr_watchd.core.view import ChannelCounters
from wcr_watchd.web.configured import _told

VIEWER = {"Authorization": f"Bearer {SECRETS['viewer']}"}


async def test_channels_say_whether_they_deliver(served: Served) -> None:
    served.control.counters.channels["broken"] = ChannelCounters(3, {"timeout": 2}, served.control.now() - 60)
    status, page = await served.get("/channels")
    assert status == 200
    assert "No channel is known to fail" in page
    assert "1 in 1 s by the provider" in page
    assert "20 in 1 h by the configuration" in page
    assert "every 1 d" in page
    assert "(timeout 2)" in page
    assert "has not been used since the start" in page


async def test_a_channel_that_fails_is_said_first(served: Served) -> None:
    served.control.state.by_check["wcr-watchd"] = {"channel broken": 43}
    _, page = await served.get("/channels")
    assert "broken does not deliver" in page
    assert '<h2 id="channel-1">broken' in page


async def test_a_channel_is_tried_from_its_page(served: Served) -> None:
    status, page = await served.post("/channels/sms/test", {"who": "ann"})
    assert (status, "accepted" in page) == (200, True)
    status, page = await served.post("/channels/broken/test")
    assert (status, "broken did not take the test message: the gateway answered 500" in page) == (502, True)


async def test_the_configuration_says_what_is_in_force(served: Served) -> None:
    status, page = await served.get("/config")
    assert status == 200
    assert "The configuration is in force" in page
    assert "<code>/etc/wcr-watchd/watchd.toml</code>" in page
    served.control.reload_problems = ("watchd.toml:3: <wrong>",)
    _, page = await served.get("/config")
    assert "was refused, the old one goes on" in page
    assert "watchd.toml:3: &lt;wrong&gt;" in page


async def test_only_an_admin_loads_the_configuration_again(served: Served) -> None:
    assert (await served.post("/config/reload"))[0] == 303
    async for guarded in serve(access_for()):
        assert (await guarded.post("/config/reload", **VIEWER))[0] == 403
        status, page = await guarded.get("/config", **VIEWER)
        assert (status, "Load the files again" in page) == (200, False)
        assert "Send a test message" not in (await guarded.get("/channels", **VIEWER))[1]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (Escalation(), "nobody"),
        (Escalation((Target("sms", "ops"), Target("slack")), repeat=1_800.0), "sms:ops, slack; again every 30 min"),
        (
            Escalation((Target("slack"),), (Step(600.0, (Target("sms", "ops"),), Severity.CRITICAL), Step(900.0))),
            "slack; after 10 min sms:ops, as critical; after 15 min nobody more",
        ),
        (
            Escalation((Target("mail"),), digest=3_600.0, fallback=(Target("sms", "ann"),)),
            "mail; together every 1 h; in their place sms:ann",
        ),
    ],
)
def test_who_is_told_in_a_sentence(plan: Escalation, said: str) -> None:
    assert _told(plan) == said
    assert Policy("default", {Severity.CRITICAL: plan}).name == "default"


async def test_tasks_come_with_the_most_urgent_first(served: Served) -> None:
    status, page = await served.get("/tasks")
    assert status == 200
    assert "2 of 6 tasks are overdue or failed" in page
    assert page.index("offsite") < page.index("access-review") < page.index("licences") < page.index("restore-by-hand")
    assert "vacuum &lt;i&gt;" in page


async def test_a_task_shows_what_was_and_what_is_to_be_done(served: Served) -> None:
    status, page = await served.get("/tasks/offsite")
    assert status == 200
    assert "exit status 7" in page
    assert "copying\nno room" in page
    assert 'action="/tasks/offsite/run"' in page
    assert 'action="/tasks/licences/done"' in (await served.get("/tasks/licences"))[1]
    assert (await served.get("/tasks/ghost"))[0] == 404


async def test_a_task_is_signed_off_from_its_page(served: Served) -> None:
    form = {"note": " all paid ", "evidence": "https://wiki/1\r\n\r\nticket 4711"}
    assert (await served.post("/tasks/licences/done", form))[0] == 303
    said = "licences done by operator: all paid"
    assert served.control.asked[-1] == (said, ("https://wiki/1", "ticket 4711"))
    assert (await served.post("/tasks/offsite/run"))[0] == 303
    status, page = await served.post("/tasks/backup/done", {})
    assert status == 409
    assert 'role="alert"' in page
