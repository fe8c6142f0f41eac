"""What is different between two configurations, at a reload and at a restart alike."""

from __future__ import annotations

import re
from typing import Any

import pytest

from wcr_watchd.config.difference import differences, outline, since_outline
from wcr_watchd.config.disguise import secret_places
from wcr_watchd.config.load import loads
from wcr_watchd.kit.redact import Redactor

KEY = b"key"


def masked(text: str) -> str:
    return text.replace("hunter2", "***")


def nowhere(place: tuple[str, ...]) -> bool:
    return False


def of_restart(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return since_outline(outline(before, masked, nowhere, KEY), outline(after, masked, nowhere, KEY))


@pytest.mark.parametrize("different", [lambda a, b: differences(a, b, masked, nowhere), of_restart])
def test_of_a_list_of_tables_it_is_told_which_one_is_another(different: Any) -> None:
    step = {"text": "Test in staging " + "x" * 300, "tick": "staging", "for": "30m"}
    before = {"category": {"pre": [{"text": "Review"}, step], "tags": ["a", "b"], "none": []}}
    after = {"category": {"pre": [{"text": "Review"}, step | {"for": "10m"}, {"text": "Tell hunter2"}],
                          "tags": ["a"], "none": []}}  # fmt: skip
    found = different(before, after)
    assert {key: now for key, (_, now) in found.items()} == {
        "category.pre.2.for": "10m",
        "category.pre.3": "a table with text",
        "category.tags": "['a']",
    }
    assert found["category.pre.2.for"][0] == "30m"
    assert "hunter2" not in outline(after, masked, nowhere, KEY)
    assert different(after, after) == {}


HIDING_PLACES = """
[heartbeat.elsewhere]
url = "https://hc-ping.com/SECRETSECRET"
[channel.hook]
type = "webhook"
url = "https://hooks.example.org/SECRETSECRET"
headers = { "X-Api-Key" = "SECRET" }
secret = "SECRET"
[channel.mail]
type = "email"
servers = ["smtp://127.0.0.1:1"]
from = "watch@example.org"
username = "mailer"
password = "SECRET"
[channel.phone]
type = "ntfy"
topic = "SECRETSECRET"
[check.web]
type = "http"
url = "http://127.0.0.1:1/?page=1&token=SECRET&size=2"
headers = { Authorization = "Bearer SECRET", Cookie = "sid=SECRET" }
[check.web2]
type = "http"
url = "http://127.0.0.1:1/"
auth = { user = "ann", password = "SECRET" }
[check.flow]
type = "http_flow"
url = "http://127.0.0.1:1/"
steps = [{ name = "in", path = "/", headers = { X = "SECRET" } }]
[check.db]
type = "postgres"
dsn = "postgresql://watchd:SECRET@127.0.0.1:1/app?application_name=a"
[check.db2]
type = "postgres"
dsn = "postgresql://watchd@127.0.0.1:1/app?password=SECRET"
[check.cache]
type = "redis"
url = "redis://127.0.0.1:1/0"
password = "SECRET"
[check.dump]
type = "command"
run = ["/usr/bin/mysqldump", "--password", "SECRET", "-pSECRET", "--token=SECRET", "PGPASSWORD=SECRET",
       "-u", "ann:SECRET", "-H", "X-Token: SECRET", "--key=/etc/ssl/a.pem", "app"]
env = { PGPASSWORD = "SECRET" }
[check.shell]
type = "command"
run = ["/bin/sh", "-c", "PGPASSWORD='SECRET SECRET' pg_dump app | curl -H 'X-Api-Key: SECRET' https://example.org"]
[task.dump]
schedule = "0 4 * * 0"
run = ["/bin/true", "--secret-key=SECRET"]
env = { AWS_ACCESS_KEY = "SECRET" }
[change_category.feature]
during = [{ text = "Update", tick = "updated" }]
[change.release]
category = "feature"
checks = ["web"]
on = ["/bin/true", "--token=SECRET"]
off = ["/bin/true", "--token=SECRET"]
"""


@pytest.mark.parametrize("secret", ["hunt", "7331"])
def test_secrets_that_stand_openly_in_a_configuration_are_not_told_wherever_they_stand(secret: str) -> None:
    before, after = (loads(HIDING_PLACES.replace("SECRET", secret + one), "test") for one in "12")
    masked, hidden = Redactor().text, secret_places(after)  # of short ones nobody knows that they are secrets
    told = differences(before.sources.table, after.sources.table, masked, hidden)
    of_next_life = since_outline(
        *(outline(one.sources.table, masked, secret_places(one), KEY) for one in (before, after))
    )
    assert len(told) == 21
    assert told.keys() == of_next_life.keys()
    assert secret not in repr(told)
    assert secret not in re.sub(r" \[[0-9a-f]{8}\]'", "'", repr(of_next_life))
    assert all(was != now for was, now in of_next_life.values()), "but it is told that they are others"
    assert told["check.web.url"][1] == "http://127.0.0.1:1/?page=1&token=***&size=2"
    assert told["check.db.dsn"][1] == "postgresql://watchd:***@127.0.0.1:1/app?application_name=a"
    assert told["check.db2.dsn"][1] == "postgresql://watchd@127.0.0.1:1/app?password=***"
    assert told["check.dump.run"][1].startswith("['/usr/bin/mysqldump', '--password', '***', '-p***', '--token=***'")
    assert told["check.flow.steps.1.headers.X"][1] == "***"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("password", "${env:PASSWORD}"),
        ("ca_key", "/etc/ssl/key.pem"),
        ("password_file", "/etc/secret"),
        ("until", "forecast(disk_used, 4d) > 90%"),
        ("run", ["/bin/backup", "--key=/etc/key", "--to", "host:/path"]),
        ("text", "Test in staging, minimally: green for 10 min"),
        ("every", "30s"),
        ("without_token", True),
        ("key", 5),
        ("address", "db.example.org:5432"),
    ],
)
def test_what_is_no_secret_is_told(key: str, value: Any) -> None:
    _, now = differences({}, {key: value}, masked, nowhere)[key]
    assert now == str(value)
