"""The official JSON schemas of MCP, one file per revision (``schemas/README.md`` says where they are from).

No reference is ever fetched: the registry holds these files and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft7Validator, Draft202012Validator
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator
from referencing import Registry, Resource

MODERN: Final = "2026-07-28"
LEGACY: Final = "2025-11-25"
HANDSHAKE_VERSIONS: Final = (LEGACY, "2025-06-18", "2025-03-26")
REVISIONS: Final = (MODERN, *HANDSHAKE_VERSIONS)
SCHEMAS: Final = Path(__file__).parent / "schemas"

MOST_NODES: Final = 20_000
"""Values in a message that is still validated; it takes some 20 µs for each, and much more where all is wrong."""

_RESULTS: Final[Mapping[str, tuple[str, ...]]] = {
    "initialize": ("InitializeResult",),
    "ping": ("EmptyResult",),
    "server/discover": ("DiscoverResult",),
    "tools/list": ("ListToolsResult",),
    "tools/call": ("CallToolResult", "InputRequiredResult"),
    "prompts/list": ("ListPromptsResult",),
    "prompts/get": ("GetPromptResult", "InputRequiredResult"),
    "resources/list": ("ListResourcesResult",),
    "resources/templates/list": ("ListResourceTemplatesResult",),
    "resources/read": ("ReadResourceResult", "InputRequiredResult"),
    "completion/complete": ("CompleteResult",),
    "subscriptions/listen": ("SubscriptionsListenResult",),
}
_NOTIFICATIONS: Final[Mapping[str, str]] = {
    "notifications/cancelled": "CancelledNotification",
    "notifications/progress": "ProgressNotification",
    "notifications/message": "LoggingMessageNotification",
    "notifications/tools/list_changed": "ToolListChangedNotification",
    "notifications/prompts/list_changed": "PromptListChangedNotification",
    "notifications/resources/list_changed": "ResourceListChangedNotification",
    "notifications/resources/updated": "ResourceUpdatedNotification",
    "notifications/subscriptions/acknowledged": "SubscriptionsAcknowledgedNotification",
}


def wrong_result(revision: str, method: str, result: Any) -> str:
    """What is wrong with the result of ``method``; empty if nothing is, or the schema does not know the method."""
    known = [name for name in _RESULTS.get(method, ()) if name in _definitions(revision)]
    if known[1:] and isinstance(result, Mapping):
        known = known[1:] if result.get("resultType") == "input_required" else known[:1]
    return _wrong(revision, known[0], result) if known else ""


def wrong_error(revision: str, message: Any) -> str:
    """What is wrong with an error response, a whole message; empty if nothing is."""
    known = _definitions(revision)
    return _wrong(revision, "JSONRPCErrorResponse" if "JSONRPCErrorResponse" in known else "JSONRPCError", message)


def wrong_notification(revision: str, message: Mapping[str, Any]) -> str:
    """What is wrong with a notification of the server's, a whole message; empty if nothing is."""
    name = _NOTIFICATIONS.get(str(message.get("method")), "")
    return _wrong(revision, name if name in _definitions(revision) else "JSONRPCNotification", message)


def _wrong(revision: str, definition: str, value: Any) -> str:
    found = best_match(_validator(revision, definition).iter_errors(value))
    if found is None:
        return ""
    where = "".join(f"/{step}" for step in found.absolute_path)
    return f"{definition}{where}: {found.message[:300]}"


@cache
def _document(revision: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((SCHEMAS / f"{revision}.json").read_text())
    return found


def _definitions(revision: str) -> Mapping[str, Any]:
    document = _document(revision)
    found: Mapping[str, Any] = document.get("$defs") or document["definitions"]
    return found


@cache
def _validator(revision: str, definition: str) -> Validator:
    document = _document(revision)
    registry: Registry[Any] = Registry().with_resource(f"urn:mcp:{revision}", Resource.from_contents(document))
    place = "$defs" if "$defs" in document else "definitions"
    schema = {"$schema": document["$schema"], "$ref": f"urn:mcp:{revision}#/{place}/{definition}"}
    kind = Draft202012Validator if "$defs" in document else Draft7Validator
    return kind(schema, registry=registry)
