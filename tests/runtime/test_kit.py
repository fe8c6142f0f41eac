"""Redaction, systemd's protocol, log lines, marks of processes."""

from __future__ import annotations

import base64
import html
import io
import json
import os
import shutil
import socket
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from wcr_watchd.kit.log import configure
from wcr_watchd.kit.redact import Redactor
from wcr_watchd.kit.subprocess import mark_of
from wcr_watchd.kit.systemd import notify, watchdog_interval

SECRET = 'p@ss"w/ord+1'


@pytest.mark.parametrize(
    "text",
    [
        f"it is {SECRET}!",
        f"url?token={quote(SECRET, safe='')}",
        f"Basic {base64.b64encode(SECRET.encode()).decode()}",
        json.dumps({"a": SECRET}),
    ],
)
def test_known_secrets_are_masked_in_the_forms_in_which_they_travel(text: str) -> None:
    masked = Redactor([SECRET]).text(text)
    assert "***" in masked
    for form in (SECRET, quote(SECRET, safe=""), base64.b64encode(SECRET.encode()).decode()):
        assert form not in masked


@pytest.mark.parametrize("user", ["", "a", "ab", "abc"])
@pytest.mark.parametrize("secret", ["hunter2-secret", SECRET, "zwölf boxkämpfer", "x/y\\z&<'>"])
def test_secrets_are_found_in_whatever_they_are_wrapped(secret: str, user: str) -> None:
    redactor = Redactor([secret])
    pair = f"{user}:{secret}"
    for wrapped in (
        base64.b64encode(pair.encode()).decode(),
        base64.urlsafe_b64encode(f"{pair}:{user}".encode()).decode(),
        json.dumps(json.dumps({"password": secret})),
        json.dumps([secret], ensure_ascii=False),
        html.escape(secret),
        repr(secret),
        quote(secret).lower(),
    ):
        assert "***" in redactor.text(wrapped), wrapped
        assert secret not in redactor.text(wrapped)


def test_what_a_cut_has_left_of_a_secret_is_masked_and_words_are_not() -> None:
    redactor = Redactor(["hunter2-secret", "https://hooks.example.org/T0/B0/key"])
    for rest in ("hunter2-secre", "hunter2-"):
        for end in ("", '", expected "ok"', "…", " …", "..."):
            assert redactor.text(f"it said {rest}{end}") == f"it said ***{end}"
    for harmless in ("hunter2 is no secret", "hunter2-secession", "hunt", "https://hooks.example.org answered 500"):
        assert redactor.text(harmless) == harmless


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://watch:geheim@db/app", "postgresql://watch:***@db/app"),
        ("redis://:geheim@cache", "redis://:***@cache"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("https://example.org:8443/a:b@c", "https://example.org:8443/a:b@c"),
        ("http://api/health?token=geheim", "http://api/health?token=***"),
        ("http://api/?a=1&access_token=geheim&b=2: 500", "http://api/?a=1&access_token=***&b=2: 500"),
        ('<a href="http://api/?a=1&amp;X-Amz-Signature=geheim">', '<a href="http://api/?a=1&amp;X-Amz-Signature=***">'),
        ('"GET /reset?token=geheim HTTP/1.1" 500', '"GET /reset?token=*** HTTP/1.1" 500'),
        ("http://api/?key=geheim", "http://api/?key=***"),
        ("http://api/?sig=geheim#x", "http://api/?sig=***#x"),
        ("http://api/?token=${env:TOKEN}", "http://api/?token=${env:TOKEN}"),
        ("http://api/?design=3&tokens=4&keyword=2", "http://api/?design=3&tokens=4&keyword=2"),
    ],
)
def test_what_looks_like_a_password_is_masked_too(text: str, masked: str) -> None:
    assert Redactor().text(text) == masked


@given(st.text(min_size=4), st.text(), st.text())
def test_no_known_secret_ever_comes_through(secret: str, before: str, after: str) -> None:
    masked = Redactor([secret]).text(before + secret + after)
    assert secret not in masked or secret in "***" or "***" in secret


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(str(tmp_path / "notify"))
    receiver.settimeout(5)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return receiver


def test_notifying_systemd(manager: socket.socket) -> None:
    with manager:
        assert notify("READY=1", "STATUS=two\nlines")
        assert manager.recv(4096) == b"READY=1\nSTATUS=two lines"
        notify("RELOADING=1")
        lines = dict(line.split("=") for line in manager.recv(4096).decode().splitlines())
        assert int(lines["MONOTONIC_USEC"]) > 0


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/no/such/socket")
    assert not notify("READY=1")


def test_watchdog_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert watchdog_interval() is None
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert watchdog_interval() == 30.0
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    assert watchdog_interval() is None


@pytest.mark.parametrize("under_systemd", [True, False])
def test_log_lines_are_json_without_secrets(under_systemd: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INVOCATION_ID", raising=False)
    if under_systemd:
        monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    else:
        monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    out = io.StringIO()
    configure("info", Redactor([SECRET]), out)
    structlog.get_logger("x").error("it failed", why=f"with {SECRET}", nested={"a": [SECRET]})
    structlog.get_logger("x").debug("not shown")
    line = out.getvalue()
    if under_systemd:
        assert line.startswith("<3>")
        line = line[3:]
    body = json.loads(line)
    assert body["event"] == "it failed"
    assert body["level"] == "error"
    assert SECRET not in out.getvalue()
    structlog.reset_defaults()


def test_a_program_of_any_name_has_a_mark(tmp_path: Path) -> None:
    """Of a name that is no UTF-8 it could not be told that it runs, and its run failed for that."""
    program = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, b"60"]) as process:
        try:
            assert mark_of(process.pid).split(":")[1] == str(process.pid)
        finally:
            process.kill()
