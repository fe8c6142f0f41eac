"""Who gets in at a daemon that nobody configured users for: whoever reads its start, or may use its socket."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from http.cookiejar import CookieJar
from urllib.parse import urlencode

from tests.daemon.harness import PATIENCE, RunningDaemon, eventually
from tests.real.ports import free_port
from tests.real.servers.certificates import Authority

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
    eventually(lambda: "wcr-watchd sign-in-link" in daemon.log(), "it says how to sign in")
    assert "/sign-in/once/" not in daemon.log()
    daemon.stop()
    daemon.output.unlink()
    daemon.config.write_text(daemon.config.read_text().replace("[web]", '[web]\ntoken = "a-token-of-enough-length"'))
    daemon.start()
    eventually(lambda: "first round done" in daemon.log(), "it has started again")
    daemon.stop()  # by then all has been said
    assert "sign-in-link" not in daemon.log()
    daemon.start()
    assert json.loads(daemon.command("sign-in-link", "--json").stdout)["lasts"] == 900.0


def test_the_daemon_serves_https_and_the_link_says_so(make_daemon: Daemons, authority: Authority) -> None:
    pair, port = authority.issue("localhost", "127.0.0.1"), free_port()
    daemon = make_daemon("", start=False, environment={"JOURNAL_STREAM": ""})
    daemon.config.write_text(
        f'[store]\nurl = "sqlite:///{daemon.database}"\n[web]\nlisten = ["127.0.0.1:{port}"]\n'
        f'certificate = "{pair.certificate}"\nkey = "{pair.key}"\n'
    )
    daemon.start()
    link = daemon.sign_in_link()
    assert link.startswith(f"https://127.0.0.1:{port}/")
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    handlers = (urllib.request.HTTPSHandler(context=trust), urllib.request.HTTPCookieProcessor(CookieJar()))
    opener = urllib.request.build_opener(*handlers)
    assert status_of(link, opener) == (200, f"https://127.0.0.1:{port}/")


def test_users_sign_in_and_what_they_do_is_recorded_over_a_restart(make_daemon: Daemons) -> None:
    hashed = subprocess.run(
        [sys.executable, "-m", "wcr_watchd", "user", "hash"],
        input="correct horse battery\n",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    daemon = make_daemon("", start=False)
    daemon.listen = [f"127.0.0.1:{free_port()}"]
    daemon.write(f'[user.ann]\npassword = "{hashed}"\nrole = "admin"\n')
    daemon.start()
    base, jar = f"http://{daemon.listen[0]}", CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    form = urlencode({"name": "ann", "password": "correct horse battery"}).encode()
    with opener.open(urllib.request.Request(f"{base}/sign-in", form, {"Origin": base}), timeout=PATIENCE) as answer:
        assert answer.url == f"{base}/"
    assert hashed not in daemon.log()
    assert daemon.stop() == 0
    daemon.start()
    assert status_of(f"{base}/audit", opener) == (200, f"{base}/audit")
    rows = daemon.command_json("audit", "--who", "ann")
    assert [(row["action"], row["result"], row["source"]) for row in rows] == [("sign in", "done", "127.0.0.1")]
    assert "sign in" in daemon.command("audit").stdout


def test_a_password_in_the_file_is_refused_with_what_to_do(make_daemon: Daemons) -> None:
    daemon = make_daemon('[user.ann]\npassword = "correct horse battery"\n', start=False)
    done = daemon.command("check-config", "-c", str(daemon.config))
    assert done.returncode == 2
    assert "user.ann.password: is not an Argon2 hash" in done.stderr
    assert "wcr-watchd user hash" in done.stderr
    assert "correct horse" not in done.stderr
