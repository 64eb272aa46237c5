"""A: the endpoint can be reached, and safely."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urljoin, urlsplit

from mcpctl.endpoint_test.addresses import origin
from mcpctl.endpoint_test.bounded_http import certificate
from mcpctl.endpoint_test.check import Finding, Level, check, failed, noted, passed, skipped, warned
from mcpctl.endpoint_test.endpoint import Endpoint
from mcpctl.endpoint_test.exchange import Exchange

SOON: Final = timedelta(days=14)
HOPS: Final = 5


@check(
    "A1-connect",
    "The endpoint answers HTTP requests",
    Level.FAIL,
    "MCP 2026-07-28 basic/transports/streamable-http; RFC 9110",
    "Check the address, the port, firewalls and proxies, and whether the server is running.",
)
async def connect(endpoint: Endpoint) -> Finding:
    """Any answer to ``server/discover`` will do."""
    first = await _first(endpoint)
    if not first.status:
        return failed(f"{first.told()}", first)
    return passed(f"HTTP/{first.http_version} {first.status} in {first.seconds * 1000:.0f} ms", first)


@check(
    "A1-encrypted",
    "What is sent is encrypted, unless it stays on this machine",
    Level.WARN,
    "OAuth 2.1 section 1.5, by MCP 2026-07-28 basic/authorization/security-considerations",
    "Serve it over https; a bearer sent over http can be read by everybody on the way.",
)
async def encrypted(endpoint: Endpoint) -> Finding:
    """Judges the address alone."""
    if urlsplit(endpoint.options.url).scheme == "https":
        return passed("https")
    return noted("http, on this machine") if endpoint.on_loopback else warned("plain http to another machine")


@check(
    "A1-certificate",
    "The certificate is trusted, and is so for two more weeks",
    Level.WARN,
    "RFC 9110 section 4.3.4",
    "Renew the certificate; an agent whose connection fails one morning says no more than 'connection error'.",
    depends=("A1-connect",),
)
async def trusted(endpoint: Endpoint) -> Finding:
    """The client has verified it when it connected; this looks at its end."""
    parts = urlsplit(endpoint.options.url)
    if parts.scheme != "https":
        return skipped("there is no TLS")
    if not endpoint.options.verify:
        return warned("not verified, because of --insecure")
    try:
        found = await certificate(endpoint.host, parts.port or 443, endpoint.http.left())
        left = datetime.fromtimestamp(ssl.cert_time_to_seconds(found["notAfter"]), UTC) - datetime.now(UTC)
    except (OSError, ValueError, KeyError) as error:
        return failed(f"it cannot be read: {error}")
    return warned(f"it ends in {left.days} days") if left < SOON else passed(f"valid for {left.days} days")


@check(
    "A2-redirects",
    "The address is the endpoint's own",
    Level.FAIL,
    "RFC 9110 section 15.4; MCP SDKs follow redirects within one origin at most",
    "Give clients the final address. A redirect to another host, or down to http, would hand over their bearer.",
    depends=("A1-connect",),
)
async def redirects(endpoint: Endpoint) -> Finding:
    """Follows redirects within the origin by hand, and makes the last address the one that is tested."""
    first = await _first(endpoint)
    seen, exchange, url = {endpoint.url}, first, endpoint.url
    while exchange.status in (301, 302, 303, 307, 308):
        try:
            url = urljoin(url, exchange.header("location"))
            same = origin(url) == origin(endpoint.url)
        except ValueError:
            return failed("it redirects to what is no address", first)
        if "@" in urlsplit(url).netloc:
            return failed("it redirects to an address with a user or password in it", exchange)
        if not same:
            where = "down to plain http" if url.startswith("http:") and endpoint.url.startswith("https:") else "to another host"
            return failed(f"it redirects {where}: {endpoint.mask.line(url, 200)}", exchange)
        if url in seen or len(seen) > HOPS:
            return failed("it redirects in a circle", exchange)
        seen.add(url)
        exchange = await endpoint.modern("server/discover", url=url, right=False)
    if url == endpoint.url:
        return passed("none")
    endpoint.url = url
    return warned(f"it redirects within the same origin, to {endpoint.mask.line(url, 200)}; that is tested now", first)


@check(
    "A3-http",
    "Which HTTP is spoken, and how fast",
    Level.FAIL,
    "RFC 9112",
    "Whatever closes connections between requests (a proxy, an idle timeout) makes clients fail now and then.",
    depends=("A2-redirects",),
)
async def http(endpoint: Endpoint) -> Finding:
    """The connection is open already when it is measured."""
    exchange = await endpoint.modern("server/discover", right=False)
    if not exchange.status:
        return failed(exchange.told(), exchange)
    kept = "closes" if exchange.header("connection").lower() == "close" else "keeps"
    server = endpoint.mask.line(exchange.header("server"), 60) or "unnamed"
    return noted(
        f"HTTP/{exchange.http_version}, {exchange.seconds * 1000:.1f} ms, {kept} the connection, server {server}", exchange
    )


async def _first(endpoint: Endpoint) -> Exchange:
    return await endpoint.once("first", lambda: endpoint.modern("server/discover", right=False))


CHECKS = (connect, encrypted, trusted, redirects, http)
