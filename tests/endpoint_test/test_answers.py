"""Whatever an endpoint answers, every check comes to a judgement."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcpctl.endpoint_test.bounded_http import BoundedHttp
from mcpctl.endpoint_test.bounded_json import parse
from mcpctl.endpoint_test.exchange import Exchange
from mcpctl.endpoint_test.options import Grants, Load, Options
from mcpctl.endpoint_test.reports import json_document, junit, sarif, table
from mcpctl.endpoint_test.runner import Report, run
from tests.endpoint_test.conftest import everything

WORDS = st.sampled_from(
    [
        "",
        "\ud800",
        "a",
        "complete",
        "input_required",
        "public",
        "object",
        "2026-07-28",
        "mcpctl-progress",
        "\n",
        "http://[::1",
        "é",
    ]
)
NUMBERS = st.sampled_from([0, -1, 1, 10**400, 1.5, 1e308, -32602, -32020, True, None])
ANYTHING = st.recursive(
    WORDS | NUMBERS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "$schema",
                    "$ref",
                    "properties",
                    "name",
                    "tools",
                    "code",
                    "message",
                    "data",
                    "_meta",
                    "id",
                    "x-mcp-header",
                ]
            )
            | WORDS,
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
SCHEMA_WORDS = ("$schema", "properties", "required", "$ref", "pattern", "multipleOf", "items", "enum", "$defs")
SCHEMAS = st.fixed_dictionaries(
    {"type": st.just("object") | ANYTHING},
    optional=dict.fromkeys(SCHEMA_WORDS, ANYTHING),
)
TOOLS = st.fixed_dictionaries(
    {"name": st.just("a") | ANYTHING, "inputSchema": SCHEMAS | ANYTHING},
    optional={"outputSchema": SCHEMAS | ANYTHING, "annotations": ANYTHING, "description": ANYTHING, "title": ANYTHING},
)
MEMBERS: dict[str, Any] = {
    "resultType": st.just("complete") | ANYTHING,
    "ttlMs": st.just(1) | ANYTHING,
    "cacheScope": st.just("public") | ANYTHING,
    "supportedVersions": st.just(["2026-07-28"]) | ANYTHING,
    "protocolVersion": st.just("2025-11-25") | ANYTHING,
    "capabilities": st.just({"tools": {}, "prompts": {}, "resources": {"subscribe": True}}) | ANYTHING,
    "serverInfo": ANYTHING,
    "tools": st.lists(TOOLS | ANYTHING, max_size=3) | ANYTHING,
    "prompts": ANYTHING,
    "content": st.just([]) | ANYTHING,
    "nextCursor": ANYTHING,
    "structuredContent": ANYTHING,
    "isError": ANYTHING,
    "inputRequests": ANYTHING,
    "resource": ANYTHING,
    "authorization_servers": ANYTHING,
    "issuer": ANYTHING,
}
LIKELY = ("resultType", "ttlMs", "cacheScope", "supportedVersions", "protocolVersion", "capabilities", "tools", "content")
UNLIKELY = {name: member for name, member in MEMBERS.items() if name not in LIKELY}
RESULTS = st.fixed_dictionaries({name: MEMBERS[name] for name in LIKELY}, optional=UNLIKELY)
RIGHT: dict[str, Any] = {
    "resultType": "complete",
    "ttlMs": 1,
    "cacheScope": "public",
    "supportedVersions": ["2026-07-28"],
    "protocolVersion": "2025-11-25",
    "serverInfo": {"name": "a", "version": "1"},
    "capabilities": {"tools": {}, "prompts": {}, "resources": {"subscribe": True}},
    "tools": [{"name": "a", "inputSchema": {"type": "object"}, "outputSchema": {"type": "object"}}],
    "prompts": [],
    "resources": [],
    "content": [],
}
ALMOST_RIGHT = st.lists(st.sampled_from(list(MEMBERS)), max_size=2, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: MEMBERS[name] for name in names}).map(lambda wrong: {**RIGHT, **wrong})
)
NOTES = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": st.just("notifications/progress") | ANYTHING},
    optional={"id": ANYTHING, "params": st.fixed_dictionaries({"progress": ANYTHING, "progressToken": ANYTHING}) | ANYTHING},
)
ERRORS = st.fixed_dictionaries({"code": ANYTHING}, optional={"message": ANYTHING, "data": ANYTHING})
ANSWERS = st.fixed_dictionaries(
    {
        "status": st.sampled_from([200, 200, 200, 202, 400, 401, 404, 500, 301]),
        "result": ALMOST_RIGHT | RESULTS | ANYTHING,
        "error": st.none()
        | st.fixed_dictionaries({"code": ANYTHING}, optional={"message": ANYTHING, "data": ANYTHING})
        | ANYTHING,
        "before": st.lists(NOTES | ANYTHING, max_size=2),
        "headers": st.lists(
            st.tuples(
                st.sampled_from(["location", "mcp-session-id", "www-authenticate", "content-type", "retry-after"]), WORDS
            ),
            max_size=2,
        ),
    }
)


def _judged(answers: list[Any], patch: pytest.MonkeyPatch) -> Report:
    asked = 0

    async def send(_: BoundedHttp, exchange: Exchange, **__: Any) -> Exchange:
        nonlocal asked
        answer = answers[asked % len(answers)]
        asked += 1
        # A right handshake now and then, so that there is more to judge than that it is wrong.
        message = {"jsonrpc": "2.0", "id": exchange.id, "result": answer["result"]}
        if answer["error"] is not None and asked % 3 == 0:
            message = {"jsonrpc": "2.0", "id": exchange.id, "error": answer["error"]}
        exchange.status, exchange.http_version, exchange.ended = answer["status"], "1.1", True
        exchange.answered = tuple(answer["headers"])
        for one in (*answer["before"], message):
            found = parse(json.dumps(one).encode())
            exchange.messages.append(found.value)
            exchange.nodes = max(exchange.nodes, found.nodes)
            exchange.raw = json.dumps(one).encode()[:3200]
        exchange.size = len(exchange.raw)
        return exchange

    with patch.context() as patched:
        patched.setattr(BoundedHttp, "send", send)
        given_options = Options(
            "http://127.0.0.1:9/mcp",
            "a-token-of-the-tests",
            "another-token-of-the-tests",
            era="both",
            calls={"a": {"x": 1}},
            timeout=1.0,
            load=Load(2, 1),
            grants=Grants(lambda _: True, "a-powerless-token", "a-foreign-token"),
        )
        return asyncio.run(run(given_options, tuple(one for one in everything() if one.id != "A1-certificate")))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(answers=st.lists(ANSWERS, min_size=1, max_size=4))
def test_no_answer_ends_the_run_or_cannot_be_judged(answers: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        report = _judged(answers, patch)
    assert [] == [(one.check.id, one.said) for one in report.outcomes if "the answer could not be judged" in one.said]
    told = ["\n".join(table.lines(report, verbose=True)), junit.document(report)]
    told += [json.dumps(json_document.document(report)), json.dumps(sarif.document(report, "1"))]
    assert all(text.encode() for text in told)


def test_a_check_that_fails_over_an_answer_is_a_failure_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise OverflowError("of a stranger's making")

    monkeypatch.setattr("mcpctl.endpoint_test.checks.reach._first", broken)
    answer = {"status": 200, "result": {}, "error": None, "before": [], "headers": []}
    report = _judged([answer], monkeypatch)
    said = {one.check.id: one.said for one in report.outcomes}
    assert "the answer could not be judged: OverflowError" == said["A1-connect"]
    assert 4 == report.exit_code
