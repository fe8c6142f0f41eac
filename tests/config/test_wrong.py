"""Every way to write a configuration wrong that we could think of, and the very words that come back."""

# ruff: noqa: E501 - the messages stand here as they come

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wcr_watchd.config.load import load, loads
from wcr_watchd.core.errors import ConfigError
from wcr_watchd.kit.plugins import names

WEB = """\
[check.api]
type = "http"
url = "http://localhost/"
"""
PEOPLE = """\
[channel.sms]
type = "sms"
account_sid = "AC1"
auth_token = "t"
from = "+15550100"
[channel.slack]
type = "slack"
webhook = "https://hooks.example/x"
[contact.lead]
phone = "+15550101"
[contact.second]
email = "second@example.org"
"""


def case(name: str, text: str, problems: list[str]) -> Any:
    return pytest.param(text, problems, id=name)


CASES = [
    case(
        "syntax: no value",
        "[watchd]\nname =\n",
        [
            'w.toml:2: not TOML at column 7: invalid value (text needs quotes: name = "text")',
        ],
    ),
    case(
        "syntax: text without quotes",
        "[watchd]\nname = prod\n",
        [
            'w.toml:2: not TOML at column 8: invalid value (text needs quotes: name = "text")',
        ],
    ),
    case(
        "syntax: no equals sign",
        "[watchd]\nname\n",
        [
            "w.toml:2: not TOML at column 5: expected '=' after a key in a key/value pair",
        ],
    ),
    case(
        "syntax: two on a line",
        '[watchd]\nname = "a" timezone = "UTC"\n',
        [
            "w.toml:2: not TOML at column 12: expected newline or end of document after a statement (one setting a line; is a quote or comma missing?)",
        ],
    ),
    case(
        "syntax: table twice",
        '[check.a]\ntype = "http"\n[check.a]\n',
        [
            "w.toml:3: not TOML at column 9: the table [check.a] is defined twice",
        ],
    ),
    case(
        "syntax: key twice",
        '[watchd]\nname = "a"\nname = "b"\n',
        [
            "w.toml:3: not TOML at column 11: cannot overwrite a value (this key is set twice)",
        ],
    ),
    case(
        "syntax: never closed",
        'include = ["a"',
        [
            'w.toml:1: not TOML at the end of the file: unclosed array (is a "]" or a comma missing?)',
        ],
    ),
    case(
        "syntax: never ended text",
        '[watchd]\nname = "a\n',
        [
            "w.toml:2: not TOML at column 10: illegal character '\\n' (a text ends on its line: is a quote missing?)",
        ],
    ),
    case(
        "section misspelt",
        "[chek.api]\n",
        [
            'w.toml:1: chek: unknown section "chek" (did you mean "check"?)',
        ],
    ),
    case(
        "heartbeats that cannot be sent",
        '[heartbeat.a]\nurl = "hc-ping.com/secret"\n[heartbeat.b]\n[heartbeat.c]\nurl = "https://hc-ping.com/x"\nevery = "0s"\nmethod = "DELETE"\n',
        [
            "w.toml:2: heartbeat.a.url: must be a URL that begins with https:// (or http://) and names a host",
            'w.toml:3: heartbeat.b.url: is missing (Where to send it, such as "https://hc-ping.com/…"; whoever knows it can fake it, so keep it in a credential)',
            'w.toml:6: heartbeat.c.every: must be at least 100ms; got "0s"',
            'w.toml:7: heartbeat.c.method: must be "POST", "GET" or "HEAD"; got "DELETE"',
        ],
    ),
    case(
        "section of a later version",
        "[places.x]\n",
        ["w.toml:1: places: several locations are not in this version (remove the section)"],
    ),
    case(
        "reports",
        "[report.often]\n"
        '[report.weekly]\nschedule = "Mon 25:00"\n'
        '[report.monthly]\nschedule = "0 9 1 *"\naudience = "all"\n'
        '[report.x]\nkind = "weekly"\ntell = ["pigeon"]\nchecks = ["none"]\n',
        [
            'w.toml:1: report.often: does not say what it covers (write kind = "weekly", kind = "monthly" or kind = "drill")',
            'w.toml:3: report.weekly.schedule: is no weekday and time; got "Mon 25:00" '
            '(write "Mon 09:00", or a cron expression such as "0 9 1 * *")',
            'w.toml:5: report.monthly.schedule: is no weekday and time; got "0 9 1 *" '
            '(write "Mon 09:00", or a cron expression such as "0 9 1 * *")',
            'w.toml:6: report.monthly.audience: must be "team" or "stakeholders"; got "all"',
            'w.toml:9: report.x.tell[0]: "pigeon": there is no channel "pigeon" (configure one: [channel.NAME])',
            'w.toml:10: report.x.checks[0]: there is no check "none"',
        ],
    ),
    case(
        "tasks",
        '[check."task.d"]\ntype = "task"\nperiod = "1d"\n'
        "[task.a]\n"
        '[task.b]\nschedule = "yearly-ish"\n'
        '[task.c]\nperiod = "1d"\nnice = 3\ndepends_on = ["nothing"]\n'
        '[task.d]\nperiod = "1d"\ntype = "task"\nwarning = "down for"\n'
        '[task.e]\nperiod = "1d"\nrun = ["true"]\nevidence = true\n',
        [
            "w.toml:4: task.a: needs either `schedule` or `period`: when it is due",
            'w.toml:5: task.b: `schedule` is neither a cron expression ("0 2 * * *") nor a calendar event ("02:00")',
            "w.toml:7: task.c: has `nice`, which is for what the daemon runs (give `run`, or take it out)",
            'w.toml:10: task.c.depends_on[0]: there is no check "nothing" (known: task.a, task.b, task.d, task.e)',
            "w.toml:11: task.d: is the check task.d, which is there already (choose another name)",
            "w.toml:13: task.d.type: a task has no type (take it out, or write [check.NAME])",
            'w.toml:14: task.d.warning: "down for", column 9: expected how long it must hold after `for`, '
            "found 'the end' (write for 5m, or for 3x (three runs))",
            "w.toml:15: task.e: has `run` and `evidence` (what a run wrote is its evidence: take `evidence` out)",
        ],
    ),
    case(
        "section that is no table",
        'check = "api"\n',
        [
            'w.toml:1: check: must be a table; got "api" (write [check.NAME])',
        ],
    ),
    case(
        "check that is no table",
        '[check]\ntype = "http"\n',
        [
            'w.toml:2: check.type: must be a table; got "http" (name it: [check.NAME], then its keys)',
        ],
    ),
    case(
        "section that is a list",
        "[[watchd]]\n",
        [
            "w.toml:1: watchd: must be a table; got [a table] (write [watchd])",
        ],
    ),
    case(
        "name with a slash",
        '[check."a/b"]\ntype = "http"\n',
        [
            'w.toml:1: check."a/b": is no usable name (use letters, digits, dot, dash and underscore, at most 100)',
        ],
    ),
    case(
        "name with dots, unquoted",
        '[check.www.example]\ntype = "http"\n',
        [
            'w.toml:1: check.www.type: is missing (a name with dots needs quotes: [check."www.example"])',
        ],
    ),
    case(
        "type missing",
        "[check.api]\nurl = 'http://localhost/'\n",
        [
            f"w.toml:1: check.api.type: is missing (probe types: {', '.join(names('wcr_watchd.probes'))})",
        ],
    ),
    case(
        "type misspelt",
        '[check.api]\ntype = "htpp"\n',
        [
            'w.toml:2: check.api.type: there is no probe type "htpp" (did you mean "http"?)',
        ],
    ),
    case(
        "type that is no text",
        "[check.api]\ntype = 5\n",
        [
            "w.toml:2: check.api.type: must be text in quotes; got 5",
        ],
    ),
    case(
        "option missing",
        '[check.api]\ntype = "http"\n',
        [
            "w.toml:1: check.api.url: is missing (What to ask: http:// or https://)",
        ],
    ),
    case(
        "option misspelt",
        WEB + 'methd = "GET"\n',
        [
            'w.toml:4: check.api.methd: unknown key "methd" (did you mean "method"?)',
        ],
    ),
    case(
        "common key misspelt",
        WEB + 'timout = "1s"\n',
        [
            'w.toml:4: check.api.timout: unknown key "timout" (did you mean "timeout"?)',
        ],
    ),
    case(
        "option in a table misspelt",
        WEB + "expect.staus = 200\n",
        [
            'w.toml:4: check.api.expect.staus: unknown key "staus" (did you mean "status"?)',
        ],
    ),
    case(
        "option of the wrong type",
        WEB + "verify = 7\n",
        [
            "w.toml:4: check.api.verify: must be true or false; got 7",
        ],
    ),
    case(
        "table wanted",
        WEB + "expect = 200\n",
        [
            "w.toml:4: check.api.expect: must be a table; got 200",
        ],
    ),
    case(
        "number where text is wanted",
        WEB + "body = 1\n",
        [
            "w.toml:4: check.api.body: must be text in quotes; got 1",
        ],
    ),
    case(
        "one of several",
        WEB + 'ip = "5"\n',
        [
            'w.toml:4: check.api.ip: must be "any", "4" or "6"; got "5"',
        ],
    ),
    case(
        "out of range",
        WEB + "max_redirects = 99\n",
        [
            "w.toml:4: check.api.max_redirects: must be at most 50; got 99",
        ],
    ),
    case(
        "several options that do not fit",
        WEB + 'body = "a"\nform.x = "b"\n',
        [
            "w.toml:1: check.api: give one of body, json and form",
        ],
    ),
    case(
        "duration without unit",
        WEB + "every = 60\n",
        [
            'w.toml:4: check.api.every: a duration needs a unit: write "60s", "60m", "60h" or "60d"; got 60',
        ],
    ),
    case(
        "duration with an unknown unit",
        WEB + 'every = "5 parsecs"\n',
        [
            "w.toml:4: check.api.every: '5 parsecs' is not a duration: a number with a unit is needed, such as 30s, 5m, 2h or 7d",
        ],
    ),
    case(
        "size that is none",
        WEB + 'max_body = "big"\n',
        [
            "w.toml:4: check.api.max_body: 'big' is not a size: write it like 512MiB, 5GB or a number of bytes",
        ],
    ),
    case(
        "no time at all",
        WEB + 'timeout = "0s"\n',
        [
            'w.toml:4: check.api.timeout: must be longer than nothing; got "0s"',
        ],
    ),
    case(
        "too often",
        WEB + 'every = "10ms"\n',
        [
            'w.toml:4: check.api.every: must be at least 100ms; got "10ms"',
        ],
    ),
    case(
        "timeout longer than the interval",
        WEB + 'every = "10s"\ntimeout = "11s"\n',
        [
            "w.toml:5: check.api.timeout: a run may take 11s and the next begins after 10s (every) (timeout must not be longer than every)",
        ],
    ),
    case(
        "timeout longer than the interval of the type",
        '[check.api]\ntype = "http"\nurl = "http://localhost/"\ntimeout = "90s"\n',
        [
            "w.toml:4: check.api.timeout: a run may take 1m30s and the next begins after 1m (the type's own every) (timeout must not be longer than every)",
        ],
    ),
    case(
        "a wrong rule beside other mistakes",
        WEB + 'timeuot = "5s"\nip = "5"\nwarning = "response_time > 1GB"\ncritical = "dwon"\nevery = "1 min"\n',
        [
            'w.toml:4: check.api.timeuot: unknown key "timeuot" (did you mean "timeout"?)',
            'w.toml:5: check.api.ip: must be "any", "4" or "6"; got "5"',
            'w.toml:6: check.api.warning: "response_time > 1GB", column 17: response_time is in seconds, 1GB is in bytes (write it like 1s, 1m, 1h)',
            "w.toml:7: check.api.critical: \"dwon\", column 1: unknown measurement 'dwon' (did you mean 'down'?)",
            "w.toml:8: check.api.every: '1 min' is not a duration: write 1m",
        ],
    ),
    case(
        "a path into the answer that is none",
        WEB + 'values.users = "a["\n',
        [
            'w.toml:4: check.api.values.users: not a JMESPath expression: Invalid jmespath expression: Incomplete expression; got "a["',
        ],
    ),
    case(
        "retry misspelt",
        WEB + "retry = { time = 1 }\n",
        [
            'w.toml:4: check.api.retry.time: unknown key "time" (did you mean "times"?)',
        ],
    ),
    case(
        "retry out of range",
        WEB + "retry = { times = -1 }\n",
        [
            "w.toml:4: check.api.retry.times: must be at least 0; got -1",
        ],
    ),
    case(
        "rule that is no text",
        WEB + "critical = 5\n",
        [
            "w.toml:4: check.api.critical: must be text in quotes or a list of texts; got 5",
        ],
    ),
    case(
        "rule with an unknown measurement",
        WEB + 'warning = "respones_time > 1s"\n',
        [
            "w.toml:4: check.api.warning: \"respones_time > 1s\", column 1: unknown measurement 'respones_time' (did you mean 'response_time'?)",
        ],
    ),
    case(
        "rule with the wrong unit",
        WEB + 'warning = ["down", "response_time > 5"]\n',
        [
            'w.toml:4: check.api.warning[1]: "response_time > 5", column 17: response_time is in seconds, 5 is a number without a unit (write it like 5s, 5m, 5h)',
        ],
    ),
    case(
        "rule that is no rule",
        WEB + 'info = "response_time >"\n',
        [
            "w.toml:4: check.api.info: \"response_time >\", column 16: expected a measurement or a number, found 'the end'",
        ],
    ),
    case(
        "parent that does not exist",
        WEB + 'depends_on = ["apis"]\n[check.apis2]\ntype = "http"\nurl = "http://localhost/"\n',
        [
            'w.toml:4: check.api.depends_on[0]: there is no check "apis" (did you mean "apis2"?)',
        ],
    ),
    case(
        "parent of itself",
        WEB + 'depends_on = ["api"]\n',
        [
            "w.toml:4: check.api.depends_on[0]: a check cannot depend on itself",
        ],
    ),
    case(
        "dependencies in a circle",
        '[check.a]\ntype = "http"\nurl = "http://localhost/"\ndepends_on = ["b"]\n[check.b]\ntype = "http"\nurl = "http://localhost/"\ndepends_on = ["c"]\n[check.c]\ntype = "http"\nurl = "http://localhost/"\ndepends_on = ["a"]\n',
        [
            "w.toml:4: check.a.depends_on: goes round in a circle: a → b → c → a",
        ],
    ),
    case(
        "quorum",
        WEB + "quorum = 2\n",
        [
            "w.toml:4: check.api.quorum: several locations that vote are not in this version (remove it)",
        ],
    ),
    case(
        "policy that does not exist",
        PEOPLE + WEB + 'policy = "nite"\n[policy.night.critical]\ntell = ["slack"]\n[policy.default.info]\n',
        [
            'w.toml:16: check.api.policy: there is no policy "nite" (did you mean "night"?)',
        ],
    ),
    case(
        "no default policy",
        '[policy.night.critical]\n[check.api]\ntype = "http"\nurl = "http://localhost/"\n',
        [
            'w.toml:1: policy: there is no policy "default", and the check "api" names no other (add [policy.default.critical], or set policy in [defaults])',
        ],
    ),
    case(
        "default policy that does not exist",
        '[defaults]\npolicy = "night"\n[check.api]\ntype = "http"\nurl = "http://localhost/"\n',
        [
            'w.toml:2: defaults.policy: there is no policy "night" (known: default)',
        ],
    ),
    case(
        "policy without severity",
        '[policy.default]\ntell = ["slack"]\n',
        [
            'w.toml:2: policy.default.tell: "tell" is no severity (write [policy.default.critical])',
        ],
    ),
    case(
        "severity misspelt",
        "[policy.default.criticl]\ntell = []\n",
        [
            'w.toml:1: policy.default.criticl: "criticl" is no severity (did you mean "critical"?)',
        ],
    ),
    case(
        "channel that does not exist",
        PEOPLE + '[policy.default.critical]\ntell = ["smss:lead"]\n',
        [
            'w.toml:14: policy.default.critical.tell[0]: "smss:lead": there is no channel "smss" (did you mean "sms"?)',
        ],
    ),
    case(
        "nobody named",
        PEOPLE + '[policy.default.critical]\ntell = ["sms"]\n',
        [
            'w.toml:14: policy.default.critical.tell[0]: "sms": the channel needs to know whom to tell (write "sms:lead")',
        ],
    ),
    case(
        "somebody named for nothing",
        PEOPLE + '[policy.default.critical]\ntell = ["slack:lead"]\n',
        [
            'w.toml:14: policy.default.critical.tell[0]: "slack:lead": the channel has its own destination and takes nobody (write "slack")',
        ],
    ),
    case(
        "person that does not exist",
        PEOPLE + '[policy.default.critical]\ntell = ["sms:led"]\n',
        [
            'w.toml:14: policy.default.critical.tell[0]: "sms:led": there is no contact or on-call schedule "led" (did you mean "lead"?)',
        ],
    ),
    case(
        "person without address",
        PEOPLE + '[policy.default.critical]\ntell = ["sms:second"]\n',
        [
            'w.toml:14: policy.default.critical.tell[0]: "sms:second": the contact "second" has no phone (add phone to [contact.second])',
        ],
    ),
    case(
        "schedule with a member without address",
        PEOPLE + '[on_call.ops]\nrotation = ["lead", "second"]\n[policy.default.critical]\ntell = ["sms:ops"]\n',
        [
            'w.toml:16: policy.default.critical.tell[0]: "sms:ops": the contact "second" has no phone (add phone to [contact.second])',
        ],
    ),
    case(
        "step without time",
        PEOPLE + '[policy.default.critical]\nescalate = [{ tell = ["slack"] }]\n',
        [
            "w.toml:14: policy.default.critical.escalate[0].after: is missing (How long after the incident began)",
        ],
    ),
    case(
        "step that does nothing",
        PEOPLE + '[policy.default.critical]\nescalate = [\n  { after = "5m" },\n]\n',
        [
            "w.toml:15: policy.default.critical.escalate[0]: does nothing (give `tell` or `raise`)",
        ],
    ),
    case(
        "step to an unknown channel",
        PEOPLE + '[policy.default.critical]\nescalate = [\n  { after = "5m", tell = [\n   "slak" ] },\n]\n',
        [
            'w.toml:16: policy.default.critical.escalate[0].tell[0]: "slak": there is no channel "slak" (did you mean "slack"?)',
        ],
    ),
    case(
        "step that raises to less",
        PEOPLE + '[policy.default.critical]\nescalate = [{ after = "5m", raise = "warning" }]\n',
        [
            'w.toml:14: policy.default.critical.escalate[0].raise: "warning" is not above "critical" (raise to a higher severity)',
        ],
    ),
    case(
        "fallback to an unknown channel",
        PEOPLE + '[policy.default.critical]\ntell = ["slack"]\nfallback = ["mail:lead"]\n',
        [
            'w.toml:15: policy.default.critical.fallback[0]: "mail:lead": there is no channel "mail" (known: slack, sms)',
        ],
    ),
    case(
        "channel type misspelt",
        '[channel.sms]\ntype = "smss"\n',
        [
            'w.toml:2: channel.sms.type: there is no channel type "smss" (did you mean "sms"?)',
        ],
    ),
    case(
        "channel option missing",
        '[channel.slack]\ntype = "slack"\n',
        [
            "w.toml:1: channel.slack.webhook: is missing (The incoming webhook's URL; whoever knows it can post, so keep it in a file or credential)",
        ],
    ),
    case(
        "channel without what it needs",
        '[channel.sms]\ntype = "sms"\nauth_token = "literal-secret"\nfrom = "+15550100"\n',
        [
            'w.toml:1: channel.sms: provider "twilio" needs account_sid',
        ],
    ),
    case(
        "limit that is none",
        '[channel.slack]\ntype = "slack"\nwebhook = "https://hooks.example/x"\nlimit = "ten"\n',
        [
            'w.toml:4: channel.slack.limit: is no limit; got "ten" (write how many in how long: "10/1h")',
        ],
    ),
    case(
        "limit of nothing",
        '[channel.slack]\ntype = "slack"\nwebhook = "https://hooks.example/x"\nlimit = "0/1h"\n',
        [
            'w.toml:4: channel.slack.limit: must allow at least one message in some time; got "0/1h" (leave the channel out of `tell` instead)',
        ],
    ),
    case(
        "phone number",
        '[contact.lead]\nphone = "0555 123"\n',
        [
            'w.toml:2: contact.lead.phone: is no phone number; got "0555 123" (write it with the country\'s code: "+15550100" (E.164))',
        ],
    ),
    case(
        "mail address",
        '[contact.lead]\nemail = "lead"\n',
        [
            'w.toml:2: contact.lead.email: is no mail address; got "lead" (write "name@example.org")',
        ],
    ),
    case(
        "unknown address",
        '[contact.lead]\nfax = "1"\n',
        [
            'w.toml:2: contact.lead.fax: unknown key "fax" (known: email, phone, quiet, timezone)',
        ],
    ),
    case(
        "turn of nobody",
        "[on_call.ops]\nrotation = []\n",
        [
            "w.toml:2: on_call.ops.rotation: must not be empty; got []",
        ],
    ),
    case(
        "turn of somebody unknown",
        PEOPLE + '[on_call.ops]\nrotation = ["lead", "leed"]\n',
        [
            'w.toml:14: on_call.ops.rotation[1]: there is no contact "leed" (did you mean "lead"?)',
        ],
    ),
    case(
        "handover",
        PEOPLE + '[on_call.ops]\nrotation = "lead"\nhandover = "Monday morning"\n',
        [
            'w.toml:15: on_call.ops.handover: is no weekday and time; got "Monday morning" (write "Mon 09:00")',
        ],
    ),
    case(
        "rotation beside layers",
        PEOPLE + '[on_call.ops]\nrotation = "lead"\nlayers = [{ rotation = "lead" }]\n',
        [
            "w.toml:13: on_call.ops: has both `rotation` and `layers` (make the rotation the first of the layers)",
        ],
    ),
    case(
        "handover of nothing",
        PEOPLE + '[on_call.ops]\nhandover = "Mon 09:00"\nlayers = [{ rotation = "lead" }]\n',
        [
            "w.toml:13: on_call.ops: has a `handover` and no `rotation` (give each of the layers its own)",
        ],
    ),
    case(
        "schedule of nobody",
        PEOPLE + '[on_call.ops]\ntimezone = "UTC"\n',
        [
            'w.toml:13: on_call.ops: has nobody who is ever on call (give rotation = ["ann", "ben"])',
        ],
    ),
    case(
        "rotation that is a number",
        PEOPLE + "[on_call.ops]\nrotation = 5\n",
        [
            'w.toml:14: on_call.ops.rotation: must be a list of contacts; got 5 (write ["ann", "ben"]; [["ann", "ben"]] for both at once)',
        ],
    ),
    case(
        "rotation of a number",
        PEOPLE + '[on_call.ops]\nrotation = ["lead", 5]\n',
        [
            'w.toml:14: on_call.ops.rotation: must be a list of contacts; got ["lead", 5] (write ["ann", "ben"]; [["ann", "ben"]] for both at once)',
        ],
    ),
    case(
        "turn of an empty group",
        PEOPLE + '[on_call.ops]\nrotation = ["lead", []]\n',
        [
            "w.toml:14: on_call.ops.rotation[1]: must not be empty; got []",
        ],
    ),
    case(
        "group with somebody unknown",
        PEOPLE + '[on_call.ops]\nrotation = ["lead", ["second", "sekond"]]\n',
        [
            'w.toml:14: on_call.ops.rotation[1][1]: there is no contact "sekond" (did you mean "second"?)',
        ],
    ),
    case(
        "layer without people",
        PEOPLE + '[on_call.ops]\nlayers = [\n  { turn = "1d" },\n]\n',
        [
            "w.toml:15: on_call.ops.layers[0].rotation: is missing (Contacts, in the order of their turns; a list in the list is on call together)",
        ],
    ),
    case(
        "layer with somebody unknown",
        PEOPLE
        + '[[on_call.ops.layers]]\nrotation = "lead"\n\n[[on_call.ops.layers]]\nrotation = [\n  "second",\n  "leed",\n]\n',
        [
            'w.toml:19: on_call.ops.layers[1].rotation[1]: there is no contact "leed" (did you mean "lead"?)',
        ],
    ),
    case(
        "layer key misspelt",
        PEOPLE + '[[on_call.ops.layers]]\nrotation = "lead"\nturns = "1d"\n',
        [
            'w.toml:15: on_call.ops.layers[0].turns: unknown key "turns" (did you mean "turn"?)',
        ],
    ),
    case(
        "turn of odd length",
        PEOPLE + '[[on_call.ops.layers]]\nrotation = "lead"\nturn = "90m"\n',
        [
            'w.toml:15: on_call.ops.layers[0].turn: must be whole hours, from 1h to 52w; got "90m" (write "1w", "1d" or "12h")',
        ],
    ),
    case(
        "turn without unit",
        PEOPLE + '[[on_call.ops.layers]]\nrotation = "lead"\nturn = "7"\n',
        [
            "w.toml:15: on_call.ops.layers[0].turn: '7' is not a duration: it needs a unit, 7s, 7m, 7h, …",
        ],
    ),
    case(
        "handover of a layer",
        PEOPLE + '[[on_call.ops.layers]]\nrotation = "lead"\nhandover = "Mondy 09:00"\n',
        [
            'w.toml:15: on_call.ops.layers[0].handover: is no time to hand over; got "Mondy 09:00" (write "Mon 09:00", or "09:00" for any day)',
        ],
    ),
    case(
        "hours in words",
        PEOPLE + '[[on_call.ops.layers]]\nrotation = "lead"\nhours = "office hours"\n',
        [
            'w.toml:15: on_call.ops.layers[0].hours: "office hours" names no hours (write "Mon-Fri 09:00-17:00", "22:00-07:00", "Sat,Sun" or "Fri 17:00-Mon 09:00")',
        ],
    ),
    case(
        "hours on a misspelt day",
        PEOPLE + '[[on_call.ops.layers]]\nrotation = "lead"\nhours = "Mon-Fryday 09:00-17:00"\n',
        [
            'w.toml:15: on_call.ops.layers[0].hours: "Fryday" is no weekday; got "Mon-Fryday 09:00-17:00" (did you mean "Friday"?)',
        ],
    ),
    case(
        "hours with no time",
        PEOPLE + '[[on_call.ops.layers]]\nrotation = "lead"\nhours = ["09:00-17:60"]\n',
        [
            'w.toml:15: on_call.ops.layers[0].hours: "17:60" is no time of day; got ["09:00-17:60"] (times go from 00:00 to 24:00)',
        ],
    ),
    case(
        "hours of nothing",
        PEOPLE + '[[on_call.ops.layers]]\nrotation = "lead"\nhours = "09:00-09:00"\n',
        [
            'w.toml:15: on_call.ops.layers[0].hours: "09:00-09:00" begins when it ends (write "00:00-24:00" for whole days)',
        ],
    ),
    case(
        "no hours",
        PEOPLE + '[[on_call.ops.layers]]\nrotation = "lead"\nhours = []\n',
        [
            "w.toml:15: on_call.ops.layers[0].hours: must not be empty; got [] (leave it out instead)",
        ],
    ),
    case(
        "hours on an odd range",
        PEOPLE + '[[on_call.ops.layers]]\nrotation = "lead"\nhours = "Mon-Wed-Fri 09:00-17:00"\n',
        [
            'w.toml:15: on_call.ops.layers[0].hours: "Mon-Wed-Fri" is no range of weekdays; got "Mon-Wed-Fri 09:00-17:00" (write "Mon-Fri")',
        ],
    ),
    case(
        "start of a layer",
        PEOPLE + '[[on_call.ops.layers]]\nrotation = "lead"\nstart = "next week"\n',
        [
            'w.toml:15: on_call.ops.layers[0].start: is no date; got "next week" (write 2026-12-07)',
        ],
    ),
    case(
        "start of a layer with a time",
        PEOPLE + '[[on_call.ops.layers]]\nrotation = "lead"\nstart = 2026-12-07T09:00:00\n',
        [
            "w.toml:15: on_call.ops.layers[0].start: is no date; got 2026-12-07T09:00:00 (write 2026-12-07)",
        ],
    ),
    case(
        "override without end",
        PEOPLE + '[on_call.ops]\nrotation = "lead"\noverrides = [{ start = 2026-12-24T18:00:00, who = "lead" }]\n',
        [
            "w.toml:15: on_call.ops.overrides[0].end: is missing (When it ends)",
        ],
    ),
    case(
        "override from day to day",
        PEOPLE
        + '[on_call.ops]\nrotation = "lead"\n[[on_call.ops.overrides]]\nstart = 2026-12-24\nend = "2026-12-26"\nwho = "lead"\n',
        [
            "w.toml:16: on_call.ops.overrides[0].start: is no date and time; got 2026-12-24 (write 2026-12-24T18:00:00 (in the schedule's zone) or 2026-12-24T18:00:00-05:00)",
            'w.toml:17: on_call.ops.overrides[0].end: is no date and time; got "2026-12-26" (write 2026-12-24T18:00:00 (in the schedule\'s zone) or 2026-12-24T18:00:00-05:00)',
        ],
    ),
    case(
        "override that ends before it begins",
        PEOPLE
        + '[on_call.ops]\nrotation = "lead"\n[[on_call.ops.overrides]]\nstart = 2026-12-26T09:00:00\nend = 2026-12-24T18:00:00Z\nwho = "lead"\n',
        [
            "w.toml:17: on_call.ops.overrides[0].end: is not after `start` (let it end after it begins)",
        ],
    ),
    case(
        "override by somebody unknown",
        PEOPLE
        + '[on_call.ops]\nrotation = "lead"\n[[on_call.ops.overrides]]\nstart = 2026-12-24T09:00:00\nend = 2026-12-24T18:00:00\nwho = ["lead", "leed"]\n',
        [
            'w.toml:18: on_call.ops.overrides[0].who[1]: there is no contact "leed" (did you mean "lead"?)',
        ],
    ),
    case(
        "override by nobody",
        PEOPLE
        + '[on_call.ops]\nrotation = "lead"\n[[on_call.ops.overrides]]\nstart = 2026-12-24T09:00:00\nend = 2026-12-24T18:00:00\nwho = []\n',
        [
            "w.toml:18: on_call.ops.overrides[0].who: must not be empty; got []",
        ],
    ),
    case(
        "override in words",
        PEOPLE
        + '[on_call.ops]\nrotation = "lead"\noverrides = [{ start = "tomorrow", end = "2026-12-24T18:00:00+01:00", who = "lead" }]\n',
        [
            'w.toml:15: on_call.ops.overrides[0].start: is no date and time; got "tomorrow" (write 2026-12-24T18:00:00 (in the schedule\'s zone) or 2026-12-24T18:00:00-05:00)',
        ],
    ),
    case(
        "override that is no list",
        PEOPLE + '[on_call.ops]\nrotation = "lead"\noverrides = { start = "tomorrow" }\n',
        [
            "w.toml:15: on_call.ops.overrides: must be a list",
        ],
    ),
    case(
        "time zone of a schedule",
        PEOPLE + '[on_call.ops]\nrotation = "lead"\ntimezone = "Europe/Berln"\n',
        [
            'w.toml:15: on_call.ops.timezone: is no time zone; got "Europe/Berln" (did you mean "Europe/Berlin"?)',
        ],
    ),
    case(
        "second phone number",
        '[contact.lead]\nphone = [\n  "+15550101",\n  "0555",\n]\n',
        [
            'w.toml:4: contact.lead.phone[1]: is no phone number; got "0555" (write it with the country\'s code: "+15550100" (E.164))',
        ],
    ),
    case(
        "no phone number at all",
        "[contact.lead]\nphone = []\n",
        [
            "w.toml:2: contact.lead.phone: must not be empty; got []",
        ],
    ),
    case(
        "phone number without quotes",
        "[contact.lead]\nphone = 15550101\n",
        [
            "w.toml:2: contact.lead.phone: must be text in quotes or a list of texts; got 15550101",
        ],
    ),
    case(
        "quiet hours in words",
        '[contact.lead]\nquiet = "at night"\n',
        [
            'w.toml:2: contact.lead.quiet: "at night" names no hours (write "Mon-Fri 09:00-17:00", "22:00-07:00", "Sat,Sun" or "Fri 17:00-Mon 09:00")',
        ],
    ),
    case(
        "quiet hours that never end",
        '[contact.lead]\nquiet = "00:00-24:00"\n',
        [
            'w.toml:2: contact.lead.quiet: is the whole week, so that nothing would ever be told; got "00:00-24:00" (leave some time to be told in)',
        ],
    ),
    case(
        "time zone of quiet hours",
        '[contact.lead]\nquiet = "22:00-07:00"\ntimezone = "Mars"\n',
        [
            'w.toml:3: contact.lead.timezone: is no time zone; got "Mars" (write an IANA name such as "Europe/Berlin" or "UTC")',
        ],
    ),
    case(
        "override by somebody without address",
        PEOPLE
        + '[[on_call.ops.layers]]\nrotation = "lead"\n[[on_call.ops.overrides]]\nstart = 2026-12-24T09:00:00\nend = 2026-12-24T18:00:00\nwho = "second"\n[policy.default.critical]\ntell = ["sms:ops"]\n',
        [
            'w.toml:20: policy.default.critical.tell[0]: "sms:ops": the contact "second" has no phone (add phone to [contact.second])',
        ],
    ),
    case(
        "target of a faulty schedule",
        PEOPLE + '[on_call.ops]\nrotation = []\n[policy.default.critical]\ntell = ["sms:ops"]\n',
        [
            "w.toml:14: on_call.ops.rotation: must not be empty; got []",
        ],
    ),
    case(
        "schedule named as a contact",
        PEOPLE + '[on_call.lead]\nrotation = "lead"\n',
        [
            'w.toml:13: on_call.lead: is also the name of a contact, so "CHANNEL:lead" could mean both (rename one)',
        ],
    ),
    case(
        "time zone",
        '[watchd]\ntimezone = "America/New_Yrok"\n',
        [
            'w.toml:2: watchd.timezone: is no time zone; got "America/New_Yrok" (did you mean "America/New_York"?)',
        ],
    ),
    case(
        "time zone by its letters",
        '[watchd]\ntimezone = "XYZ"\n',
        [
            'w.toml:2: watchd.timezone: is no time zone; got "XYZ" (write an IANA name such as "Europe/Berlin" or "UTC")',
        ],
    ),
    case(
        "store of a later version",
        '[store]\nurl = "postgresql://db/watchd"\n',
        [
            'w.toml:2: store.url: a store in PostgreSQL is not in this version; got "postgresql://db/watchd" (write "sqlite:///absolute/path.db", or leave it out)',
        ],
    ),
    case(
        "store that is none",
        '[store]\nurl = "sqlite://watchd.db"\n',
        [
            'w.toml:2: store.url: is no place to store; got "sqlite://watchd.db" (write "sqlite:///absolute/path.db": three slashes)',
        ],
    ),
    case(
        "retention",
        '[store]\nretention = { raw = "90d" }\n',
        [
            "w.toml:2: store.retention: must grow: raw at most five_minutes, five_minutes at most rollup",
        ],
    ),
    case(
        "retention too short",
        '[store.retention]\nraw = "1h"\n',
        [
            'w.toml:2: store.retention.raw: must be at least 1d; got "1h"',
        ],
    ),
    case(
        "listen without port",
        '[web]\nlisten = ["127.0.0.1"]\n',
        [
            'w.toml:2: web.listen[0]: must be "host:port", for example "127.0.0.1:9848"; got "127.0.0.1"',
        ],
    ),
    case(
        "open to all without token",
        '[web]\nlisten = ["127.0.0.1:9848", "0.0.0.0:9848"]\n',
        [
            'w.toml:2: web.listen[1]: 0.0.0.0:9848 can be reached from other machines, and nobody could sign in (add a [user.NAME], set token in [web], or listen on "127.0.0.1:9848")',
        ],
    ),
    case(
        "short token",
        '[web]\ntoken = "hunter2"\n',
        [
            "w.toml:2: web.token: has 7 characters; at least 16 are needed (make one with: openssl rand -hex 32)",
        ],
    ),
    case(
        "metrics for whom",
        '[web]\nmetrics = "everybody"\n',
        [
            'w.toml:2: web.metrics: must be "loopback" or "all"; got "everybody"',
        ],
    ),
    case(
        "public url",
        '[web]\npublic_url = "watch.example.org"\n',
        [
            'w.toml:2: web.public_url: must be a URL that begins with https:// (or http://) and names a host; got "watch.example.org"',
        ],
    ),
    case(
        "environment variable that is not set",
        WEB + 'auth.bearer = "${env:WATCHD_TEST_NOWHERE}"\n',
        [
            "w.toml:4: check.api.auth.bearer: the environment variable WATCHD_TEST_NOWHERE is not set (set it, or Environment=/EnvironmentFile= in the unit)",
        ],
    ),
    case(
        "credential that is not there",
        WEB + 'auth.bearer = "${credential:token}"\n',
        [
            "w.toml:4: check.api.auth.bearer: the credential token is not there: CREDENTIALS_DIRECTORY is not set (run under systemd with LoadCredential=token:/path, or set CREDENTIALS_DIRECTORY to its folder)",
        ],
    ),
    case(
        "secret file that is not there",
        WEB + 'auth.bearer = "Bearer ${file:/nowhere/token}"\n',
        [
            "w.toml:4: check.api.auth.bearer: ${file:/nowhere/token}: /nowhere/token does not exist",
        ],
    ),
    case(
        "reference that is none",
        WEB + 'auth.bearer = "${HOME}"\n',
        [
            'w.toml:4: check.api.auth.bearer: "${HOME}" is no reference to a secret (references are ${env:NAME}, ${file:/path} or ${credential:NAME}; write $${ for a plain ${)',
        ],
    ),
    case(
        "reference that never ends",
        WEB + 'auth.bearer = "${env:HOME"\n',
        [
            'w.toml:4: check.api.auth.bearer: "${" is never closed with "}" (references are ${env:NAME}, ${file:/path} or ${credential:NAME}; write $${ for a plain ${)',
        ],
    ),
    case(
        "include that is no list",
        'include = "conf.d/*.toml"\n',
        [
            'w.toml:1: include: must be a list of files; got "conf.d/*.toml" (write include = ["conf.d/*.toml"])',
        ],
    ),
    case(
        "include in a text",
        'include = ["conf.d/*.toml"]\n',
        [
            "w.toml:1: include[0]: a configuration that is no file cannot include files",
        ],
    ),
]


@pytest.mark.parametrize(("text", "problems"), CASES)
def test_says_what_is_wrong_where_and_what_would_be_right(
    text: str, problems: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError) as raised:
        loads(text, "w.toml")
    assert str(raised.value).splitlines() == problems


def test_says_everything_at_once_in_the_order_of_the_file() -> None:
    text = (
        PEOPLE
        + WEB
        + 'timout = "1s"\nverify = 7\ndepends_on = ["bad"]\n'
        + '[check.bad]\ntype = "http"\nurl = "ftp://localhost/"\nevery = 5\npolicy = "none"\n'
        + '[policy.default.critical]\ntell = ["sms:nobody"]\nrepeat = "often"\n'
        + '[web]\nlisten = ["0.0.0.0:80"]\n[colour]\n'
    )
    with pytest.raises(ConfigError) as raised:
        loads(text, "w.toml")
    assert [(problem.line, problem.key) for problem in raised.value.problems] == [
        (16, "check.api.timout"),
        (17, "check.api.verify"),
        (21, "check.bad.url"),
        (22, "check.bad.every"),
        (23, "check.bad.policy"),
        (25, "policy.default.critical.tell[0]"),
        (26, "policy.default.critical.repeat"),
        (28, "web.listen[0]"),
        (29, "colour"),
    ]


def test_never_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one that is looked up nor one that stands in the file, whatever is wrong with it."""
    monkeypatch.setenv("WATCHD_TEST_SECRET", "not-a-url-hush")
    text = (
        '[channel.a]\ntype = "slack"\nwebhook = "${env:WATCHD_TEST_SECRET}"\n'
        '[channel.b]\ntype = "slack"\nwebhook = "literal-hush"\n'
        '[channel.c]\ntype = "webhook"\nurl = "${env:WATCHD_TEST_SECRET}"\n'
        '[check.d]\ntype = "http"\nurl = "${env:WATCHD_TEST_SECRET}"\nauth.bearer = ["hush"]\n'
        '[check.e]\ntype = "http"\nurl = "http://user:hush@localhost/"\n'
        '[check.f]\ntype = "http"\nurl = "http://localhost/"\nheaders.Key = 123454321\n'
        '[store]\nurl = "postgresql://watchd:hush@db/watchd"\n[web]\ntoken = "hush"\n'
    )
    with pytest.raises(ConfigError) as raised:
        loads(text, "w.toml")
    assert len(raised.value.problems) == 9
    assert "hush" not in str(raised.value)
    assert "12345" not in str(raised.value)


def test_what_a_broken_file_may_hold_is_not_missed(tmp_path: Path) -> None:
    """A channel that stands in a file with a syntax error is not reported as missing where it is used."""
    (tmp_path / "people.toml").write_text('[channel.slack]\ntype = "slack\n')
    main = tmp_path / "main.toml"
    main.write_text(
        'include = ["people.toml"]\n' + '[policy.default.critical]\ntell = ["slack"]\n' + WEB + "verify = 7\n"
    )
    with pytest.raises(ConfigError) as raised:
        load(main)
    assert str(raised.value).splitlines() == [
        f"{main}:7: check.api.verify: must be true or false; got 7",
        f"{tmp_path}/people.toml:2: not TOML at column 14: illegal character '\\n' (a text ends on its line: is a quote missing?)",
    ]
