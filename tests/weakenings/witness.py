"""A pytest plugin, run inside the copy: sees that the copy is what is tested, and writes down what failed and why."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any, Final

import pytest

OUTCOME: Final = "WEAKENINGS_OUTCOME"
"""The variable that names the file to write to."""

MODULE: Final = "WEAKENINGS_MODULE"
"""The variable that names the weakened module; empty where none is."""

FAULTS: Final = (SyntaxError, ImportError, NameError)
"""Errors of the planting itself. A source that falls over, or answers that it did, is not one without a defence."""

_seen: dict[str, Any] = {"broken": None, "failed": None, "because": None, "seconds": None}


def pytest_configure(config: pytest.Config) -> None:
    """Go on only if the program under test is the one in this copy, and still imports."""
    copy = Path.cwd().resolve()
    for name in ("mcpctl", "mcplocal", os.environ.get(MODULE, "")):
        if not name or _seen["broken"]:
            continue
        try:
            where = importlib.import_module(name).__file__
        except Exception as error:  # whatever a module raises while it is imported
            _broken(f"{name} cannot be imported: {type(error).__name__}: {error}")
            continue
        if where is None or not Path(where).resolve().is_relative_to(copy / "src"):
            _broken(f"{name} was imported from {where} and not from the copy")
    if _seen["broken"]:
        _write(config)
        pytest.exit(str(_seen["broken"]), returncode=pytest.ExitCode.INTERNAL_ERROR)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A test that cannot even be collected proves nothing."""
    if report.failed:
        _broken(f"{report.nodeid} cannot be collected")


def pytest_exception_interact(node: pytest.Item | pytest.Collector, call: pytest.CallInfo[Any], report: Any) -> None:
    """Keep the first failure: which test, and the first line of its reason."""
    if _seen["failed"] or _seen["broken"] or not isinstance(node, pytest.Item) or call.excinfo is None:
        return
    because = f"{call.excinfo.typename}: {str(call.excinfo.value).strip().partition(chr(10))[0]}"[:300]
    if issubclass(call.excinfo.type, FAULTS) or "This is a fault of the server" in str(call.excinfo.value):
        _broken(f"the planting itself fell over in {node.nodeid}: {because}")
    elif report.when != "call":
        _broken(f"{node.nodeid} failed in its {report.when} and not in what it says: {because}")
    else:
        _seen.update(failed=node.nodeid, because=because, seconds=round(call.duration, 2))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write down what was seen."""
    _write(session.config)


def _broken(why: str) -> None:
    _seen["broken"] = _seen["broken"] or why


def _write(config: pytest.Config) -> None:
    path = os.environ.get(OUTCOME)
    if path and not hasattr(config, "workerinput"):  # of several processes, the one that was started
        Path(path).write_text(json.dumps(_seen))
