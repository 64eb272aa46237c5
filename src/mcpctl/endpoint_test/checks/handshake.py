"""E1 to E3: the handshake era, from ``initialize`` to a list."""

from __future__ import annotations

from typing import Final

from mcpctl.endpoint_test.check import Finding, Level, check, failed, passed, skipped, warned
from mcpctl.endpoint_test.endpoint import NO_SUCH_TOOL, Endpoint
from mcpctl.endpoint_test.expectations import answers_with_error
from mcpctl.endpoint_test.lists import legacy_tools
from mcpctl.endpoint_test.official_schemas import HANDSHAKE_VERSIONS, LEGACY

LIFECYCLE: Final = "MCP 2025-11-25 basic/lifecycle"
NO_VERSION: Final = "1999-01-01"


@check(
    "E1-version",
    "Every version asked for is answered with one that is known",
    Level.FAIL,
    f"{LIFECYCLE} §Version Negotiation: the same version, or another the server supports",
    f"Answer with the version asked for, or with the newest you support: {', '.join(HANDSHAKE_VERSIONS)}.",
    depends=("D1-legacy",),
)
async def version(endpoint: Endpoint) -> Finding:
    """2025-11-25, 2025-06-18 and 2025-03-26."""
    told = []
    for asked in HANDSHAKE_VERSIONS:
        session = await endpoint.session() if asked == LEGACY else await endpoint.shake(asked)
        settled = (session.shake.result or {}).get("protocolVersion")
        if settled not in HANDSHAKE_VERSIONS and settled != "2024-11-05":
            return failed(f"{asked} is answered with {settled!r:.60} ({session.shake.told()})", session.shake)
        told.append(asked if settled == asked else f"{asked} → {settled}")
    return passed(", ".join(told))


@check(
    "E1-unknown-version",
    "A version that does not exist is answered with one that does",
    Level.FAIL,
    f"{LIFECYCLE} §Version Negotiation: otherwise the server MUST respond with another version it supports",
    "Never repeat a version you do not know; the client takes it for a promise.",
    depends=("D1-legacy",),
)
async def unknown_version(endpoint: Endpoint) -> Finding:
    """``1999-01-01``. An error is right as well."""
    session = await endpoint.shake(NO_VERSION)
    if session.shake.result is None:
        if session.shake.error and session.shake.status < 500:
            return passed(session.shake.told())
        return failed(session.shake.told(), session.shake)
    settled = session.shake.result.get("protocolVersion")
    return (
        failed(f"it promises to speak {settled!r:.60}", session.shake) if settled == NO_VERSION else passed(str(settled)[:60])
    )


@check(
    "E1-capabilities",
    "initialize declares capabilities",
    Level.FAIL,
    f"{LIFECYCLE} §Initialization",
    "Send an object 'capabilities'.",
    depends=("D1-legacy",),
)
async def capabilities(endpoint: Endpoint) -> Finding:
    """An object."""
    shake = (await endpoint.session()).shake
    found = (shake.result or {}).get("capabilities")
    return passed() if isinstance(found, dict) else failed(f"capabilities is {found!r:.60}, not an object", shake)


@check(
    "E1-server-info",
    "initialize says the server's name and version",
    Level.FAIL,
    f"{LIFECYCLE} §Initialization",
    "Send 'serverInfo' with name and version, both strings.",
    depends=("D1-legacy",),
)
async def server_info(endpoint: Endpoint) -> Finding:
    """Both are required in this era."""
    shake = (await endpoint.session()).shake
    found = (shake.result or {}).get("serverInfo")
    right = isinstance(found, dict) and isinstance(found.get("name"), str) and isinstance(found.get("version"), str)
    return passed(f"{found['name']} {found['version']}"[:100]) if right and found else failed(f"it is {found!r:.100}", shake)


@check(
    "E3-initialized",
    "notifications/initialized is accepted with 202",
    Level.FAIL,
    "MCP 2025-11-25 basic/transports §Sending Messages: 202 with no body",
    "Answer 202 without a body.",
    depends=("D1-legacy",),
)
async def initialized(endpoint: Endpoint) -> Finding:
    """The one that followed the first handshake."""
    session = await endpoint.session()
    exchange = await endpoint.once("initialized", lambda: endpoint.notify(session, "notifications/initialized"))
    if exchange.status == 202 and not exchange.size:
        return passed("HTTP 202", exchange)
    return failed(f"{exchange.told()} and {exchange.size} bytes; 202 without a body is due", exchange)


@check(
    "E3-ping",
    "ping is answered with an empty result",
    Level.FAIL,
    "MCP 2025-11-25 basic/utilities/ping: MUST respond promptly with an empty response",
    "Answer {}.",
    depends=("D1-legacy",),
)
async def ping(endpoint: Endpoint) -> Finding:
    """``_meta`` may be there."""
    exchange = await endpoint.legacy(await endpoint.session(), "ping")
    if exchange.result is not None and not set(exchange.result) - {"_meta"}:
        return passed(f"{exchange.seconds * 1000:.1f} ms", exchange)
    return failed(f"{exchange.told()}; an empty result is due", exchange)


@check(
    "E3-tools",
    "The tools can be listed in the handshake era",
    Level.FAIL,
    "MCP 2025-11-25 server/tools §Listing Tools",
    "Answer tools/list with an array 'tools' in every era you speak.",
    depends=("D1-legacy", "E1-capabilities"),
)
async def tools(endpoint: Endpoint) -> Finding:
    """If the server declares tools. Whether the list ends is T8-paging's."""
    if "tools" not in ((await endpoint.session()).shake.result or {})["capabilities"]:
        return skipped("no tools are declared", blocks=True)
    found = await legacy_tools(endpoint)
    first = found.pages[0]
    if first.result is None or not isinstance(first.result.get("tools"), list):
        return failed(found.wrong, first)
    return passed(f"{len(found.items)} tools")


@check(
    "E3-unknown-method",
    "In the handshake era an unknown method is answered as such",
    Level.FAIL,
    "JSON-RPC 2.0 section 5.1: -32601",
    "Answer with error -32601.",
    depends=("D1-legacy",),
)
async def unknown_method(endpoint: Endpoint) -> Finding:
    """Of any HTTP status."""
    return answers_with_error(-32601)(await endpoint.legacy(await endpoint.session(), "mcpctl/no-such-method"))


@check(
    "E3-unknown-tool",
    "A tool that does not exist is refused",
    Level.FAIL,
    "MCP 2025-11-25 server/tools §Error Handling: -32602",
    "Answer with error -32602. With isError a model believes that the tool is there and has failed.",
    depends=("E3-tools",),
)
async def unknown_tool(endpoint: Endpoint) -> Finding:
    """A result with ``isError`` is a warning."""
    exchange = await endpoint.legacy(await endpoint.session(), "tools/call", {"name": NO_SUCH_TOOL, "arguments": {}})
    if exchange.result is not None and exchange.result.get("isError") is True:
        return warned("a result with isError; error -32602 is due", exchange)
    return answers_with_error(-32602, other=Level.WARN)(exchange)


CHECKS = (version, unknown_version, capabilities, server_info)
CHECKS_AFTER_SESSION = (initialized, ping, tools, unknown_method, unknown_tool)
