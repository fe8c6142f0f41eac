"""Who gets in at a daemon that nobody configured users for: whoever reads its start, or may use its socket."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from http.cookiejar import CookieJar

from tests.daemon.harness import PATIENCE, RunningDaemon, eventually
from tests.real.ports import free_port

Daemons = Callable[..., RunningDaemon]


def status_of(url: str, opener: urllib.request.OpenerDirector) -> tuple[int, str]:
    try:
        with opener.open(url, timeout=PATIENCE) as answer:
            return answer.status, answer.url
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.url


def browser() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))


def test_a_link_printed_at_start_opens_the_dashboard_once(make_daemon: Daemons) -> None:
    daemon = make_daemon("", start=False)
    daemon.listen = [f"127.0.0.1:{free_port()}"]
    daemon.environment = {"JOURNAL_STREAM": ""}
    daemon.write("")
    daemon.start()
    base = f"http://{daemon.listen[0]}"
    said = eventually(lambda: re.search(rf"{base}/sign-in/once/[\w-]+", daemon.log()), "the link is printed")
    assert "sign-in-link" in daemon.log()
    first, second = browser(), browser()
    assert status_of(f"{base}/api/v1/status", first)[0] == 401
    assert status_of(said[0], first) == (200, f"{base}/")
    assert status_of(f"{base}/api/v1/status", first)[0] == 200
    assert status_of(said[0], second)[0] == 410
    another = daemon.command("sign-in-link")
    assert "once" in another.stderr
    assert status_of(another.stdout.strip(), second) == (200, f"{base}/")


def test_in_the_journal_there_is_no_link_and_with_a_token_none_is_needed(make_daemon: Daemons) -> None:
    config = '[check.none]\ntype = "certfile"\npath = "/none"\n'
    daemon = make_daemon(config, start=False, environment={"JOURNAL_STREAM": "8:1"})
    daemon.listen = [f"127.0.0.1:{free_port()}"]
    daemon.write(config)
    daemon.start()
    eventually(lambda: "first round done" in daemon.log(), "it has started")
    assert "wcr-watchd sign-in-link" in daemon.log()
    assert "/sign-in/once/" not in daemon.log()
    daemon.stop()
    daemon.output.unlink()
    daemon.config.write_text(daemon.config.read_text().replace("[web]", '[web]\ntoken = "a-token-of-enough-length"'))
    daemon.start()
    eventually(lambda: "first round done" in daemon.log(), "it has started again")
    assert "sign-in-link" not in daemon.log()
    assert json.loads(daemon.command("sign-in-link", "--json").stdout)["lasts"] == 900.0
