"""P: how fast. Notes only, as it is for you to say what is fast enough."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from mcpctl.endpoint_test.check import Finding, Level, check, failed, noted, skipped
from mcpctl.endpoint_test.endpoint import Endpoint
from mcpctl.endpoint_test.exchange import Exchange
from mcpctl.endpoint_test.options import Load

NO_LOAD: Final = "not measured; see --load"
CLAUSE: Final = "none"


async def _measured(load: Load, ask: Callable[[], Awaitable[Exchange]]) -> tuple[str, Exchange | None]:
    """The figures as a sentence; or the first answer that was none."""
    numbers = iter(range(load.requests))
    seconds: list[float] = []
    wrong: list[Exchange] = []

    async def one_after_the_other() -> None:
        for _ in numbers:
            began = monotonic()
            exchange = await ask()
            seconds.append(monotonic() - began)
            if not exchange.response:
                wrong.append(exchange)
                return

    began = monotonic()
    await asyncio.gather(*(one_after_the_other() for _ in range(load.at_once)))
    total = monotonic() - began
    seconds.sort()
    p50, p95 = (seconds[min(int(len(seconds) * share), len(seconds) - 1)] * 1000 for share in (0.5, 0.95))
    told = f"{len(seconds)} requests, {load.at_once} at once: p50 {p50:.1f} ms, p95 {p95:.1f} ms, "
    return told + f"max {seconds[-1] * 1000:.1f} ms, {len(seconds) / total:.0f}/s", wrong[0] if wrong else None


async def _probe(endpoint: Endpoint) -> Exchange:
    if await endpoint.speaks_modern():
        return await endpoint.modern("server/discover", right=False)
    return await endpoint.legacy(await endpoint.session(), "ping", right=False)


@check(
    "P1-probe",
    "How long the cheapest request takes",
    Level.FAIL,
    CLAUSE,
    "A request that is never answered under load is a failure; look for a pool or a lock that is too small.",
    depends=("D1-era",),
)
async def probe(endpoint: Endpoint) -> Finding:
    """``server/discover``, or ``ping`` in the handshake era."""
    if endpoint.options.load is None:
        return skipped(NO_LOAD)
    told, wrong = await _measured(endpoint.options.load, lambda: _probe(endpoint))
    return failed(f"{told}; one was answered with {wrong.told()}", wrong) if wrong else noted(told)


@check(
    "P1-list",
    "How long the list of tools takes",
    Level.FAIL,
    CLAUSE,
    "Every agent asks for the list when it starts. Keep it.",
    depends=("T1-tools",),
)
async def listing(endpoint: Endpoint) -> Finding:
    """The first page."""
    if endpoint.options.load is None:
        return skipped(NO_LOAD)
    told, wrong = await _measured(endpoint.options.load, lambda: endpoint.ask("tools/list", right=False))
    return failed(f"{told}; one was answered with {wrong.told()}", wrong) if wrong else noted(told)


@check(
    "P2-compression",
    "Whether answers are compressed for those who ask",
    Level.INFO,
    "RFC 9110 section 12.5.3",
    "Nothing to do; a long list of tools shrinks to a tenth.",
    depends=("T1-tools",),
)
async def compression(endpoint: Endpoint) -> Finding:
    """The answer is not unpacked."""
    exchange = await endpoint.ask("tools/list", headers=[("Accept-Encoding", "gzip")], right=False)
    return noted(f"with {coding}" if (coding := exchange.header("content-encoding")) else "they are not")


CHECKS = (probe, listing, compression)
