"""Reads a list of revoked certificates (CRL, RFC 5280): it is there, signed, young enough, and has none of ours on it.

A list that is past its next update locks everybody out where it is enforced (OpenVPN, nginx's ssl_crl, mail servers),
so that is told before it happens. It is fetched by HTTP or read from a file.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field
from yarl import URL

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.crl_worker import LARGEST
from wcr_watchd.kit.fetch import NotFetchedError, fetch
from wcr_watchd.kit.http import Request
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.threads import Threads


def _source(text: str) -> str:
    if text.startswith("/"):
        return text
    parsed = URL(text)
    if parsed.scheme not in ("http", "https") or not parsed.raw_host or parsed.user:
        raise ValueError('must be the path of a file, or begin with "http://" or "https://" and hold no password')
    return text


class _NoListError(Exception):
    """There is no list to be read; ``ours`` says that it is for something of ours."""

    def __init__(self, reason: str, summary: str, *, ours: bool) -> None:
        super().__init__(summary)
        self.reason = reason
        self.summary = summary
        self.ours = ours


class Crl(Options):
    """Reads a list of revoked certificates."""

    type: ClassVar[str] = "crl"
    target_key: ClassVar[str] = "source"
    every: ClassVar[float] = 3_600.0
    timeout: ClassVar[float] = 30.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("entries", Unit.COUNT, "Certificates on the list"),
        MeasurementSpec("age", Unit.SECONDS, "Since the list was issued"),
        MeasurementSpec("expires_in", Unit.SECONDS, "Time until its next update is due", topic="expiry"),
        MeasurementSpec(
            "lifetime_left", Unit.RATIO, "Part of that time, from its issue on, that is left", topic="expiry"
        ),
        MeasurementSpec("revoked", Unit.COUNT, "Certificates of ours that are on it"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "lifetime_left < 20%"),
    )
    example: ClassVar[str] = """\
source = "/etc/openvpn/crl.pem"
issuer = "/etc/openvpn/ca.crt"
certificates = ["/etc/openvpn/server.crt"]
"""

    source: Annotated[str, AfterValidator(_source)]
    """Where the list is: an http(s) URL (as certificates name it), or the path of a file; DER or PEM."""
    issuer: str = ""
    """File with the certificate that signs the list, PEM; without it, its signature is not looked at."""
    certificates: Annotated[tuple[str, ...], Field(max_length=50)] = ()
    """Files with certificates of ours, PEM, that must not be on it."""

    @property
    def target(self) -> str:
        """Where the list is."""
        return self.source

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Get the list and look at it."""
        try:
            # A little before the run's own deadline: a file system that does not answer says nothing of the list.
            async with asyncio.timeout(run.remaining * 0.95):
                raw = await self._get(run)
                if len(raw) > LARGEST:
                    raise _NoListError("content", f"it has more than {LARGEST} bytes", ours=False)
                run.step = f"reading the list of {self.source}"
                found = await _look(raw, {"issuer": self.issuer, "certificates": self.certificates})
        except TimeoutError:
            say = run.unknown if self.source.startswith("/") else run.down
            return say("timeout", f"{self.source}: no list in time; was {run.step}")
        except _NoListError as error:
            say = run.unknown if error.ours else run.down
            return say(error.reason, f"{self.source}: {error.summary}")
        return self._judged(run, found)

    async def _get(self, run: Run) -> bytes:
        run.step = f"getting {self.source}"
        if self.source.startswith("/"):
            try:
                return await run.shared.get(Threads).call(_read, self.source)
            except FileNotFoundError as error:
                raise _NoListError("missing", "there is no such file", ours=True) from error
            except OSError as error:
                raise _NoListError("permission", f"it cannot be read: {error.strerror}", ours=True) from error
        try:
            answer = await fetch(run, Request("GET", URL(self.source), max_body=LARGEST))
        except NotFetchedError as error:
            raise _NoListError(error.reason, error.summary, ours=error.ours) from error
        if answer.status != 200:
            raise _NoListError(
                "status", f"the server answered {answer.status} {answer.phrase}, expected 200", ours=False
            )
        if not answer.complete:
            raise _NoListError("content", f"it has more than {LARGEST} bytes", ours=False)
        return answer.body

    def _judged(self, run: Run, found: Mapping[str, Any]) -> Observation:
        run.evidence["issuer"] = str(found["issuer"])
        run.measure("entries", found["entries"])
        run.measure("age", max(0.0, run.started - found["this"]))
        run.measure("revoked", len(found["revoked"]))
        problems = [
            f"{one['path']} (serial {one['serial']}) was revoked {_ago(one['at'], run)}"
            + (f": {one['reason']}" if one["reason"] else "")
            for one in found["revoked"]
        ]
        problems += [found["signed"]] if found["signed"] else []
        following = found["next"]
        if following is None:
            run.missing(("expires_in", "lifetime_left"), "the list does not say when its next update is due")
            until = "says no next update"
        else:
            left, whole = following - run.started, max(1.0, following - found["this"])
            run.measure("expires_in", left)
            run.measure("lifetime_left", max(0.0, min(1.0, left / whole)))
            until = f"its next update is due in {format_duration(left)}"
            if left < 0:
                problems.append(f"its next update was due {_ago(following, run)}, so nobody may rely on it")
        if problems:
            return run.down("content", f"{self.source}: {'; '.join(problems)}")
        signed = ", signed by its issuer" if self.issuer else ""
        return run.up(f"{self.source}: {found['entries']} revoked certificates{signed}; {until}")


def _ago(at: float, run: Run) -> str:
    return f"{format_duration(max(0.0, run.started - at))} ago"


def _read(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(LARGEST + 1)


async def _look(raw: bytes, job: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the list says. Raises :class:`_NoListError`."""
    words = (sys.executable, "-m", "wcr_watchd.kit.crl_worker", json.dumps(job))
    try:
        worker = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        raise _NoListError("exec", f"no process can be started to read it: {error}", ours=True) from error
    try:
        said, errors = await worker.communicate(raw)
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()
    if worker.returncode:
        last = (errors.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        raise _NoListError("exec", f"reading it failed: {last[:200]}", ours=True)
    found: Mapping[str, Any] = json.loads(said)
    if "trouble" in found:
        raise _NoListError("parse", found["trouble"], ours=found["ours"])
    return found
