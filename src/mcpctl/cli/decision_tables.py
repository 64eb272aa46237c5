"""Decision tables on disk, put to a policy directory, for pytest and ``mcpctl policy test``; what comes of it as JUnit XML."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from mcpctl.errors import FieldError, InvalidPolicy, NotFound
from mcpctl.policy import files, tables, trials
from mcpctl.policy.tables import Table
from mcpctl.policy.trials import Outcome

TABLES: Final = "tests"
"""Where below a policy directory its tables are. The server reads nothing there."""

SUFFIXES: Final = (".yaml", ".yml", ".csv")


def outcomes(directory: Path, elsewhere: Sequence[Path] = ()) -> Iterator[Outcome]:
    """Put the tables of a policy directory, or those ``elsewhere`` (files and directories), to it.

    Raises:
        InvalidPolicy: the policy or a table cannot be read.
        NotFound: there is no table; nothing would be proven.
    """
    policy = files.read(directory)
    for table in [*read(elsewhere or [directory / TABLES], policy.roles.names)]:
        yield from trials.run(policy, table)


def read(places: Iterable[Path], roles: Collection[str]) -> Iterator[Table]:
    """The tables in ``places``, each a file or a directory of them.

    Raises:
        InvalidPolicy: one cannot be read.
        NotFound: there is none.
    """
    for place in places:
        found = sorted(one for one in place.glob("*") if one.suffix in SUFFIXES) if place.is_dir() else [place]
        if not found or not all(one.is_file() for one in found):
            raise NotFound(f"there are no decision tables in {place}: write one, ending in {', '.join(SUFFIXES)}")
        for path in found:
            yield _table(path, roles)


def _table(path: Path, roles: Collection[str]) -> Table:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        if path.suffix == ".csv":
            return tables.of_csv(path.name, text)
        document = YAML().load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise _unreadable(f"{path.name}:{line}", f"it is not YAML: {error.problem or error.context}") from None
    except (YAMLError, UnicodeDecodeError, OSError, ValueError) as error:
        raise _unreadable(path.name, f"it cannot be read: {error}") from None
    cases = document.get("cases") if isinstance(document, dict) else None
    lines = [cases.lc.item(number)[0] + 1 for number in range(len(cases))] if isinstance(cases, CommentedSeq) else []
    return tables.of_document(path.name, document, lines, roles)


def _unreadable(where: str, cause: str) -> InvalidPolicy:
    return InvalidPolicy(f"{where}: {cause}", errors=[FieldError(where, cause)])


def junit(found: Sequence[Outcome]) -> str:
    """The outcomes as JUnit XML: a suite for each table, a test case for each expectation."""
    root = ElementTree.Element("testsuites", _counts(found))
    for file in dict.fromkeys(one.file for one in found):
        of_file = [one for one in found if one.file == file]
        suite = ElementTree.SubElement(root, "testsuite", {"name": file} | _counts(of_file))
        for one in of_file:
            case = ElementTree.SubElement(suite, "testcase", {"classname": file, "name": one.what})
            if one.line:
                case.set("line", str(one.line))
            if not one.passed:
                ElementTree.SubElement(case, "failure", {"message": one.failure}).text = f"{one.where}: {one.what}"
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, "unicode")


def _counts(found: Sequence[Outcome]) -> dict[str, str]:
    return {"tests": str(len(found)), "failures": str(sum(not one.passed for one in found)), "errors": "0", "skipped": "0"}
