"""B2 to B4: how a client without a bearer learns where to get one (RFC 9728, RFC 8414)."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from mcpctl.endpoint_test.addresses import is_loopback, origin
from mcpctl.endpoint_test.check import Finding, Level, check, failed, passed, skipped, warned
from mcpctl.endpoint_test.checks.authentication import metadata_pointer
from mcpctl.endpoint_test.endpoint import Endpoint
from mcpctl.endpoint_test.exchange import Exchange

DISCOVERY: Final = "MCP 2026-07-28 basic/authorization/authorization-server-discovery"
WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"


def _document(exchange: Exchange) -> dict[str, Any]:
    found = exchange.messages[0] if exchange.status == 200 and exchange.messages else None
    return found if isinstance(found, dict) else {}


def _places(endpoint: Endpoint) -> tuple[str, str]:
    parts = urlsplit(endpoint.url)
    base = f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}"
    return base + parts.path.rstrip("/"), base


async def _well_known(endpoint: Endpoint) -> list[Exchange]:
    async def asked() -> list[Exchange]:
        return [await endpoint.fetch(url) for url in dict.fromkeys(_places(endpoint))]

    return await endpoint.once("well-known", asked)


async def _metadata(endpoint: Endpoint) -> Exchange | None:
    """The answer that holds the metadata, from where a client would look first; ``None`` if nothing does."""

    async def found() -> Exchange | None:
        pointer = await metadata_pointer(endpoint)
        asked = [await endpoint.fetch(pointer)] if pointer else await _well_known(endpoint)
        return next((one for one in asked if _document(one)), None)

    return await endpoint.once("metadata", found)


@check(
    "B2-metadata",
    "A client can find out where bearers come from",
    Level.WARN,
    f"{DISCOVERY} §Protected Resource Metadata Discovery (RFC 9728)",
    'Put resource_metadata="…" into the challenge, or serve the document at its well-known path. '
    "With static tokens only there is no authorization server to name: agents must then be given one.",
    depends=("B2-challenge",),
)
async def can_be_found(endpoint: Endpoint) -> Finding:
    """By the challenge, or else at a well-known place."""
    pointer = await metadata_pointer(endpoint)
    found = await _metadata(endpoint)
    if found is not None:
        return passed(endpoint.mask.text(found.url), found)
    if pointer:
        exchange = await endpoint.fetch(pointer)
        return failed(f"the challenge names {endpoint.mask.text(pointer[:200])}, which is {exchange.told()}", exchange)
    return warned("neither the challenge nor a well-known path leads to metadata", *await _well_known(endpoint), blocks=True)


@check(
    "B3-resource",
    "The metadata is about this endpoint",
    Level.FAIL,
    "RFC 9728 section 3.3: the resource MUST be identical to the address it was found for",
    "Set 'resource' to the address clients use. They refuse a document about another one.",
    depends=("B2-metadata",),
)
async def about_this(endpoint: Endpoint) -> Finding:
    """The same origin, and the endpoint's path or one above it."""
    found = await _metadata(endpoint)
    if found is None:
        return skipped("there is no metadata")
    resource = _document(found).get("resource")
    try:
        same = isinstance(resource, str) and origin(resource) == origin(endpoint.url)
    except ValueError:
        same = False
    path = urlsplit(resource).path.rstrip("/") if same and isinstance(resource, str) else ""
    if same and (urlsplit(endpoint.url).path.rstrip("/") + "/").startswith(path + "/"):
        return passed(str(resource), found)
    return failed(f"'resource' is {str(resource)[:200]!r}", found)


@check(
    "B3-servers",
    "The metadata names an authorization server, over https",
    Level.FAIL,
    f"{DISCOVERY}: authorization_servers MUST hold at least one",
    "Name the issuer of your bearers under 'authorization_servers'.",
    depends=("B2-metadata",),
)
async def names_servers(endpoint: Endpoint) -> Finding:
    """On this machine plain http will do."""
    found = await _metadata(endpoint)
    if found is None:
        return skipped("there is no metadata")
    servers = _document(found).get("authorization_servers")
    if not isinstance(servers, list) or not servers:
        return failed("it names none", found)
    plain = [one for one in servers if not isinstance(one, str) or not _is_safe(one)]
    return failed(f"{str(plain[0])[:200]!r} is not https", found) if plain else passed(", ".join(servers)[:200], found)


def _is_safe(url: str) -> bool:
    try:
        return urlsplit(url).scheme == "https" or is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False


@check(
    "B3-well-known",
    "The metadata is at its well-known place as well",
    Level.WARN,
    f"{DISCOVERY}; RFC 9728 section 3.1",
    f"Serve the document at {WELL_KNOWN} followed by the endpoint's path: some clients look nowhere else.",
    depends=("B2-metadata",),
)
async def at_its_place(endpoint: Endpoint) -> Finding:
    """The path form first, then the root."""
    asked = await _well_known(endpoint)
    return passed() if any(_document(one) for one in asked) else warned("it is only where the challenge points", *asked)


async def _authorization_server(endpoint: Endpoint) -> tuple[str, Exchange | None]:
    async def asked() -> tuple[str, Exchange | None]:
        found = await _metadata(endpoint)
        servers = _document(found).get("authorization_servers") if found else None
        issuer = servers[0] if isinstance(servers, list) and servers and isinstance(servers[0], str) else ""
        if not issuer:
            return "", None
        parts = urlsplit(issuer)
        base, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
        places = (
            f"{base}/.well-known/oauth-authorization-server{path}",
            f"{base}/.well-known/openid-configuration{path}",
            f"{base}{path}/.well-known/openid-configuration",
        )
        answers = [await endpoint.fetch(place) for place in dict.fromkeys(places)]
        return issuer, next((one for one in answers if _document(one)), answers[0])

    return await endpoint.once("authorization server", asked)


@check(
    "B4-issuer",
    "The authorization server describes itself, as the issuer that the metadata names",
    Level.WARN,
    "RFC 8414 section 3.3: the issuer MUST be identical",
    "Serve the authorization server's metadata, and write its issuer the same way in both documents.",
    depends=("B3-servers",),
)
async def same_issuer(endpoint: Endpoint) -> Finding:
    """Asked without any credential, and never in a private network unless the endpoint is on this machine."""
    issuer, exchange = await _authorization_server(endpoint)
    if exchange is None:
        return skipped("none is named")
    if not _document(exchange):
        return warned(f"{issuer} does not describe itself: {exchange.told()}", exchange, blocks=True)
    named = _document(exchange).get("issuer")
    return passed(issuer) if named == issuer else warned(f"it calls itself {str(named)[:200]!r}, not {issuer!r}", exchange)


@check(
    "B4-pkce",
    "The authorization server knows PKCE with S256",
    Level.WARN,
    "MCP 2026-07-28 basic/authorization/security-considerations: clients MUST refuse to proceed without it",
    'Add "S256" to code_challenge_methods_supported.',
    depends=("B4-issuer",),
)
async def knows_pkce(endpoint: Endpoint) -> Finding:
    """A client that follows the specification refuses to go on without it."""
    _, exchange = await _authorization_server(endpoint)
    if exchange is None or not _document(exchange):
        return skipped("it does not describe itself")
    methods = _document(exchange).get("code_challenge_methods_supported")
    known = isinstance(methods, list) and "S256" in methods
    return passed("S256") if known else warned(f"it lists {methods!r}", exchange)


CHECKS = (can_be_found, about_this, names_servers, at_its_place, same_issuer, knows_pkce)
