"""Goes through a scenario step by step, as a visitor would (sign in, look, order); with cookies and values.

What a step captures (``capture.token = { field = "csrf" }``) stands in later steps as ``{{token}}``. Each step is
expected to be answered as its ``expect`` says; the first that is not ends the scenario and is named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar
from urllib.parse import quote, urlencode

import aiohttp
from pydantic import Field, model_validator
from yarl import URL

from wcr_watchd.core.model import MeasurementSpec, Observation, Outcome, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.asking import Asking, NoAnswerError, WebUrl, ask
from wcr_watchd.kit.expectations import Document, Expect, Path
from wcr_watchd.kit.http import Answer, Exchange, Request
from wcr_watchd.kit.markup import PageTooSlowError, field_of
from wcr_watchd.kit.options import Options, Secret
from wcr_watchd.kit.patterns import BUDGET, Match, Pattern, PatternsTooSlowError, search
from wcr_watchd.kit.threads import StillBlockedError, Threads

LARGEST = 1024 * 1024
"""Bytes of an answer that are read."""
LONGEST_VALUE = 8 * 1024
"""Characters of a captured value."""
EXCERPT = 512
_PLACEHOLDER = re.compile(r"\{\{\s*([a-z][a-z0-9_]*)\s*\}\}")

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


# --- options ----------------------------------------------------------------------------------------------------------


class Capture(Options):
    """Where a value is found in an answer; one of these."""

    json_: Path | None = Field(default=None, alias="json")
    """JMESPath in the JSON of the body."""
    regex: Pattern | None = None
    """Regular expression in the body: its first group, or all that it matches."""
    field: str = ""
    """Name of a form's field, or of a `<meta>`, in the page."""
    header: str = ""
    """Name of a header."""
    cookie: str = ""
    """Name of a cookie."""

    @model_validator(mode="after")
    def _one(self) -> Capture:
        if sum(map(bool, (self.json_, self.regex, self.field, self.header, self.cookie))) != 1:
            raise ValueError("give one of json, regex, field, header and cookie")
        return self

    @property
    def what(self) -> str:
        """What is looked for, in words."""
        pairs = {
            "JSON": self.json_,
            "a match of": self.regex,
            "a field": self.field,
            "the header": self.header,
            "the cookie": self.cookie,
        }
        return next(f"{kind} {name}" for kind, name in pairs.items() if name)


class Step(Options):
    """One request of a scenario, and what must come back."""

    name: str = ""
    """What it is called in messages; without a name: method and path."""
    path: str = ""
    """Where to, from the check's url on: "/login". May be a whole URL."""
    method: Annotated[str, Field(pattern=r"^[A-Z]*$")] = ""
    """Method, in capitals; without it GET, or POST when something is sent."""
    headers: dict[str, Secret] = Field(default_factory=dict)
    """Headers to send, beside those of the check."""
    form: dict[str, Secret] = Field(default_factory=dict)
    """Body to send, as the fields of a form."""
    json_: Any = Field(default=None, alias="json")
    """Body to send, as JSON."""
    body: str = ""
    """Body to send."""
    follow_redirects: bool = True
    """Whether redirects are followed before the answer is looked at."""
    expect: Expect = Field(default_factory=Expect)
    """What the answer must be; without it, any 2xx status will do."""
    capture: dict[Name, Capture] = Field(default_factory=dict)
    """Values for later steps: name = where it is found."""

    @model_validator(mode="after")
    def _one_body(self) -> Step:
        if sum((bool(self.body), self.json_ is not None, bool(self.form))) > 1:
            raise ValueError("give one of body, json and form")
        return self

    @property
    def verb(self) -> str:
        """The method."""
        return self.method or ("POST" if self.form or self.json_ is not None or self.body else "GET")

    @property
    def label(self) -> str:
        """What it is called."""
        return self.name or f"{self.verb} {self.path or '/'}"

    def placeholders(self) -> set[str]:
        """Names of the values that it needs."""
        secrets = [value.get_secret_value() for value in (*self.headers.values(), *self.form.values())]
        return {
            name
            for text in (self.path, self.body, *secrets, *_texts(self.json_))
            for name in _PLACEHOLDER.findall(text)
        }


def _texts(value: Any) -> Iterator[str]:
    """All texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


class HttpFlow(Asking):
    """Options of a scenario."""

    type: ClassVar[str] = "http_flow"
    target_key: ClassVar[str] = "url"
    every: ClassVar[float] = 300.0
    timeout: ClassVar[float] = 30.0
    example: ClassVar[str] = """\
url = "https://www.example.org"
steps = [
    { name = "sign-in page", path = "/login", capture.token.field = "csrf_token" },
    { name = "sign in", path = "/login", form = { user = "watch", password = "secret", csrf_token = "{{token}}" } },
    { name = "own page", path = "/account", expect.body = "Sign out" },
]
"""
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("flow_time", Unit.SECONDS, "Time of all steps together; absent when one failed"),
        MeasurementSpec("step_time", Unit.SECONDS, "Time of a step, with redirects", labels=("step",)),
        MeasurementSpec("steps_done", Unit.COUNT, "Steps that were answered as expected"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "step_time > 2s for 3x"),
    )

    url: WebUrl
    """Where the scenario begins; the paths of its steps are joined to it."""
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=50)] = (Step(),)
    """The steps, in order."""

    @model_validator(mode="after")
    def _fits_together(self) -> HttpFlow:
        known = set[str]()
        for number, step in enumerate(self.steps, 1):
            if unknown := step.placeholders() - known:
                raise ValueError(f"step {number} needs {{{{{min(unknown)}}}}}, which no step before it captures")
            known |= set(step.capture)
        labels = [step.label for step in self.steps]
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise ValueError(f"two steps are called {twice[0]}: give them names")
        return self

    @property
    def target(self) -> str:
        """The URL."""
        return self.url

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Go through the steps until one fails."""
        walk = _Walk(self, run, aiohttp.CookieJar(unsafe=True))
        done, problem = 0, None
        try:
            for step in self.steps:
                await walk.take(step)
                done += 1
        except NoAnswerError as error:
            problem = error
        finally:
            run.measure("steps_done", done)
        if problem is not None:
            step = self.steps[done]
            where = f"step {done + 1} of {len(self.steps)}" + (f", {step.name}" if step.name else "")
            return problem.observation(run, f"{where}: {step.verb} {_shown(self.url, step.path)}")
        run.measure("flow_time", run.elapsed)
        return run.up(f"all {done} steps at {self.url} went well, in {format_duration(run.elapsed)}")


# --- walking ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Walk:
    """A scenario on its way: cookies and values so far."""

    flow: HttpFlow
    run: Run
    cookies: aiohttp.CookieJar
    values: dict[str, str] = field(default_factory=dict)

    async def take(self, step: Step) -> None:
        """One step; raises :class:`NoAnswerError` when it does not go as it should."""
        begun = self.run.clock()
        try:
            shown = _shown(self.flow.url, step.path)
            answer = await ask(self.run, Exchange(self._request(step), cookies=self.cookies), shown)
        finally:
            self.run.measure("step_time", self.run.clock() - begun, step=step.label)
        self.run.step = f"comparing the answer to {step.label} with what is expected"
        try:
            await self._look_at(step, answer)
        except (PatternsTooSlowError, PageTooSlowError, StillBlockedError, OSError) as error:
            raise NoAnswerError(Outcome.UNKNOWN, "timeout", f"the answer could not be looked at: {error}") from error

    async def _look_at(self, step: Step, answer: Answer) -> None:
        document = Document(answer)
        failures = await step.expect.failures(answer, document, self.run.remaining)
        if failures:
            reason, text = failures[0]
            raise self._wrong(reason, answer, text)
        for name, capture in step.capture.items():
            value = await self._captured(capture, answer, document)
            if value is None:
                raise self._wrong("content", answer, f"but {capture.what} is not there to be captured as {name}")
            if len(value) > LONGEST_VALUE:
                raise self._wrong("content", answer, f"but {capture.what} is longer than {LONGEST_VALUE} characters")
            self.values[name] = value

    def _wrong(self, reason: str, answer: Answer, text: str) -> NoAnswerError:
        self.run.evidence["url"] = str(URL(answer.url).with_query(None))
        self.run.evidence["body"] = answer.text[:EXCERPT]
        return NoAnswerError(Outcome.DOWN, reason, f"answered {answer.status} {answer.phrase}, {text}")

    async def _captured(self, capture: Capture, answer: Answer, document: Document) -> str | None:
        if capture.json_:
            return _text_of(document.at(capture.json_))
        if capture.regex:
            budget = min(BUDGET, self.run.remaining)
            match = (await search([(capture.regex, answer.text)], budget))[0]
            return None if match is None else _first_group(match)
        if capture.field:
            key = f"fields of {self.run.check}"
            return await self.run.shared.get(Threads).run(key, field_of, answer.text, capture.field)
        if capture.header:
            return next(iter(answer.headers.get(capture.header.lower(), ())), None)
        found = self.cookies.filter_cookies(URL(answer.url)).get(capture.cookie)
        return None if found is None else found.value

    # --- what is sent ---

    def _request(self, step: Step) -> Request:
        base = URL(self.flow.url)
        headers = {name: self._filled(value.get_secret_value()) for name, value in step.headers.items()}
        body, kind = self._body(step)
        if kind and "content-type" not in {name.lower() for name in headers}:
            headers["Content-Type"] = kind
        redirects = 10 if step.follow_redirects else 0
        request = self.flow.request(
            self._url(base, step.path), step.verb, headers, body, redirects=redirects, max_body=LARGEST
        )
        if request.url.origin() != base.origin():  # what the check sends to its own server goes nowhere else
            request = replace(request, headers=headers)
        return request

    def _url(self, base: URL, path: str) -> URL:
        """Where a step leads; a value is one part of it, unless it is the whole of it."""
        whole = _PLACEHOLDER.fullmatch(path.strip())
        text = self.values[whole[1]] if whole else self._filled(path, lambda value: quote(value, safe=""))
        try:
            url = base.join(URL(text, encoded=whole is None)) if text else base
        except ValueError as error:
            raise NoAnswerError(Outcome.DOWN, "content", f"{text[:200]!r} is no URL: {error}") from error
        if url.scheme not in ("http", "https") or not url.raw_host:
            raise NoAnswerError(Outcome.DOWN, "content", f"{text[:200]!r} is no http or https URL")
        return url

    def _body(self, step: Step) -> tuple[bytes | None, str]:
        if step.json_ is not None:
            return json.dumps(self._filled_json(step.json_)).encode(), "application/json"
        if step.form:
            fields = {name: self._filled(value.get_secret_value()) for name, value in step.form.items()}
            return urlencode(fields).encode(), "application/x-www-form-urlencoded"
        return (self._filled(step.body).encode(), "") if step.body else (None, "")

    def _filled(self, text: str, written: Callable[[str], str] = str) -> str:
        """A text with values in place of their names."""
        return _PLACEHOLDER.sub(lambda found: written(self.values[found[1]]), text)

    def _filled_json(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._filled(value)
        if isinstance(value, dict):
            return {key: self._filled_json(inner) for key, inner in value.items()}
        return [self._filled_json(inner) for inner in value] if isinstance(value, list | tuple) else value


def _first_group(match: Match) -> str:
    """The first group of a match, or all of it when its pattern has none."""
    return match.groups[min(1, len(match.groups) - 1)] or ""


def _text_of(value: Any) -> str | None:
    """A value in JSON as it is written into a later request."""
    return value if isinstance(value, str) else None if value is None else json.dumps(value)


def _shown(url: str, path: str) -> str:
    """Where a step leads, with the names of values and not the values, which may be secrets."""
    if path.startswith(("http://", "https://", "{{")):
        return path
    return str(URL(url).origin()) + path if path.startswith("/") else url + path
