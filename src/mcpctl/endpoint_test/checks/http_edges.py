"""C1 to C4, C8: where a request may come from, and what it may look like."""

from __future__ import annotations

from typing import Final

from mcpctl.endpoint_test.check import Check, Finding, Level, check, failed, passed, skipped, warned
from mcpctl.endpoint_test.endpoint import Endpoint
from mcpctl.endpoint_test.exchange import Exchange
from mcpctl.endpoint_test.expectations import refused, survived

TRANSPORT: Final = "MCP 2026-07-28 basic/transports/streamable-http"
WARNING: Final = f"{TRANSPORT} §Security Warning"


def _origin_check(id: str, origin: str, what: str) -> Check:  # noqa: A002
    async def run(endpoint: Endpoint) -> Finding:
        exchange = await endpoint.ask("tools/list", also=[("Origin", origin)], right=False)
        if exchange.status == 403:
            return passed("HTTP 403", exchange)
        if not exchange.status or exchange.status >= 500:
            return failed(exchange.told(), exchange)
        if 400 <= exchange.status < 500:
            return warned(f"{exchange.told()}; 403 is due", exchange)
        if endpoint.on_loopback and endpoint.options.token is None:
            return failed("any web page may use it, as nothing but the page's origin tells it from its user", exchange)
        return warned("it is accepted; whether every web page is meant to may only you know", exchange)

    return Check(
        id,
        f"A request from {what} is refused",
        Level.FAIL,
        f"{WARNING}: servers MUST validate the Origin header, and answer 403 if it is invalid",
        "List the origins whose pages may use the endpoint; with none, refuse every request that has an Origin.",
        run,
        ("D1-era",),
    )


foreign_origin = _origin_check("C1-origin", "https://evil.example", "a foreign web page")
null_origin = _origin_check("C1-null-origin", "null", "a page without an origin (a sandboxed frame, a local file)")


@check(
    "C3-host",
    "A request for another host's name is refused",
    Level.FAIL,
    f"{WARNING}: DNS rebinding; CVE-2025-66416, CVE-2025-66414, CVE-2026-34742",
    "Accept only this machine's own names in Host, else any web page can make a browser send requests here.",
    depends=("D1-era",),
)
async def foreign_host(endpoint: Endpoint) -> Finding:
    """Only on this machine: elsewhere a server may have more names than the one that was given."""
    if not endpoint.on_loopback:
        return skipped("it is not on this machine")
    exchange = await endpoint.ask("tools/list", headers=[("Host", "evil.example")], right=False)
    if endpoint.options.token is not None and 200 <= exchange.status < 300:
        return warned("it is accepted; a web page would still lack the bearer", exchange)
    return refused()(exchange)


def _sent(
    id: str,  # noqa: A002
    title: str,
    clause: str,
    advice: str,
    headers: tuple[tuple[str, str], ...] = (),
    without: tuple[str, ...] = (),
    accepted: Level = Level.PASS,
) -> Check:
    async def run(endpoint: Endpoint) -> Finding:
        exchange = await endpoint.ask("tools/list", headers=headers, without=without, right=False)
        if accepted is Level.WARN:
            return refused(accepted=Level.WARN)(exchange)
        return survived(exchange)

    return Check(id, title, Level.FAIL, clause, advice, run, ("D1-era",))


content_type = _sent(
    "C4-content-type",
    "A body that is not called JSON is refused",
    f"{TRANSPORT} §Sending Messages",
    "Answer 415. A web page may send text/plain to anybody without asking first; application/json it may not.",
    headers=(("Content-Type", "text/plain"),),
    accepted=Level.WARN,
)
accept_json = _sent(
    "C4-accept-json",
    "A client that takes JSON only gets JSON or a refusal",
    f"{TRANSPORT} §Sending Messages 2: the client MUST list both media types",
    "Answer 406, or with JSON; never with a failure.",
    headers=(("Accept", "application/json"),),
)
accept_nothing = _sent(
    "C4-no-accept",
    "A client that does not say what it takes gets an answer or a refusal",
    f"{TRANSPORT} §Sending Messages 2",
    "Answer 406, or as if it took everything (RFC 9110 section 12.5.1); never with a failure.",
    without=("Accept",),
)


@check(
    "C8-methods",
    "HTTP methods that mean nothing here are refused",
    Level.FAIL,
    "RFC 9110 section 15.5.6",
    "Answer 405 with Allow.",
    depends=("D1-era",),
)
async def methods(endpoint: Endpoint) -> Finding:
    """PUT and PATCH; OPTIONS may be answered."""
    worst: tuple[Exchange, Finding] | None = None
    for method in ("PUT", "PATCH", "OPTIONS"):
        exchange = await endpoint.send(b"{}" if method != "OPTIONS" else None, method)
        if not exchange.status or exchange.status >= 500:
            return failed(f"{method}: {exchange.told()}", exchange)
        if method != "OPTIONS" and not 400 <= exchange.status < 500:
            worst = exchange, warned(f"{method}: {exchange.told()}; 405 is due", exchange)
    return worst[1] if worst else passed()


CHECKS = (foreign_origin, null_origin, foreign_host, content_type, accept_json, accept_nothing)
CHECKS_AFTER_BODIES = (methods,)
