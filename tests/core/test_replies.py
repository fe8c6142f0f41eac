"""What people answer in their own words, and what it means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.model import Incident, IncidentState, Severity
from wcr_watchd.core.replies import Reply, read

ONE = Incident(42, "api", "", Severity.CRITICAL, Severity.CRITICAL, IncidentState.OPEN, 0.0, 0.0, "down")
TWO = replace(ONE, id=43, check="host", severity=Severity.WARNING)
TAKEN = replace(ONE, id=44, state=IncidentState.ACKNOWLEDGED)
MUTED = replace(ONE, id=45, state=IncidentState.SILENCED)


def of(*incidents: Incident) -> dict[int, Incident]:
    return {incident.id: incident for incident in incidents}


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("ACK 42", Reply((42,))),
        ("ack 42", Reply((42,))),
        ("  Ack #42. ", Reply((42,))),
        ("ack:42", Reply((42,))),
        ("ack42", Reply((42,))),
        ("acknowledge 42", Reply((42,))),
        ("Acknowledged 42", Reply((42,))),
        ("ACK 7", Reply((7,))),
        ("ACK 42 on it, 10 minutes", Reply((42,), "on it, 10 minutes")),
        ("ACK 42 10 minutes", Reply((42,), "10 minutes")),
        ("ACK 42, 43", Reply((42, 43))),
        ("ACK 42 #43 both mine", Reply((42, 43), "both mine")),
        ("ack 42 42", Reply((42,))),
        ("ACK 4200000000000", None),
        ("ACK", None),
        ("acks 42", None),
        ("please ack 42", None),
        ("stop", None),
        ("", None),
        ("ACK ٤٢", Reply((42,))),
    ],
)
def test_with_several_open(text: str, reply: Reply | None) -> None:
    if reply is None:
        with pytest.raises(CommandError):
            read(text, of(ONE, TWO))
    else:
        assert read(text, of(ONE, TWO)) == reply


def test_what_is_no_number_of_an_incident_acknowledges_none() -> None:
    with pytest.raises(CommandError, match="No incident has the number 4200000000000"):
        read("ACK 4200000000000", of(ONE))
    assert read("ACK 42 4915112345678", of(ONE)) == Reply((42,), "4915112345678")


@pytest.mark.parametrize("text", ["ACK", "ack!", " ack \n"])
def test_without_a_number_it_is_the_one_that_nobody_has_taken(text: str) -> None:
    assert read(text, of(TAKEN, ONE, MUTED)) == Reply((42,))
    assert read(f"{text} looking", of(ONE)) == Reply((42,), "looking")


def test_what_it_says_when_it_cannot_tell() -> None:
    with pytest.raises(CommandError, match=r"^Open: #42 api, #43 host\. Answer ACK and the incident's number"):
        read("ACK", of(TWO, ONE))
    with pytest.raises(CommandError, match=r"^No incident waits for an acknowledgement$"):
        read("ACK", of(TAKEN, MUTED))
    with pytest.raises(CommandError, match=r"such as: ACK 42\. Open: #42 api$"):
        read("what?", of(ONE))
    many = of(*(replace(ONE, id=number, check=f"check-{number}") for number in range(1, 100)))
    with pytest.raises(CommandError, match="and 95 more") as error:
        read("ACK", many)
    assert len(str(error.value)) < 160
