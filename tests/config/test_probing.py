"""``[probe]``: blackbox_exporter's module file in our configuration, and what is said when it cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from wcr_watchd.config.load import loads
from wcr_watchd.core.errors import ConfigError
from wcr_watchd.kit.blackbox_modules import ModulesError, parse_modules
from wcr_watchd.kit.go_patterns import expand, python_pattern


def test_without_it_nothing_is_probed() -> None:
    assert loads("", "w.toml").probe is None
    assert loads("[probe]\n", "w.toml").probe is None


def test_its_settings(tmp_path: Path) -> None:
    file = tmp_path / "blackbox.yml"
    file.write_text("modules: {web: {prober: http, timeout: 5s}}")
    found = loads(f'[probe]\nmodules = "{file}"\nallow = ["192.0.2.0/24"]\ntimeout_offset = "1s"\n', "w.toml").probe
    assert found is not None
    assert found.modules["web"].timeout == 5
    assert [str(network) for network in found.allow] == ["192.0.2.0/24"]
    assert found.timeout_offset == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        ("modules: [", "it is no YAML"),
        ("module: {}", "the one key `modules`"),
        ("modules: {web: {prober: http, http: {bdy: x}}}", "module web: http.bdy: Extra inputs"),
        ("modules: {web: {prober: http, http: {fail_if_body_matches_regexp: ['(']}}}", "is not understood here"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_of_with_its_place(tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "blackbox.yml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        loads(f'[probe]\nmodules = "{file}"\n', "w.toml")
    (problem,) = caught.value.problems
    assert said in str(problem)
    assert "w.toml" in str(problem)


def test_all_problems_of_a_file_are_told_at_once() -> None:
    with pytest.raises(ModulesError) as caught:
        parse_modules("modules: {a: {prober: dns}, b: {prober: icmp, icmp: {ttl: 300}}}")
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == ["module a", "module b"]


@pytest.mark.parametrize(
    ("go", "python"),
    [
        ("^+OK", "^OK"),
        ("a$", r"a\Z"),
        (r"a\z", r"a\Z"),
        ("(?m)a$", "(?m)a$"),
        ("[[:alpha:]$]", "[A-Za-z$]"),
        ("[^]a]", "[^]a]"),
        (r"\Qa.b\E+", r"a\.b+"),
        ("(?<word>x)", "(?P<word>x)"),
        ("[a[b]", r"[a\[b]"),
        ("^*a", "a"),
    ],
)
def test_expressions_of_go(go: str, python: str) -> None:
    assert python_pattern(go) == python


def test_templates_are_filled_as_go_does() -> None:
    groups, names = ("all", "one", None), {"word": "one"}
    assert expand("${1}-$1-$word-$$-$2-$9-${nope}.", groups, names) == "one-one-one-$---."
