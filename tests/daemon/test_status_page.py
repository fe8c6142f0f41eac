"""The public status page of a real daemon: nothing internal in it, mails that survive a crash, a copy for nginx."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tests.daemon.harness import RunningDaemon, eventually
from tests.real.ports import free_port
from tests.real.servers.mail import Mail, MailRelay
from tests.real.servers.nginx import Nginx, Site

Daemons = Callable[..., RunningDaemon]
Start = Callable[..., Nginx]

SECRET = "zq"
"""Every internal name begins with it: nothing public may hold it."""


NOT_NOW = f"{datetime.now(UTC) + timedelta(days=3):%a}"
"""A day of the week that is not about to come: the daemon runs by the real clock."""


def ask(url: str, data: dict[str, str] | None = None, method: str = "") -> tuple[int, str, str]:
    """Status, headers and body of an answer, whatever it is."""
    body = urlencode(data).encode() if data is not None else None
    try:
        with urlopen(Request(url, data=body, method=method or None), timeout=20) as answer:
            return answer.status, str(answer.headers), answer.read().decode()
    except HTTPError as error:
        return error.code, str(error.headers), error.read().decode()


def config(target: str, relay: MailRelay, ca_file: Path, port: int, folder: Path, more: str = "") -> str:
    return f"""
[defaults]
retry = {{ times = 1, every = "500ms" }}
[channel.zqchannel]
type = "email"
servers = ["smtp://localhost:{relay.port}"]
ca_file = "{ca_file}"
from = "status@example.org"
helo = "mail.example.org"
[contact.zqcontact]
email = "zqlead@example.org"
[policy.zqpolicy.critical]
tell = []
[check.zqcheck]
type = "http"
url = "{target}zqpath"
every = "1s"
timeout = "900ms"
tags = ["zqtag"]
group = "zqgroup"
owner = "zqowner"
runbook = "https://zqwiki.example.org/"
policy = "zqpolicy"
[check.zqother]
type = "certfile"
path = "/zqfolder/zqfile.pem"
policy = "zqpolicy"
tags = ["zqtag"]
[maintenance.zqwindow]
when = "{NOT_NOW} 03:00-05:00"
tags = ["zqtag"]
comment = "zqcomment"
[status_page]
title = "Example"
url = "http://127.0.0.1:{port}"
listen = ["127.0.0.1:{port}"]
folder = "{folder}"
every = "1s"
posts = "publish"
post_after = "1s"
resolve_after = "2s"
mail = "zqchannel"
[status_page.component.site]
name = "Website"
group = "Public"
checks = ["zqcheck"]
chart = "response_time"
[status_page.component.all]
name = "Everything"
tags = ["zqtag"]
{more}
"""


def subscribe(base: str, relay: MailRelay, address: str) -> None:
    """Ask for mails and confirm by the link that comes."""
    before = len(relay.mails)
    assert ask(f"{base}/subscribe", {"address": address})[0] == 200
    eventually(lambda: len(relay.mails) > before, "the mail to confirm came")
    [link] = re.findall(r"http://\S+/confirm/\S+", relay.mails[-1].part("plain"))
    assert ask(link)[0] == 200
    assert ask(link, {})[0] == 200


def headline(base: str) -> str:
    found = re.search(r"<h1>(.*?)</h1>", ask(f"{base}/")[2])
    return found[1] if found else ""


def bare(mail: Mail) -> str:
    return mail.message.as_string() + mail.part("plain") + mail.part("html")


def test_nothing_internal_is_public_and_mails_survive_a_crash(
    make_daemon: Daemons, nginx: Start, mail_relay: MailRelay, mail_ca_file: Path, tmp_path: Path
) -> None:
    server, port, folder = nginx(Site()), free_port(), tmp_path / "copy"
    daemon = make_daemon(config(server.url(), mail_relay, mail_ca_file, port, folder), start=False)
    daemon.config.write_text(
        daemon.config.read_text().replace('name = "prod"', 'name = "zqwatchd"\nlocation = "zqplace"')
    )
    daemon.start()
    base = f"http://127.0.0.1:{port}"
    eventually(lambda: "Everything" in headline(base), f"the page is there: {headline(base)}")
    subscribe(base, mail_relay, "ann@example.org")
    subscribe(base, mail_relay, "ben@example.org")
    known = len(mail_relay.mails)

    # An outage while no relay takes mails, and the daemon dies before one does.
    mail_relay.stop()
    server.stop()
    eventually(lambda: "unavailable" in headline(base), f"the outage shows: {headline(base)}")
    owed = "SELECT count(*) FROM status_mail"
    eventually(lambda: sqlite3.connect(daemon.database).execute(owed).fetchone()[0] == 2, "two mails are owed")
    daemon.api("POST", "/incidents/1/notes", {"text": "zqnote"})
    daemon.api("POST", "/maintenance", {"check": ["zqother"], "for": "1h", "comment": "zqreason"})
    daemon.kill()
    mail_relay.start()
    daemon.start()
    eventually(lambda: len(mail_relay.mails) >= known + 2, "both were told after the crash")
    told = mail_relay.mails[known : known + 2]
    assert {mail.recipients for mail in told} == {("ann@example.org",), ("ben@example.org",)}
    assert {str(mail.message["Subject"]) for mail in told} == {
        "[Example] Investigating: Website and Everything are unavailable"
    }
    assert told[0].message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"

    # One click ends it, for one of the two.
    leave = str(told[0].message["List-Unsubscribe"]).strip("<> ")
    assert ask(leave, {"List-Unsubscribe": "One-Click"})[0] == 200
    known = len(mail_relay.mails)
    done = daemon.command("status-page", "post", "Slow pages", "We look.", "--component", "site", "--by", "zqby")
    assert done.returncode == 0, done.stderr
    eventually(lambda: len(mail_relay.mails) > known, "who is left is told of what a person writes")
    assert mail_relay.mails[known].recipients == told[1].recipients
    eventually(lambda: "Slow pages" in ask(f"{base}/feed.atom")[2], "it is in the feed")
    eventually(lambda: (folder / "badge" / "site.svg").exists(), "the copy is written")

    paths = [str(path.relative_to(folder)).removesuffix("index.html") for path in folder.rglob("*") if path.is_file()]
    public = {path: ask(f"{base}/{path}") for path in paths if not path.startswith(".")}
    assert {status for status, _, _ in public.values()} == {200}
    assert len(public) > 30
    public |= {
        "none": ask(f"{base}/none/at/all"),
        "a check": ask(f"{base}/checks/zqcheck".replace("zqcheck", "x")),
        "posted": ask(f"{base}/", {"a": "b"}),
        "no address": ask(f"{base}/subscribe", {"address": "x"}),
        "put": ask(f"{base}/", method="PUT"),
        "no link": ask(f"{base}/confirm/x"),
        "left": ask(f"{base}/unsubscribe/x", {}),
        "main": ask(f"{base}/status/"),
    }
    assert {path: text for path, text in public.items() if SECRET in str(text)} == {}
    written = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert [path for path, body in written.items() if SECRET.encode() in body] == []
    assert [bare(mail) for mail in mail_relay.mails if SECRET in bare(mail)] == []
    # Who wrote it is known inside.
    posts = daemon.api("GET", "/status-posts")["posts"]
    assert [one["by"] for one in posts[0]["updates"]] == ["zqby"]


def test_an_outage_is_drafted_published_by_a_person_and_resolved(
    make_daemon: Daemons, nginx: Start, mail_relay: MailRelay, mail_ca_file: Path, tmp_path: Path
) -> None:
    server, port = nginx(Site()), free_port()
    text = config(server.url(), mail_relay, mail_ca_file, port, tmp_path / "copy")
    daemon = make_daemon(text.replace('posts = "publish"', 'posts = "draft"'))
    base = f"http://127.0.0.1:{port}"
    eventually(lambda: daemon.outcome("zqcheck") == "up", "the site is up")
    server.stop()
    [draft] = eventually(lambda: daemon.api("GET", "/status-posts?open=1")["posts"], "it is drafted")
    assert (draft["published"], draft["automatic"]) == (False, True)
    assert "What goes on" not in ask(f"{base}/")[2]
    assert daemon.command("status-page", "publish", draft["id"]).stdout == "published; subscribers are told\n"
    eventually(lambda: "What goes on" in ask(f"{base}/")[2], "it is public")
    summary = json.loads(ask(f"{base}/api/v2/summary.json")[2])
    assert summary["incidents"][0]["status"] == "investigating"
    daemon.api("POST", f"/status-posts/{draft['id']}/updates", {"state": "resolved", "text": "Fixed.", "publish": True})
    eventually(lambda: not json.loads(ask(f"{base}/api/v2/incidents/unresolved.json")[2])["incidents"], "it is over")
    status, page = daemon.get("/status-posts")
    assert (status, "Website" in page) == (200, True)


def test_nginx_serves_the_copy_while_the_daemon_is_down(
    make_daemon: Daemons, nginx: Start, mail_relay: MailRelay, mail_ca_file: Path, tmp_path: Path
) -> None:
    target, port, folder = nginx(Site()), free_port(), tmp_path / "copy"
    daemon = make_daemon(config(target.url(), mail_relay, mail_ca_file, port, folder))
    eventually(lambda: (folder / "index.html").exists(), "the copy is written")
    # As in docs/status-page.md.
    front = nginx(
        Site(
            f"location / {{ proxy_pass http://127.0.0.1:{port}; proxy_connect_timeout 2s; "
            f"error_page 502 503 504 = @copy; }}\nlocation @copy {{ root {folder}; "
            f"try_files $uri $uri/index.html =404; add_header Cache-Control no-cache; }}",
            settings="include /etc/nginx/mime.types; types { application/atom+xml atom; text/calendar ics; }",
        )
    )
    assert "This is a copy" not in ask(front.url())[2]
    daemon.kill()
    status, headers, page = ask(front.url())
    assert status == 200
    assert "This is a copy, written at" in page
    assert 'data-as-of="' in page
    assert json.loads(ask(front.url("/api/v2/summary.json"))[2])["page"]["name"] == "Example"
    status, headers, _ = ask(front.url("/badge/status.svg"))
    assert (status, "image/svg+xml" in headers) == (200, True)
    assert ask(front.url("/history/"))[0] == 200
    style = re.search(r'href="(status\.\w+\.css)"', page)
    assert style is not None
    assert ask(front.url(f"/{style[1]}"))[0] == 200
    assert not list(folder.rglob("*.new"))
