"""The pages of docs/: one for each check type, in step with it, with an example that is a configuration."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wcr_watchd.config import reference
from wcr_watchd.config.load import loads
from wcr_watchd.kit.plugins import load, names

DOCS = Path(__file__).parents[2] / "docs"
TYPES = names(reference.PROBES)


def test_every_type_has_its_page_and_no_page_is_left_over() -> None:
    assert {page.stem for page in (DOCS / "probes").glob("*")} == set(TYPES)
    listed = re.findall(r"^\| \[(\w+)\]\(probes/(\w+)\.md\) \| .+ \|$", (DOCS / "checks.md").read_text(), re.MULTILINE)
    assert listed == [(name, name) for name in TYPES]


@pytest.mark.parametrize("name", TYPES)
def test_the_example_on_its_page_is_a_configuration(name: str) -> None:
    page = (DOCS / "probes" / f"{name}.md").read_text()
    (example,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    found = loads(re.sub(r"\$\{\w+:[^}]+\}", "a-secret-of-the-example", example), "page")
    assert found.probes["name"].type == name


@pytest.mark.parametrize("name", TYPES)
def test_its_page_names_all_there_is(name: str) -> None:
    kind, page = load(reference.PROBES, name), (DOCS / "probes" / f"{name}.md").read_text()
    for spec in kind.measurements:
        assert f"| `{spec.name}`" in page
    for option, info in kind.model_fields.items():
        assert f"| `{info.alias or option}` |" in page
    for severity, rule in kind.default_rules:
        assert f"* {severity.word}: `{rule}`\n" in page


def test_options_are_written_as_one_writes_them() -> None:
    pages = reference.pages()
    assert "| `expect.rcode` |" in pages["dns.md"]
    assert "| `least_size` | `10 MiB` |" in pages["postgres_indexes.md"]
    assert "| `accept_after` | `7 d` |" in pages["postgres_settings.md"]
    assert "| `recursive` | `true` |" in pages["dns.md"]
    assert "| `patterns` | `disk_full = No space left on device\\|Disk" in pages["journal.md"], "| would end the column"


@pytest.mark.parametrize("page", ["vendors.md"])
def test_what_pages_show_as_configuration_is_one(page: str) -> None:
    examples = re.findall(r"^```toml\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    text = re.sub(r"\$\{credential:\w*dsn\}", "postgresql://watchd@db.example.org/app", "\n".join(examples))
    found = loads(re.sub(r"\$\{\w+:[^}]+\}", "a-secret-of-the-example", text), page)
    assert len(found.probes) >= len(examples)
