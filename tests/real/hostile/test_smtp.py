"""Mail servers at their worst."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from tests.real.hostile.case import PASSWORD, Case, run_all
from tests.real.hostile.talks import Act, babble, drip, line, reset, something, stall, talk
from tests.real.servers.certificates import Authority
from tests.real.servers.odd import Odd
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers

UP = Outcome.UP
HI = b"220 mail.example ESMTP\r\n"
EHLO = b"250-mail.example\r\n250 AUTH PLAIN\r\n"
WITH_TLS = b"250-mail.example\r\n250 STARTTLS\r\n"
OK = b"250 ok\r\n"
SIGN_IN: dict[str, Any] = {"username": "u", "password": PASSWORD, "starttls": "never"}
RCPT: dict[str, Any] = {"mail_from": "a@example.org", "rcpt_to": "b@example.org"}
REQUIRED: dict[str, Any] = {"starttls": "required"}

GREETING: tuple[bytes | Act, ...] = ()
AT_EHLO = (HI, line)
AT_STARTTLS = (HI, line, WITH_TLS, line)
AT_SIGN_IN = (HI, line, EHLO, line)
AT_SENDER = (HI, line, EHLO, line)
AT_RECIPIENT = (HI, line, EHLO, line, OK, line)
AT_THE_END = (HI, line, EHLO, line)

PHASES: list[tuple[str, tuple[bytes | Act, ...], dict[str, Any], str]] = [
    ("greeting", GREETING, {}, "waiting for the greeting"),
    ("EHLO", AT_EHLO, {}, "answer to EHLO"),
    ("STARTTLS", AT_STARTTLS, REQUIRED, "beginning TLS"),
    ("sign-in", AT_SIGN_IN, SIGN_IN, "signing in"),
    ("sender", AT_SENDER, RCPT, "naming the sender a@example.org"),
    ("recipient", AT_RECIPIENT, RCPT, "naming the recipient b@example.org"),
]
"""What was said by then, what the check wants, and what it says it was doing."""

AT_EVERY_STEP = [
    case
    for name, said, options, doing in PHASES
    for case in (
        Case(f"{name}: stalls", talk(*said, stall), "timeout", doing, options),
        Case(f"{name}: drips", talk(*said, drip(b"250-" * 90)), "timeout", doing, options),
        Case(f"{name}: babbles lines", talk(*said, babble(b"250-and more\r\n")), "protocol", doing, options),
        Case(f"{name}: a line without end", talk(*said, babble(b"2500")), "protocol", doing, options),
        Case(
            f"{name}: closes", talk(*said), "protocol" if said else "connect", (doing, "closed the connection"), options
        ),
        Case(f"{name}: resets", talk(*said, reset), "protocol" if said else "connect", (doing, "connection"), options),
        Case(
            f"{name}: goes away", talk(*said, b"421 4.3.2 shutting down\r\n"), "protocol", (doing, "421 4.3.2"), options
        ),
        Case(f"{name}: no SMTP", talk(*said, b"HTTP/1.1 400 Bad Request\r\n\r\n", stall), "protocol", doing, options),
        Case(f"{name}: zeros", talk(*said, b"\0\0\0\0\r\n", stall), "protocol", doing, options),
        Case(
            f"{name}: codes for a terminal", talk(*said, b"554 \x1b[2J\xff\x07\r\n", stall), "protocol", "554", options
        ),
    )
]
OTHERS = [
    Case(
        "refuses the sign-in",
        talk(*AT_SIGN_IN, b"535 5.7.8 no\r\n", stall),
        "auth",
        "check username and password",
        SIGN_IN,
    ),
    Case("says the password", talk(*AT_SIGN_IN, b"535 " + PASSWORD.encode() + b"\r\n", stall), "auth", "***", SIGN_IN),
    Case(
        "refuses the recipient",
        talk(*AT_RECIPIENT, b"550 5.1.1 nobody\r\n", stall),
        "protocol",
        "550 5.1.1 nobody",
        RCPT,
    ),
    Case(
        "defers the recipient", talk(*AT_RECIPIENT, b"451 4.7.1 later\r\n", stall), "protocol", "451 4.7.1 later", RCPT
    ),
    Case("TLS stalls", talk(*AT_STARTTLS, HI, stall), "timeout", "in the TLS handshake", REQUIRED),
    Case("TLS is none", talk(*AT_STARTTLS, HI, something, b"500 what?\r\n"), "tls", "does not speak TLS", REQUIRED),
    Case("closes in TLS", talk(*AT_STARTTLS, HI, something), "tls", "closed the connection during", REQUIRED),
    Case("resets in TLS", talk(*AT_STARTTLS, HI, something, reset), "tls", "during the handshake", REQUIRED),
    Case("slips lines in before TLS", talk(*AT_STARTTLS, HI + b"250 injected\r\n", stall), "timeout", "TLS", REQUIRED),
    Case("offers no TLS", talk(HI, line, EHLO, stall), "tls", "offers no STARTTLS, which is required", REQUIRED),
    Case("never says goodbye", talk(*AT_THE_END, stall), "", "answers in", {}, UP, timeout=1.0),
    Case("breaks off at goodbye", talk(*AT_THE_END, reset), "", "answers in", {}, UP),
    Case("babbles at goodbye", talk(*AT_THE_END, babble(b"250-and more\r\n")), "", "answers in", {}, UP),
    Case(
        "offers a thousand things",
        talk(HI, line, b"250-x\r\n" * 900 + b"250 x\r\n", stall),
        "",
        "answers in",
        {},
        UP,
        timeout=20,
    ),
]
CASES = [*AT_EVERY_STEP, *OTHERS]


async def test_smtp(odd: Callable[..., Awaitable[Odd]], shared: SharedHelpers) -> None:
    await run_all("smtp", CASES, lambda server: {"url": f"smtp://{server.address}"}, odd, shared, {})


async def test_smtp_after_tls(
    odd: Callable[..., Awaitable[Odd]], shared: SharedHelpers, contexts: dict[str, ssl.SSLContext], authority: Authority
) -> None:
    cases = [
        Case("smtps: stalls", talk(stall), "timeout", "waiting for the greeting", certificate="good"),
        Case("smtps: closes", talk(), "connect", "waiting for the greeting", certificate="good"),
        Case("smtps: babbles", talk(babble(b"220-x\r\n")), "protocol", "waiting for the greeting", certificate="good"),
    ]

    def aim(server: Odd) -> dict[str, Any]:
        return {"url": f"smtps://{server.address}", "ca_file": authority.ca_file}

    await run_all("smtp", cases, aim, odd, shared, contexts)
