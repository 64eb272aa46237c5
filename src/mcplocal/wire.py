"""The words of MCP on the wire, of both eras: revisions, ``_meta`` keys, headers, JSON-RPC codes.

*Legacy* is the era of the ``initialize`` handshake (up to 2025-11-25), *modern* the era of the per-request envelope
(2026-07-28). Numbers and names stem from these revisions of the Model Context Protocol specification.
"""

from __future__ import annotations

from enum import Enum
from importlib.metadata import version
from typing import Final


class Era(Enum):
    """Which of the two ways of speaking a peer uses."""

    LEGACY = "legacy"
    MODERN = "modern"


LEGACY_VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
LATEST_LEGACY: Final = LEGACY_VERSIONS[-1]
MODERN_VERSION: Final = "2026-07-28"

META: Final = "_meta"
META_PREFIX: Final = "io.modelcontextprotocol/"
"""``_meta`` keys the protocol keeps for itself; on every hop they are that hop's own."""
VERSION_KEY: Final = META_PREFIX + "protocolVersion"
CAPABILITIES_KEY: Final = META_PREFIX + "clientCapabilities"
CLIENT_INFO_KEY: Final = META_PREFIX + "clientInfo"
SUBSCRIPTION_ID_KEY: Final = META_PREFIX + "subscriptionId"
LOG_LEVEL_KEY: Final = META_PREFIX + "logLevel"
SERVER_INFO_KEY: Final = META_PREFIX + "serverInfo"
LOG_MESSAGE: Final = "notifications/message"
PROGRESS: Final = "notifications/progress"
PROGRESS_TOKEN: Final = "progressToken"  # noqa: S105 - a member of _meta

VERSION_HEADER: Final = "mcp-protocol-version"
METHOD_HEADER: Final = "mcp-method"
NAME_HEADER: Final = "mcp-name"
PARAM_HEADER: Final = "mcp-param-"
SESSION_HEADER: Final = "mcp-session-id"

NAMED_BY: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""The parameter whose value ``Mcp-Name`` repeats, by method (2026-07-28, Streamable HTTP, Standard Headers)."""

LISTEN: Final = "subscriptions/listen"
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
SUBSCRIBE: Final = "resources/subscribe"
UNSUBSCRIBE: Final = "resources/unsubscribe"
UPDATED: Final = "notifications/resources/updated"
SUBSCRIBES: Final = "resources.subscribe"
"""The capability of a server that tells of changes to single resources, as ``upstream.era`` writes it."""
LIST_CHANGED: Final = {what: f"notifications/{what}/list_changed" for what in ("tools", "prompts", "resources")}
"""By capability, what says that its lists have changed; that of resources is about their templates too."""
COMPLETE: Final = "completion/complete"
RESOURCE_NOT_FOUND: Final = -32002
"""Before 2026-07-28; since then such a URI is an invalid parameter (SEP-2164)."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022
MODERN_ONLY: Final = frozenset({HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION})
"""Codes that only a server of the modern era gives; seeing one tells the era."""

HTTP_STATUS: Final = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    MISSING_CAPABILITY: 400,
    UNSUPPORTED_VERSION: 400,
    METHOD_NOT_FOUND: 404,
}
"""The status a modern JSON-RPC error travels with; others travel with 200."""

IMPLEMENTATION: Final = {"name": "mcplocal", "title": "mcplocal gateway", "version": version("mcpctl")}
"""What the gateway calls itself, downstream as server and upstream as client."""
