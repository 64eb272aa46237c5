"""The benchmarks' command lines; what they measure is no test."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.weakenings.planted import ROOT


@pytest.mark.parametrize(
    ("argument", "code", "said"),
    [("--help", 0, "LARGEST"), ("5", 2, "'5' is not a number"), ("abc", 2, "'abc' is not a number")],
)
def test_a_size_that_is_none_is_refused_before_anything_is_measured(argument: str, code: int, said: str) -> None:
    command = [sys.executable, "-m", "benchmarks.decision", argument]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert code == ran.returncode
    assert said in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
