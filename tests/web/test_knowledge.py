"""The knowledge folder on the pages and in the API: what is shown where, and that no text can do harm."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.config import knowledge
from tests.web.access import access_for
from tests.web.showcase import NOW, Showcase
from tests.web.test_web import Served, serve
from wcr_watchd.core.guidance import with_runbook
from wcr_watchd.core.knowledge import EntryKind
from wcr_watchd.core.review import Review
from wcr_watchd.kit.markdown import outline, to_html
from wcr_watchd.web.dashboard import knowledge as pages
from wcr_watchd.web.guidance import target


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    control = Showcase()
    control.troubled()
    book = knowledge.loaded(tmp_path, bad="no head").setup.knowledge
    checks = dict(control.setup.checks)
    checks["database"] = replace(checks["database"], tags=("data",))
    checks["api"] = replace(checks["api"], runbook="database", vendor="hosting")
    control.setup = replace(control.setup, knowledge=book, checks=checks)
    control.setup = replace(
        control.setup, checks={name: with_runbook(control.setup, one) for name, one in checks.items()}
    )
    async for one in serve(access_for(), control=control, signed_in=True):
        yield one


async def test_an_incident_shows_what_to_do_and_whom_to_ask(served: Served) -> None:
    _, page = await served.get("/incidents/42")
    assert '<details class="entry" open><summary><span class="badge">runbook</span> The database does not' in page
    assert '<a href="/knowledge/hosting#tickets" rel="noopener noreferrer">hosting</a>' in page
    assert '<a href="/knowledge/database" rel="noreferrer">Runbook</a>' in page
    assert '+1 555 0100, &lt;<a href="mailto:support@hosting.example">support@hosting.example</a>&gt;' in page
    assert page.index("<dt>After 1 h</dt><dd>second level") < page.index("<dt>After 4 h</dt><dd>the manager")
    assert 'href="/knowledge/disk">One disk holds all data</a>' in page
    assert "What ate the connections" not in page


async def test_an_article_comes_with_the_words_it_is_about(served: Served) -> None:
    found = served.control.state.incidents[42]
    served.control.state.incidents[42] = replace(found, summary="FATAL: sorry, too many clients already")
    assert "What ate the connections" in (await served.get("/incidents/42"))[1]
    _, text = await served.get("/api/v1/incidents/42/guidance")
    assert [one["name"] for one in json.loads(text)["related"]] == ["disk", "connections"]


async def test_a_check_shows_its_runbook_closed(served: Served) -> None:
    _, page = await served.get("/checks/database")
    assert '<details class="entry"><summary><span class="badge">runbook</span>' in page
    assert '<a class="button" href="/knowledge/database" rel="noreferrer">Runbook</a>' in page
    assert "What is written down" not in (await served.get("/checks/mail"))[1]


async def test_the_list_finds_by_text_kind_and_what_is_due(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    status, page = await served.get("/knowledge")
    assert status == 200
    assert "1 of 4 entries is to be read again, 2 of 4 entries are not read yet" in page
    assert "bad.md:1: does not begin with a head" in page
    _, found = await served.get("/knowledge?q=customer+number")
    assert 'href="/knowledge/hosting"' in found
    assert 'href="/knowledge/disk"' not in found
    assert 'href="/knowledge/hosting"' in (await served.get("/knowledge?q=4711"))[1]
    _, due = await served.get("/knowledge?due=1")
    assert 'href="/knowledge/database"' not in due
    _, risks = await served.get("/knowledge?kind=risk")
    assert 'href="/knowledge/disk"' in risks
    assert 'href="/knowledge/hosting"' not in risks
    monkeypatch.setattr(pages, "SHOWN", 1)
    assert "And 3 more: search" in (await served.get("/knowledge"))[1]
    assert "No entry is like that" in (await served.get("/knowledge?q=none+is+like+that"))[1]


async def test_an_entry_has_a_page_on_which_nothing_can_run(served: Served) -> None:
    status, page = await served.get("/knowledge/database")
    assert status == 200
    assert '<h2 id="is-it-running">Is it running?</h2>' in page
    assert "&lt;b onclick=" in page
    assert 'href="javascript:' not in page
    assert "style=" not in page
    assert '<td class="number">2</td>' in page
    assert 'class="chip" href="/checks/api"' in page
    assert (await served.get("/knowledge/gone"))[0] == 404
    assert "It is to be read again" in (await served.get("/knowledge/hosting"))[1]
    assert "Nobody has read it yet" in (await served.get("/knowledge/disk"))[1]


async def test_a_review_becomes_a_draft_that_the_folder_takes(served: Served, tmp_path: Path) -> None:
    served.control.reviews[42] = Review(42, root_cause="A leak\n+++\n# of connections", by="ann", at=NOW)
    found = served.control.state.incidents[42]
    served.control.state.incidents[42] = replace(found, summary='said "503" \\ \x7f<b>\nand more')
    _, text = await served.get("/incidents/42/article.md")
    book = knowledge.loaded(tmp_path, draft=text).setup.knowledge
    entry = book.entries["draft"]
    assert (entry.kind, entry.owner, entry.title) == (EntryKind.ARTICLE, "ann", 'api: said "503" \\ <b> and more')
    assert [str(one) for one in entry.matchers] == ['check="api"']
    assert entry.reviewed is not None
    assert "## Root cause\n\nA leak" in entry.text
    assert "## Prevention\n\nNot written yet." in entry.text
    assert 'href="/incidents/42/article.md"' in (await served.get("/incidents/42"))[1]


async def test_without_a_folder_the_page_says_what_it_is_for(served: Served) -> None:
    served.control.setup = replace(served.control.setup, knowledge=type(served.control.setup.knowledge)())
    assert "Write them as Markdown files" in (await served.get("/knowledge"))[1]


async def test_the_api_lists_entries_and_tells_one(served: Served) -> None:
    _, text = await served.get("/api/v1/knowledge?due=1")
    listed = json.loads(text)
    assert [one["name"] for one in listed["entries"]] == ["hosting", "disk", "connections"]
    assert listed["entries"][0]["support"]["escalation"][0] == {"after": 3600.0, "contact": "second level"}
    assert "does not begin with a head" in listed["problems"][0]
    _, text = await served.get("/api/v1/knowledge?limit=3")
    assert json.loads(text)["next"] == "database"
    _, text = await served.get("/api/v1/knowledge?limit=3&cursor=database")
    assert ([one["name"] for one in json.loads(text)["entries"]], json.loads(text)["next"]) == (["connections"], None)
    _, text = await served.get("/api/v1/knowledge/database")
    entry = json.loads(text)
    assert (entry["checks"], entry["reviewed"], entry["due"]) == (["api", "database"], "2026-11-01", False)
    assert entry["text"].startswith("1. Is it")
    _, text = await served.get("/api/v1/checks/api/guidance")
    found = json.loads(text)
    assert found["runbook"] == "database"
    assert [one["name"] for one in found["vendors"]] == ["hosting"]
    for path in ("/knowledge/gone", "/checks/gone/guidance", "/incidents/999/guidance"):
        assert (await served.get(f"/api/v1{path}"))[0] == 404


@pytest.mark.parametrize(
    ("href", "leads"),
    [
        ("https://example.org/a.md", "https://example.org/a.md"),
        ("mailto:ann@example.org", "mailto:ann@example.org"),
        ("/checks/api", "/checks/api"),
        ("#here", "#here"),
        ("../vendors/hosting.md#tickets", "/knowledge/hosting#tickets"),
        ("picture.png", ""),
        ("//other.example/x", "//other.example/x"),
    ],
)
def test_where_a_link_leads_on_our_pages(href: str, leads: str) -> None:
    assert target(href) == leads


def test_links_have_their_lines_and_headings_their_names() -> None:
    text = "# A `b` c!\n\none [x](a.md)\ntwo <https://z.example>\n\n* three [y][ref]\n\n# A b c\n\n[ref]: https://r.example\n"
    found = outline(text)
    assert [(link.target, link.line) for link in found.links] == [
        ("a.md", 3),
        ("https://z.example", 4),
        ("https://r.example", 6),
    ]
    assert found.anchors == {"a-b-c", "a-b-c-1"}
    assert "<h3>A <code>b</code> c!</h3>" in to_html(text, lambda href: href, below=2)
    levels = to_html("### a\n# b\n#### c\n## d\n", str, below=1)
    assert levels.split() == ["<h2>a</h2>", "<h2>b</h2>", "<h3>c</h3>", "<h3>d</h3>"]
    assert "<a>x</a>" in to_html(text, lambda href: "")
