"""What is made of a run of the conformance suite, and how its requests get their bearer. Running it is ``make conformance``."""

from __future__ import annotations

import json
import re
import urllib.request
from dataclasses import replace
from typing import Any

import mcp_types as types
import pytest
from mcp import Client

from benchmarks.conformance import suite
from benchmarks.conformance.bearer_proxy import bearing, with_bearer
from benchmarks.conformance.scoreboard import Outcome, Row, exit_code, page, summary
from benchmarks.conformance.suite import LATER, LEGACY, MODERN
from benchmarks.conformance.upstream import Upstream as Compliant
from tests.gateway.upstreams import Upstream, served

PASS = Outcome(passed=3)
FAIL = Outcome(passed=1, failures=("tools-list: Missing tools array",))
WARNED = Outcome(passed=1, warnings=("tools-name-format: too long",))
SKIPPED = Outcome(skipped=("no tasks",))


def row(direct: Outcome, through: Outcome | None, standing: str = "required", scenario: str = "tools-list") -> Row:
    return Row(LATER, MODERN, scenario, standing, direct, through)


@pytest.mark.parametrize(
    ("code", "rows"),
    [
        (0, [row(PASS, PASS), row(WARNED, WARNED), row(PASS, SKIPPED)]),
        (0, [row(PASS, WARNED)]),
        (0, [row(FAIL, FAIL, "extension")]),
        (0, [row(FAIL, PASS, "pending")]),
        (0, [row(PASS, None)]),
        (1, [row(PASS, PASS), row(PASS, FAIL)]),
        (1, [row(PASS, FAIL, "pending")]),
        (1, [row(WARNED, FAIL)]),
        (1, [row(FAIL, FAIL)]),
        (1, [row(FAIL, None)]),
    ],
)
def test_it_fails_if_the_gateway_loses_a_scenario_or_our_server_fails_a_required_one(code: int, rows: list[Row]) -> None:
    assert code == exit_code(rows)


def test_the_table_has_a_row_for_each_scenario_and_the_counts_add_up() -> None:
    rows = [row(PASS, FAIL), row(WARNED, WARNED, scenario="ping"), row(FAIL, FAIL, "extension", "tasks-lifecycle")]
    rows += [replace(row(PASS, PASS), revision=LEGACY)]
    text = page(rows, "- made now")
    table = [line for line in text.splitlines() if line.startswith("| 0.")]
    assert [
        "| 0.2.0-alpha.12 | 2026-07-28 | tools-list | required | pass | **fail** 1 of 2 |",
        "| 0.2.0-alpha.12 | 2026-07-28 | ping | required | pass, 1 warning | pass, 1 warning |",
        "| 0.2.0-alpha.12 | 2026-07-28 | tasks-lifecycle | extension | **fail** 1 of 2 | **fail** 1 of 2 |",
        "| 0.2.0-alpha.12 | 2025-11-25 | tools-list | required | pass | pass |",
    ] == table
    assert [
        "all scenarios: 3 of 4 pass directly, 2 of 4 through the gateway; 1 pass directly and fail through the gateway",
        "0.2.0-alpha.12 at 2026-07-28, required: 2 of 2 pass directly, 1 of 2 through the gateway; "
        "1 pass directly and fail through the gateway",
        "0.2.0-alpha.12 at 2025-11-25, required: 1 of 1 pass directly, 1 of 1 through the gateway; "
        "0 pass directly and fail through the gateway",
    ] == summary(rows).splitlines()
    through, _, directly = text.partition("## Through the gateway")[2].partition("## Directly")
    assert ["**tools-list** (0.2.0-alpha.12, 2026-07-28): tools-list: Missing tools array"] == re.findall("- (.*)", through)
    assert ["**ping** (0.2.0-alpha.12, 2026-07-28): warning: tools-name-format: too long"] == re.findall(
        "- (.*)", directly.partition("##")[0]
    )


def test_without_the_gateway_its_column_is_empty_and_nothing_is_said_of_it() -> None:
    text = page([row(PASS, None)], "- made now")
    assert "| required | pass | – |" in text
    assert "all scenarios: 1 of 1 pass directly\n" in summary([row(PASS, None)]) + "\n"
    assert "## Through" not in text


def test_a_scenario_is_what_its_checks_are() -> None:
    checks = [
        {"id": "a", "status": "SUCCESS"},
        {"id": "b", "status": "FAILURE", "errorMessage": "no b", "description": "has b"},
        {"id": "c", "status": "WARNING", "description": "should c"},
        {"id": "d", "status": "SKIPPED", "errorMessage": "no d here"},
        {"id": "e", "status": "INFO", "description": "said e"},
    ]
    assert Outcome(1, ("b: no b",), ("c: should c",), ("d: no d here",)) == suite.outcome(checks)
    assert Outcome() == suite.outcome([])


def test_a_head_gets_the_bearer_and_keeps_everything_else_to_the_space() -> None:
    kept = b"POST /mcp HTTP/1.1\r\nhost: evil.example.com\r\nMcp-Name:   a  \r\n"
    head = kept + b"connection: keep-alive\r\nAuthorization: no\r\n\r\n"
    expected = kept + b"authorization: Bearer t\r\nconnection: close\r\n\r\n"
    assert expected == with_bearer(head, "t")


def test_requests_through_the_proxy_arrive_with_the_bearer_and_are_answered() -> None:
    upstream = Upstream(era="legacy")
    with served(upstream.app()) as url, bearing(url.removeprefix("http://"), "t") as address:
        for number in (1, 2):
            message = {"jsonrpc": "2.0", "id": number, "method": "initialize", "params": {"text": "x" * 200_000}}
            request = urllib.request.Request(f"http://{address}/mcp", json.dumps(message).encode())
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
                assert number == json.load(answer)["id"]
    assert ["Bearer t"] * 2 == [seen.headers["authorization"] for seen in upstream.seen]
    assert [address] * 2 == [seen.headers["host"] for seen in upstream.seen]


@pytest.mark.parametrize("era", ["legacy", MODERN])
@pytest.mark.anyio
async def test_our_server_asks_its_client_in_both_eras(era: str) -> None:
    asked: list[str] = []

    async def answer(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        assert isinstance(params, types.ElicitRequestFormParams)
        asked.append(params.message)
        field = "name" if "name" in params.requested_schema["properties"] else "color"
        return types.ElicitResult(action="accept", content={field: field.upper()})

    async with Client(Compliant(), mode=era, elicitation_callback=answer) as client:
        result = await client.call_tool("test_input_required_result_multi_round", {})
    assert ["Step 1: What is your name?", "Step 2: What is your favorite color?"] == asked
    assert "NAME likes COLOR." == result.content[0].text  # type: ignore[union-attr]
