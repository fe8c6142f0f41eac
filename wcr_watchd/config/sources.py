"""Reading the files of a configuration and merging them into one table, remembering what stands where."""

from __future__ import annotations

import glob
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wcr_watchd.config.faults import written
from wcr_watchd.config.files import read_regular
from wcr_watchd.config.positions import Place, dotted, lines
from wcr_watchd.core.errors import Problem

LARGEST_FILE = 4 * 1024 * 1024
"""Bytes of one configuration file; ten thousand checks have about two megabytes."""
MOST_FILES = 1000

_WILDCARDS = re.compile(r"[*?\[]")
_SYNTAX_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|(end of document))\)", re.DOTALL)
_DECLARED_TWICE = re.compile(r"Cannot declare \((.*)\) twice")
_SYNTAX_HELP = {
    "Invalid value": 'text needs quotes: name = "text"',
    "Expected newline or end of document after a statement": "one setting a line; is a quote or comma missing?",
    "Cannot overwrite a value": "this key is set twice",
    "Unclosed array": 'is a "]" or a comma missing?',
    "Unescaped '\\' in a string": "write \\\\ for a backslash, or put the text into 'single quotes'",
}


@dataclass(frozen=True, slots=True)
class Source:
    """One file as it was read. ``folder`` is where its relative paths begin (None: it is no file)."""

    name: str
    text: str
    folder: Path | None


@dataclass(slots=True)
class Sources:
    """The files of a configuration, in the order they were read, and their content as one table.

    A table such as ``[check.api]`` must stand in one file as a whole; the keys of ``[watchd]``, ``[web]`` and other
    single tables may be spread.
    """

    files: list[Source] = field(default_factory=list)
    table: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    incomplete: bool = False
    """Whether a file could not be read at all."""
    _owner: dict[Place, int] = field(default_factory=dict)
    """By section and name: the file that holds it."""
    _lines: dict[int, Mapping[Place, int]] = field(default_factory=dict)

    def locate(self, place: Place) -> tuple[str, int]:
        """File and line (0: unknown) of a place, or of the nearest table around it."""
        index = self.owner(place)
        return self.files[index].name, self._line(index, place)

    def owner(self, place: Place) -> int:
        """The number of the file that a place stands in."""
        for length in range(min(len(place), 3), 0, -1):
            if place[:length] in self._owner:
                return self._owner[place[:length]]
        section = place[:1]
        return next((number for unit, number in self._owner.items() if unit[:1] == section), 0)

    def folder(self, place: Place) -> Path | None:
        """The folder of the file that a place stands in."""
        return self.files[self.owner(place)].folder

    def problem(self, place: Place, reason: str, suggestion: str = "") -> Problem:
        """A problem at a place."""
        file, line = self.locate(place)
        return Problem(file, line, dotted(place), reason, suggestion)

    def in_order(self, problems: list[Problem]) -> tuple[Problem, ...]:
        """The problems in the order of files and lines, each once."""
        order = {source.name: number for number, source in enumerate(self.files)}
        unique = dict.fromkeys(problems)
        return tuple(sorted(unique, key=lambda one: (order.get(one.file, len(order)), one.line)))

    def _line(self, index: int, place: Place) -> int:
        if index not in self._lines:
            self._lines[index] = lines(self.files[index].text)
        known = self._lines[index]
        return next((known[place[:end]] for end in range(len(place), 0, -1) if place[:end] in known), 0)

    # --- reading ---

    def read(self, path: Path, asked_by: tuple[int, Place] | None = None) -> None:
        """Read a file and those it includes; what is wrong is noted."""
        try:
            text = read_regular(path, LARGEST_FILE).decode("utf-8-sig")
        except (OSError, ValueError) as error:
            self._cannot_read(path, error, asked_by)
            return
        self.take(Source(str(path), text, path.parent))

    def take(self, source: Source) -> None:
        """Take a text as a file, with those it includes."""
        index = len(self.files)
        self.files.append(source)
        try:
            table = tomllib.loads(source.text)
        except tomllib.TOMLDecodeError as error:
            self.incomplete = True
            self.problems.append(_syntax_problem(source, error))
            return
        include = table.pop("include", [])
        self._merge(table, index)
        for position, pattern in enumerate(self._patterns(include, index)):
            self._include(pattern, index, ("include", position))

    def _merge(self, table: dict[str, Any], index: int) -> None:
        for unit, value in _units(table):
            if unit in self._owner or not _put(self.table, unit, value):
                first = next((one for one in self._owner if one[: len(unit)] == unit[: len(one)]), unit)
                file, line = self.locate(first)
                reason = f"is defined here and at {file}:{line}"
                place = Problem(self.files[index].name, self._line(index, unit), dotted(unit), reason, "remove one")
                self.problems.append(place)
            else:
                self._owner[unit] = index

    def _patterns(self, include: object, index: int) -> list[str]:
        if isinstance(include, list) and all(isinstance(one, str) for one in include):
            return include
        reason = f"must be a list of files; got {written(include)}"
        self._note_here(index, ("include",), reason, 'write include = ["conf.d/*.toml"]')
        return []

    def _include(self, pattern: str, index: int, place: Place) -> None:
        folder = self.files[index].folder
        if folder is None:
            self._note_here(index, place, "a configuration that is no file cannot include files")
            return
        matches = sorted(glob.glob(str(folder / pattern), recursive=True))
        if not matches and not _WILDCARDS.search(pattern):
            matches = [str(folder / pattern)]
        known = {_real(Path(source.name)) for source in self.files if source.folder is not None}
        for match in matches:
            if _real(Path(match)) in known or len(self.files) >= MOST_FILES:
                continue
            known.add(_real(Path(match)))
            self.read(Path(match), (index, place))

    def _note_here(self, index: int, place: Place, reason: str, suggestion: str = "") -> None:
        problem = Problem(self.files[index].name, self._line(index, place), dotted(place), reason, suggestion)
        self.problems.append(problem)

    def _cannot_read(self, path: Path, error: OSError | ValueError, asked_by: tuple[int, Place] | None) -> None:
        self.incomplete = True
        if isinstance(error, UnicodeDecodeError):
            self.problems.append(Problem(str(path), 0, "", f"is not UTF-8 text ({error.reason} at byte {error.start})"))
            return
        said = (
            (error.strerror or str(error)).lower() if isinstance(error, OSError) else f"{error}; split it with include"
        )
        if asked_by is None:
            hint = "`wcr-watchd init` prints one to begin with" if isinstance(error, FileNotFoundError) else ""
            self.problems.append(Problem(str(path), 0, "", f"cannot be read: {said}", hint))
        else:
            self._note_here(*asked_by, f"{path} cannot be read: {said}")


def _real(path: Path) -> str:
    return str(path.resolve())


def _units(table: Mapping[str, Any]) -> Iterator[tuple[Place, Any]]:
    """The parts of a file that may each be defined once, in all files together."""
    for section, content in table.items():
        if not isinstance(content, dict) or not content:
            yield (section,), content
            continue
        for name, value in content.items():
            if section == "policy" and isinstance(value, dict) and value:
                yield from (((section, name, severity), plan) for severity, plan in value.items())
            else:
                yield (section, name), value


def _put(table: dict[str, Any], unit: Place, value: Any) -> bool:
    """Put a value into the merged table; False when something else stands there already."""
    *parents, last = map(str, unit)
    for name in parents:
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            return False
        table = inner
    if last in table:
        return bool(table[last] == value == {} or (value == {} and isinstance(table[last], dict)))
    table[last] = value
    return True


def _syntax_problem(source: Source, error: tomllib.TOMLDecodeError) -> Problem:
    """What ``tomllib`` says, which names line and column at the end of its text."""
    match = _SYNTAX_PLACE.fullmatch(str(error))
    if match is None:
        return Problem(source.name, 0, "", f"not TOML: {error}")
    said, line, column, at_end = match.groups()
    number = source.text.count("\n") + 1 if at_end else int(line)
    where = "at the end of the file" if at_end else f"at column {column}"
    said = _DECLARED_TWICE.sub(lambda names: f"the table [{dotted(_quoted(names[1]))}] is defined twice", said)
    said = f"{said[0].lower()}{said[1:]}"
    return Problem(source.name, number, "", f"not TOML {where}: {said}", _syntax_help(match[1]))


def _quoted(names: str) -> Place:
    """The names out of ``'check', 'api'``."""
    return tuple(match[2] for match in re.finditer(r"""(['"])(.*?)\1""", names))


def _syntax_help(said: str) -> str:
    if said.startswith("Illegal character '\\n'"):
        return "a text ends on its line: is a quote missing?"
    return _SYNTAX_HELP.get(said, "")
