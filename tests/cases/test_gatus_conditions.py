"""Gatus' conditions, translated into our rules and expectations: where it silently says OK, ours says why not.

Each case is replayed or listed in :data:`NOT_HERE`; where ours differs on purpose, :data:`OTHERWISE` says why. Where
the file says what would be better than Gatus' own answer, that is what ours must give.
"""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from wcr_watchd.core.errors import RuleError
from wcr_watchd.core.model import Measurement, Observation, Outcome, Severity
from wcr_watchd.core.rules import History, RuleState, Verdict, evaluate, parse_rule
from wcr_watchd.kit.expectations import Document, Expect
from wcr_watchd.kit.http import Answer
from wcr_watchd.probes.http import Http

Case = dict[str, Any]
FILE = yaml.load((Path(__file__).parent / "gatus-cases.yaml").read_text(), yaml.CSafeLoader)
CONDITIONS: list[Case] = FILE["gatus_conditions"]

NO_ADDRESS = "the address is chosen (ip, resolve), not judged"
NO_CONNECTED = "what cannot be connected to is down, with the reason; no condition is needed"
NO_DOMAIN = "the registration of domains is not looked at in this version"
OF_DNS = "expect.rcode of the dns probe, in tests/real/test_dns.py"
NO_PLACEHOLDER = "there are no placeholders; a misspelt measurement is an error when the configuration is read"
NOT_HERE = {
    "g023": "a status is a number and has no length",
    "g024": "a status that is absent is not OK without a condition",
    "g037": NO_ADDRESS,
    "g038": NO_ADDRESS,
    "g041": NO_CONNECTED,
    "g044": NO_CONNECTED,
    "g045": OF_DNS,
    "g046": OF_DNS,
    "g058": NO_DOMAIN,
    "g060": NO_DOMAIN,
    "g149": NO_PLACEHOLDER,
    "g150": NO_PLACEHOLDER,
    "g168": "a rule compares measurements, so one of words of its own is refused",
}
"""Conditions that have no counterpart here, each with the reason."""
OTHERWISE: dict[str, tuple[bool | str, str]] = {
    "g021": (False, "200.9 is compared as it is written, not cut to 200"),
    "g022": (False, "no answer is no status, and never OK"),
    "g036": (True, "d is a unit here, and means a day"),
    "g066": (False, "0123 is no number in JSON; ours says so, and expect.body compares texts"),
    "g067": (False, "+1 is no number in JSON; ours says so, and expect.body compares texts"),
    "g073": (False, "a text that is no JSON has no length by JMESPath; min_size and max_size measure the body"),
    "g111": (False, "an array is no text; ours says what it is"),
    "g115": (True, "JMESPath counts from the end, too"),
    "g122": (False, "an array is no text; contains(arr, `2`) asks for it"),
    "g129": (False, "a text is no number"),
    "g130": (False, "a text is no number; to_number(num) makes it one"),
    "g160": (False, "what is no JSON has nothing and lacks nothing; ours says that it is no JSON"),
    "g164": (True, "spaces do not matter"),
    "g171": (False, "all that stands behind the operator is the text that must come, and ours says that it did not"),
}
"""Ours, and why it is different on purpose."""
OTHER_PARTS = {
    "gatus_alert_sequences": "thresholds in a row: retry, for 3x and until, in tests/core/test_engine.py",
    "gatus_maintenance": "maintenance windows are not in this version",
    "gatus_maintenance_validation": "maintenance windows are not in this version",
    "kuma_json_query": "JSONata; ours is JMESPath, tested in tests/real/test_http.py",
    "kuma_status_codes": "status sets, replayed below",
    "kuma_operators": "for kinds of monitors that are not here",
    "kuma_transitions": "thresholds in a row, in tests/core/test_engine.py",
    "kuma_uptime": "uptime reports are not in this version",
    "kuma_groups": "groups of monitors; ours depend on each other, in tests/core/test_engine.py",
    "kuma_live": "measured on a running Kuma",
    "certificate_cases": "certificates, in tests/real/test_tls.py and tests/real/hostile/test_tls.py",
}


def test_every_part_of_the_file_is_replayed_or_listed() -> None:
    assert set(FILE) == {"version", "bodies", "gatus_conditions", "kuma_json_query_body", *OTHER_PARTS}
    known = {case["id"] for case in CONDITIONS}
    assert len(known) == len(CONDITIONS) == 122
    assert known >= set(NOT_HERE) | set(OTHERWISE)
    assert not set(NOT_HERE) & set(OTHERWISE)


@pytest.mark.parametrize("case", [one for one in CONDITIONS if one["id"] not in NOT_HERE], ids=lambda one: one["id"])
async def test_condition(case: Case) -> None:
    wanted = case.get("better", case["expect"])
    ours, why = await verdict(case)
    assert ours == OTHERWISE.get(case["id"], (wanted,))[0], why
    assert ours is True or why, "what is not OK has its reason"


async def verdict(case: Case) -> tuple[bool | str, str]:
    """True, False or ``error`` (refused when the configuration is read), and why it is not OK."""
    try:
        translated = translate(case["condition"])
    except (RuleError, ValidationError) as error:
        return "error", str(error)
    if isinstance(translated, str):
        return holds(translated, case)
    answer = answered(case)
    failures = await translated.failures(answer, Document(answer), 20.0)
    return not failures, "; ".join(text for _, text in failures)


# --- their conditions in our words ------------------------------------------------------------------------------------

PLACES = {
    "[STATUS]": "status",
    "[RESPONSE_TIME]": "response_time",
    "[CERTIFICATE_EXPIRATION]": "certificate_expires_in",
}
ANY_STATUS = {"status": "100-599"}


def translate(condition: str) -> str | Expect:
    """A rule that fires when the condition does not hold, or an expectation."""
    left, operator, right = operands(condition)
    if (place := left.upper()) in PLACES:
        if place == "[STATUS]" and not number(right):
            if operator == "!=":
                return checked(" or ".join(f"status == {one}" for one in statuses(right)))
            return Expect.model_validate({"status": statuses(right)})
        return checked(f"not ({PLACES[place]} {operator} {quantity(place, right)})")
    if left.upper() == "[BODY]" and not number(right) and not right.startswith("any("):
        return text_expectation(operator, right)
    return Expect.model_validate({**ANY_STATUS, "json": json_expectation(left, operator, right)})


def operands(condition: str) -> tuple[str, str, str]:
    """The two sides, the placeholder on the left, and the operator between."""
    parts = re.split(r"\s*(==|!=|<=|>=|<|>|\?)\s*", condition, maxsplit=1)
    left, operator, right = parts
    return (right, operator, left) if "[" not in left else (left, operator, right)


def checked(rule: str) -> str:
    """The rule, which must be one."""
    parse_rule(rule, Severity.CRITICAL, Http.measurements)
    return rule


def quantity(place: str, text: str) -> str:
    """Theirs are milliseconds when they have no unit."""
    return f"{text}ms" if place != "[STATUS]" and number(text) else text


def number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d+)?", text) is not None


def statuses(text: str) -> list[str]:
    if text.startswith("pat("):
        return [text[4:-1].replace("*", "xx")]
    return [one.strip() for one in text.removeprefix("any(").removesuffix(")").split(",")]


def text_expectation(operator: str, right: str) -> Expect:
    glob = f"^{fnmatch.translate(right[4:-1])}"
    pattern = glob if right.startswith("pat(") else rf"^\s*{re.escape(right)}\s*$"
    key = "body_not_matches" if operator == "!=" else "body_matches"
    return Expect.model_validate({**ANY_STATUS, key: pattern})


def json_expectation(left: str, operator: str, right: str) -> dict[str, Any]:
    function, _, inner = left.partition("(")
    path = path_of(inner.removesuffix(")") if inner else left)
    if function == "len" and inner:
        path = f"length({path})"
    if function == "has" and inner:
        return {f"{path} {'!=' if right == 'true' else '=='} `null`": True}
    if right.upper().startswith("[BODY]"):
        return {f"{path} == {path_of(right)}": True}
    if operator in ("<", ">", "<=", ">=") or (operator == "!=" and number(right)):
        return {path: f"{operator} {right}"}
    if operator == "!=":
        return {f"{path} && {path} != '{right}'": True}
    if right.startswith("any("):
        return {path: [value(one.strip()) for one in right[4:-1].split(",")]}
    return {path: value(right)}


def path_of(text: str) -> str:
    return text[len("[BODY]") :].removeprefix(".") or "@"


def value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    return float(text) if number(text) else text


# --- what came back ---------------------------------------------------------------------------------------------------


def answered(case: Case) -> Answer:
    body = FILE["bodies"][case["body_ref"]] if "body_ref" in case else case.get("body", "")
    return Answer(case.get("status", 200), "", "1.1", "http://h/", {}, body.encode(), complete=True, size=len(body))


def holds(rule: str, case: Case) -> tuple[bool | str, str]:
    """Whether the rule that says it is *not* so stays silent at this observation; what is absent is not OK either."""
    values = {
        "status": case.get("status"),
        "response_time": case["response_time_ms"] / 1000 if "response_time_ms" in case else None,
        "certificate_expires_in": case["cert_ms"] / 1000 if "cert_ms" in case else None,
    }
    measurements = tuple(Measurement(name, float(one)) for name, one in values.items() if one is not None)
    seen = Observation("c", "here", 1000.0, 0.1, Outcome.UP, "", "", measurements, {})
    name = next(name for name in values if name in rule)
    if values[name] is None:
        return False, f"{name} was not measured"
    parsed = parse_rule(rule, Severity.CRITICAL, Http.measurements)
    state = evaluate(parsed, RuleState(), History(), seen, 0)
    fires = any(one.verdict is Verdict.FIRING for _, one in state.instances)
    return not fires, f"{rule}: {values}" if fires else ""
