"""Several files as one configuration: includes, and what may stand where."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wcr_watchd.config.load import load
from wcr_watchd.config.positions import lines
from wcr_watchd.config.sources import LARGEST_FILE
from wcr_watchd.core.errors import ConfigError

CHECK = '[check.{0}]\ntype = "http"\nurl = "http://localhost/{0}"\n'


def write(folder: Path, **files: str) -> Path:
    """Write files named by key (``__`` for ``/``) and return the first."""
    paths = []
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".toml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        paths.append(path)
    return paths[0]


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(path)
    return [str(one).replace(f"{path.parent}/", "") for one in raised.value.problems]


def test_included_files_are_read_in_order_relative_to_the_file_that_includes_them(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        main='include = ["conf.d/*.toml"]\n' + CHECK.format("own"),
        conf_d="",
        **{
            "conf.d__20": CHECK.format("second"),
            "conf.d__10": 'include = ["deeper/*.toml"]\n' + CHECK.format("first"),
            "conf.d__deeper__x": CHECK.format("deep"),
        },
    )
    (tmp_path / "conf.d" / "10.toml.bak").write_text("not TOML")
    loaded = load(main)
    assert list(loaded.setup.checks) == ["own", "first", "deep", "second"]
    assert loaded.files == tuple(
        str(tmp_path / name) for name in ("main.toml", "conf.d/10.toml", "conf.d/deeper/x.toml", "conf.d/20.toml")
    )


def test_files_that_include_each_other_are_read_once(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        main='include = ["*.toml"]\n' + CHECK.format("a"),
        other='include = ["main.toml", "*.toml"]\n' + CHECK.format("b"),
    )
    (tmp_path / "link.toml").symlink_to(main)
    assert list(load(main).setup.checks) == ["a", "b"]


def test_a_pattern_may_match_nothing_but_a_name_must_exist(tmp_path: Path) -> None:
    main = write(tmp_path, main='include = [\n  "conf.d/*.toml",\n  "people.toml",\n]\n')
    assert problems(main) == ["main.toml:3: include[1]: people.toml cannot be read: no such file or directory"]


def test_a_table_stands_in_one_file_but_single_sections_may_be_spread(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        main='include = ["other.toml"]\n[watchd]\nname = "x"\n[web]\nmetrics = "all"\n[policy.default.critical]\n',
        other='[web]\ntoken = "0123456789abcdef"\n[policy.default.warning]\n',
    )
    loaded = load(main)
    assert (loaded.web.access.metrics_for_all, len(loaded.web.access.tokens)) == (True, 1)
    assert len(loaded.setup.policies["default"].by_severity) == 2


def test_what_is_defined_twice_is_named_at_both_places(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        main='include = ["other.toml"]\n[watchd]\nname = "x"\n' + CHECK.format("api") + "[policy.default.critical]\n",
        other=CHECK.format("api") + '[policy.default.critical]\nrepeat = "1h"\n[watchd]\nname = "y"\n',
    )
    assert [problem.replace(f"{tmp_path}/", "") for problem in problems(main)] == [
        "other.toml:1: check.api: is defined here and at main.toml:4 (remove one)",
        "other.toml:4: policy.default.critical: is defined here and at main.toml:7 (remove one)",
        "other.toml:7: watchd.name: is defined here and at main.toml:3 (remove one)",
    ]


def test_a_problem_names_the_file_it_stands_in(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        main='include = ["other.toml"]\n' + CHECK.format("a"),
        other=CHECK.format("b") + "\n\nverify = 7\n",
    )
    assert problems(main) == ["other.toml:6: check.b.verify: must be true or false; got 7"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert problems(missing) == [
        "missing.toml: cannot be read: no such file or directory (`wcr-watchd init` prints one to begin with)"
    ]
    assert problems(tmp_path) == [
        f"{tmp_path}: cannot be read: is not a regular file".replace(f"{tmp_path.parent}/", "")
    ]
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'[watchd]\nname = "M\xfcnchen"\n')
    assert problems(latin) == ["latin.toml: is not UTF-8 text (invalid start byte at byte 18)"]
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (LARGEST_FILE + 1))
    assert problems(large) == ["large.toml: cannot be read: has more than 4194304 bytes; split it with include"]


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbf" + CHECK.format("a").replace("\n", "\r\n").encode())
    assert list(load(path).setup.checks) == ["a"]


def test_a_pipe_does_not_hold_up_reading(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    main = write(tmp_path, main='include = ["pipe.toml"]\n')
    assert problems(main) == ["main.toml:1: include[0]: pipe.toml cannot be read: is not a regular file"]


def test_lines_of_everything_toml_has() -> None:
    text = """\
top = 1
[check."a b"] # comment
x.y."z.w" = 1
list = [
  1, # one
  "two",
  { k = 1, m = { n = 2 } },
]
long = '''
[not.a.table]
'''
[[step]]
after = 1
[step.sub]
k = 1
[[step]]
after = 2
"""
    found = lines(text)
    assert {
        ("top",): 1,
        ("check", "a b"): 2,
        ("check", "a b", "x", "y", "z.w"): 3,
        ("check", "a b", "list", 0): 5,
        ("check", "a b", "list", 1): 6,
        ("check", "a b", "list", 2, "m", "n"): 7,
        ("check", "a b", "long"): 9,
        ("step", 0, "after"): 13,
        ("step", 0, "sub", "k"): 15,
        ("step", 1, "after"): 17,
    }.items() <= found.items()
    assert ("not", "a", "table") not in found
