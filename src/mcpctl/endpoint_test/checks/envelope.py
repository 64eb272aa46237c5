"""M4 to M9: the envelope of a request, methods that are gone, and what is left of sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mcpctl.endpoint_test.check import Check, Finding, Level, check, failed, passed, skipped, warned
from mcpctl.endpoint_test.endpoint import CAPABILITIES_KEY, CLIENT, CLIENT_KEY, NO_SUCH_SESSION, VERSION_KEY, Endpoint
from mcpctl.endpoint_test.exchange import Exchange
from mcpctl.endpoint_test.expectations import accepted, refused
from mcpctl.endpoint_test.official_schemas import MODERN

BASIC: Final = "MCP 2026-07-28 basic/index §Per-request protocol fields"
TRANSPORT: Final = "MCP 2026-07-28 basic/transports/streamable-http"
GONE: Final = "MCP 2026-07-28 changelog"
INVALID_PARAMS: Final = -32602
MISMATCH: Final = -32020


def _envelope(id: str, title: str, removed: tuple[str, ...], codes: tuple[int, ...]) -> Check:  # noqa: A002
    async def run(endpoint: Endpoint) -> Finding:
        exchange = await endpoint.modern("tools/list", meta=dict.fromkeys(removed), right=False)
        return refused(400, codes=codes)(exchange)

    advice = f"Answer 400 with error {INVALID_PARAMS} that names the missing member."
    return Check(id, title, Level.FAIL, BASIC, advice, run, ("D1-modern",))


no_meta = _envelope(
    "M4-meta",
    "A request with an empty _meta is refused",
    (VERSION_KEY, CAPABILITIES_KEY, CLIENT_KEY),
    (INVALID_PARAMS, MISMATCH),
)
no_version = _envelope(
    "M4-version", "A request whose _meta lacks the version is refused", (VERSION_KEY,), (INVALID_PARAMS, MISMATCH)
)
no_capabilities = _envelope(
    "M4-capabilities",
    "A request whose _meta lacks the client's capabilities is refused",
    (CAPABILITIES_KEY,),
    (INVALID_PARAMS,),
)


@check(
    "M4-client-info",
    "A client need not say its name",
    Level.FAIL,
    f"{BASIC}: clientInfo is a SHOULD",
    "Accept requests without clientInfo.",
    depends=("D1-modern",),
)
async def nameless_client(endpoint: Endpoint) -> Finding:
    """``_meta`` without ``clientInfo``."""
    return accepted(why="clientInfo is not required")(await endpoint.modern("tools/list", meta={CLIENT_KEY: None}, right=False))


def _gone(method: str, word: str, params: Mapping[str, Any] | None = None) -> Check:
    async def run(endpoint: Endpoint) -> Finding:
        exchange = await endpoint.modern(method, params, right=False)
        if method == "initialize":
            return refused(400, 404, other=Level.WARN)(exchange)
        return refused(404, codes=(-32601,))(exchange)

    title = f"{method} is unknown" if word != "unknown" else "An unknown method is answered as such"
    clause = f"{TRANSPORT} §Protocol Version Header: 404 with error -32601" if word == "unknown" else f"{GONE}: removed"
    advice = "Answer 404 with error -32601 in this era. Clients recognize an older server by it."
    return Check(f"M5-{word}", title, Level.FAIL, clause, advice, run, ("D1-modern",))


METHODS = (
    _gone("mcpctl/no-such-method", "unknown"),
    _gone("ping", "ping"),
    _gone(
        "initialize", "initialize", {"protocolVersion": MODERN, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    ),
    _gone("logging/setLevel", "set-level", {"level": "info"}),
    _gone("resources/subscribe", "subscribe", {"uri": "mcpctl://nothing"}),
    _gone("resources/unsubscribe", "unsubscribe", {"uri": "mcpctl://nothing"}),
)


@check(
    "M6-ids",
    "Errors carry the id of the request",
    Level.FAIL,
    "MCP 2026-07-28 basic/index §Error Responses",
    "Copy the id into every error of a request whose id could be read.",
    depends=("D1-modern",),
    late=True,
)
async def error_ids(endpoint: Endpoint) -> Finding:
    """The refusal of an unknown method, and every error to a right request."""
    await endpoint.modern("mcpctl/no-such-method")
    found = endpoint.observed.remarks["error-ids"]
    return failed(found[0][0], found[0][1]) if found else passed()


def _no_method(method: str) -> Check:
    async def run(endpoint: Endpoint) -> Finding:
        headers = [("MCP-Protocol-Version", MODERN), ("Accept", "text/event-stream")]
        exchange = await endpoint.send(None, method, headers=headers, abandon=True, within=endpoint.patience(3.0))
        if exchange.status == 405:
            return passed("HTTP 405", exchange)
        if not exchange.status or exchange.status >= 500:
            return failed(exchange.told(), exchange)
        return warned(f"{exchange.told()}; 405 is due", exchange)

    return Check(
        f"M7-{method.lower()}",
        f"{method} is not allowed",
        Level.FAIL,
        f"{TRANSPORT} §Earlier revisions: SHOULD 405",
        "Answer 405 with 'Allow: POST' unless the request names a session of the handshake era.",
        run,
        ("D1-modern",),
    )


async def _with(endpoint: Endpoint, header: str, value: str) -> Exchange:
    return await endpoint.modern("tools/list", also=[(header, value)])


def _ignored(header: str, word: str, value: str) -> Check:
    async def run(endpoint: Endpoint) -> Finding:
        return accepted(why=f"{header} means nothing in this era")(await _with(endpoint, header, value))

    advice = "Ignore the header in this era; there are no sessions and nothing is resumed."
    return Check(f"M8-{word}", f"{header} is ignored", Level.FAIL, TRANSPORT, advice, run, ("D1-modern",))


@check(
    "M8-not-minted",
    "No session is begun",
    Level.FAIL,
    f"{GONE}: sessions are removed",
    "Send Mcp-Session-Id in the handshake era only.",
    depends=("D1-modern",),
    late=True,
)
async def no_session(endpoint: Endpoint) -> Finding:
    """Watched in every answer of this era."""
    await endpoint.modern("tools/list")
    found = endpoint.observed.remarks["minted"]
    return failed(found[0][0], found[0][1]) if found else passed()


@check(
    "M9-notification",
    "A notification is accepted with 202 and no body",
    Level.FAIL,
    f"{TRANSPORT} §Sending Messages 5",
    "Answer 202 without a body, also to notifications you do not know.",
    depends=("D1-modern",),
)
async def notification(endpoint: Endpoint) -> Finding:
    """``notifications/cancelled`` for a request that never was."""
    meta = {VERSION_KEY: MODERN, CAPABILITIES_KEY: {}, CLIENT_KEY: CLIENT}
    params = {"requestId": "mcpctl-test-no-such-request", "_meta": meta}
    headers = [("MCP-Protocol-Version", MODERN), ("Mcp-Method", "notifications/cancelled")]
    body = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
    exchange = await endpoint.send(body, headers=headers)
    if exchange.status == 202 and not exchange.size:
        return passed("HTTP 202", exchange)
    return failed(f"{exchange.told()} and {exchange.size} bytes; 202 without a body is due", exchange)


@check(
    "M5-names-versions",
    "A refused 'initialize' says which revisions are spoken",
    Level.WARN,
    "MCP 2026-07-28 basic/versioning: the error SHOULD name supported versions",
    "List them under data.supported, so that an older client's user learns what to do.",
    depends=("M5-initialize",),
)
async def names_versions(endpoint: Endpoint) -> Finding:
    """Only where 'initialize' has no other meaning on the endpoint."""
    exchange = (await endpoint.session()).shake
    if exchange.result is not None:
        return skipped("'initialize' is spoken in the handshake era")
    return passed() if MODERN in exchange.raw.decode("utf-8", "replace") else warned("it does not", exchange)


CHECKS = (
    no_meta,
    no_version,
    no_capabilities,
    nameless_client,
    *METHODS,
    names_versions,
    error_ids,
    _no_method("GET"),
    _no_method("DELETE"),
    _ignored("Mcp-Session-Id", "session", NO_SUCH_SESSION),
    _ignored("Last-Event-ID", "event-id", "mcpctl-1"),
    no_session,
    notification,
)
