"""Fuzz for as long as one likes: ``python -m tests.fuzz.run [--seconds 60] [target …]``, or ``make fuzz``.

Each target is fuzzed by hypothesis, which makes inputs by its words, and by atheris, which follows the paths
through the code that inputs take. What does harm is printed with its input and ends the run with status 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from tests.fuzz.targets import NAMES

RATE = {
    "config": 60,
    "rules": 700,
    "plugin": 900,
    "exposition": 600,
    "access_log": 600,
    "markup": 500,
    "modules": 500,
    "registration": 700,
    "http": 60,
    "api": 80,
    "socket": 80,
}
"""Inputs a second that hypothesis gets through, roughly; it counts inputs, not seconds."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz what outsiders can feed in.")
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(NAMES)}; all when none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for each target, half of it for each fuzzer")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(NAMES):
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    failed = [name for name in options.targets or NAMES if not fuzz(name, max(2, options.seconds // 2))]
    print(f"harm was done to: {', '.join(failed)}" if failed else "no input did harm")
    return 1 if failed else 0


def fuzz(name: str, seconds: int) -> bool:
    """Both fuzzers on one target; whether it went well."""
    print(f"--- {name}: hypothesis, about {seconds} s", flush=True)
    environment = {**os.environ, "FUZZ_EXAMPLES": str(seconds * RATE[name])}
    short = [sys.executable, "-m", "pytest", "-q", "tests/fuzz/test_short.py", "-k", f"[{name}]"]
    by_words = subprocess.run(short, env=environment, check=False).returncode == 0
    print(f"--- {name}: atheris, {seconds} s", flush=True)
    by_paths = (
        subprocess.run([sys.executable, "-m", "tests.fuzz.paths", name, str(seconds)], check=False).returncode == 0
    )
    return by_words and by_paths


if __name__ == "__main__":
    sys.exit(main())
