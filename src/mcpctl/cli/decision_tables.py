"""Decision tables on disk, put to a policy directory, for pytest and ``mcpctl policy test``; what comes of it as JUnit XML."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from mcpctl.cli import plain_yaml
from mcpctl.cli.terminal import printable
from mcpctl.errors import FieldError, InvalidTable, NotFound
from mcpctl.policy import files, tables, trials
from mcpctl.policy.tables import Table
from mcpctl.policy.trials import Outcome

TABLES: Final = "tests"
"""Where below a policy directory its tables are. The server reads nothing there."""

SUFFIXES: Final = (".yaml", ".yml", ".csv")


@dataclass(frozen=True)
class Found:
    """The tables of some places: those that can be read, and what is wrong with the others, by file."""

    tables: list[Table]
    broken: list[tuple[str, InvalidTable]]

    def require_all(self) -> None:
        """Go on only if every table can be read.

        Raises:
            InvalidTable: with every finding of every table.
        """
        if self.broken:
            errors = [error for _, problem in self.broken for error in problem.errors]
            raise InvalidTable("\n".join(problem.detail for _, problem in self.broken), errors=errors)


def outcomes(directory: Path, elsewhere: Sequence[Path] = ()) -> tuple[list[Outcome], Found]:
    """Put the tables of a policy directory, or those ``elsewhere`` (files and directories), to it.

    Raises:
        InvalidPolicy: the policy cannot be read.
        NotFound: there is no table; nothing would be proven.
    """
    policy = files.read(directory)
    found = read(elsewhere or [directory / TABLES], policy.roles.names)
    return [outcome for table in found.tables for outcome in trials.run(policy, table)], found


def read(places: Iterable[Path], roles: Collection[str]) -> Found:
    """The tables in ``places``, each a file or a directory of them.

    Raises:
        NotFound: a place is not there, or there is no table in it.
        InvalidTable: a place cannot be looked into.
    """
    found = Found([], [])
    for path in [path for place in places for path in _paths(place)]:
        try:
            found.tables.append(_table(path, roles))
        except InvalidTable as error:
            found.broken.append((path.name, error))
    return found


def _paths(place: Path) -> list[Path]:
    try:
        if not place.exists():
            raise NotFound(f"there is no {place}: name a decision table or a directory of them")
        if not place.is_dir():
            return [place]
        found = sorted(one for one in place.iterdir() if one.suffix in SUFFIXES)
    except OSError as error:
        raise _unreadable(str(place), f"it cannot be read: {error.strerror}") from None
    if not found:
        raise NotFound(f"there are no decision tables in {place}: write one, ending in {', '.join(SUFFIXES)}")
    return found


def _table(path: Path, roles: Collection[str]) -> Table:
    try:
        if not path.is_file():
            raise _unreadable(path.name, "it is not a file; write a table, or call it otherwise")
        text = path.read_bytes().decode("utf-8-sig")
        if path.suffix == ".csv":
            return tables.of_csv(path.name, text)
        documents = [*zip(plain_yaml.nodes(text), plain_yaml.values(text), strict=True)]
    except OSError as error:
        raise _unreadable(path.name, f"it cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _unreadable(path.name, "it is not UTF-8 text; save it as UTF-8") from None
    except plain_yaml.UNREADABLE as error:
        line, why = plain_yaml.cause(error)
        raise _unreadable(f"{path.name}:{line}" if line else path.name, why) from None
    if len(documents) > 1:
        raise _unreadable(path.name, "it holds more than one document; write a file for each")
    node, document = documents[0] if documents else (None, None)
    return tables.of_document(path.name, document, plain_yaml.lines(node), roles)


def _unreadable(where: str, cause: str) -> InvalidTable:
    return InvalidTable(f"{where}: {cause}", errors=[FieldError(where, cause)])


def junit(found: Sequence[Outcome], broken: Sequence[tuple[str, InvalidTable]] = ()) -> str:
    """The outcomes as JUnit XML: a suite for each table, a test case for each expectation, an error where a table is broken.

    Control characters are escaped: XML has no way to write them.
    """
    root = ElementTree.Element("testsuites", _counts(found, len(broken)))
    for file in dict.fromkeys([*(one.file for one in found), *(file for file, _ in broken)]):
        of_file = [one for one in found if one.file == file]
        problems = [problem for broken_file, problem in broken if broken_file == file]
        name = printable(file)
        suite = ElementTree.SubElement(root, "testsuite", {"name": name} | _counts(of_file, len(problems)))
        for one in of_file:
            case = ElementTree.SubElement(suite, "testcase", {"classname": name, "name": printable(one.what)})
            if one.line:
                case.set("line", str(one.line))
            if not one.passed:
                failure = ElementTree.SubElement(case, "failure", {"message": printable(one.failure)})
                failure.text = printable(f"{one.where}: {one.what}")
        for problem in problems:
            case = ElementTree.SubElement(suite, "testcase", {"classname": name, "name": "the table can be read"})
            said = [printable(f"{error.field}: {error.message}") for error in problem.errors]
            ElementTree.SubElement(case, "error", {"message": said[0]}).text = "\n".join(said)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, "unicode")


def _counts(found: Sequence[Outcome], broken: int) -> dict[str, str]:
    failures = sum(not one.passed for one in found)
    return {"tests": str(len(found) + broken), "failures": str(failures), "errors": str(broken), "skipped": "0"}
