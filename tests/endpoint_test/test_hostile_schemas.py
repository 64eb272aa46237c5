"""A schema, a value or an answer that means harm ends neither the run nor the program."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from time import monotonic

import pytest

from mcpctl.endpoint_test.bounded_http import OutOfTime
from mcpctl.endpoint_test.endpoint import Endpoint
from mcpctl.endpoint_test.judge import Judge, Unjudged
from mcpctl.endpoint_test.options import Options
from mcpctl.endpoint_test.runner import Report
from tests.endpoint_test.conftest import judge
from tests.endpoint_test.hostile_schemas import ANY, OUTPUTS, SCHEMAS
from tests.endpoint_test.test_hostile import MOST_MEMORY, Hostile

NOT_JUDGED = ("could not be judged within", "more memory than it may")


def said(report: Report) -> dict[str, str]:
    return {one.check.id: f"{one.level} {one.said}" for one in report.outcomes}


@pytest.mark.parametrize("way", OUTPUTS)
def test_a_result_that_takes_for_ever_to_validate_is_a_warning(way: str, hostile: Hostile) -> None:
    began = monotonic()
    found = said(judge(f"{hostile[0]}/{way}/mcp", ("K2",), calls={"a": {}}, timeout=5.0))["K2-structured"]
    assert monotonic() - began < 15.0
    assert found.startswith("warn "), found
    assert any(one in found for one in NOT_JUDGED), found


@pytest.mark.parametrize("way", SCHEMAS)
def test_a_schema_that_ends_validators_is_told_as_wrong_or_not_judged(way: str, hostile: Hostile) -> None:
    found = said(judge(f"{hostile[0]}/{way}/mcp", ("T4-valid", "K2-structured"), calls={"a": {}}, timeout=5.0))
    assert [] == [one for one in found.values() if "the answer could not be judged" in one]
    assert {"warn", "fail"} & {one.partition(" ")[0] for one in found.values()}, found


def test_a_long_wrong_result_is_not_validated_for_ever(hostile: Hostile) -> None:
    began = monotonic()
    found = said(judge(f"{hostile[0]}/long-wrong-content/mcp", ("K2", "W1"), calls={"a": {}}, timeout=5.0))
    assert monotonic() - began < 15.0
    # A quick machine gets to the end of it in time and finds it wrong; another says that it could not. Neither passes it.
    judged_wrong = any(text.startswith("fail") for check, text in found.items() if check.startswith(("W1", "K2")))
    assert judged_wrong or any(one in found["W1-all"] for one in NOT_JUDGED), found


@pytest.mark.parametrize("way", ["half-a-cursor", "progress-of-much"])
def test_values_that_python_cannot_hold_are_judged(way: str, hostile: Hostile) -> None:
    found = said(judge(f"{hostile[0]}/{way}/mcp", ("T", "K"), calls={"a": {}}, timeout=5.0))
    assert [] == [one for one in found.values() if "could not be judged" in one]
    if way == "half-a-cursor":
        assert "the same cursor again" in found["T8-paging"]
    else:
        assert "pass 1 notifications" == found["K3-progress"]


def test_sessions_are_ended_in_two_seconds_or_not_at_all(hostile: Hostile) -> None:
    async def closed() -> float:
        endpoint = Endpoint(Options(f"{hostile[0]}/limits-the-end/mcp"))
        for _ in range(8):
            await endpoint.shake()
        began = monotonic()
        await endpoint.close()
        return monotonic() - began

    assert asyncio.run(closed()) < 4.0


def test_nothing_is_judged_when_the_time_of_the_run_is_over() -> None:
    def left() -> float:
        raise OutOfTime

    with pytest.raises(OutOfTime):
        Judge(left).wrong_result(3, "2026-07-28", "tools/list", {})
    with pytest.raises(OutOfTime):
        Judge(left).wrong_schema(ANY)


def test_after_five_that_took_too_long_nothing_more_is_judged_so() -> None:
    judging = Judge(lambda: 0.05)
    schema, value = OUTPUTS["dynamic-laughs"]
    why = []
    for _ in range(6):
        with pytest.raises(Unjudged) as raised:
            judging.wrong_value(schema, value)
        why.append(str(raised.value))
    assert ["5 others took too long"] == why[5:]
    assert "" == Judge(lambda: 5.0).wrong_schema(ANY)


@pytest.mark.parametrize("way", ["fat-pages", "fat-and-many"])
def test_memory_is_bounded_in_a_run_of_all_checks(way: str, hostile: Hostile) -> None:
    script = (
        "import re, sys\n"
        "from mcpctl.main import program\n"
        "program(['test', 'mcp', sys.argv[1], '--timeout', '5', '--call', 'a={}', '-o', 'junit'])\n"
        # Not getrusage: over fork and exec that remembers the peak of whoever started this.
        "print('PEAK', int(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1]) * 1024)\n"
    )
    argv = [sys.executable, "-c", script, f"{hostile[0]}/{way}/mcp"]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=90, check=True)
    assert "it has more than" in ran.stdout
    assert int(ran.stdout.rpartition("PEAK ")[2]) < MOST_MEMORY
