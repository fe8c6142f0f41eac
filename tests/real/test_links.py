"""The links probe on folders of files and on real and odd servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.real.ports import free_port
from tests.real.running import Observe, measured, probe_of
from tests.real.servers.nginx import Nginx, Site
from tests.real.servers.odd import Odd, silence
from wcr_watchd.core.model import Outcome
from wcr_watchd.probes.links import _from

StartNginx = Callable[..., Nginx]
StartOdd = Callable[..., Awaitable[Odd]]
PAGES = """
location / { return 200 "a page"; }
location = /gone { return 410; }
location = /moved { return 302 /; }
location = /private { return 401; }
"""


def write(folder: Path, **files: str) -> str:
    for name, text in files.items():
        path = folder / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(folder)


async def test_dead_links_are_told_with_file_line_and_why(nginx: StartNginx, observe: Observe, tmp_path: Path) -> None:
    base = nginx(Site(PAGES)).url("")
    database = f"""+++
kind = "runbook"
+++
# Database

See [here]({base}/), [moved]({base}/moved) and
[private]({base}/private), [gone]({base}/gone#part).

* [hosting](vendors/hosting.md#tickets), [no such part](vendors/hosting.md#fax), [own](#database), [none](#none)
* [lost](lost.md), [out](../../etc/passwd), [mail](mailto:ann@example.org), [check](/checks/api)
* [gone again]({base}/gone)
"""
    folder = write(
        tmp_path, database=database, README="[not looked at](lost.md)", **{"vendors/hosting": "## Tickets\n"}
    )
    seen = await observe("links", folder=folder)
    assert seen.outcome is Outcome.UP
    assert seen.reason == "links"
    assert seen.evidence["broken"].splitlines() == [
        f"database.md:7: {base}/gone#part: answered 410 Gone",
        'database.md:9: vendors/hosting.md#fax: hosting.md has no heading "fax"',
        'database.md:9: #none: database.md has no heading "none"',
        "database.md:10: lost.md: there is no such file",
        "database.md:10: ../../etc/passwd: leads out of the folder",
        f"database.md:11: {base}/gone: answered 410 Gone",
    ]
    assert "and 3 more" in seen.summary
    assert (measured(seen, "files"), measured(seen, "broken"), measured(seen, "links")) == (2, 6, 12)


async def test_all_is_well(nginx: StartNginx, observe: Observe, tmp_path: Path) -> None:
    base = nginx(Site(PAGES)).url("")
    seen = await observe("links", folder=write(tmp_path, a=f"[x]({base}/) [y](b.md)", b="<" + base + "/moved>"))
    assert (seen.outcome, seen.reason, measured(seen, "broken")) == (Outcome.UP, "", 0)
    assert seen.summary == "3 links of 2 files lead somewhere"


async def test_what_a_vendors_head_and_the_runbooks_of_checks_lead_to_is_asked(
    nginx: StartNginx, observe: Observe, tmp_path: Path
) -> None:
    base = nginx(Site(PAGES)).url("")
    head = f"""+++
kind = "vendor"
match = ['target=~"{base}/gone.*"']
support = "tickets ({base}/private), or {base}/gone, or +1 555 0100"
[[escalation]]
after = "1h"
contact = "the form of {base}/gone."
+++
# A vendor
"""
    runbooks = {"api": f"{base}/", "site": f"{base}/gone#steps", "task.restore": f"{base}/moved"}
    seen = await observe("links", folder=write(tmp_path, vendor=head), runbooks=runbooks)
    assert seen.evidence["broken"].splitlines() == [
        f"runbook of site: {base}/gone#steps: answered 410 Gone",
        f"vendor.md:4: {base}/gone: answered 410 Gone",
        f"vendor.md:7: {base}/gone: answered 410 Gone",
    ]
    assert (measured(seen, "broken"), measured(seen, "links")) == (3, 4)


async def test_a_page_that_is_silent_costs_its_patience_and_a_run_its_time(
    odd: StartOdd, nginx: StartNginx, observe: Observe, tmp_path: Path
) -> None:
    server, base = await odd(silence), nginx(Site(PAGES)).url("")
    silent = "\n".join(f"<{server.url(f'/{number}')}>" for number in range(6))
    folder = write(tmp_path, a=silent, z=f"<{base}/>")
    seen = await observe("links", folder=folder, patience="1s")
    assert "a.md:1: " in seen.summary
    assert "no answer within 1 s" in seen.summary
    assert (measured(seen, "broken"), measured(seen, "not_asked")) == (6, 0)
    short = await observe("links", folder=folder, timeout=0.5)
    assert measured(short, "not_asked") == 7
    assert "7 pages are asked the next time" in short.summary


def test_what_was_left_comes_first() -> None:
    assert _from(["a", "b", "c"], "b") == ["b", "c", "a"]
    assert _from(["a", "b"], "gone") == ["a", "b"]


async def test_when_nothing_answers_nothing_is_said_of_links(observe: Observe, tmp_path: Path) -> None:
    port = free_port()
    text = f"<http://127.0.0.1:{port}/a> <http://127.0.0.2:{port}/b> [lost](lost.md)"
    seen = await observe("links", folder=write(tmp_path, a=text))
    assert (seen.outcome, "offline" in seen.summary) == (Outcome.UNKNOWN, True)
    one_host = await observe("links", folder=str(tmp_path), exclude=("http://127.0.0.2",))
    assert (one_host.outcome, measured(one_host, "broken")) == (Outcome.UP, 2)
    left_out = await observe("links", folder=str(tmp_path), exclude=("http://127.",))
    assert (left_out.outcome, measured(left_out, "broken")) == (Outcome.UP, 1)


async def test_a_folder_that_is_not_there_is_down_and_a_file_that_cannot_be_read_is_told(
    observe: Observe, tmp_path: Path
) -> None:
    gone = await observe("links", folder=str(tmp_path / "gone"))
    assert (gone.outcome, gone.reason) == (Outcome.DOWN, "missing")
    (tmp_path / "latin.md").write_bytes(b"caf\xe9")
    (tmp_path / "dir.md").mkdir()
    seen = await observe("links", folder=write(tmp_path, good="[x](good.md)"))
    assert measured(seen, "files") == 1
    assert "latin.md" in seen.evidence["not read"]
    assert "dir.md: is not a regular file" in seen.evidence["not read"]


@pytest.mark.parametrize("folder", ["relative", ""])
def test_the_folder_is_named_from_the_root(folder: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        probe_of("links", {"folder": folder})
