"""``python -m tests.reports FOLDER``: the reports of a virtual year as files, and pictures of them, to be looked at.

Pages and mails are shown as on a desk (1000 px) and on a telephone (390 px), light and dark; what is wider than its
screen is told. Pages of the PDF are drawn where pdftoppm is installed (``apt install poppler-utils``).
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from tests.reports import year
from tests.reports.test_incident import wanted as incident_wanted
from tests.simulation.calendar_year import configured
from wcr_watchd.core.report import Audience, Document, Rehearsable, ReportKind, Upcoming, Wanted, period, upcoming
from wcr_watchd.kit.chromium import DevTools, browser
from wcr_watchd.kit.printed import pdf
from wcr_watchd.kit.threads import Threads
from wcr_watchd.reports.drill import document as drill_report
from wcr_watchd.reports.facts import gather
from wcr_watchd.reports.incident import document as incident_report
from wcr_watchd.reports.rehearsed import gather as rehearsed
from wcr_watchd.reports.render import document

SCREENS = (("desk", 1_000, "light"), ("desk-dark", 1_000, "dark"), ("phone", 390, "light"), ("phone-dark", 390, "dark"))
PIECE = 1_600
"""Pixels of height of one picture."""
MOST_PIECES = 6
TEAM, PUBLIC = Audience.TEAM, Audience.STAKEHOLDERS


def wanted(store: Path, kind: ReportKind, audience: Audience, month: int, day: int, year_: int = 2028) -> Wanted:
    """What a daemon would ask for at nine o'clock of that day."""
    now = datetime(year_, month, day, 9, tzinfo=ZoneInfo(year.ZONE)).timestamp()
    before, since, until = period(kind, year.ZONE, now, whole=True)
    subjects = year.SUBJECTS
    if audience is PUBLIC and kind is not ReportKind.DRILL:
        subjects = tuple(
            replace(one, group=f"{one.group} of the shop") for one in subjects if one.group in ("Web", "Payments")
        )
    tasks = (Upcoming(now + 3_600.0, "task", "restore-by-hand (lead)"),)
    return Wanted(
        name=kind.value,
        kind=kind,
        audience=audience,
        watchd="wcr-prod",
        location="nyc3",
        timezone=year.ZONE,
        url="https://watch.wcr.example",
        store=str(store),
        now=now,
        before=before,
        since=since,
        until=until,
        subjects=subjects,
        planned=(year.planned(),),
        objectives=year.OBJECTIVES if audience is TEAM and kind is not ReportKind.DRILL else (),
        upcoming=upcoming(configured().setup, now, tasks),
        rehearsable=Rehearsable(("default", "night"), ("mail", "sms", "slack"), ("sms",), year.SCHEDULES),
    )


def documents(store: Path, only: str) -> Iterator[tuple[str, Document]]:
    """The reports, each with the name of its files."""
    for name, kind, audience, day in (
        ("weekly-spring", ReportKind.WEEKLY, TEAM, (3, 13)),
        ("weekly-stakeholders", ReportKind.WEEKLY, PUBLIC, (3, 13)),
        ("monthly-february", ReportKind.MONTHLY, TEAM, (3, 1)),
        ("monthly-december", ReportKind.MONTHLY, TEAM, (1, 1, 2029)),
        ("stakeholders-december", ReportKind.MONTHLY, PUBLIC, (1, 1, 2029)),
    ):
        if not name.startswith(only):
            continue
        began = time.process_time()
        yield name, document(gather(wanted(store, kind, audience, *day)))
        click.echo(f"{name}: {time.process_time() - began:.2f} s of a processor")
    for audience in (TEAM, PUBLIC):
        if (name := f"drill-{audience.value}").startswith(only):
            yield name, drill_report(rehearsed(wanted(store, ReportKind.DRILL, audience, 1, 1, 2029)))
        if (name := f"incident-{audience.value}").startswith(only):
            yield name, incident_report(incident_wanted(audience))


def mail(one: Document) -> str:
    """The mail with its pictures in it, as a mail client shows it."""
    pictures = {picture.name: picture.png for picture in one.pictures}
    return re.sub(r'src="cid:([^"]+)"', lambda found: f'src="data:image/png;base64,{pictures[found[1]]}"', one.mail)


async def shoot(page: DevTools, html: str, into: Path) -> None:
    """Pictures of a page on all screens."""
    tree = await page.call("Page.getFrameTree")
    frame = tree["frameTree"]["frame"]["id"]
    for screen, width, scheme in SCREENS:
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        await page.call("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await page.call("Emulation.setEmulatedMedia", features=features)
        await page.call("Page.setDocumentContent", frameId=frame, html=html)
        content = (await page.call("Page.getLayoutMetrics"))["cssContentSize"]
        if content["width"] > width:
            click.echo(f"{into.name} on {screen}: {content['width'] - width:.0f} px wider than the screen")
        for number in range(min(MOST_PIECES, -(-int(content["height"]) // PIECE))):
            top = number * PIECE
            clip = {"x": 0, "y": top, "width": width, "height": min(PIECE, content["height"] - top), "scale": 1}
            shot = await page.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
            into.with_name(f"{into.name}-{screen}-{number + 1}.png").write_bytes(b64decode(shot["data"]))


async def write(folder: Path, store: Path, only: str) -> None:
    """Write the reports whose name begins so into the folder."""
    if not store.exists():
        await year.fill(store)
    threads = Threads()
    async with browser(threads, "", ("--proxy-server=127.0.0.1:9",)) as page:
        for name, one in documents(store, only):
            for form, text in (
                ("html", one.html),
                ("mail.html", mail(one)),
                ("txt", one.text),
                ("json", one.json),
                ("csv", one.csv),
            ):
                (folder / f"{name}.{form}").write_text(text)
            printed = folder / f"{name}.pdf"
            printed.write_bytes(await pdf(threads, one.html))
            if shutil.which("pdftoppm"):
                subprocess.run(["pdftoppm", "-r", "60", "-png", printed, folder / f"{name}-pdf"], check=True)
            await shoot(page, one.html, folder / name)
            await shoot(page, mail(one), folder / f"{name}-mail")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--only", default="", help="Only reports whose name begins so, as in `monthly`.")
def main(folder: Path, only: str) -> None:
    """Write the reports of a virtual year into FOLDER, and pictures of them; its records stay there, too."""
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(write(folder, folder / "year.db", only))
    click.echo(f"{len(list(folder.glob('*.png')))} pictures in {folder}")


if __name__ == "__main__":
    main()
