"""C5 to C7: bodies that are no message of MCP."""

from __future__ import annotations

import json
from typing import Any, Final

from mcpctl.endpoint_test.check import Check, Finding, Level, check, failed, passed
from mcpctl.endpoint_test.endpoint import CAPABILITIES_KEY, VERSION_KEY, Endpoint
from mcpctl.endpoint_test.exchange import Exchange, Header
from mcpctl.endpoint_test.expectations import refused, survived
from mcpctl.endpoint_test.official_schemas import MODERN

JSON_RPC: Final = "JSON-RPC 2.0 sections 4 to 5"
SENDING: Final = "MCP 2026-07-28 basic/transports/streamable-http §Sending Messages: one JSON-RPC request or notification"
META: Final = {VERSION_KEY: MODERN, CAPABILITIES_KEY: {}}
LISTING: Final[dict[str, Any]] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}


async def _posted(endpoint: Endpoint, body: bytes | Any) -> Exchange:
    headers: list[Header] = [("MCP-Protocol-Version", MODERN), ("Mcp-Method", "tools/list")]
    if not await endpoint.speaks_modern():
        headers = (await endpoint.session()).headers
    return await endpoint.send(body, headers=headers)


def _unreadable(id: str, title: str, body: bytes, accepted: Level = Level.FAIL) -> Check:  # noqa: A002
    async def run(endpoint: Endpoint) -> Finding:
        return refused(400, codes=(-32700,), other=Level.PASS, accepted=accepted)(await _posted(endpoint, body))

    advice = "Answer 400 with error -32700 (parse error), without ending anything but this request."
    return Check(id, title, Level.FAIL, JSON_RPC, advice, run, ("D1-era",))


def _ill_formed(id: str, title: str, body: Any, clause: str = JSON_RPC, advice: str = "") -> Check:  # noqa: A002
    async def run(endpoint: Endpoint) -> Finding:
        return refused(400, codes=(-32600,), other=Level.PASS)(await _posted(endpoint, body))

    return Check(id, title, Level.FAIL, clause, advice or "Answer 400 with error -32600 (invalid request).", run, ("D1-era",))


invalid = _unreadable("C5-invalid-json", "A body that is no JSON is refused", b"{'no': json}")
truncated = _unreadable("C5-truncated", "Half a message is refused", json.dumps(LISTING).encode()[:-3])
bad_utf8 = _unreadable(
    "C5-utf8",
    "A body that is not UTF-8 is refused",
    json.dumps(LISTING).encode()[:-2] + b',"x":"\xff\xfe"}}',
    Level.WARN,  # some readers put something else in place of such bytes, which harms nobody
)


@check(
    "C5-deep",
    "A deeply nested body does no harm",
    Level.FAIL,
    "CWE-674; JSON-RPC 2.0",
    "Bound the depth of what you parse, and refuse the rest with 400.",
    depends=("D1-era",),
)
async def deep(endpoint: Endpoint) -> Finding:
    """A thousand levels, in a member that means nothing."""
    nested = b"[" * 1000 + b"]" * 1000
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":' + json.dumps(META).encode() + b',"x":' + nested
    return survived(await _posted(endpoint, body + b"}}"))


@check(
    "C6-batch",
    "Several messages in one body are refused",
    Level.FAIL,
    SENDING,
    "Answer 400 with error -32600. Batches are gone since 2025-06-18; what checks or logs single messages does not see them.",
    depends=("D1-era",),
)
async def batch(endpoint: Endpoint) -> Finding:
    """A warning where only the handshake era is spoken: its revision 2025-03-26 had them."""
    accepted = Level.FAIL if await endpoint.speaks_modern() else Level.WARN
    exchange = await _posted(endpoint, [LISTING, {**LISTING, "id": 2}])
    return refused(400, codes=(-32600,), other=Level.PASS, accepted=accepted)(exchange)


null_id = _ill_formed("C6-null-id", "A request whose id is null is refused", {**LISTING, "id": None})
boolean_id = _ill_formed("C6-boolean-id", "A request whose id is a boolean is refused", {**LISTING, "id": True})
version = _ill_formed("C6-version", "A message of JSON-RPC 1.0 is refused", {**LISTING, "jsonrpc": "1.0"})
no_method = _ill_formed("C6-no-method", "A message without a method is refused", {"jsonrpc": "2.0", "id": 1, "params": {}})


@check(
    "C6-response",
    "A response nobody asked for does no harm",
    Level.FAIL,
    SENDING,
    "Answer 400; in the handshake era 202 is right as well.",
    depends=("D1-era",),
)
async def response(endpoint: Endpoint) -> Finding:
    """In the handshake era clients do post responses."""
    exchange = await _posted(endpoint, {"jsonrpc": "2.0", "id": "mcpctl-nobody-asked", "result": {}})
    if await endpoint.speaks_modern():
        return refused()(exchange)
    return survived(exchange)


@check(
    "C5-alive",
    "After all that the endpoint still answers",
    Level.FAIL,
    "CVE-2025-53365",
    "Find what the server did with the bodies of C5 and C6; its log should tell.",
    depends=("D1-era",),
)
async def alive(endpoint: Endpoint) -> Finding:
    """On a new connection."""
    endpoint.http.reconnect()
    exchange = await endpoint.ask("tools/list")
    return passed() if exchange.response else failed(exchange.told(), exchange)


@check(
    "C7-large",
    "A body of 5 MiB is accepted or refused, and does no harm",
    Level.FAIL,
    "RFC 9110 section 15.5.14",
    "Limit the size of bodies, and answer 413.",
    depends=("D1-era",),
    opt_in=True,
)
async def large(endpoint: Endpoint) -> Finding:
    """Only on demand: it costs the server memory. Closing the connection is a refusal, too."""
    exchange = await _posted(endpoint, {**LISTING, "params": {"_meta": META, "x": "a" * (5 << 20)}})
    if exchange.status or exchange.timed_out:
        return survived(exchange)
    again = await endpoint.ask("tools/list", right=False)
    return passed("the connection was closed") if again.response else failed(f"afterwards: {again.told()}", exchange, again)


CHECKS = (
    invalid,
    truncated,
    deep,
    bad_utf8,
    batch,
    response,
    null_id,
    boolean_id,
    version,
    no_method,
    alive,
    large,
)
