"""L: subscriptions of the era of 2026-07-28."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from mcpctl.endpoint_test.check import Finding, Level, check, failed, passed, skipped
from mcpctl.endpoint_test.endpoint import META, Endpoint
from mcpctl.endpoint_test.exchange import Exchange, same_id

CLAUSE: Final = "MCP 2026-07-28 basic/patterns/subscriptions"
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
ASKED: Final = {"toolsListChanged": True}
WAIT: Final = 3.0


async def _heard(endpoint: Endpoint) -> Exchange:
    """The beginning of a subscription, up to its first message."""

    async def asked() -> Exchange:
        return await endpoint.modern(
            "subscriptions/listen",
            {"notifications": ASKED},
            until=lambda heard: bool(heard.messages),
            within=endpoint.patience(WAIT),
        )

    return await endpoint.once("listen", asked)


def _first(exchange: Exchange) -> dict[str, Any]:
    found = exchange.messages[0] if exchange.messages else None
    return found if isinstance(found, dict) else {}


async def _declared(endpoint: Endpoint) -> bool:
    capabilities = (await endpoint.capabilities()).values()
    return any(isinstance(one, dict) and (one.get("listChanged") or one.get("subscribe")) for one in capabilities)


@check(
    "L1-acknowledged",
    "A subscription is acknowledged first, on an event stream",
    Level.FAIL,
    f"{CLAUSE}: the first message MUST be {ACKNOWLEDGED}",
    "Answer subscriptions/listen with an event stream, and acknowledge before anything else.",
    depends=("D1-modern", "M1-capabilities"),
)
async def acknowledged(endpoint: Endpoint) -> Finding:
    """Where nothing is declared that could be subscribed to, it may be unknown."""
    exchange = await _heard(endpoint)
    if exchange.code == -32601 and not await _declared(endpoint):
        return skipped("nothing that changes is declared", blocks=True)
    if not exchange.is_stream:
        return failed(f"{exchange.told()}; an event stream is due", exchange)
    if _first(exchange).get("method") != ACKNOWLEDGED:
        told = _first(exchange).get("method") or exchange.problem or exchange.told()
        return failed(f"the first message is {told!r:.80}", exchange)
    return passed("", exchange)


@check(
    "L1-id",
    "The acknowledgement names the subscription",
    Level.FAIL,
    f"{CLAUSE}: every message carries the subscriptionId",
    f"Put the id of the listen request into _meta as {META}subscriptionId.",
    depends=("L1-acknowledged",),
)
async def subscription_id(endpoint: Endpoint) -> Finding:
    """The identifier of the request, of the same type."""
    exchange = await _heard(endpoint)
    params = _first(exchange).get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    found = meta.get(f"{META}subscriptionId") if isinstance(meta, dict) else None
    return (
        passed() if same_id(found, exchange.id) else failed(f"subscriptionId is {found!r:.80}, not the request's id", exchange)
    )


@check(
    "L1-subset",
    "No more is acknowledged than was asked for",
    Level.FAIL,
    f"{CLAUSE}: the honoured subset",
    "Repeat only what the request asked for and you will send.",
    depends=("L1-acknowledged",),
)
async def subset(endpoint: Endpoint) -> Finding:
    """Only changes of the tools were asked for."""
    exchange = await _heard(endpoint)
    params = _first(exchange).get("params")
    found = params.get("notifications") if isinstance(params, dict) else None
    more = [name for name, value in found.items() if value and name not in ASKED] if isinstance(found, dict) else []
    if not isinstance(found, dict):
        return failed("it does not say what is honoured", exchange)
    return failed(f"{more[0]!r:.60} is acknowledged and was not asked for", exchange) if more else passed()


@check(
    "L1-meanwhile",
    "Other requests are answered while a subscription is open",
    Level.FAIL,
    CLAUSE,
    "A subscription must not hold a worker, or a lock, that other requests need.",
    depends=("L1-acknowledged", "T1-tools"),
)
async def meanwhile(endpoint: Endpoint) -> Finding:
    """Lists the tools meanwhile, then ends the subscription by closing it."""
    heard = asyncio.Event()

    def open_until(exchange: Exchange) -> bool:
        if exchange.messages:
            heard.set()
        return False

    listening = asyncio.create_task(
        endpoint.modern(
            "subscriptions/listen", {"notifications": ASKED}, until=open_until, right=False, within=endpoint.patience(WAIT)
        )
    )
    try:
        waiting = asyncio.create_task(heard.wait())
        await asyncio.wait([listening, waiting], timeout=endpoint.patience(WAIT), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if listening.done():
            return failed(f"the subscription ended at once: {listening.result().told()}", listening.result())
        exchange = await endpoint.modern("tools/list", within=endpoint.patience(WAIT))
        still_open = not listening.done()
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    if not exchange.response:
        return failed(f"{exchange.told()} while a subscription was open", exchange)
    return passed() if still_open else failed("another request ended the subscription", exchange)


CHECKS = (acknowledged, subscription_id, subset, meanwhile)
