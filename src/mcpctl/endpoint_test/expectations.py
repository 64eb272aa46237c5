"""What an answer has to be: sentences about one exchange that many checks share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any

from mcpctl.endpoint_test.check import Finding, Level, Run, failed, passed, warned
from mcpctl.endpoint_test.endpoint import Endpoint
from mcpctl.endpoint_test.exchange import Exchange

Ask = Callable[[Endpoint], Awaitable[Exchange]]
Judge = Callable[[Exchange], Finding]


def sends(ask: Ask, judge: Judge) -> Run:
    """Make the request of ``ask`` and let ``judge`` say what its answer means."""

    async def run(endpoint: Endpoint) -> Finding:
        return judge(await ask(endpoint))

    return run


def refused(
    *statuses: int, codes: Collection[Any] = (), other: Level = Level.FAIL, accepted: Level = Level.FAIL, why: str = ""
) -> Judge:
    """The request has to be refused, with one of these statuses and JSON-RPC codes.

    Args:
        statuses: of HTTP; none means any of 400 to 499.
        codes: of the JSON-RPC error; none means any, or no error at all.
        other: what another refusal comes to.
        accepted: what it comes to when the request is accepted.
        why: what follows from accepting it, as a sentence.
    """

    def judge(exchange: Exchange) -> Finding:
        wanted = " or ".join(map(str, statuses)) or "4xx"
        wanted += f" with error {' or '.join(map(str, sorted(codes)))}" if codes else ""
        if not exchange.status:
            return failed(f"{exchange.told()}; {wanted} is due", exchange)
        if exchange.status >= 500:
            return failed(f"{exchange.told()}: the server takes it for its own fault; {wanted} is due", exchange)
        if 200 <= exchange.status < 400 and not exchange.error:
            return _at(accepted, f"it is accepted ({exchange.told()}); {wanted} is due. {why}".strip(), exchange)
        right = exchange.status in statuses or (not statuses and 400 <= exchange.status < 500)
        if right and (not codes or exchange.code in codes):
            return passed(exchange.told(), exchange)
        return _at(other, f"{exchange.told()}; {wanted} is due", exchange)

    return judge


def answers_with_error(*codes: int, other: Level = Level.FAIL) -> Judge:
    """The request has to be answered with one of these JSON-RPC errors, whatever the status."""

    def judge(exchange: Exchange) -> Finding:
        if exchange.code in codes:
            return passed(exchange.told(), exchange)
        if not exchange.error:
            return failed(f"{exchange.told()}; error {' or '.join(map(str, codes))} is due", exchange)
        return _at(other, f"{exchange.told()}; error {' or '.join(map(str, codes))} is due", exchange)

    return judge


def accepted(*, never: Collection[Any] = (), why: str = "it has to be accepted", level: Level = Level.FAIL) -> Judge:
    """The request has to be taken for a right one: a result, or an error that is not about its form.

    Args:
        never: JSON-RPC codes that refuse its form.
        why: what is due, as a clause.
        level: what it comes to otherwise.
    """

    def judge(exchange: Exchange) -> Finding:
        form_refused = not exchange.response or (exchange.error and (not never or exchange.code in never))
        return _at(level, f"{exchange.told()}; {why}", exchange) if form_refused else passed(exchange.told(), exchange)

    return judge


def survived(exchange: Exchange) -> Finding:
    """Any answer will do that is no failure of the server's."""
    if not exchange.status or exchange.status >= 500:
        return failed(f"{exchange.told()}; a refusal (4xx) is due", exchange)
    return passed(exchange.told(), exchange)


def _at(level: Level, said: str, exchange: Exchange) -> Finding:
    match level:
        case Level.FAIL:
            return failed(said, exchange)
        case Level.WARN:
            return warned(said, exchange)
        case _:
            return Finding(level, said, (exchange,))
