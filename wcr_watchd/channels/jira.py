"""Jira: creates one issue per incident, comments on what happens to it, and closes it when the incident is over.

Format: https://developer.atlassian.com/cloud/jira/platform/rest/v2/ (Cloud: issues, comments, transitions, search),
https://docs.atlassian.com/software/jira/docs/api/REST/9.12.0/ (Data Center: the same but for the search).
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self
from urllib.parse import quote

from pydantic import Field, PrivateAttr, model_validator

from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.message import apart, headline, incident_key, long_text, shorten
from wcr_watchd.core.model import EventKind, Message, Notification
from wcr_watchd.core.protocols import Limits, Receipt
from wcr_watchd.core.run import Shared
from wcr_watchd.kit.options import Options, Secret
from wcr_watchd.kit.outbound import NOTHING_TO_DO, OutboundHttp, Progress, Reply, Url, refused

SUMMARY_LENGTH = 255
TEXT_LENGTH = 32_000
"""Characters of a description or comment; Jira takes 32 767."""
REMEMBERED = 1000
"""Issues of incidents that are known without a search: Jira Cloud finds a new one only after seconds."""
DONE = "done"
"""The key of the status category of issues that are finished, whatever their status is called."""


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue that stands for an incident: its key, such as ``OPS-7``, and whether it is finished."""

    key: str
    done: bool


class Jira(Options):
    """Keeps one issue per incident in a Jira project; a label with the incident's key finds it again."""

    type: ClassVar[str] = "jira"
    address_kind: ClassVar[str] = ""
    limits: ClassVar[Limits] = Limits(length=TEXT_LENGTH)
    timeout: ClassVar[float] = 45.0
    example: ClassVar[str] = """\
[channel.jira]
type = "jira"
url = "https://example.atlassian.net"
username = "watch@example.org"
token = "${credential:jira_api_token}"
project = "OPS"
"""

    url: Url
    """The site: ``https://example.atlassian.net``, or your own server."""
    kind: Literal["cloud", "server"] = "cloud"
    """Jira Cloud, or Server and Data Center of your own."""
    username: str = ""
    """Cloud: the account's mail address; server: empty for a personal access token."""
    token: Secret
    """The account's API token, personal access token or password."""
    project: str = Field(pattern=r"^[A-Z][A-Z0-9_]+$")
    """The key of the project to create issues in."""
    issue_type: str = Field(default="Task", min_length=1)
    """The type of the issues."""
    labels: list[str] = Field(default_factory=list)
    """Labels that issues have besides ``wcr-watchd`` and the incident's key."""
    fields: dict[str, Any] = Field(default_factory=dict)
    """Further fields of new issues as Jira's API takes them: ``priority = { name = "High" }``."""
    resolve: str = ""
    """The transition that closes an issue, by its name; empty: the first that leads to a finished status."""
    _progress: Progress = PrivateAttr(default_factory=Progress)
    _known: OrderedDict[str, str] = PrivateAttr(default_factory=OrderedDict)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "cloud" and not self.username:
            raise ValueError('Jira Cloud needs "username", the mail address that the token belongs to')
        if any(character.isspace() for label in self.labels for character in label):
            raise ValueError('Jira takes no blanks in "labels"')
        return self

    def render(self, message: Message) -> Mapping[str, str]:
        """What to do as JSON, for each message of a digest: the event, the issue's fields, the comment."""
        return {"json": json.dumps([self._plan(one) for one in apart(message)], ensure_ascii=False)}

    async def send(self, notification: Notification, parts: Mapping[str, str], shared: Shared) -> Receipt:
        """Create, comment on or close the issue. The same comment may stand twice after a failure half-way."""
        api = _Api(self, shared.get(OutboundHttp))
        plans = self._progress.remaining(notification.id, json.loads(parts["json"]))
        receipts = [await self._carry_out(api, plan) for plan in plans]
        return Receipt("; ".join(receipts)[:500] or NOTHING_TO_DO)

    def _plan(self, message: Message) -> dict[str, Any]:
        key = incident_key(message)
        text = shorten(long_text(message).strip(), TEXT_LENGTH)
        issue = {
            "project": {"key": self.project},
            "issuetype": {"name": self.issue_type},
            "summary": headline(message, SUMMARY_LENGTH),
            "description": text,
            "labels": ["wcr-watchd", key, *self.labels],
            **self.fields,
        }
        return {"event": message.event.value, "incident": key, "issue": issue, "comment": text}

    async def _carry_out(self, api: _Api, plan: Mapping[str, Any]) -> str:
        incident, event = plan["incident"], plan["event"]
        found = await api.issue(self._known[incident]) if incident in self._known else await api.search(incident)
        ending = event == EventKind.RESOLVED.value
        if found is None:
            if ending or event == EventKind.ACKNOWLEDGED.value:
                return f"no issue has the label {incident}; nothing to do"
            created = await api.create(plan["issue"])
            self._remember(incident, created)
            return f"created {created}"
        self._remember(incident, found.key)
        said = ""
        if ending and not found.done:
            said = await api.close(found.key, self.resolve)
        await api.comment(found.key, plan["comment"])
        return f"commented {found.key}{said}"

    def _remember(self, incident: str, key: str) -> None:
        self._known[incident] = key
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


class _Api:
    """The calls of Jira's REST API that are needed."""

    def __init__(self, settings: Jira, http: OutboundHttp) -> None:
        token = settings.token.get_secret_value()
        self._auth = (settings.username, token) if settings.username else None
        self._headers = {} if settings.username else {"Authorization": f"Bearer {token}"}
        self._base = f"{settings.url.rstrip('/')}/rest/api/2"
        self._search = "/search/jql" if settings.kind == "cloud" else "/search"
        self._project = settings.project
        self._http = http

    async def search(self, incident: str) -> Issue | None:
        """The newest issue that has the incident's key as a label."""
        jql = f'project = "{self._project}" AND labels = "{incident}" ORDER BY created DESC'
        reply = await self._call("POST", self._search, {"jql": jql, "fields": ["status"], "maxResults": 1})
        issues = reply.document().get("issues") or []
        return _issue(issues[0]) if issues else None

    async def issue(self, key: str) -> Issue | None:
        """An issue by its key; None when somebody has deleted it."""
        reply = await self._call("GET", f"/issue/{quote(key)}?fields=status", None, missing_is_fine=True)
        return _issue(reply.document()) if reply.accepted else None

    async def create(self, fields: Mapping[str, Any]) -> str:
        """Create an issue; returns its key."""
        reply = await self._call("POST", "/issue", {"fields": fields})
        return str(reply.document().get("key", ""))

    async def comment(self, key: str, text: str) -> None:
        """Add a comment."""
        await self._call("POST", f"/issue/{quote(key)}/comment", {"body": text})

    async def close(self, key: str, wanted: str) -> str:
        """Take the transition that closes the issue; returns what to add to the receipt."""
        reply = await self._call("GET", f"/issue/{quote(key)}/transitions", None)
        offered = reply.document().get("transitions") or []
        for one in offered:
            if one["name"].lower() == wanted.lower() if wanted else _is_done(one.get("to", {})):
                await self._call("POST", f"/issue/{quote(key)}/transitions", {"transition": {"id": one["id"]}})
                return f" and closed it ({one['name']})"
        names = ", ".join(one["name"] for one in offered) or "none"
        what = f'transition "{wanted}"' if wanted else "transition to a finished status"
        return f", which stays open: it has no {what}, only {names}"

    async def _call(self, method: str, path: str, body: object | None, *, missing_is_fine: bool = False) -> Reply:
        url = self._base + path
        payload = b"" if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        reply = await self._http.send(
            url, payload, content_type="application/json", method=method, headers=self._headers, auth=self._auth
        )
        if not reply.accepted and not (missing_is_fine and reply.status == 404):
            raise _refused(url, reply)
        return reply


def _issue(found: Mapping[str, Any]) -> Issue:
    return Issue(str(found["key"]), _is_done((found.get("fields") or {}).get("status") or {}))


def _is_done(status: Mapping[str, Any]) -> bool:
    return bool((status.get("statusCategory") or {}).get("key") == DONE)


def _refused(url: str, reply: Reply) -> ChannelError:
    """Jira's own words for what is wrong: general ones, and one per field."""
    answer = reply.document()
    errors = answer.get("errors") or {}
    fields = [f"{name}: {said}" for name, said in errors.items()] if isinstance(errors, dict) else []
    return refused(url, reply, "; ".join([*map(str, answer.get("errorMessages") or []), *fields]) or reply.text)
