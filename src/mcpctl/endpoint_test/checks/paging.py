"""T7 to T9: the list is the same for everybody it is meant for, whole, and in order."""

from __future__ import annotations

from typing import Final

from mcpctl.endpoint_test.check import Finding, Level, check, failed, noted, passed, skipped, warned
from mcpctl.endpoint_test.endpoint import Endpoint, Listing
from mcpctl.endpoint_test.expectations import answers_with_error
from mcpctl.endpoint_test.lists import follow, tools

PAGING: Final = "MCP 2026-07-28 server/utilities/pagination"


@check(
    "T7-order",
    "The list is in the same order each time",
    Level.WARN,
    "MCP 2026-07-28 server/tools: the order SHOULD be deterministic",
    "Sort the list. A model's cache of its prompt is lost with each change.",
    depends=("T1-tools", "T7-same"),
)
async def order(endpoint: Endpoint) -> Finding:
    """Compared with a second list, on another connection."""
    first, second = (await tools(endpoint)).names, (await _again(endpoint)).names
    return passed() if first == second else warned("the order has changed", *(await _again(endpoint)).pages[:1])


@check(
    "T7-same",
    "The list is the same on another connection",
    Level.FAIL,
    "MCP 2026-07-28 server/tools: the list MUST NOT vary per connection",
    "Let the list depend on who asks and on nothing else.",
    depends=("T1-tools",),
)
async def same(endpoint: Endpoint) -> Finding:
    """Whatever the order."""
    first, second = (await tools(endpoint)).digests, (await _again(endpoint)).digests
    if sorted(first) == sorted(second):
        return passed()
    return failed(f"{len(set(first) ^ set(second))} tools differ", *(await _again(endpoint)).pages[:1])


async def _again(endpoint: Endpoint) -> Listing:
    async def listed() -> Listing:
        endpoint.http.reconnect()
        return await follow(lambda params: endpoint.ask("tools/list", params), "tools", keep=False)

    return await endpoint.once("tools again", listed)


@check(
    "T8-paging",
    "The list can be followed to its end",
    Level.FAIL,
    PAGING,
    "Give a new cursor with each page, and none with the last.",
    depends=("T1-tools",),
)
async def ends(endpoint: Endpoint) -> Finding:
    """Fifty pages at most."""
    found = await tools(endpoint)
    if found.wrong:
        return failed(found.wrong, found.pages[-1])
    return passed(f"{len(found.pages)} {'page' if len(found.pages) == 1 else 'pages'}")


@check(
    "T8-cursor",
    "A cursor that was never given is refused",
    Level.WARN,
    f"{PAGING}: error -32602 SHOULD",
    "Answer with error -32602, so that a client starts anew.",
    depends=("T1-tools",),
)
async def cursor(endpoint: Endpoint) -> Finding:
    """An invented one. Servers with one page often ignore it, which is a note."""
    exchange = await endpoint.ask("tools/list", {"cursor": "mcpctl-test-no-such-cursor"}, right=False)
    if not exchange.error and exchange.result is not None:
        if len((await tools(endpoint)).pages) == 1:
            return noted("it is ignored, as the list has one page", exchange)
        return warned(f"it is accepted ({exchange.told()})", exchange)
    if not exchange.status or exchange.status >= 500:
        return failed(exchange.told(), exchange)
    return answers_with_error(-32602, other=Level.WARN)(exchange)


@check(
    "T8-scope",
    "All pages have the same cacheScope",
    Level.FAIL,
    "MCP 2026-07-28 server/utilities/caching: the same on all pages of one list",
    "Decide for the list, not for the page.",
    depends=("T1-tools", "T1-cache-scope", "D1-modern", "T8-paging"),
)
async def one_scope(endpoint: Endpoint) -> Finding:
    """Of the tools."""
    pages = (await tools(endpoint)).pages
    if len(pages) == 1:
        return skipped("there is one page")
    found = {str((page.result or {}).get("cacheScope")) for page in pages}
    return passed() if len(found) == 1 else failed(f"there are {', '.join(sorted(found))}", *pages[:2])


@check(
    "T9-public",
    "A list that says it is public is so",
    Level.FAIL,
    "MCP 2026-07-28 server/utilities/caching §Security",
    "Say 'private' if the list depends on who asks: a cache in between serves a public one to anybody.",
    depends=("T1-tools", "T1-cache-scope", "D1-modern", "T7-same"),
)
async def public(endpoint: Endpoint) -> Finding:
    """Compares with what a second credential is given."""
    first = await tools(endpoint)
    if (first.pages[0].result or {}).get("cacheScope") != "public":
        return passed("it is private")
    if endpoint.options.second_token is None:
        return skipped("it is public; with --second-token-file it would be compared")
    other = endpoint.options.second_token
    second = await follow(lambda params: endpoint.modern("tools/list", params, token=other), "tools", keep=False)
    if sorted(first.digests) == sorted(second.digests):
        return passed("the same for both credentials")
    return failed("it is called public, and the second credential is given another one", *second.pages[:1])


CHECKS = (same, order, ends, cursor, one_scope, public)
