"""What people may ask of the running daemon."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from wcr_watchd.core.drill_report import DrillReport, DrillWish
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.escalation import recipients, unreachable
from wcr_watchd.core.follow_up import FollowUp
from wcr_watchd.core.message import trial
from wcr_watchd.core.model import Alert, Observation
from wcr_watchd.core.modifications import Modification
from wcr_watchd.core.report import PERIODIC, Audience, Filed, ReportKind, ReportPlan, ReportWish, targets_of
from wcr_watchd.core.review import Review
from wcr_watchd.core.setup import Target
from wcr_watchd.core.silence import Silence
from wcr_watchd.daemon.base import Base
from wcr_watchd.daemon.desks import Desks
from wcr_watchd.daemon.in_force import InForce
from wcr_watchd.daemon.reload import Reload
from wcr_watchd.daemon.telling import Telling
from wcr_watchd.daemon.view import DaemonView
from wcr_watchd.daemon.watching import Watching
from wcr_watchd.web import aftermath


class DaemonControl(DaemonView):
    """The :class:`~wcr_watchd.core.view.Control` that web and API work with; most of it is passed on."""

    def __init__(
        self, force: InForce, base: Base, watching: Watching, telling: Telling, desks: Desks, reload: Reload
    ) -> None:
        super().__init__(force, base, watching, telling, desks)
        self._reload = reload

    async def modified(self, by: str, text: str) -> Modification:
        """Write into the log of modifications what somebody did."""
        written = self._watching.modifications.write(by, self._base.redactor.text(text))
        await self._watching.monitor.flush()
        return written

    async def resolve(self, incident: int, by: str) -> str:
        """End an incident by hand; returns a sentence."""
        return await self._watching.monitor.resolve(incident, by)

    async def note(self, incident: int, by: str, text: str) -> str:
        """Add a note to an incident's timeline; returns a sentence."""
        found = self.state.incidents.get(incident) or await self.store.incident(incident)
        if found is None:
            raise CommandError(f"there is no incident #{incident}; `wcr-watchd incidents --all` lists them")
        return await self._watching.monitor.note(found, by, text)

    async def review(self, written: Review) -> str:
        """Keep what somebody wrote about an incident; returns a sentence."""
        await self._must_be_known(written.incident)
        await self._desks.follow_ups.keep(written)
        return f"the review of incident #{written.incident} is kept"

    async def follow_up(self, incident: int, text: str, owner: str, due: float, by: str) -> str:
        """Add something to do after an incident; returns a sentence."""
        await self._must_be_known(incident)
        one = await self._desks.follow_ups.add(FollowUp(incident, 0, text, owner, due, by, self.now()))
        return f"{one.name} is a task of {one.owner}'s; `wcr-watchd task done {one.name}` signs it off"

    async def _must_be_known(self, incident: int) -> None:
        if incident not in self.state.incidents and await self.store.incident(incident) is None:
            raise CommandError(f"there is no incident #{incident}; `wcr-watchd incidents --all` lists them")

    async def assign(self, incident: int, owner: str, by: str) -> str:
        """Say who works on an incident; returns a sentence."""
        return await self._watching.monitor.assign(incident, owner, by)

    async def silence(self, wanted: Silence, changes: str = "") -> tuple[Silence, str]:
        """Put a silence in force, or change the one named; returns the one that holds, and a sentence."""
        return await self._watching.monitor.silence(wanted, changes)

    async def expire(self, silence: str) -> str:
        """End a silence now; returns a sentence."""
        return await self._watching.monitor.expire(silence)

    async def alerts(self, sent: Sequence[Alert]) -> None:
        """Take alerts of Prometheus."""
        await self._watching.monitor.alerts(sent)

    async def stop_window(self, name: str, by: str) -> str:
        """End a planned maintenance window for this time; returns a sentence."""
        return await self._watching.monitor.stop_window(name, by)

    async def run_task(self, name: str, by: str) -> str:
        """Have a task run out of turn; returns a sentence."""
        return await self._desks.tasks.run_now(name, by)

    async def sign_off_task(self, name: str, by: str, note: str = "", evidence: Sequence[str] = ()) -> str:
        """Somebody has done a task; returns a sentence."""
        if self._desks.follow_ups.has(name):
            return await self._desks.follow_ups.sign_off(name, by, note, evidence)
        return await self._desks.tasks.sign_off(name, by, note, evidence)

    async def run_now(self, check: str) -> Observation:
        """Run a check out of turn, but never beside itself, and return what it found."""
        return await self._watching.runs.run_now(check)

    async def accept(self, check: str, by: str) -> Observation:
        """Run a check and take what it finds as being right from now on; returns what it found."""
        return await self._watching.runs.accept(check, by)

    async def notify_test(self, channel: str, who: str) -> str:
        """Send a test message over a channel; returns the receipt."""
        kind = self.setup.channels.get(channel)
        if kind is None:
            known = ", ".join(self.setup.channels) or "none"
            raise CommandError(f"there is no channel named {channel!r}; configured: {known}")
        found = recipients(self.setup, (Target(channel, who),), self.now())
        if not found:
            people = ", ".join((*self.setup.contacts, *self.setup.on_call)) or "none"
            (why,) = unreachable(self.setup, (Target(channel, who),), self.now())
            raise CommandError(f"{why}; it needs somebody with a {kind} address; there are: {people}")
        message = trial(
            watchd=self.setup.name, location=self.setup.location, timezone=self.setup.timezone, at=self.now()
        )
        receipt = await self._telling.dispatcher.send_test(found[0], message)
        return f"{channel} accepted the test message: {receipt.text}"

    def start_drill(self, wish: DrillWish) -> DrillReport:
        """Begin to walk an escalation with messages marked [DRILL]."""
        if wish.policy not in self.setup.policies:
            raise CommandError(f"there is no policy {wish.policy!r}; there are: {', '.join(self.setup.policies)}")
        if wish.contact and wish.contact not in self.setup.contacts:
            known = ", ".join(self.setup.contacts) or "none"
            raise CommandError(f"there is no contact {wish.contact!r}; there are: {known}")
        return self._telling.drills.start(self.setup, wish, self._watching.monitor.take_number())

    def drill(self, number: int) -> DrillReport:
        """How a drill goes or went."""
        return self._telling.drills.report(number)

    def stop_drill(self, number: int) -> DrillReport:
        """End a drill before its time."""
        return self._telling.drills.stop(number)

    async def resend(self, ids: Collection[str] | None) -> str:
        """Send messages of the dead-letter list again; returns a sentence."""
        return await self._telling.dead_letters.resend(ids)

    async def discard(self, ids: Collection[str] | None, by: str) -> str:
        """Take messages off the dead-letter list; returns a sentence."""
        return await self._telling.dead_letters.discard(ids, by)

    async def write_report(self, wish: ReportWish) -> Filed:
        """Write a report now."""
        if wish.name == ReportKind.INCIDENT:
            return await self._write_incident(wish)
        tell = targets_of(self.setup, wish.tell, self.now())
        plan = self._report_plan(wish)
        return await self._desks.reporter.write(
            replace(plan, tell=tell) if tell else plan, send=wish.send or bool(tell)
        )

    async def _write_incident(self, wish: ReportWish) -> Filed:
        if not wish.incident:
            raise CommandError("which incident? name its number: `wcr-watchd report incident 42`")
        if wish.send:
            raise CommandError("a report of an incident has nobody on its list: say whom, such as --tell mail:ops")
        tell = targets_of(self.setup, wish.tell, self.now())
        page = self._force.loaded.status_page
        wanted = await aftermath.report_of(self, wish.incident, wish.audience or Audience.TEAM, page)
        return await self._desks.reporter.write_incident(wanted, tell)

    def _report_plan(self, wish: ReportWish) -> ReportPlan:
        """The plan of that name, or one of a kind with nothing else said."""
        known = self._force.loaded.reports.get(wish.name)
        if known is not None:
            return replace(known, audience=wish.audience or known.audience)
        if wish.name not in PERIODIC:
            names = ", ".join(dict.fromkeys((*self._force.loaded.reports, *ReportKind)))
            raise CommandError(f"there is no report {wish.name!r}; there are: {names}")
        if wish.send:
            raise CommandError(f"nobody is told of the report {wish.name}: write [report.{wish.name}] with `tell`")
        audience = wish.audience or Audience.TEAM
        return ReportPlan(wish.name, ReportKind(wish.name), audience, "", self.setup.timezone)

    async def reload(self) -> tuple[str, ...]:
        """Apply the configuration file by difference, or say what is wrong with it and go on with the old one."""
        return await self._reload.reload()
