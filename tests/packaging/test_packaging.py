"""What is built installs and runs somewhere else; what systemd is given, it accepts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "wcr-watchd.service"


def run(*words: str | Path, **options: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=600, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    return folder


@pytest.mark.timeout(600)
def test_the_wheel_runs_in_a_fresh_environment(built: Path, tmp_path: Path) -> None:
    """Its dependencies are taken from this environment: what is tried is the wheel, not the network."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", next(built.glob("*.whl")))
    here = next(path for path in sys.path if path.endswith("site-packages"))
    environment = {**os.environ, "PYTHONPATH": here, "PYTHONSAFEPATH": "1"}
    said = run(tmp_path / "venv" / "bin" / "wcr-watchd", "version", "--json", env=environment, cwd=tmp_path)
    assert json.loads(said)["name"] == "wcr-watchd"
    where = run(python, "-c", "import wcr_watchd; print(wcr_watchd.__file__)", env=environment, cwd=tmp_path)
    assert str(tmp_path) in where
    run(tmp_path / "venv" / "bin" / "wcr-watchd", "schema", env=environment, cwd=tmp_path)


@pytest.mark.timeout(600)
def test_the_wheel_carries_what_an_administrator_needs(built: Path) -> None:
    names = zipfile.ZipFile(next(built.glob("*.whl"))).namelist()
    for wanted in (
        "share/wcr-watchd/etc/watchd.toml",
        "share/wcr-watchd/systemd/wcr-watchd.service",
        "wcr_watchd/web/dashboard/templates/base.html",
        "wcr_watchd/channels/email.html.j2",
    ):
        assert any(name.endswith(wanted) for name in names), wanted
    with tarfile.open(next(built.glob("*.tar.gz"))) as source:
        assert any(name.endswith("/Makefile") for name in source.getnames())


def test_systemd_accepts_the_unit_whether_or_not_the_program_is_installed() -> None:
    done = subprocess.run(["systemd-analyze", "verify", str(UNIT)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("name", sorted(path.name for path in UNIT.parent.glob("*.conf")))
def test_systemd_accepts_what_some_checks_need(name: str, tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text())
    (tmp_path / f"{UNIT.name}.d").mkdir()
    (tmp_path / f"{UNIT.name}.d" / name).write_text((UNIT.parent / name).read_text())
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_the_sandbox_is_tight(tmp_path: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    level = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert level, done.stdout
    exposure = float(level[1])
    assert exposure <= 2.0, done.stdout
