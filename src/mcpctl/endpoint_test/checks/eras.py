"""D: which eras of the protocol are spoken."""

from __future__ import annotations

from mcpctl.endpoint_test.check import Finding, Level, check, failed, noted, passed, skipped
from mcpctl.endpoint_test.endpoint import Endpoint


@check(
    "D1-era",
    "At least one era of MCP is spoken",
    Level.FAIL,
    "MCP 2026-07-28 basic/versioning",
    "Is this the path of the MCP endpoint, often /mcp? Only Streamable HTTP is tested, not the older HTTP+SSE transport.",
    depends=("B0-accepted",),
)
async def one(endpoint: Endpoint) -> Finding:
    """``server/discover`` or ``initialize`` has a result."""
    spoken = [era for era, is_spoken in await _spoken(endpoint) if is_spoken]
    if spoken:
        return passed(" and ".join(spoken))
    tried = [(await endpoint.discovered())] if endpoint.options.era != "legacy" else []
    tried += [(await endpoint.session()).shake] if endpoint.options.era != "modern" else []
    return failed(f"neither server/discover nor initialize has a result: {', '.join(one.told() for one in tried)}", *tried)


async def _spoken(endpoint: Endpoint) -> list[tuple[str, bool]]:
    return [("2026-07-28", await endpoint.speaks_modern()), ("the handshake era", await endpoint.speaks_legacy())]


@check(
    "D1-modern",
    "The era of 2026-07-28 is spoken",
    Level.FAIL,
    "MCP 2026-07-28 server/discover: servers MUST implement server/discover",
    "Upgrade the server's SDK, or test with --era legacy.",
    depends=("D1-era",),
)
async def modern(endpoint: Endpoint) -> Finding:
    """A failure only with ``--era modern`` or ``both``."""
    if endpoint.options.era == "legacy":
        return skipped("left out by --era legacy", blocks=True)
    if await endpoint.speaks_modern():
        return passed()
    exchange = await endpoint.discovered()
    if endpoint.options.era in ("modern", "both"):
        return failed(f"server/discover is answered with {exchange.told()}", exchange)
    return skipped("it speaks the handshake era only", blocks=True)


@check(
    "D1-legacy",
    "The handshake era is spoken",
    Level.FAIL,
    "MCP 2025-11-25 basic/lifecycle",
    "Keep answering 'initialize' while your clients need it, or test with --era modern.",
    depends=("D1-era",),
)
async def legacy(endpoint: Endpoint) -> Finding:
    """A failure only with ``--era legacy`` or ``both``."""
    if endpoint.options.era == "modern":
        return skipped("left out by --era modern", blocks=True)
    if await endpoint.speaks_legacy():
        return passed(f"settled on {(await endpoint.session()).version}")
    exchange = (await endpoint.session()).shake
    if endpoint.options.era in ("legacy", "both"):
        return failed(f"initialize is answered with {exchange.told()}", exchange)
    return skipped("it speaks 2026-07-28 only", blocks=True)


@check(
    "X1-old-transport",
    "Whether the transport of 2024, HTTP+SSE, is offered as well",
    Level.INFO,
    "MCP 2026-07-28 changelog: HTTP+SSE is deprecated",
    "Nothing to do; clients of before 2025-03-26 need it.",
    depends=("A2-redirects",),
)
async def old_transport(endpoint: Endpoint) -> Finding:
    """Looks at ``/sse`` beside the endpoint."""
    url = endpoint.url.partition("?")[0].rstrip("/").rpartition("/")[0] + "/sse"
    if url.count("/") < 3:
        return skipped("the endpoint is the root")
    exchange = await endpoint.send(
        None, "GET", url=url, headers=[("Accept", "text/event-stream")], abandon=True, within=endpoint.patience(2.0)
    )
    there = exchange.status == 200 and "text/event-stream" in exchange.header("content-type")
    return noted("it is at /sse", exchange) if there else passed("it is not at /sse")


CHECKS = (one, modern, legacy)
CHECKS_LAST = (old_transport,)
