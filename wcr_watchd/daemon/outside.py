"""What faces outward: who is let in, the status page and its mails, our certificate, and signs of life to others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from wcr_watchd.core import health
from wcr_watchd.core.view import View
from wcr_watchd.daemon.base import Base
from wcr_watchd.daemon.in_force import InForce
from wcr_watchd.kit.outbound import OutboundHttp
from wcr_watchd.runtime.heartbeat import Heartbeats
from wcr_watchd.runtime.status_mail import StatusMails
from wcr_watchd.runtime.status_page import StatusDesk
from wcr_watchd.web.access.audit import Audit
from wcr_watchd.web.access.certificate import Certificate
from wcr_watchd.web.access.gate import Access
from wcr_watchd.web.status import site


@dataclass(frozen=True, slots=True)
class Outside:
    """The parts that others see; ``certificate`` is of our own listener, where it speaks TLS."""

    access: Access
    status_page: StatusDesk
    status_mails: StatusMails
    heartbeats: Heartbeats
    certificate: Certificate | None


async def build_outside(base: Base, force: InForce, view: View) -> Outside:
    """What shows the daemon, as ``view`` lets it be seen. Raises ``OSError`` for a certificate that cannot be read."""
    access = _access(base, force)
    await access.own_passwords.load()  # first: sessions hold by the password behind them
    await access.sessions.load()
    status_page = StatusDesk(lambda: force.loaded.status_page, view, site.render)
    status_mails = StatusMails(
        lambda: force.loaded.status_page,
        lambda: force.loaded.channels,
        view,
        base.shared,
        base.link_key,
        status_page.post,
    )
    status_page.on_news(status_mails.wake)
    heartbeats = Heartbeats(
        lambda: force.loaded.heartbeats, lambda: health.works(view), base.clock, base.shared, base.counters
    )
    files = force.loaded.web.certificate
    certificate = await asyncio.to_thread(Certificate, *files) if files else None
    return Outside(access, status_page, status_mails, heartbeats, certificate)


def _access(base: Base, force: InForce) -> Access:
    return Access(
        lambda: force.loaded.web.access,
        Audit(base.store, base.clock.now, base.redactor.text),
        key=base.link_key,
        monotonic=base.clock.monotonic,
        http=base.shared.get(OutboundHttp),
        public_url=lambda: force.loaded.web.public_url,
        address=next(iter(force.addresses), ""),
    )
