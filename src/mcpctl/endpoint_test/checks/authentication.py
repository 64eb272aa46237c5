"""B1, B2, B5 to B7: who may come in, and what everybody else is told."""

from __future__ import annotations

import re
import secrets
from typing import Final
from urllib.parse import quote

from mcpctl.endpoint_test.check import Check, Finding, Level, check, failed, noted, passed, skipped, warned
from mcpctl.endpoint_test.endpoint import Endpoint
from mcpctl.endpoint_test.exchange import Exchange
from mcpctl.endpoint_test.official_schemas import LEGACY

AUTH: Final = "MCP 2026-07-28 basic/authorization"
_RESOURCE_METADATA = re.compile(r'resource_metadata\s*=\s*"?([^",\s]+)', re.IGNORECASE)
_SCOPE = re.compile(r'\bscope\s*=\s*("[^"]*"|[^",\s]+)', re.IGNORECASE)


async def anonymous(endpoint: Endpoint) -> Exchange:
    """``tools/list`` without any credential, asked once."""
    return await endpoint.once("anonymous", lambda: endpoint.modern("tools/list", token=None, right=False))


async def challenge(endpoint: Endpoint) -> str:
    """The bearer challenge of the answer to somebody without a credential; empty if there is none."""
    found = [value for name, value in (await anonymous(endpoint)).answered if name == "www-authenticate"]
    return next((value for value in found if value.lower().startswith("bearer")), "")


async def metadata_pointer(endpoint: Endpoint) -> str:
    """Where the challenge says that the metadata is; empty if it does not."""
    found = _RESOURCE_METADATA.search(await challenge(endpoint))
    return found[1] if found else ""


@check(
    "B0-accepted",
    "The credential given is accepted, or none is needed",
    Level.FAIL,
    f"{AUTH} §Token Handling",
    "Give a valid bearer with --token-file, or get a new one.",
    depends=("A2-redirects",),
)
async def is_accepted(endpoint: Endpoint) -> Finding:
    """Judges ``server/discover``, and ``initialize`` if that says nothing."""
    exchange = await endpoint.discovered()
    if exchange.status not in (401, 403) and exchange.result is None:
        exchange = (await endpoint.session()).shake
    if exchange.status in (401, 403):
        given = endpoint.options.token is not None or bool(endpoint.options.headers)
        said = "the credential is refused" if given else "a credential is needed: give one with --token-file"
        return failed(f"{said} (HTTP {exchange.status})", exchange)
    return passed(exchange.told())


@check(
    "B1-anonymous",
    "Somebody without a credential is refused",
    Level.WARN,
    "MCP 2025-11-25 basic/transports §Security Warning: servers SHOULD implement proper authentication",
    "Demand a bearer on every request. On this machine every program and, by DNS rebinding, every web page can reach the port.",
    depends=("A2-redirects",),
)
async def keeps_strangers_out(endpoint: Endpoint) -> Finding:
    """Open is a warning, unless the endpoint is on this machine and no credential was given either."""
    exchange = await anonymous(endpoint)
    if exchange.status in (401, 403):
        return passed(f"HTTP {exchange.status}", exchange)
    if not exchange.status:
        return failed(exchange.told(), exchange)
    if endpoint.options.token is None and endpoint.on_loopback:
        return Finding(Level.INFO, "no credential is asked for, on this machine", (exchange,), blocks=True)
    said = "it answers without the credential that was given" if endpoint.options.token else "it answers anybody"
    return warned(f"{said} ({exchange.told()})", exchange, blocks=True)


@check(
    "B1-status",
    "The refusal is a 401",
    Level.FAIL,
    f"{AUTH} §Error Handling: 401 means that authorization is required",
    "Answer 401. After a 403 a client does not look for a credential; it gives up.",
    depends=("B1-anonymous",),
)
async def is_401(endpoint: Endpoint) -> Finding:
    """Judges the same answer."""
    exchange = await anonymous(endpoint)
    return passed() if exchange.status == 401 else failed(f"{exchange.told()}; 401 is due", exchange)


@check(
    "B2-challenge",
    "The refusal says that a bearer is wanted",
    Level.FAIL,
    "RFC 9110 section 11.6.1; RFC 6750 section 3",
    "Send 'WWW-Authenticate: Bearer' with every 401.",
    depends=("B1-status",),
)
async def challenges(endpoint: Endpoint) -> Finding:
    """Looks at ``WWW-Authenticate``."""
    exchange = await anonymous(endpoint)
    return passed(await challenge(endpoint)) if await challenge(endpoint) else failed("there is no Bearer challenge", exchange)


@check(
    "B2-scope",
    "The challenge says which scope is needed",
    Level.INFO,
    f"{AUTH} §Scope Selection: SHOULD",
    'Add scope="…" to the challenge if your authorization server knows scopes.',
    depends=("B2-challenge",),
)
async def names_scope(endpoint: Endpoint) -> Finding:
    """Only worth a note: many servers have none."""
    found = _SCOPE.search(await challenge(endpoint))
    return passed(found[1]) if found else noted("it names no scope")


async def _refuses(endpoint: Endpoint, bearer: str, what: str) -> Finding:
    exchange = await endpoint.modern("tools/list", token=bearer, right=False)
    if exchange.status == 401:
        return passed("HTTP 401", exchange)
    if 200 <= exchange.status < 300:
        return failed(f"{what} is accepted ({exchange.told()})", exchange)
    return failed(f"{exchange.told()} to {what}; 401 is due", exchange)


@check(
    "B5-malformed",
    "A malformed bearer is refused with 401",
    Level.FAIL,
    f"{AUTH} §Token Handling: invalid or expired tokens MUST receive a HTTP 401",
    "Check the bearer before anything else, and let no failure of that check end in an identity.",
    depends=("B1-status",),
)
async def malformed_refused(endpoint: Endpoint) -> Finding:
    """A bearer that no authorization server makes."""
    return await _refuses(endpoint, "!", "a malformed bearer")


@check(
    "B5-random",
    "An invented bearer is refused with 401",
    Level.FAIL,
    f"{AUTH} §Token Handling: invalid or expired tokens MUST receive a HTTP 401",
    "Look the bearer up or verify its signature; its mere presence is no authentication.",
    depends=("B1-status",),
)
async def invented_refused(endpoint: Endpoint) -> Finding:
    """Thirty-two random bytes."""
    return await _refuses(endpoint, secrets.token_urlsafe(32), "an invented bearer")


@check(
    "B5-given",
    "The bearers given to be refused are refused with 401",
    Level.FAIL,
    f"{AUTH} §Token Handling: tokens MUST be issued for this server, and invalid or expired ones MUST receive a HTTP 401",
    "Check the audience, the end and the revocation of a bearer, on every request.",
    depends=("B1-status",),
)
async def given_refused(endpoint: Endpoint) -> Finding:
    """Those of ``--refused-token-file``: expired, revoked, or for another audience."""
    if not endpoint.options.refused_tokens:
        return skipped("none given; see --refused-token-file")
    found = [await _refuses(endpoint, bearer, "a bearer given to be refused") for bearer in endpoint.options.refused_tokens]
    return next((one for one in found if one.level is not Level.PASS), found[0])


@check(
    "B6-query",
    "A bearer in the address is refused",
    Level.FAIL,
    f"{AUTH} §Token Requirements: tokens MUST NOT be included in the URI query string",
    "Read the bearer from the Authorization header only. Addresses end up in logs.",
    depends=("B1-status", "B0-accepted"),
    opt_in=True,
)
async def query_refused(endpoint: Endpoint) -> Finding:
    """Only on demand, as the bearer may end up in the server's log."""
    if endpoint.options.token is None:
        return skipped("there is no bearer")
    url = endpoint.url + ("&" if "?" in endpoint.url else "?") + f"access_token={quote(endpoint.options.token, safe='')}"
    exchange = await endpoint.modern("tools/list", token=None, url=url, right=False)
    return passed("HTTP 401", exchange) if exchange.status == 401 else failed(f"{exchange.told()}; 401 is due", exchange)


def _guarded(method: str, what: str) -> Check:
    async def run(endpoint: Endpoint) -> Finding:
        if method in ("GET", "DELETE"):
            accept = [("Accept", "text/event-stream")]
            exchange = await endpoint.send(None, method, token=None, headers=accept, until=lambda _: True, abandon=True)
        elif method == "initialize":
            exchange = (await endpoint.shake(LEGACY, token=None)).shake
        else:
            exchange = await endpoint.modern(method, token=None, right=False)
        if exchange.status == 401:
            return passed("HTTP 401", exchange)
        if not exchange.status:
            return failed(exchange.told(), exchange)
        if 200 <= exchange.status < 300:
            return failed(f"{what} is answered to anybody ({exchange.told()})", exchange)
        return warned(f"{exchange.told()}; 401 is due, as for everything else", exchange)

    return Check(
        f"B7-{what}",
        f"{method} needs the same credential",
        Level.FAIL,
        f"{AUTH} §Token Requirements: authorization MUST be included in every HTTP request",
        "Authenticate before the method is looked at. Clients take a different answer to their probe for the server's era.",
        run,
        ("B1-status",),
    )


GUARDED = tuple(
    _guarded(method, what)
    for method, what in (
        ("server/discover", "discover"),
        ("initialize", "initialize"),
        ("GET", "get"),
        ("DELETE", "delete"),
    )
)

CHECKS = (
    is_accepted,
    keeps_strangers_out,
    is_401,
    challenges,
    names_scope,
)
CHECKS_AFTER_METADATA = (malformed_refused, invented_refused, given_refused, query_refused, *GUARDED)
