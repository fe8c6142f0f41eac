"""The certfile probe on real files, compared with what a real nginx serves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.real.ports import free_port
from tests.real.running import Observe, measured, names
from tests.real.servers.certificates import Authority, pem_of
from tests.real.servers.nginx import Nginx, Site
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.certificates import DAY

StartNginx = Callable[..., Nginx]


async def test_a_good_file(authority: Authority, observe: Observe) -> None:
    pair = authority.issue("www.example.org", "*.shop.example", ends=40)
    seen = await observe("certfile", path=pair.certificate, key=pair.key, names=["www.example.org", "a.shop.example"])
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), seen.summary
    assert measured(seen, "expires_in") == pytest.approx(40 * DAY, abs=120)
    assert measured(seen, "certificate_expires_in", certificate="intermediate-1") > 40 * DAY
    assert "served_differs" not in names(seen)
    assert seen.evidence["chain"].startswith("leaf: ")
    ((kind, name, value),) = ((one.kind, one.name, one.value) for one in seen.facts or ())
    assert (kind, name) == ("certificate", "www.example.org")
    assert re.fullmatch(r"serial \S+, until \d{4}-\d\d-\d\d", value)


async def test_what_is_wrong_with_a_file(authority: Authority, observe: Observe, tmp_path: Path) -> None:
    good, other = authority.issue("www.example.org"), authority.issue("www.example.org")
    locked = tmp_path / "locked.pem"
    locked.write_bytes(pem_of(ec.generate_private_key(ec.SECP256R1()), b"secret"))
    text = tmp_path / "text.pem"
    text.write_text("nothing")
    broken = tmp_path / "broken.pem"
    broken.write_bytes(Path(good.certificate).read_bytes()[:300])

    async def said(**options: object) -> tuple[Outcome, str, str]:
        seen = await observe("certfile", **options)
        return seen.outcome, seen.reason, seen.summary

    outcome, reason, words = await said(path=authority.issue("a", ends=-2).certificate)
    assert (outcome, reason) == (Outcome.DOWN, "content")
    assert "the leaf certificate expired" in words
    assert "is valid only from" in (await said(path=authority.issue("a", begins=2).certificate))[2]
    assert "is not for a.b.example" in (await said(path=good.certificate, names=["a.b.example"]))[2]
    assert "does not belong to the certificate" in (await said(path=good.certificate, key=other.key))[2]
    assert "protected by a passphrase" in (await said(path=good.certificate, key=str(locked)))[2]
    assert "holds no readable private key" in (await said(path=good.certificate, key=str(text)))[2]
    for path in (text, broken):
        outcome, reason, words = await said(path=str(path))
        assert (outcome, reason) == (Outcome.DOWN, "parse")
        assert "holds no readable certificate" in words


async def test_a_wildcard_stands_for_one_label(authority: Authority, observe: Observe) -> None:
    pair = authority.issue("*.example.org")
    assert (await observe("certfile", path=pair.certificate, names=["WWW.example.org"])).outcome is Outcome.UP
    for name in ("example.org", "a.b.example.org"):
        assert (await observe("certfile", path=pair.certificate, names=[name])).outcome is Outcome.DOWN


async def test_a_weak_file(authority: Authority, observe: Observe, tmp_path: Path) -> None:
    made = tmp_path / "sha1.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-days", "30", "-sha1"),
            *("-subj", "/CN=weak", "-keyout", str(tmp_path / "key"), "-out", str(made)),
        ],
        check=True,
        capture_output=True,
    )
    seen = await observe("certfile", path=str(made))
    assert measured(seen, "weaknesses") == 1  # nobody relies on the signature of what signs itself


async def test_the_end_of_a_root_in_the_file_concerns_nobody(
    authority: Authority, observe: Observe, tmp_path: Path
) -> None:
    """Visitors have the root themselves, so one sent along may even have expired."""
    leaf, root = authority.issue("www.example.org", ends=80), authority.self_signed("An old root", ends=-5)
    both = tmp_path / "both.pem"
    both.write_bytes(Path(leaf.certificate).read_bytes() + Path(root.certificate).read_bytes())
    seen = await observe("certfile", path=str(both))
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "expires_in") == pytest.approx(80 * DAY, abs=120)
    assert measured(seen, "certificate_expires_in", certificate="root") < 0


async def test_a_file_that_cannot_be_read_in_time_is_unknown(observe: Observe, tmp_path: Path) -> None:
    silent = tmp_path / "silent.pem"
    os.mkfifo(silent)
    seen = await observe("certfile", path=str(silent), timeout=0.2)
    with silent.open("wb"):  # lets the reading thread go
        pass
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")


async def test_unreadable_is_unknown(observe: Observe, tmp_path: Path) -> None:
    missing = await observe("certfile", path="/no/such/chain.pem")
    assert (missing.outcome, missing.reason) == (Outcome.UNKNOWN, "missing")
    assert "/no/such/chain.pem, does not exist" in missing.summary
    folder = await observe("certfile", path=str(tmp_path))
    assert (folder.outcome, folder.reason) == (Outcome.UNKNOWN, "missing")
    (tmp_path / "huge").write_bytes(b"a" * (5 * 1024 * 1024))
    huge = await observe("certfile", path=str(tmp_path / "huge"))
    assert (huge.outcome, huge.reason) == (Outcome.UNKNOWN, "parse")
    assert not names(missing) | names(folder) | names(huge)


def test_a_file_that_may_not_be_read(authority: Authority, tmp_path: Path) -> None:
    """Root may read everything, so this runs as nobody in a process of its own."""
    path = tmp_path / "private.pem"
    path.write_bytes(Path(authority.ca_file).read_bytes())
    path.chmod(0o600)
    code = (
        "import os, sys\n"
        "from wcr_watchd.kit.tls import UnusableFileError, read_file\n"
        "os.geteuid() == 0 and os.seteuid(65534) \n"
        "try: read_file(sys.argv[1], 'the certificate file')\n"
        "except UnusableFileError as error: print(error.reason, error.summary)\n"
    )
    if os.geteuid() != 0:
        path.chmod(0)
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("permission the certificate file, ")
    assert "LoadCredential=private.pem:" in done.stdout


async def test_renewed_but_not_reloaded(
    nginx: StartNginx, authority: Authority, observe: Observe, tmp_path: Path
) -> None:
    old, new = authority.issue("www.example.org", ends=5), authority.issue("www.example.org", ends=90)
    server = nginx(Site(certificate=old))
    served = f"127.0.0.1:{server.port}"
    same = await observe("certfile", path=old.certificate, served=served)
    assert measured(same, "served_differs") == 0
    differs = await observe("certfile", path=new.certificate, served=served)
    assert measured(differs, "served_differs") == 1
    assert differs.outcome is Outcome.UP  # the file is right; the rule over served_differs warns
    assert "Was the server reloaded?" in differs.evidence["served"]
    server.configure(Site(certificate=new))
    server.reload()
    deadline = time.monotonic() + 20
    while measured(await observe("certfile", path=new.certificate, served=served), "served_differs"):
        assert time.monotonic() < deadline, "nginx did not take the new certificate"


async def test_a_server_that_cannot_be_asked_leaves_the_difference_absent(
    authority: Authority, observe: Observe
) -> None:
    seen = await observe("certfile", path=authority.ca_file, served=f"127.0.0.1:{free_port()}")
    assert "served_differs" not in names(seen)
    assert "connection refused" in seen.evidence["absent"]
    assert seen.outcome is Outcome.UP


async def test_a_copy_of_the_certificate_in_use(authority: Authority, observe: Observe, tmp_path: Path) -> None:
    live, other = authority.issue("www.example.org"), authority.issue("www.example.org")
    copy, key = tmp_path / "copy.pem", tmp_path / "copy.key"
    copy.write_bytes(Path(live.certificate).read_bytes())
    key.write_bytes(Path(live.key).read_bytes())
    key.chmod(0o600)
    written = time.time() - 9 * DAY
    os.utime(copy, (written, written))
    options = {"path": str(copy), "key": str(key)}
    seen = await observe("certfile", original=live.certificate, **options)
    assert (seen.outcome, measured(seen, "copy_differs"), measured(seen, "key_exposed")) == (Outcome.UP, 0, 0)
    assert measured(seen, "copy_age") == pytest.approx(9 * DAY, abs=60)
    key.chmod(0o640)
    seen = await observe("certfile", original=other.certificate, **options)
    assert (measured(seen, "copy_differs"), measured(seen, "key_exposed")) == (1, 1)
    assert "Copy it again" in seen.evidence["original"]
    seen = await observe("certfile", original="/no/such/file", **options)
    assert seen.outcome is Outcome.UP
    assert "copy_differs" not in names(seen)
    assert "/no/such/file" in seen.evidence["absent"]
    assert not {"copy_age", "copy_differs", "key_exposed"} & names(await observe("certfile", **options))
