"""Lists of the endpoint, followed page by page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from mcpctl.endpoint_test.endpoint import Endpoint, Listing
from mcpctl.endpoint_test.exchange import Exchange

MOST_PAGES: Final = 50
MOST_ITEMS: Final = 5000

Ask = Callable[[Mapping[str, Any] | None], Awaitable[Exchange]]


async def follow(ask: Ask, member: str) -> Listing:
    """All pages of a list, whose items stand under ``member``."""
    found, cursor, followed = Listing(), None, set[str]()
    while True:
        page = await ask(None if cursor is None else {"cursor": cursor})
        found.pages.append(page)
        items = page.result.get(member) if page.result else None
        if page.result is None or not isinstance(items, list):
            found.wrong = f"page {len(found.pages)} is {page.told()}" if page.result is None else f"it has no array {member!r}"
            return found
        found.items += items
        cursor = page.result.get("nextCursor")
        if cursor is None:
            return found
        if not isinstance(cursor, str):
            found.wrong = f"its cursor is no string: {cursor!r:.60}"
        elif cursor in followed:
            found.wrong = "it gives the same cursor again, so that it never ends"
        elif len(found.pages) >= MOST_PAGES or len(found.items) > MOST_ITEMS:
            found.wrong = f"it has more than {MOST_PAGES} pages or {MOST_ITEMS} items"
        if found.wrong:
            return found
        followed.add(cursor)


async def tools(endpoint: Endpoint) -> Listing:
    """The tools, in the newest era spoken; listed once."""
    return await endpoint.once("tools", lambda: follow(lambda params: endpoint.ask("tools/list", params), "tools"))


async def legacy_tools(endpoint: Endpoint) -> Listing:
    """The tools in the handshake era; listed once."""

    async def listed() -> Listing:
        session = await endpoint.session()
        return await follow(lambda params: endpoint.legacy(session, "tools/list", params), "tools")

    return await endpoint.once("legacy tools", listed)


async def tool_called(endpoint: Endpoint, name: str) -> dict[str, Any]:
    """The tool of this name as it is listed; empty if it is not."""
    return next((tool for tool in (await tools(endpoint)).objects if tool.get("name") == name), {})
