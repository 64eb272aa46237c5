"""Lists of the endpoint, followed page by page."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any, Final

from mcpctl.endpoint_test.endpoint import Endpoint, Listing
from mcpctl.endpoint_test.exchange import Exchange

MOST_PAGES: Final = 50
MOST_ITEMS: Final = 5000
MOST_BYTES: Final = 8 << 20
MOST_VALUES: Final = 100_000
"""Of one list; the page that goes beyond is the last."""
LONGEST_CURSOR: Final = 100_000
LONGEST_NAME: Final = 200
"""Characters by which names are compared."""

Ask = Callable[[Mapping[str, Any] | None], Awaitable[Exchange]]


async def follow(ask: Ask, member: str, *, keep: bool = True) -> Listing:
    """All pages of a list, whose items stand under ``member``; without ``keep`` only the items' names and hashes."""
    found, cursor, followed, values = Listing(), None, set[str](), 0
    while True:
        page = await ask(None if cursor is None else {"cursor": cursor})
        found.pages.append(page)
        items = page.result.get(member) if page.result else None
        if page.result is None or not isinstance(items, list):
            found.wrong = f"page {len(found.pages)} is {page.told()}" if page.result is None else f"it has no array {member!r}"
            return found
        for item in items:
            found.digests.append(sha256(json.dumps(item, sort_keys=True).encode()).digest())
            found.names.append(str(item.get("name"))[:LONGEST_NAME] if isinstance(item, dict) else "")
        if keep:
            found.items += items
        cursor, values = page.result.get("nextCursor"), values + page.nodes
        _without_items(page, member)
        if cursor is None:
            return found
        if not isinstance(cursor, str):
            found.wrong = f"its cursor is no string: {cursor!r:.60}"
        elif len(cursor) > LONGEST_CURSOR:
            found.wrong = f"its cursor has more than {LONGEST_CURSOR} characters"
        elif cursor in followed:
            found.wrong = "it gives the same cursor again, so that it never ends"
        elif len(found.pages) >= MOST_PAGES or found.count > MOST_ITEMS:
            found.wrong = f"it has more than {MOST_PAGES} pages or {MOST_ITEMS} items"
        elif sum(one.size for one in found.pages) > MOST_BYTES or values > MOST_VALUES:
            found.wrong = f"it has more than {MOST_BYTES} bytes or {MOST_VALUES} values"
        if found.wrong:
            return found
        followed.add(cursor)


def _without_items(page: Exchange, member: str) -> None:
    """Let go of all in a page but what is small and about the page."""
    kept = {key: value for key, value in (page.result or {}).items() if not isinstance(value, dict | list)}
    small = {key: value for key, value in kept.items() if not isinstance(value, str) or len(value) <= LONGEST_NAME}
    page.messages = [{"id": page.response.get("id"), "result": {**small, member: []}}]


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
