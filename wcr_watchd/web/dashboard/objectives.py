"""The pages of objectives: what was promised, what is left of the error budget, how fast it goes, how it went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from aiohttp import web

from wcr_watchd.core.model import Incident
from wcr_watchd.core.objectives import BURNS, SUBJECT, Budget, Objective, Stretch
from wcr_watchd.core.setup import OWN
from wcr_watchd.core.view import View
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.handled import handled
from wcr_watchd.web.health import CONTROL

PATH = "/objectives"
NEARLY = 0.25
"""The share of the budget below which it is nearly used up."""
MUCH = 0.25
"""The share of the budget from which on one day used much of it."""
HEIGHTS = {"none": 2, "up": 7, "warning": 12, "critical": 16}
"""Of 16: what is worse is higher, so that nobody needs to see colours."""
WORDS = {
    "ok": "kept",
    "warning": "nearly used up",
    "critical": "used up",
    "unknown": "nothing is known yet",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """An objective as the pages show it; ``incident`` is the worst that its budget goes too fast, if it does."""

    objective: Objective
    budget: Budget
    state: str
    rates: Sequence[tuple[float, float | None]]
    incident: Incident | None

    @property
    def word(self) -> str:
        """What the state means."""
        return "goes too fast" if self.incident else WORDS[self.state]

    @property
    def meter(self) -> float:
        """How much of the budget is left, of 100; nothing when more is used than there was."""
        return 100 * min(1.0, max(0.0, self.budget.left or 0.0))


def add_routes(app: web.Application) -> None:
    """Put the pages' routes into the application."""
    app.router.add_get(PATH, show_all)
    app.router.add_get(f"{PATH}/{{name}}", show)


async def show_all(request: web.Request) -> web.Response:
    """Every objective, those first of which least is left."""
    view = request.app[CONTROL]
    shown = [await _shown(view, one) for one in view.setup.objectives.values()]
    shown.sort(key=lambda one: (one.budget.left is None, one.budget.left or 0.0))
    return page(
        request,
        "objectives.html",
        objectives=shown,
        burning=sorted((one for one in shown if one.incident), key=lambda one: one.state != "critical"),
        over=sum(one.state == "critical" for one in shown),
        nearly=sum(one.state == "warning" for one in shown),
    )


async def show(request: web.Request) -> web.Response:
    """One objective with its course, day by day."""
    view, name = request.app[CONTROL], request.match_info["name"]
    objective = view.setup.objectives.get(name)
    if objective is None:
        raise web.HTTPNotFound(text=f"there is no objective {name!r}\n")
    days = await view.objectives.days(objective)
    return page(
        request,
        "objective.html",
        shown=await _shown(view, objective),
        handling=await handled(view, objective),
        days=days,
        bars=bars(days, objective.target),
        course=course(days),
        marks=[mark_of(one, objective.target) for one in days],
    )


async def _shown(view: View, objective: Objective) -> Shown:
    budget = await view.objectives.budget(objective)
    subjects = [f"{SUBJECT} {objective.name} {word}" for word in BURNS.values()]
    burning = [one for one in view.state.incidents.values() if one.check == OWN.name and one.subject in subjects]
    worst = max(burning, key=lambda one: one.severity, default=None)
    state = worst.severity.word if worst else _state(budget)
    return Shown(objective, budget, state, view.objectives.rates(objective), worst)


def _state(budget: Budget) -> str:
    if budget.left is None:
        return "unknown"
    return "critical" if budget.left <= 0 else "warning" if budget.left < NEARLY else "ok"


def mark_of(day: Stretch, target: float) -> str:
    """How a day was: not watched, as promised, below it, or so bad that it used much of the whole budget."""
    share = day.budget.availability
    if share is None:
        return "none"
    return "up" if share >= target else "critical" if day.used >= MUCH else "warning"


def bars(days: Sequence[Stretch], target: float) -> list[tuple[str, str]]:
    """A bar for each day as SVG path data, by what :func:`mark_of` says; 1 by 16 each."""
    paths: dict[str, list[str]] = {}
    place = 0
    for mark, run in groupby(mark_of(one, target) for one in days):
        length, height = len(list(run)), HEIGHTS[mark]
        paths.setdefault(mark, []).append(f"M{place} 16v-{height}h{length}v{height}z")
        place += length
    return [(mark, "".join(drawn)) for mark, drawn in paths.items()]


def course(days: Sequence[Stretch]) -> str:
    """What was left of the budget after each day, as SVG path data: 1 wide each, from 0 (all) down to 20 (nothing)."""
    spots = [(number, one.left) for number, one in enumerate(days, 1)]
    return "M0 0L" + " ".join(f"{at} {20 * (1 - min(1.0, max(0.0, left))):.2f}" for at, left in spots)
