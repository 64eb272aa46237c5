"""The list of planted weakenings fits the program as it is now; ``make weaken`` shows that each is noticed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.weakenings.__main__ import main
from tests.weakenings.planted import ROOT, Weakening, every

EVERY = every()


def test_there_are_at_least_forty_of_them() -> None:
    assert len(EVERY) >= 40


@pytest.mark.parametrize("weakening", EVERY, ids=lambda weakening: weakening.id)
def test_a_weakening_fits_the_source_it_weakens(weakening: Weakening) -> None:
    source = (ROOT / weakening.file).read_text("utf-8")
    assert source != weakening.applied_to(source)


def test_a_weakened_source_is_still_one_that_runs(tmp_path: Path) -> None:
    """A source that speaks of names nobody defines would fall over, and that would show nothing."""
    weakened = [weakening for weakening in EVERY if weakening.module]
    for weakening in weakened:
        source = (ROOT / weakening.file).read_text("utf-8")
        (tmp_path / f"{weakening.id}.py").write_text(weakening.applied_to(source), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--no-cache",
        "--select",
        "E9,F82",
        "--quiet",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stdout + done.stderr)


def test_every_test_that_must_notice_exists() -> None:
    named = {test for weakening in EVERY for test in weakening.tests}
    files = sorted({test.partition("::")[0] for test in named})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    collected = done.stdout.splitlines()
    functions = {line.partition("[")[0] for line in collected}
    assert [] == sorted(named - {*collected, *functions})


def test_the_list_fits_80_columns_and_ends_with_its_totals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert 0 == main(["--list"])
    *lines, totals = capsys.readouterr().out.splitlines()
    assert [] == [line for line in lines if len(line) > 80]
    assert totals.startswith(f"{len(every())} weakenings, ")


@pytest.mark.parametrize("jobs", ["0", "33", "many", "-1"])
def test_a_number_of_jobs_that_is_none_is_refused_in_one_line(jobs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main([f"-j{jobs}"])
    assert 2 == refused.value.code
    assert f"{jobs!r} is not a whole number from 1 to 32" in capsys.readouterr().err.splitlines()[-1]
