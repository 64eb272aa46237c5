"""A stage of another package, really installed by pip, and what becomes of one that misbehaves."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mcpctl.proxy_models import third_party
from mcpctl.proxy_models.builtin import StageDescription
from mcplocal.results.stage import StageContext, StageFailed, ToolResult
from tests.gateway.results.test_stages import run, text_answer, texts

ROOT = Path(__file__).parents[3]

USES_IT = """
import asyncio, json, sys
from mcpctl.proxy_models.stages import check_stages, known_stages
from mcplocal.json_text import Member, write
from mcplocal.results.counts import ResultCounts
from mcplocal.results.pipeline import Pipeline
from mcplocal.results.steps import steps_of
from mcplocal.upstream.answers import Answer
from mcplocal.wire import Era
from tests.gateway.results.test_stages import means

text = "name,state\\nlogin,open\\npay|pal,closed\\nlast,open\\n"
answer = Answer(Era.MODERN, {"content": Member(write([{"type": "text", "text": text}, {"type": "text", "text": "no, csv"}]))})
pipeline = Pipeline(steps_of((("csv-table", {"maxRows": 2}),)), ResultCounts())
found, _ = asyncio.run(pipeline.shaped(answer, means()))
print(json.dumps({
    "known": "csv-table" in [stage.name for stage in known_stages()],
    "wrong": check_stages([{"stage": "csv-table", "options": {"maxRows": 0}}]),
    "content": found.result["content"].value,
}))
"""


def test_the_example_is_installed_by_pip_and_shapes_results(tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run(
        [*install, "--target", str(tmp_path), str(ROOT / "examples" / "csv_stage")], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"pip cannot build packages here: {done.stderr[-300:]}")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    said = subprocess.run(
        [sys.executable, "-c", USES_IT], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    )
    found = json.loads(said.stdout)
    table = "| name | state |\n| --- | --- |\n| login | open |\n| pay\\|pal | closed |\n[… 1 rows left out]"
    assert [table, "no, csv"] == [block["text"] for block in found["content"]]
    assert found["known"]
    assert [["0.options.maxRows", "it must be 1 or more"]] == found["wrong"]


@contextmanager
def installed(stage: Any) -> Iterator[None]:
    """That stage, as if a package offered it."""
    found: Any = third_party.third_party_stages()
    found.stages["odd"] = stage
    found.descriptions["odd"] = StageDescription("odd", "Is odd.", {"type": "object", "additionalProperties": False})
    try:
        yield
    finally:
        del found.stages["odd"], found.descriptions["odd"]


class Odd:
    """A stage that does what a test wants."""

    def __init__(self, does: Any) -> None:
        self._does = does

    async def apply(self, result: ToolResult, _options: Mapping[str, Any], _context: StageContext) -> ToolResult:
        found: ToolResult = await self._does(result)
        return found


async def shouts(result: ToolResult) -> ToolResult:
    return result.with_texts(str.upper)


async def raises(_: ToolResult) -> ToolResult:
    raise ValueError("with the result's own secret in it")


async def says_why(_: ToolResult) -> ToolResult:
    raise StageFailed("the moon is full")


async def hangs(_: ToolResult) -> ToolResult:
    await asyncio.sleep(60)
    raise AssertionError


async def gives_nothing(_: ToolResult) -> Any:
    return None


MISBEHAVING = [
    (raises, "it failed with ValueError"),
    (says_why, "the moon is full"),
    (hangs, "it took longer than 0.2 s"),
    (gives_nothing, "it gives back no result"),
]


def test_a_stage_of_another_package_is_a_stage_like_any() -> None:
    with installed(Odd(shouts)):
        found, notes, _ = run(text_answer("x", structuredContent={"x": 1}), ("odd", {}))
    assert ["X"] == texts(found)
    assert ["odd"] == notes.changed
    assert found.result is not None
    assert "structuredContent" not in found.result


@pytest.mark.parametrize(("does", "why"), MISBEHAVING, ids=[does.__name__ for does, _ in MISBEHAVING])
def test_one_that_misbehaves_changes_nothing_and_tells_nothing(does: Any, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcplocal.results.steps.THIRD_PARTY_TIMEOUT", 0.2)
    with installed(Odd(does)):
        found, notes, counts = run(text_answer("mcpctl_pat_" + "a" * 43), ("odd", {}), ("redact", {}))
    assert ["[redacted:mcpctl-token]"] == texts(found)
    assert [{"stage": "odd", "why": why}] == notes.failed
    assert 1 == counts.stages.count("odd", "timeout" if does is hangs else "failed")
