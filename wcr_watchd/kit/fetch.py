"""One HTTP exchange for a probe whose subject is not HTTP itself: an answer, or a sentence about why there is none."""

from __future__ import annotations

from wcr_watchd.core.run import Run
from wcr_watchd.kit.certificates import read_chain
from wcr_watchd.kit.http import Answer, Exchange, ExchangeError, HttpClient, Request
from wcr_watchd.kit.tls import UnusableFileError, explain, served_chain


class NotFetchedError(Exception):
    """No usable answer came; ``ours`` says that it is for a file of ours. ``reason`` is a label, as of observations."""

    def __init__(self, reason: str, summary: str, *, ours: bool = False) -> None:
        super().__init__(summary)
        self.reason = reason
        self.summary = summary
        self.ours = ours


async def fetch(run: Run, request: Request) -> Answer:
    """Carry the exchange out; ``run.step`` follows it. Raises :class:`NotFetchedError`."""

    def tell(step: str) -> None:
        run.step = step

    client = run.shared.get(HttpClient)
    exchange = Exchange(request, told=tell)
    try:
        return await client.carry_out(exchange)
    except ExchangeError as error:
        raise NotFetchedError(error.reason, error.summary) from error
    except UnusableFileError as error:
        raise NotFetchedError(error.reason, error.summary, ours=True) from error
    except OSError as error:
        session = exchange.handshake.session
        try:
            chain = read_chain(served_chain(session)) if session is not None else ()
        except ValueError:
            chain = ()
        trusted = client.contexts.authorities(request.tls)
        words = explain(error, chain, exchange.handshake.asked, run.started, trusted)
        raise NotFetchedError("tls", words) from error
