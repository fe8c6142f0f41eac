"""Where notifications arrive: a webhook and a mail server that take everything and remember when."""

from __future__ import annotations

import email
import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

from tests.bench.processes import eventually
from tests.real.ports import free_port


@dataclass(frozen=True)
class Arrived:
    """One message: when (epoch seconds), about which target, and whether it tells of the end."""

    at: float
    target: str
    over: bool


class Receiver:
    """Takes the webhooks of wcr-watchd and of Alertmanager, and Monit's mails; all name their target."""

    def __init__(self) -> None:
        self._arrived: list[Arrived] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver._arrived.extend(_read_webhook(body, time.time()))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket.listen(1000)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.smtp_port = free_port()
        self._mail = Controller(self, "127.0.0.1", self.smtp_port)
        self._mail.start()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - the name aiosmtpd calls
        """Take a mail of Monit: its subject is ``target event``."""
        subject = str(email.message_from_bytes(envelope.content)["Subject"])
        target, _, event = subject.partition(" ")
        self._arrived.append(Arrived(time.time(), target, "succe" in event.lower()))
        return "250 OK"

    def first(self, target: str, *, over: bool, since: float, within: float) -> float:
        """Wait for a message about the target since a time and return when it came (epoch seconds)."""

        def look() -> float | None:
            found = (one.at for one in self._arrived if (one.target, one.over) == (target, over) and one.at >= since)
            return next(found, None)

        return eventually(look, f"a message of the {'end' if over else 'failure'} of {target}", within)

    def since(self, at: float) -> list[Arrived]:
        """Everything that came since."""
        return [one for one in self._arrived if one.at >= at]

    def stop(self) -> None:
        """End both servers."""
        self._mail.stop()
        self._server.shutdown()
        self._server.server_close()


def _read_webhook(body: dict[str, Any], at: float) -> list[Arrived]:
    if "alerts" in body:  # Alertmanager, webhook payload version 4
        return [Arrived(at, one["labels"]["target"], one["status"] == "resolved") for one in body["alerts"]]
    return [Arrived(at, body["check"]["name"], body["event"] == "resolved")]
