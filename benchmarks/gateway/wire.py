"""The requests, of both eras, as they go over the wire: every contender is asked the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from benchmarks.load import prepared

MODERN: Final = "2026-07-28"
LEGACY: Final = "2025-11-25"
VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
META: Final = {
    VERSION_KEY: MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "load", "version": "1"},
}

SMALL: Final = "echo"
LARGE: Final = "read_file"
WAITING: Final = "wait"
TOOLS: Final = 200
SMALL_MARK: Final = "all is well"
LARGE_MARK: Final = "the last line of a long file"
LARGE_BYTES: Final = 100_000

MEDIA: Final = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


def call(
    address: str,
    path: str,
    tool: str,
    *,
    bearer: str | None = None,
    session: str | None = None,
    progress: bool = False,
) -> str:
    """A ``tools/call``; within a session of the handshake's era if one is given."""
    arguments = {"city": "Firenze", "days": 3, "units": "metric"}
    params: dict[str, Any] = {"name": tool, "arguments": arguments}
    if progress:
        params["_meta"] = {"progressToken": "p"}
    return request(address, path, "tools/call", params, bearer=bearer, session=session)


def request(
    address: str,
    path: str,
    method: str,
    params: Mapping[str, Any],
    *,
    bearer: str | None = None,
    session: str | None = None,
) -> str:
    """Any request, in the era of the envelope unless there is a session."""
    headers = {**MEDIA, "User-Agent": "load", **({"Authorization": f"Bearer {bearer}"} if bearer else {})}
    if session is None:
        params = {**params, "_meta": {**META, **params.get("_meta", {})}}
        headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        if "name" in params:
            headers["Mcp-Name"] = params["name"]
    else:
        headers |= {"MCP-Protocol-Version": LEGACY, "Mcp-Session-Id": session}
    body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}, separators=(",", ":"))
    return prepared("POST", path, address, headers, body)
