"""A person acknowledges from wherever the message came: by the link of an SMS, in Slack, by SMS; across a restart."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tests.daemon.harness import PATIENCE, RunningDaemon, eventually
from tests.real.ports import free_port
from tests.real.servers.providers import ACCOUNT, FROM, TOKEN, Slack, Twilio

Daemons = Callable[..., RunningDaemon]
SIGNING_SECRET = "a-signing-secret-that-must-never-be-seen"
PHONE = "+15550101"


def visit(url: str, form: dict[str, str] | None = None, **headers: str) -> tuple[int, str]:
    """Status and text of a page; with a form, of what is posted there."""
    data = urlencode(form).encode() if form is not None else None
    request = Request(url, data, {key.replace("_", "-"): value for key, value in headers.items()})
    try:
        with urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


class Watch:
    """A daemon that tells by Slack and SMS, and fails of one more check whenever it is told to."""

    def __init__(self, daemon: RunningDaemon, slack: Slack, twilio: Twilio) -> None:
        port = free_port()
        self.daemon, self.slack, self.twilio = daemon, slack, twilio
        self.base = f"http://127.0.0.1:{port}"
        daemon.listen = [f"127.0.0.1:{port}"]
        self.config = f"""\
public_url = "{self.base}"
token = "a-token-of-enough-length"
[channel.slack]
type = "slack"
webhook = "{slack.url}"
signing_secret = "{SIGNING_SECRET}"
[channel.sms]
type = "sms"
account_sid = "{ACCOUNT}"
auth_token = "{TOKEN}"
from = "{FROM}"
api_url = "{twilio.base}"
[contact.lead]
phone = "{PHONE}"
[policy.default.critical]
tell = ["slack", "sms:lead"]
"""
        daemon.write(self.config)
        daemon.start()

    def fail(self, name: str) -> int:
        """One more check that fails; returns the number of its incident once everybody was told."""
        self.config += f"""\
[check.{name}]
type = "tcp"
address = "127.0.0.1:1"
every = "1s"
timeout = "500ms"
retry = {{ times = 0 }}
"""
        self.daemon.write(self.config)
        self.daemon.reload()
        found = eventually(lambda: [one for one in self.daemon.incidents() if one["check"] == name], f"{name} fails")
        number: int = found[0]["id"]
        eventually(lambda: self.sms(number) and self.button(number), f"everybody is told of #{number}")
        return number

    def sms(self, number: int) -> str:
        """The text message about an incident."""
        texts = [message.fields["Body"] for message in self.twilio.accepted]
        return next((text for text in texts if f"#{number}" in text.split()), "")

    def button(self, number: int) -> dict[str, Any]:
        """The button in Slack that acknowledges an incident, be it told alone or together with other news."""
        for message in self.slack.accepted:
            first: dict[str, Any] = message.fields["blocks"][-1].get("elements", [{}])[0]
            if f"#{number}" in message.fields["text"].split() and first.get("action_id") == "acknowledge":
                return first
        return {}

    def incident(self, number: int) -> dict[str, Any]:
        """How an incident stands."""
        return self.daemon.api("GET", f"/incidents/{number}")

    def from_slack(self, form: dict[str, str]) -> tuple[int, str]:
        """A request as Slack signs it."""
        at = str(int(time.time()))
        signed = hmac.new(SIGNING_SECRET.encode(), f"v0:{at}:{urlencode(form)}".encode(), hashlib.sha256).hexdigest()
        return visit(f"{self.base}/answer/slack", form, X_Slack_Signature=f"v0={signed}", X_Slack_Request_Timestamp=at)

    def from_twilio(self, body: str) -> tuple[int, str]:
        """A text message as Twilio passes it on."""
        url = f"{self.base}/answer/sms"
        form = {"Body": body, "From": PHONE, "MessageSid": f"SM{body}", "To": FROM}
        signed = url + "".join(name + form[name] for name in sorted(form))
        signature = base64.b64encode(hmac.new(TOKEN.encode(), signed.encode(), hashlib.sha1).digest()).decode()
        return visit(url, form, X_Twilio_Signature=signature)


def test_from_wherever_the_message_came(make_daemon: Daemons, slack: Slack, twilio: Twilio) -> None:
    watch = Watch(make_daemon("", start=False), slack, twilio)
    key = watch.daemon.folder / "links.key"
    assert key.stat().st_mode & 0o777 == 0o600

    by_link = watch.fail("one")
    link = re.search(rf"{watch.base}/ack/\S+$", watch.sms(by_link))
    assert link is not None, watch.sms(by_link)
    watch.daemon.kill()
    watch.daemon.start()
    status, page = visit(link[0])
    assert (status, f"Acknowledge #{by_link}?" in page) == (200, True)
    assert watch.incident(by_link)["state"] == "open"
    status, page = visit(link[0], {})
    assert (status, "Acknowledged by lead by sms link" in page) == (200, True)
    found = watch.incident(by_link)
    assert (found["state"], found["acknowledged_by"], found["owner"]) == ("acknowledged", "lead by sms link", "lead")
    assert "lead by sms link" in [entry["by"] for entry in found["timeline"]]

    by_button = watch.fail("two")
    button = watch.button(by_button)
    action = {"type": "block_actions", "user": {"id": "U1", "name": "ann"}, "actions": [button]}
    assert watch.from_slack({"payload": json.dumps(action)}) == (200, "")
    assert watch.incident(by_button)["acknowledged_by"] == "ann by Slack"

    by_command = watch.fail("three")
    status, said = watch.from_slack({"command": "/watchd", "text": f"ack {by_command}", "user_name": "ann"})
    assert (status, f"#{by_command} (three) is acknowledged by ann by Slack" in said) == (200, True)

    by_text = watch.fail("four")
    status, said = watch.from_twilio("ACK on my way")
    assert (status, f"#{by_text} (four) is acknowledged by lead by SMS" in said) == (200, True)
    found = watch.incident(by_text)
    assert (found["state"], found["owner"]) == ("acknowledged", "lead")
    assert "on my way" in [entry["summary"] for entry in found["timeline"]] + [e["reason"] for e in found["timeline"]]

    begun = watch.daemon.api("POST", "/drills", {"policy": "default", "wait": "60s", "by": "ann"})
    number = begun["number"]
    eventually(lambda: watch.sms(number) and watch.button(number), "the drill is told")
    drilled = re.search(rf"{watch.base}/ack/\S+$", watch.sms(number))
    assert drilled is not None, watch.sms(number)
    assert f"Acknowledge #{number}?" in visit(drilled[0])[1]
    assert "Acknowledged by lead by sms link" in visit(drilled[0], {})[1]
    report = watch.daemon.api("GET", f"/drills/{number}")
    assert (report["state"], report["acknowledged_by"]) == ("acknowledged", "lead by sms link")

    assert visit(f"{watch.base}/ack/{link[0][-20:]}")[0] == 404
    assert visit(f"{watch.base}/answer/slack", {"text": "ack 1"})[0] == 403
    stored = b"".join(path.read_bytes() for path in watch.daemon.folder.glob("watchd.db*"))
    for secret in (link[0].rpartition("/")[2], SIGNING_SECRET, TOKEN, key.read_bytes().hex()):
        assert secret not in watch.daemon.log()
        assert secret.encode() not in stored


def test_a_contact_is_asked_by_sms_and_says_by_the_link_that_it_reaches_them(
    make_daemon: Daemons, slack: Slack, twilio: Twilio
) -> None:
    daemon = make_daemon("", start=False)
    watch = Watch(daemon, slack, twilio)
    several = watch.config.replace('phone = "+15550101"', 'phone = ["+15550101", "+15550102"]')
    daemon.write(several + '[contacts]\nverify_every = "2d"\nremind = "3d"\n')
    daemon.reload()

    def asked() -> dict[str, str]:
        texts = {one.fields["To"]: one.fields["Body"] for one in twilio.accepted if "reach you?" in one.fields["Body"]}
        return texts if len(texts) == 2 else {}

    texts = eventually(asked, "they are asked at both of their numbers")
    for number in ("+15550102", "+15550101"):
        link = re.search(rf"{watch.base}/ack/\S+$", texts[number])
        assert link is not None, texts
        assert "Does this reach you, lead?" in visit(link[0])[1]
        assert daemon.api("GET", "/contacts")["contacts"][0]["verified_at"] is None
        assert "Thank you, lead" in visit(link[0], {})[1]
    [contact] = daemon.api("GET", "/contacts")["contacts"]
    assert (contact["state"], contact["verified_by"]) == ("soon", "lead by sms link")
    assert contact["note"] == "said so by the links sent over sms, sms (number 2)"
