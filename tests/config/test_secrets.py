"""Where secrets come from, and that they are known to whoever must hide them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wcr_watchd.config.load import Loaded, load, loads
from wcr_watchd.config.secrets import LARGEST_SECRET
from wcr_watchd.core.errors import ConfigError

CHECK = '[check.api]\ntype = "http"\nurl = "http://localhost/"\nauth.bearer = "{}"\n'


def bearer(loaded: Loaded) -> str:
    probe = loaded.every_check.probes["api"]
    return str(probe.auth.bearer.get_secret_value())  # type: ignore[attr-defined]


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        loads(text, "w.toml")
    (only,) = raised.value.problems
    return str(only)


def test_from_the_environment_inside_a_longer_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHD_A", "one")
    monkeypatch.setenv("WATCHD_B", "two")
    loaded = loads(CHECK.format("<${env:WATCHD_A}-${env:WATCHD_B}>"), "w.toml")
    assert bearer(loaded) == "<one-two>"
    assert loaded.secrets >= {"one", "two"}


def test_from_a_file_without_its_last_newline(tmp_path: Path) -> None:
    for content, value in (("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), ("a\nb\n\n", "a\nb\n"), ("x", "x")):
        (tmp_path / "secret").write_bytes(content.encode())
        loaded = loads(CHECK.format(f"${{file:{tmp_path}/secret}}"), "w.toml")
        assert bearer(loaded) == value
        assert value in loaded.secrets


def test_from_a_file_relative_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("near")
    (tmp_path / "main.toml").write_text(CHECK.format("${file:secret}"))
    assert bearer(load(tmp_path / "main.toml")) == "near"


def test_from_a_credential_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "token").write_text("from systemd\n")
    assert bearer(loads(CHECK.format("${credential:token}"), "w.toml")) == "from systemd"
    assert "add LoadCredential=other:/path to the unit" in problem(CHECK.format("${credential:other}"))
    assert '"../token" is not the name of a credential' in problem(CHECK.format("${credential:../token}"))


def test_twice_the_dollar_is_no_reference() -> None:
    loaded = loads(CHECK.format("$${env:HOME} $x ${"[:-2] + "$5"), "w.toml")
    assert bearer(loaded) == "${env:HOME} $x $5"


def test_what_cannot_be_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHD_EMPTY", "")
    (tmp_path / "large").write_bytes(b"x" * (LARGEST_SECRET + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    os.mkfifo(tmp_path / "pipe")
    where = "w.toml:4: check.api.auth.bearer: "
    assert problem(CHECK.format("${env:WATCHD_EMPTY}")) == where + "${env:WATCHD_EMPTY} is empty"
    for name, said in (
        ("large", "has more than 65536 bytes"),
        ("binary", "is not UTF-8 text"),
        ("pipe", f"cannot be read by user id {os.geteuid()}: is not a regular file"),
        ("..", f"cannot be read by user id {os.geteuid()}: is not a regular file"),
    ):
        reference = f"${{file:{tmp_path}/{name}}}"
        assert problem(CHECK.format(reference)) == f"{where}{reference}: {tmp_path / name} {said}"


def test_a_missing_secret_hides_no_other_problem_and_brings_no_further_one() -> None:
    text = '[channel.slack]\ntype = "slack"\nwebhook = "${env:WATCHD_NOWHERE}"\nlimt = "1/1h"\n'
    with pytest.raises(ConfigError) as raised:
        loads(text, "w.toml")
    assert [one.key for one in raised.value.problems] == ["channel.slack.webhook", "channel.slack.limt"]


def test_the_password_in_a_url_is_hidden_by_itself_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHD_DSN", "postgresql://watchd:p%40ss-word@db/x")
    loaded = loads(CHECK.format("${env:WATCHD_DSN}"), "w.toml")
    assert {"postgresql://watchd:p%40ss-word@db/x", "p%40ss-word", "p@ss-word"} <= loaded.secrets


def test_secrets_that_stand_in_the_file_are_hidden_but_not_every_header() -> None:
    text = (
        CHECK.format("literal-token")
        + 'headers.Host = "www.example.org"\n[web]\ntoken = "0123456789abcdef"\n'
        + '[channel.slack]\ntype = "slack"\nwebhook = "https://hooks.example/T1"\n'
    )
    assert loads(text, "w.toml").secrets == {"literal-token", "0123456789abcdef", "https://hooks.example/T1"}
