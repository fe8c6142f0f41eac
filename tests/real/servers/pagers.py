"""Local stand-ins for the APIs of PagerDuty, Opsgenie and Jira, which keep incidents of their own.

Each takes only what the documentation describes (unknown and missing fields are refused with the provider's own status
and words) and keeps what it was told, so that a test can ask what a person would see there.

Sources: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/, https://docs.opsgenie.com/docs/alert-api,
https://developer.atlassian.com/cloud/jira/platform/rest/v2/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from urllib.parse import unquote

import aiohttp
import pytest
from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, HttpUrl, ValidationError

from tests.real.servers.providers import TOKEN, Provider, Refused

ROUTING_KEY = "0123456789abcdef0123456789abcdef"
MAIL = "watch@example.org"


class Strict(BaseModel):
    """A body in which nothing is missing, unknown or of another type."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


def Text(longest: int, least: int = 1) -> Any:  # noqa: N802 - reads like a type
    return Annotated[str, Field(min_length=least, max_length=longest)]


def problems(error: ValidationError) -> list[str]:
    return [f"'{'.'.join(map(str, one['loc']))}' {one['msg']}" for one in error.errors()]


def body_of(request: web.Request, raw: bytes) -> Any:
    assert request.content_type == "application/json", request.content_type
    return json.loads(raw)


# --- PagerDuty --------------------------------------------------------------------------------------------------------


class Payload(Strict):
    summary: Text(1024)
    source: Text(100_000)
    severity: Literal["critical", "error", "warning", "info"]
    timestamp: AwareDatetime
    component: Text(100_000) | None = None
    group: Text(100_000) | None = None
    class_: Text(100_000) | None = Field(default=None, alias="class")
    custom_details: dict[str, str]


class Link(Strict):
    href: HttpUrl
    text: str


class Trigger(Strict):
    routing_key: Text(32, 32)
    event_action: Literal["trigger"]
    dedup_key: Text(255)
    payload: Payload
    links: list[Link] = []
    client: str = ""
    client_url: HttpUrl | None = None


class Change(Strict):
    routing_key: Text(32, 32)
    event_action: Literal["acknowledge", "resolve"]
    dedup_key: Text(255)


class PagerDuty(Provider):
    """POST /v2/enqueue; ``alerts`` are the state of each dedup_key."""

    def __init__(self) -> None:
        super().__init__()
        self.alerts: dict[str, str] = {}

    def take(self, request: web.Request, raw: bytes) -> tuple[dict[str, Any], web.Response]:
        if request.path != "/v2/enqueue" or request.method != "POST":
            raise Refused(404, "Not Found")
        if len(raw) > 512 * 1024:
            raise Refused(413, "too large")
        event = body_of(request, raw)
        try:
            (Trigger if event.get("event_action") == "trigger" else Change).model_validate(event)
        except ValidationError as error:
            raise self._invalid(*problems(error)) from error
        if event["routing_key"] != ROUTING_KEY:
            raise self._invalid("'routing_key' is invalid")
        states = {"trigger": "triggered", "acknowledge": "acknowledged", "resolve": "resolved"}
        self.alerts[event["dedup_key"]] = states[event["event_action"]]
        answer = {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}
        return event, web.json_response(answer, status=202)

    @staticmethod
    def _invalid(*errors: str) -> Refused:
        said = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
        return Refused(400, json.dumps(said), "application/json")


# --- Opsgenie ---------------------------------------------------------------------------------------------------------


class OpsgenieResponder(Strict):
    type: Literal["team", "user", "escalation", "schedule"]
    name: str


class Alert(Strict):
    message: Text(130)
    alias: Text(512)
    description: Text(15_000)
    responders: list[OpsgenieResponder] = []
    tags: Annotated[list[Text(50)], Field(max_length=20)] = []
    details: dict[str, str] = {}
    entity: Text(512) | None = None
    source: Text(100)
    priority: Literal["P1", "P2", "P3", "P4", "P5"]


class AlertNote(Strict):
    user: Text(100) | None = None
    source: Text(100)
    note: Text(25_000)


class AlertPriority(Strict):
    priority: Literal["P1", "P2", "P3", "P4", "P5"]


class Opsgenie(Provider):
    """/v2/alerts and what can be done with an alert by its alias; ``alerts`` are their states by alias."""

    def __init__(self) -> None:
        super().__init__()
        self.alerts: dict[str, dict[str, Any]] = {}

    def take(self, request: web.Request, raw: bytes) -> tuple[dict[str, Any], web.Response]:
        if request.headers.get("Authorization") != f"GenieKey {TOKEN}":
            raise Refused(403, json.dumps({"message": "Api key is not valid", "took": 0.0}), "application/json")
        fields = body_of(request, raw)
        match = re.fullmatch(r"/v2/alerts/([^/]+)/(acknowledge|close|priority)", request.rel_url.raw_path)
        try:
            if request.path == "/v2/alerts" and request.method == "POST":
                self._create(Alert.model_validate(fields))
            elif match and request.query == {"identifierType": "alias"}:
                self._change(unquote(match[1]), match[2], request.method, fields)
            else:
                raise Refused(404, json.dumps({"message": "No such resource"}), "application/json")
        except ValidationError as error:
            said = {"message": "Request body is not processable.", "errors": dict(enumerate(problems(error)))}
            raise Refused(422, json.dumps(said), "application/json") from error
        answer = {"result": "Request will be processed", "took": 0.302, "requestId": f"r-{len(self.accepted)}"}
        return fields, web.json_response(answer, status=202)

    def _create(self, alert: Alert) -> None:
        known = self.alerts.get(alert.alias)
        if known and known["status"] != "closed":
            known["count"] += 1  # a known alias keeps its priority
        else:
            self.alerts[alert.alias] = {"status": "open", "priority": alert.priority, "count": 1}

    def _change(self, alias: str, action: str, method: str, fields: dict[str, Any]) -> None:
        """An unknown alias is accepted all the same; Opsgenie finds out later, when it processes the request."""
        assert method == ("PUT" if action == "priority" else "POST")
        if action == "priority":
            found = {"priority": AlertPriority.model_validate(fields).priority}
        else:
            AlertNote.model_validate(fields)
            found = {"status": {"acknowledge": "acknowledged", "close": "closed"}[action]}
        if alias in self.alerts:
            self.alerts[alias] |= found


# --- Jira -------------------------------------------------------------------------------------------------------------


class Named(Strict):
    name: str


class Keyed(Strict):
    key: str


class IssueFields(Strict):
    project: Keyed
    issuetype: Named
    summary: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\r\n]*$")]
    description: Text(32_767, 0)
    labels: list[Annotated[str, Field(pattern=r"^\S{1,255}$")]]
    priority: Named | None = None


class NewIssue(Strict):
    fields: IssueFields


class Search(Strict):
    jql: str
    fields: list[str]
    maxResults: int  # noqa: N815 - theirs


class Comment(Strict):
    body: Text(32_767)


class Chosen(Strict):
    id: str


class Transit(Strict):
    transition: Chosen


@dataclass
class Issue:
    """An issue as Jira keeps it; ``found`` says whether its search knows it yet."""

    key: str
    fields: dict[str, Any]
    status: str = "To Do"
    comments: list[str] = field(default_factory=list)
    found: bool = True

    def document(self) -> dict[str, Any]:
        category = {"Done": "done", "In Progress": "indeterminate"}.get(self.status, "new")
        return {"key": self.key, "fields": {"status": {"name": self.status, "statusCategory": {"key": category}}}}


class Jira(Provider):
    """Issues of project OPS; ``cloud`` decides where the search is and who may come in.

    ``slow_search`` makes new issues ones that the search does not find, as Jira Cloud's does for a while.
    """

    cloud = True
    slow_search = False
    workflow: tuple[tuple[str, str, str], ...] = (("11", "Start", "In Progress"), ("31", "Finish", "Done"))

    def __init__(self) -> None:
        super().__init__()
        self.issues: dict[str, Issue] = {}

    def take(self, request: web.Request, raw: bytes) -> tuple[dict[str, Any], web.Response]:
        known = aiohttp.encode_basic_auth(MAIL, TOKEN) if self.cloud else f"Bearer {TOKEN}"
        if request.headers.get("Authorization") != known:
            raise Refused(401, "Client must be authenticated to access this resource.")
        fields = body_of(request, raw) if raw else {}
        path = request.path.removeprefix("/rest/api/2")
        try:
            return fields, self._reply(request.method, path, dict(request.query), fields)
        except ValidationError as error:
            said = {"errorMessages": [], "errors": {"fields": "; ".join(problems(error))}}
            raise Refused(400, json.dumps(said), "application/json") from error

    def _reply(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> web.Response:
        search = "/search/jql" if self.cloud else "/search"
        match = re.fullmatch(r"/issue/(OPS-\d+)(?:/(comment|transitions))?", path)
        if (method, path) == ("POST", search):
            return web.json_response({"issues": self._search(Search.model_validate(body))})
        if (method, path) == ("POST", "/issue"):
            return self._create(NewIssue.model_validate(body).fields)
        if match is None:
            raise Refused(404, json.dumps({"errorMessages": [f"no {path}"], "errors": {}}), "application/json")
        issue = self.issues.get(match[1])
        if issue is None:
            said = {"errorMessages": ["Issue does not exist or you do not have permission to see it."], "errors": {}}
            raise Refused(404, json.dumps(said), "application/json")
        return self._of_issue(method, match[2], query, body, issue)

    def _search(self, search: Search) -> list[dict[str, Any]]:
        wanted = re.fullmatch(r'project = "(\w+)" AND labels = "([^"\s]+)" ORDER BY created DESC', search.jql)
        assert wanted, search
        if wanted[1] != "OPS":
            said = {"errorMessages": [f"The value '{wanted[1]}' does not exist for the field 'project'."], "errors": {}}
            raise Refused(400, json.dumps(said), "application/json")
        assert search.fields == ["status"]
        found = [one for one in self.issues.values() if one.found and wanted[2] in one.fields["labels"]]
        return [one.document() for one in reversed(found)][: search.maxResults]

    def _create(self, fields: IssueFields) -> web.Response:
        if fields.project.key != "OPS":
            said = {"errorMessages": [], "errors": {"project": "valid project is required"}}
            raise Refused(400, json.dumps(said), "application/json")
        key = f"OPS-{len(self.issues) + 1}"
        self.issues[key] = Issue(key, fields.model_dump(), found=not self.slow_search)
        return web.json_response({"id": "1", "key": key, "self": f"{self.base}/rest/api/2/issue/1"}, status=201)

    def _of_issue(
        self, method: str, part: str | None, query: dict[str, str], body: dict[str, Any], issue: Issue
    ) -> web.Response:
        match (method, part):
            case ("GET", None):
                assert query == {"fields": "status"}
                return web.json_response(issue.document())
            case ("POST", "comment"):
                issue.comments.append(Comment.model_validate(body).body)
                return web.json_response({"id": str(len(issue.comments))}, status=201)
            case ("GET", "transitions"):
                offered = [
                    {"id": number, "name": name, "to": Issue("", {}, to).document()["fields"]["status"]}
                    for number, name, to in self.workflow
                    if to != issue.status
                ]
                return web.json_response({"transitions": offered})
            case ("POST", "transitions"):
                chosen = Transit.model_validate(body).transition.id
                (issue.status,) = (to for number, _, to in self.workflow if number == chosen)
                return web.Response(status=204)
        raise Refused(405, "method not allowed")


def _serving(provider: Provider) -> Iterator[Any]:
    provider.start()
    yield provider
    provider.stop()


@pytest.fixture
def pagerduty() -> Iterator[PagerDuty]:
    """PagerDuty's Events API v2."""
    yield from _serving(PagerDuty())


@pytest.fixture
def opsgenie() -> Iterator[Opsgenie]:
    """Opsgenie's Alert API."""
    yield from _serving(Opsgenie())


@pytest.fixture
def jira() -> Iterator[Jira]:
    """Jira's REST API."""
    yield from _serving(Jira())
