"""The page probe on pages of a real nginx, and on those that no proper server serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.real.running import Observe, measured
from tests.real.servers.certificates import Authority
from tests.real.servers.nginx import Nginx, Site
from tests.real.servers.odd import Odd
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.markup import Asset, PageTooSlowError, _feed, _Fields, field_of, page_of

StartNginx = Callable[..., Nginx]
StartOdd = Callable[..., Awaitable[Odd]]
HTML = """<!doctype html><html><head><title>Upcoming
 events</title>
<link rel="stylesheet" href="/main.css"><link rel="preload stylesheet" href="extra.css#part">
<link rel="alternate stylesheet" href="/never.css"><link rel="icon" href="/icon.svg"><link rel="canonical" href="/">
<script src="/app.js" type="module"></script><script>let inline = 1;</script><script src="/app.js"></script>
</head><body><img src="/picture.png"><img src="/later.png" loading="lazy"><img src="data:image/png;base64,AA==">
<img src=""><a href="/elsewhere">x</a><noscript><img src="http://[broken/x.png"></noscript></body></html>
"""
TYPES = """
types { text/html html; text/css css; application/javascript js; image/svg+xml svg; image/png png; }
location / { index index.html; }
location /moved { return 302 /; }
location = /text { default_type text/plain; return 200 "text"; }
location = /error { return 500; }
"""
FILES = {
    "index.html": HTML,
    "main.css": "a {}",
    "extra.css": "b {}" * 100,
    "app.js": "let x;",
    "icon.svg": "<svg/>",
    "picture.png": "\x89PNG",
}


@pytest.fixture
def site(nginx: StartNginx) -> Nginx:
    """A site whose page and assets are all there."""
    server = nginx(Site(TYPES))
    for name, content in FILES.items():
        (server.folder / name).write_text(content)
    return server


async def test_a_page_with_all_its_assets(site: Nginx, observe: Observe) -> None:
    seen = await observe("page", url=site.url("/moved"))
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), seen.summary
    assert seen.summary.startswith('"Upcoming events" with 5 of 5 assets')
    assert measured(seen, "assets") == 5
    assert measured(seen, "assets_failed") == 0
    assert measured(seen, "size", kind="css") == len(FILES["main.css"] + FILES["extra.css"])
    assert measured(seen, "size", kind="js") == len(FILES["app.js"])
    assert measured(seen, "size", kind="html") == len(HTML)
    assert measured(seen, "page_size") == sum(len(content.encode()) for content in FILES.values())
    assert 0 < measured(seen, "response_time") < measured(seen, "page_time")
    assert 0 < measured(seen, "slowest_time", kind="image") < measured(seen, "page_time")
    assert site.url("/app.js") in seen.evidence["slowest assets"]
    log = (site.folder / "access.log").read_text()
    assert log.count("GET /app.js") == 1
    assert "never.css" not in log
    assert "later.png" not in log


async def test_assets_that_fail_are_told(site: Nginx, observe: Observe) -> None:
    (site.folder / "main.css").unlink()
    (site.folder / "app.js").unlink()
    (site.folder / "index.html").write_text(
        HTML.replace("/icon.svg", "/text").replace("/picture.png", "http://127.0.0.1:1/p.png")
    )
    seen = await observe("page", url=site.url())
    assert (seen.outcome, seen.reason) == (Outcome.UP, "content")
    assert measured(seen, "assets_failed") == 4
    failed = seen.evidence["failed assets"]
    assert f"{site.url('/main.css')}: answered 404, expected 200" in failed
    assert f"{site.url('/app.js')}: answered 404, expected 200" in failed
    assert f"{site.url('/text')}: is text/plain, expected image/" in failed
    assert "http://127.0.0.1:1/p.png: no connection" in failed
    assert "4 failed" in seen.summary


async def test_assets_can_be_left_out(site: Nginx, observe: Observe) -> None:
    (site.folder / "app.js").unlink()
    seen = await observe("page", url=site.url(), exclude=[site.url("/app")])
    assert measured(seen, "assets_failed") == 0
    few = await observe("page", url=site.url(), max_assets=2)
    assert few.summary.startswith('"Upcoming events" with 2 of 5 assets')


async def test_keys_go_to_the_own_server_only(site: Nginx, odd: StartOdd, observe: Observe) -> None:
    other = await odd(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 1\r\n\r\nx")
    (site.folder / "index.html").write_text(f'<title>x</title><img src="{other.url()}">')
    seen = await observe("page", url=site.url(), headers={"X-Key": "geheim"})
    assert measured(seen, "assets_failed") == 0
    assert "geheim" not in other.requests[0]


async def test_over_tls_with_an_authority_of_ones_own(
    nginx: StartNginx, authority: Authority, observe: Observe
) -> None:
    server = nginx(Site(TYPES, certificate=authority.issue("localhost")))
    for name, content in FILES.items():
        (server.folder / name).write_text(content)
    url = server.url("/", scheme="https", host="localhost")
    seen = await observe("page", url=url, ca_file=authority.ca_file)
    assert measured(seen, "assets_failed") == 0, seen.evidence
    refused = await observe("page", url=url)
    assert (refused.outcome, refused.reason) == (Outcome.DOWN, "tls")


@pytest.mark.parametrize(
    ("path", "reason", "words"),
    [
        ("/error", "status", "answered 500"),
        ("/text", "content", "it is text/plain"),
        ("/none", "status", "answered 404"),
    ],
)
async def test_no_page(path: str, reason: str, words: str, site: Nginx, observe: Observe) -> None:
    seen = await observe("page", url=site.url(path))
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, reason)
    assert words in seen.summary


async def test_too_large_a_page(odd: StartOdd, observe: Observe) -> None:
    server = await odd(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n" + b"<p>" * 1_000_000)
    seen = await observe("page", url=server.url())
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "too_large")


async def test_a_large_picture_is_no_failure(site: Nginx, observe: Observe) -> None:
    with (site.folder / "picture.png").open("wb") as file:
        file.truncate(6 * 1024 * 1024)
    seen = await observe("page", url=site.url())
    assert measured(seen, "assets_failed") == 0
    assert measured(seen, "size", kind="image") == pytest.approx(4 * 1024 * 1024, rel=0.001)


# --- reading pages ----------------------------------------------------------------------------------------------------


def test_the_base_of_a_page_counts() -> None:
    page = page_of('<base href="/app/"><script src="x.js"></script>', "https://a.example/deep/page")
    assert list(page.assets) == [Asset("js", "https://a.example/app/x.js")]


@pytest.mark.parametrize(
    "text",
    [
        "<",
        "<!--",
        "<![CDATA[",
        "<script src='",
        "\0" * 10,
        "<a " * 1_000,
        "&#xffffffff;",
        "<base href='http://['><img src=x>",
    ],
)
def test_broken_pages_are_read_as_far_as_they_go(text: str) -> None:
    page_of(text, "http://a.example/")


def test_a_page_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wcr_watchd.kit.markup.PATIENCE", -1.0)
    with pytest.raises(PageTooSlowError):
        _feed(_Fields("x"), "<p>")


def test_fields_of_forms() -> None:
    text = (
        '<meta name="csrf" content="abc"><input name=token value="t&amp;1"><input name=empty>'
        '<meta property="og:x" content=y>'
    )
    assert field_of(text, "csrf") == "abc"
    assert field_of(text, "token") == "t&1"
    assert field_of(text, "empty") == ""
    assert field_of(text, "og:x") == "y"
    assert field_of(text, "none") is None


def test_files_of_the_site_are_read(tmp_path: Path) -> None:
    """The page of the tests names what its tests count."""
    kinds = [asset.kind for asset in page_of(HTML, "http://a.example/").assets]
    assert kinds == ["css", "css", "image", "js", "image"]


@pytest.mark.parametrize("odd", ["<![CDA[ x ]]>", "<![if IE]>", "<![CDATA[ a > b ]]>", "<![", "<!>", "<!doctype <[>"])
def test_an_odd_declaration_hides_nothing_that_follows(odd: str) -> None:
    page = page_of(f'{odd}<p></p><script src="/a.js"></script>', "http://h/")
    assert [asset.url for asset in page.assets] == ["http://h/a.js"] or odd == "<!["
