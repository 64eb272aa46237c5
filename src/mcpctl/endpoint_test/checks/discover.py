"""M1 and M2: what the server says of itself, and of revisions it does not speak."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mcpctl.endpoint_test.check import Check, Finding, Level, check, failed, passed, skipped, warned
from mcpctl.endpoint_test.endpoint import META, Endpoint
from mcpctl.endpoint_test.exchange import Exchange
from mcpctl.endpoint_test.expectations import refused
from mcpctl.endpoint_test.official_schemas import MODERN

DISCOVER: Final = "MCP 2026-07-28 server/discover"
CACHING: Final = "MCP 2026-07-28 server/utilities/caching"
VERSIONING: Final = "MCP 2026-07-28 basic/versioning"
UNSUPPORTED: Final = -32022
NO_VERSION: Final = "1900-01-01"


def wrong_ttl(result: dict[str, Any]) -> str:
    """What is wrong with ``ttlMs``; empty if nothing is."""
    found = result.get("ttlMs")
    right = isinstance(found, int) and not isinstance(found, bool) and found >= 0
    return "" if right else f"ttlMs is {found!r:.60}, not a whole number of milliseconds from 0 on"


def wrong_scope(result: dict[str, Any]) -> str:
    """What is wrong with ``cacheScope``; empty if nothing is."""
    found = result.get("cacheScope")
    return "" if found in ("public", "private") else f"cacheScope is {found!r:.60}, neither 'public' nor 'private'"


def wrong_type(result: dict[str, Any]) -> str:
    """What is wrong with ``resultType``; empty if nothing is."""
    found = result.get("resultType")
    return "" if found == "complete" else f"resultType is {found!r:.60}, not 'complete'"


def _wrong_versions(result: dict[str, Any]) -> str:
    found = result.get("supportedVersions")
    right = isinstance(found, list) and MODERN in found
    return "" if right else f"supportedVersions is {found!r:.100} and lacks {MODERN}, which it just spoke"


def _wrong_capabilities(result: dict[str, Any]) -> str:
    found = result.get("capabilities")
    return "" if isinstance(found, dict) else f"capabilities is {found!r:.60}, not an object"


def _shape(id: str, title: str, clause: str, advice: str, wrong: Callable[[dict[str, Any]], str]) -> Check:  # noqa: A002
    async def run(endpoint: Endpoint) -> Finding:
        exchange = await endpoint.discovered()
        said = wrong(exchange.result or {})
        return failed(said, exchange) if said else passed()

    return Check(id, title, Level.FAIL, clause, advice, run, ("D1-modern",))


SHAPE = (
    _shape(
        "M1-result-type",
        "server/discover says that its result is complete",
        "MCP 2026-07-28 basic/index §Results: servers MUST include resultType",
        'Add "resultType": "complete" to every result.',
        wrong_type,
    ),
    _shape(
        "M1-versions",
        "server/discover lists the revision it is asked in",
        f"{DISCOVER}: supportedVersions",
        "List every revision the server speaks without a handshake.",
        _wrong_versions,
    ),
    _shape(
        "M1-capabilities",
        "server/discover declares capabilities",
        f"{DISCOVER}: capabilities",
        "Send an object, with a member for each feature that is there.",
        _wrong_capabilities,
    ),
    _shape(
        "M1-ttl",
        "server/discover says how long it may be kept",
        CACHING,
        "Send ttlMs as an integer; 0 if it must not be kept. Some clients drop a server whose hints are missing.",
        wrong_ttl,
    ),
    _shape(
        "M1-cache-scope",
        "server/discover says for whom it may be kept",
        CACHING,
        "Send cacheScope; 'private' if it depends on who asks.",
        wrong_scope,
    ),
)


@check(
    "M1-server-info",
    "The server says its name and version",
    Level.WARN,
    "MCP 2026-07-28 basic/index: servers SHOULD identify themselves in _meta",
    f"Add {META}serverInfo with name and version to the _meta of every result.",
    depends=("D1-modern",),
)
async def server_info(endpoint: Endpoint) -> Finding:
    """In ``_meta`` of ``server/discover``."""
    exchange = await endpoint.discovered()
    meta = (exchange.result or {}).get("_meta")
    found = meta.get(f"{META}serverInfo") if isinstance(meta, dict) else None
    named = isinstance(found, dict) and isinstance(found.get("name"), str) and isinstance(found.get("version"), str)
    return passed(f"{found['name']} {found['version']}"[:100]) if named and found else warned("it does not", exchange)


async def _in_no_version(endpoint: Endpoint) -> Exchange:
    return await endpoint.once("no version", lambda: endpoint.modern("server/discover", version=NO_VERSION, right=False))


@check(
    "M2-unknown-version",
    "A revision that is not spoken is refused as such",
    Level.FAIL,
    f"{VERSIONING}: 400 with error {UNSUPPORTED}",
    f"Compare the version with those you speak before anything else, and answer 400 with error {UNSUPPORTED}.",
    depends=("D1-modern",),
)
async def unknown_version(endpoint: Endpoint) -> Finding:
    """``1900-01-01``, in header and body."""
    return refused(400, codes=(UNSUPPORTED,))(await _in_no_version(endpoint))


@check(
    "M2-supported",
    "That refusal lists the revisions which are spoken",
    Level.FAIL,
    f"{VERSIONING}: data.supported and data.requested",
    "Put the list under data.supported, and what was asked for under data.requested: clients choose from it.",
    depends=("M2-unknown-version",),
)
async def supported(endpoint: Endpoint) -> Finding:
    """Members of the error's ``data``."""
    exchange = await _in_no_version(endpoint)
    data = exchange.error.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("supported"), list) or MODERN not in data["supported"]:
        return failed(f"data is {data!r:.200}, without {MODERN} under 'supported'", exchange)
    return passed() if data.get("requested") == NO_VERSION else failed("'requested' is not what was requested", exchange)


@check(
    "M10-declared",
    "What is declared can be listed",
    Level.FAIL,
    "MCP 2026-07-28 server/tools, server/prompts, server/resources §Capabilities",
    "Declare only what you serve, and serve what you declare.",
    depends=("D1-modern", "M1-capabilities"),
)
async def declared(endpoint: Endpoint) -> Finding:
    """Prompts, resources and resource templates; tools are looked at in T1."""
    capabilities = await endpoint.capabilities()
    methods = [("prompts", "prompts/list"), ("resources", "resources/list"), ("resources", "resources/templates/list")]
    wanted = [method for name, method in methods if name in capabilities]
    if not wanted:
        return skipped("neither prompts nor resources are declared")
    for method in wanted:
        exchange = await endpoint.modern(method)
        if exchange.result is None and not (method == "resources/templates/list" and exchange.code == -32601):
            return failed(f"{method} is answered with {exchange.told()}", exchange)
    return passed(", ".join(wanted))


@check(
    "M10-undeclared",
    "What is not declared is unknown",
    Level.WARN,
    "MCP 2026-07-28 server/index: a method whose capability is not declared is not found",
    "Declare the capability, or answer 404 with error -32601: clients go by what is declared.",
    depends=("D1-modern", "M1-capabilities"),
)
async def undeclared(endpoint: Endpoint) -> Finding:
    """Tools, prompts and resources."""
    capabilities = await endpoint.capabilities()
    for name in ("tools", "prompts", "resources"):
        if name not in capabilities:
            exchange = await endpoint.modern(f"{name}/list", right=False)
            if exchange.code != -32601:
                return warned(f"{name} are not declared, and {name}/list is answered with {exchange.told()}", exchange)
    return passed()


CHECKS = (*SHAPE, server_info, unknown_version, supported)
CHECKS_AFTER_METHODS = (declared, undeclared)
