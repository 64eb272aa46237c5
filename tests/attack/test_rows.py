"""Every known attack has its tests, these exist, and what a test says of itself stands in the register."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.attack.rows import AUTHZ, INCIDENTS, Row

ROOT = Path(__file__).parents[2]
REAL = {"served", "shared", "pair", "two", "processes", "world", "cloned", "admin", "database_url"}
"""Fixtures that run on SQLite and on PostgreSQL."""
ROWS = {**{f"authz d{n}": row for n, row in AUTHZ.items()}, **{f"incident {n}": row for n, row in INCIDENTS.items()}}


@cache
def functions(path: str) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    body = ast.parse((ROOT / path).read_text()).body
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_row_is_there() -> None:
    assert list(range(1, 41)) == list(AUTHZ)
    assert list(range(1, 31)) == list(INCIDENTS)
    assert all(row.tests and row.says for row in ROWS.values())
    assert len(ROWS) == len({row.says for row in ROWS.values()})


@pytest.mark.parametrize("name", ROWS)
def test_the_tests_of_a_row_exist_and_run_on_both_databases(name: str) -> None:
    row: Row = ROWS[name]
    found = []
    for node in row.tests:
        path, _, function = node.partition("::")
        assert (ROOT / path).is_file(), path
        assert function.startswith("test_")
        assert function in functions(path), node
        found.append({argument.arg for argument in functions(path)[function].args.args})
    if row.concerns == "control plane":
        assert any(REAL & arguments for arguments in found), "no test of this row runs on both databases"


def claims() -> Iterator[tuple[str, str]]:
    """For each test of the rows what its docstring says it tries: (row, node id)."""
    for path in sorted(Path(__file__).parent.glob("test_rows_*.py")):
        where = str(path.relative_to(ROOT))
        for name, node in functions(where).items():
            if name.startswith("test_"):
                said = (ast.get_docstring(node) or "").partition(":")[0]
                for kind, numbers in re.findall(r"(authz|incidents?) ((?:d?\d+(?:, )?)+)", said):
                    for number in re.findall(r"d?\d+", numbers):
                        yield f"{'authz' if kind == 'authz' else 'incident'} {number}", f"{where}::{name}"


def test_what_a_test_says_it_tries_stands_in_the_register() -> None:
    found = sorted(claims())
    assert len(found) > 50
    assert [] == [(row, node) for row, node in found if node not in ROWS[row].tests]
    claimed = {node for _, node in found}
    own = {node for row in ROWS.values() for node in row.tests if "/test_rows_" in node}
    assert set() == own - claimed
