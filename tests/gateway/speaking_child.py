"""A stdio MCP server by hand, of one era, that says unasked what its tool ``say`` is told: ``python speaking_child.py ERA``."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

ERA = sys.argv[1]
DECLARED = {"tools": {"listChanged": True}, "resources": {"subscribe": True, "listChanged": True}}
RESOURCES = [{"uri": f"file:///{name}", "name": name} for name in ("a", "b")]
TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("say", "subscribed", "die")]

subscribed: list[str] = []
listening: dict[Any, dict[str, Any]] = {}


def write(**message: Any) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def say(method: str, params: dict[str, Any]) -> None:
    if ERA == "legacy":
        if "uri" not in params or params["uri"] in subscribed:
            write(method=method, params=params)
        return
    for identity, wanted in listening.items():
        if "uri" not in params or params["uri"] in wanted.get("resourceSubscriptions", ()):
            write(method=method, params={**params, "_meta": {"io.modelcontextprotocol/subscriptionId": identity}})


def wanted() -> list[str]:
    return sorted([*subscribed, *(uri for one in listening.values() for uri in one.get("resourceSubscriptions", ()))])


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    if name == "die":
        os._exit(7)
    if name == "say" and arguments["method"] == "more":
        RESOURCES.append({"uri": "file:///more", "name": "more"})
    elif name == "say":
        say(arguments["method"], arguments.get("params", {}))
    return {"resultType": "complete", "content": [{"type": "text", "text": json.dumps(wanted())}]}


def answer(method: str, identity: Any, params: dict[str, Any]) -> dict[str, Any] | None:
    match method:
        case "server/discover" if ERA == "modern":
            return {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": DECLARED}
        case "initialize":
            about = {"name": "c", "version": "1"}
            return {"protocolVersion": "2025-06-18", "capabilities": DECLARED, "serverInfo": about}
        case "tools/list":
            return {"tools": TOOLS}
        case "resources/list":
            return {"resources": RESOURCES}
        case "resources/templates/list":
            return {"resourceTemplates": []}
        case "resources/subscribe" if ERA == "legacy":
            subscribed.append(params["uri"])
            return {}
        case "resources/unsubscribe" if ERA == "legacy":
            subscribed.remove(params["uri"])
            return {}
        case "tools/call":
            return call(params["name"], params.get("arguments", {}))
    return None


for line in sys.stdin:
    message = json.loads(line)
    method, identity, params = message.get("method"), message.get("id"), message.get("params", {})
    if method == "notifications/cancelled":
        listening.pop(params["requestId"], None)
    if identity is None:
        continue
    if method == "subscriptions/listen" and ERA == "modern":
        listening[identity] = params["notifications"]
        meta = {"io.modelcontextprotocol/subscriptionId": identity}
        params = {"notifications": params["notifications"], "_meta": meta}
        write(method="notifications/subscriptions/acknowledged", params=params)
        continue
    result = answer(method, identity, params)
    write(id=identity, **({"result": result} if result is not None else {"error": {"code": -32601, "message": "no"}}))
