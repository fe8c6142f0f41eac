"""All files of the status page, made from what is public; the same ones are served and written down as a copy.

Links within the page are relative, so that it works under any path and from any web server.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from wcr_watchd.core.local_time import months
from wcr_watchd.core.status import DAY, WORDS, ComponentStatus, PublicFile, PublicStatus, StatusPage, overall
from wcr_watchd.core.status_days import UPTIME
from wcr_watchd.web.status import badges, chart, feeds, statuspage_v2, words

HTML, JSON, SVG = "text/html; charset=utf-8", "application/json; charset=utf-8", "image/svg+xml"
RECENT = 14 * DAY
"""Seconds for which what is over stays on the first page."""
MOST_PAGES = 200
"""Posts that have a page of their own, the newest."""
MONTHS = 12
"""Months that have a page."""
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": SVG}

_environment = Environment(
    loader=PackageLoader("wcr_watchd.web.status"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _read_static() -> dict[str, PublicFile]:
    """The style, script and picture, by names that their content gives them."""
    found = {}
    for file in (files("wcr_watchd.web.status") / "static").iterdir():
        stem, _, suffix = file.name.rpartition(".")
        if suffix in _TYPES:
            body = file.read_bytes()
            found[f"{stem}.{hashlib.sha256(body).hexdigest()[:12]}.{suffix}"] = public_file(_TYPES[suffix], body)
    return found


@lru_cache(maxsize=4096)
def _asset(name: str) -> str:
    stem, _, suffix = name.rpartition(".")
    return next(known for known in _STATIC if known.startswith(f"{stem}.") and known.endswith(f".{suffix}"))


def public_file(content_type: str, body: bytes) -> PublicFile:
    """A file ready to be served."""
    packed = gzip.compress(body, 6, mtime=0)
    return PublicFile(content_type, body, packed, hashlib.sha256(body).hexdigest()[:20])


_STATIC = _read_static()


def render(status: PublicStatus, *, copy: bool) -> Mapping[str, PublicFile]:
    """All files by their path; of a ``copy`` the pages say since when they are old, and have no forms."""
    made = dict(_STATIC)
    for path, text in _pages(status, copy):
        made[path] = public_file(HTML, text.encode())
    for path, text in statuspage_v2.documents(status):
        made[path] = public_file(JSON, text.encode())
    for path, text in badges.badges(status):
        made[path] = public_file(SVG, text.encode())
    made["status.json"] = public_file(JSON, feeds.own_json(status).encode())
    made["feed.atom"] = public_file("application/atom+xml; charset=utf-8", feeds.atom(status).encode())
    made["maintenance.ics"] = public_file("text/calendar; charset=utf-8", feeds.calendar(status).encode())
    return made


def page(status: PublicStatus, template: str, root: str, **values: Any) -> str:
    """A page below ``root``, the relative way to the first one (empty on itself)."""
    return _environment.get_template(template).render(
        page=status.page,
        root=root,
        home=root or "./",
        asset=_asset,
        as_of=words.clock(status.at, status.page.timezone),
        machine=words.machine_time,
        clock=lambda at: words.clock(at, status.page.timezone),
        at=status.at,
        **values,
    )


def _pages(status: PublicStatus, copy: bool) -> Iterator[tuple[str, str]]:
    condition, headline = overall(status)
    names = {one.id: one.name for one in status.components}
    shared: dict[str, Any] = {
        "copy": copy,
        "fresh": False,
        "span": words.span,
        "concerned": lambda ids: ", ".join(names[one] for one in ids if one in names),
    }
    recent = [one for one in status.posts if one.resolved_at is not None and status.at - one.resolved_at < RECENT]
    yield (
        "",
        page(
            status,
            "index.html",
            "",
            condition=condition,
            headline=headline,
            groups=_groups(status.components),
            open_posts=status.open_posts,
            recent=recent,
            planned=status.planned,
            words=WORDS,
            day=words.day,
            share=words.share,
            formula=UPTIME,
            chart_words=chart.in_words,
            chart_path=lambda course: chart.path(course, status.at, DAY),
            **(shared | {"fresh": True}),
        ),
    )
    known = list(months(status.at, status.page.timezone, MONTHS))
    labels = [(name, words.month(name)) for name, _, _ in known]
    for number, (name, start, end) in enumerate(known):
        posts = [one for one in status.posts if start <= one.created_at < end]
        for path, root in ((f"history/{name}/", "../../"), *((("history/", "../"),) if number == 0 else ())):
            yield (
                path,
                page(
                    status,
                    "history.html",
                    root,
                    month=words.month(name),
                    name=name,
                    posts=posts,
                    months=labels,
                    **shared,
                ),
            )
    for post in status.posts[:MOST_PAGES]:
        yield f"incident/{post.id}/", page(status, "incident.html", "../../", post=post, **shared)


def _groups(components: Sequence[ComponentStatus]) -> list[tuple[str, list[ComponentStatus]]]:
    """The components under their headings, each heading where it first comes."""
    order = {one.group: number for number, one in reversed(list(enumerate(components)))}
    ordered = sorted(components, key=lambda one: order[one.group])
    return [(name, list(members)) for name, members in groupby(ordered, key=lambda one: one.group)]


def form(status_page: StatusPage, heading: str, *lines: str, **values: Any) -> bytes:
    """A page that says something, and may ask for something: ``button``, ``action``, ``asks_address``, ``problem``."""
    given = {"button": "", "action": "", "asks_address": False, "problem": "", "root": "./", **values}
    empty = PublicStatus(status_page, (), (), (), 0.0)
    root = given.pop("root")
    return page(empty, "form.html", root, heading=heading, lines=lines, copy=False, fresh=False, **given).encode()
