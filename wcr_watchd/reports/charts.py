"""Charts as pictures for mails, whose readers show neither SVG nor scripts: courses with forecasts, days as bars."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 592, 150
SCALE = 2
"""Pixels per unit: sharp on the screens of telephones."""
LEFT, RIGHT, TOP, BOTTOM = 54, 10, 10, 26
LETTERS = 14
"""Height of the letters: a telephone shows them at three fifths of it."""
INK, QUIET, LINE, FORECAST, LIMIT = "#1f2937", "#6b7280", "#1d4ed8", "#93b4f5", "#b91c1c"
GOOD, MIDDLING, BAD, UNKNOWN = "#15803d", "#b45309", "#b91c1c", "#d1d5db"


def course(points: Sequence[tuple[float, float]], labels: tuple[str, str], ahead: tuple[float, float] | None) -> str:
    """A course of shares (0-1) over time as PNG (base64); ``ahead`` is where the forecast ends: time and share.

    ``labels`` stand at the beginning and the end of the time axis.
    """
    picture, draw, font = _canvas(WIDTH, HEIGHT)
    begin = points[0][0]
    end = max(points[-1][0], ahead[0] if ahead else 0.0, begin + 1)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * (point[0] - begin) / (end - begin)
        up = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(max(point[1], 0.0), 1.0)
        return across * SCALE, up * SCALE

    for share in (0.0, 0.5, 1.0):
        (x, y), (to, _) = place((begin, share)), place((end, share))
        draw.line((x, y, to, y), fill=LIMIT if share == 1.0 else UNKNOWN, width=SCALE)
        draw.text((x - 6 * SCALE, y), f"{share * 100:.0f} %", fill=QUIET, font=font, anchor="rm")
    if ahead:
        _dashes(draw, place(points[-1]), place(ahead))
    draw.line([place(point) for point in points], fill=LINE, width=2 * SCALE, joint="curve")
    base = (HEIGHT - 4) * SCALE
    draw.text((LEFT * SCALE, base), labels[0], fill=QUIET, font=font, anchor="ls")
    draw.text(((WIDTH - RIGHT) * SCALE, base), labels[1], fill=QUIET, font=font, anchor="rs")
    return _png(picture)


def days(shares: Sequence[float | None], labels: tuple[str, str]) -> str:
    """One bar per day, coloured and high by the share (0-1) of what was up; None: nobody can say, a low grey bar."""
    height = 84
    picture, draw, font = _canvas(WIDTH, height)
    width = (WIDTH - LEFT - RIGHT) / max(1, len(shares))
    floor = height - BOTTOM
    for number, share in enumerate(shares):
        x = LEFT + number * width
        # Below 90 % all is equally bad: the scale shows the difference between 99.9 % and 99 %.
        part = 0.15 if share is None else max(0.15, (share - 0.9) / 0.1)
        top = floor - (floor - TOP) * part
        box = (x * SCALE, top * SCALE, (x + max(1.0, width - 2)) * SCALE, floor * SCALE)
        draw.rectangle(box, fill=_colour(share))
    for y, text in ((TOP, "100 %"), (floor, "90 %")):
        draw.text(((LEFT - 6) * SCALE, y * SCALE), text, fill=QUIET, font=font, anchor="rm")
    draw.text((LEFT * SCALE, (height - 4) * SCALE), labels[0], fill=QUIET, font=font, anchor="ls")
    draw.text(((WIDTH - RIGHT) * SCALE, (height - 4) * SCALE), labels[1], fill=QUIET, font=font, anchor="rs")
    return _png(picture)


def _colour(share: float | None) -> str:
    """The colour of a day: all up, nearly, not, or unknown."""
    if share is None:
        return UNKNOWN
    return GOOD if share >= 0.999 else MIDDLING if share >= 0.98 else BAD


def _canvas(
    width: int, height: int
) -> tuple[Image.Image, ImageDraw.ImageDraw, ImageFont.FreeTypeFont | ImageFont.ImageFont]:
    # White ground: a mail on a dark screen must not hide the words of a chart.
    picture = Image.new("RGB", (width * SCALE, height * SCALE), "#ffffff")
    return picture, ImageDraw.Draw(picture), ImageFont.load_default(LETTERS * SCALE)


def _dashes(draw: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float]) -> None:
    steps = 24
    for number in range(0, steps, 2):
        at, to = number / steps, (number + 1) / steps
        draw.line(
            (
                start[0] + (end[0] - start[0]) * at,
                start[1] + (end[1] - start[1]) * at,
                start[0] + (end[0] - start[0]) * to,
                start[1] + (end[1] - start[1]) * to,
            ),
            fill=FORECAST,
            width=2 * SCALE,
        )


def _png(picture: Image.Image) -> str:
    into = io.BytesIO()
    picture.quantize(64).save(into, "PNG", optimize=True)
    return base64.b64encode(into.getvalue()).decode("ascii")
