"""The reference in the era of 2026-07-28."""

from __future__ import annotations

import base64
from typing import Any

from tests.endpoint_test.messages import LEGACY, META, MODERN, SECOND, Answer, Asked, Wrong
from tests.endpoint_test.tool_calls import Calls
from tests.endpoint_test.tools import listed_tools


class ModernEra(Calls):
    """Envelope, headers, and the methods of this era."""

    async def modern(self, asked: Asked, version: Any, named: str | None) -> Answer:
        if self.has("no modern era"):
            raise Wrong(asked, -32600, 400)
        method, notification = asked.message["method"], "id" not in asked.message
        self.envelope(asked, version, named)
        self.headers(asked, version, named)
        if version is not None and version != MODERN:
            data = {} if self.has("supported missing") else {"supported": [MODERN], "requested": version}
            raise Wrong(asked, -32602 if self.has("unknown version code") else -32022, 400, data)
        if self.has("session header refused") and asked.header("mcp-session-id"):
            raise Answer(400)
        if self.has("event id refused") and asked.header("last-event-id"):
            raise Answer(400)
        if notification:
            raise Answer(200, {"ok": True}) if self.has("notification answered") else Answer(202)
        return await self.modern_result(asked, method)

    def envelope(self, asked: Asked, version: Any, named: str | None) -> None:
        capabilities = asked.meta.get(f"{META}clientCapabilities")
        empty = version is None and capabilities is None
        if empty and self.has("empty meta accepted"):
            return
        if version is None and not empty and not self.has("meta version optional"):
            raise Wrong(asked, -32602, 400)
        if capabilities is None and (empty or not self.has("meta capabilities optional")):
            raise Wrong(asked, -32602, 400)
        if self.has("client info required") and f"{META}clientInfo" not in asked.meta:
            raise Wrong(asked, -32602, 400)

    def headers(self, asked: Asked, version: Any, named: str | None) -> None:
        method, names = asked.message["method"], asked.headers.get("mcp-method", [])
        mismatch = Wrong(asked, -32020, 400)
        if version is not None:
            if named is None and not self.has("version header optional"):
                raise mismatch
            if named is not None and named != version and not self.has("version header differs"):
                raise mismatch
        if not names and not self.has("method header optional"):
            raise mismatch
        if len(names) > 1 and not self.has("header twice"):
            raise mismatch
        first = (names[0] if self.has("whitespace counts") else names[0].strip(" \t")) if names else method
        tolerated = self.has("header twice") if len(names) > 1 else self.has("method header differs")
        if first != method and not tolerated:
            raise mismatch
        if method == "tools/call":
            self.name_header(asked, mismatch)

    def name_header(self, asked: Asked, mismatch: Wrong) -> None:
        name, said = asked.params.get("name"), asked.header("mcp-name")
        if said is None:
            if self.has("name header optional"):
                return
            raise mismatch
        if said.startswith("=?base64?") and not self.has("base64 unknown"):
            said = base64.b64decode(said[9:-2]).decode()
        if said == name or (self.has("name header case") and said.lower() == str(name).lower()):
            return
        if self.has("name header differs") and said.lower() != str(name).lower():
            return
        raise mismatch

    async def modern_result(self, asked: Asked, method: str) -> Answer:
        complete: dict[str, Any] = {"resultType": "complete"}
        info = {"_meta": {f"{META}serverInfo": {"name": "reference", "version": "1"}}}
        kept = {"ttlMs": 1000, "cacheScope": "public"}
        match method:
            case "server/discover":
                capabilities: Any = {"tools": {"listChanged": True}, "prompts": {}}
                result: dict[str, Any] = {
                    **complete,
                    **info,
                    **kept,
                    "supportedVersions": [MODERN],
                    "capabilities": capabilities,
                }
                changes: dict[str, dict[str, Any]] = {
                    "discover result type": {"resultType": None},
                    "discover versions": {"supportedVersions": [LEGACY]},
                    "discover capabilities": {"capabilities": []},
                    "discover ttl": {"ttlMs": -1},
                    "discover cache scope": {"cacheScope": "everybody"},
                    "no server info": {"_meta": {}},
                }
                return self.told(asked, {**result, **changes.get(self.defect, {})})
            case "tools/list":
                return self.told(asked, self.modern_list(asked, {**complete, **info, **kept}))
            case "prompts/list" if not self.has("prompts not served"):
                return self.told(asked, {**complete, **info, **kept, "prompts": []})
            case "resources/list" if self.has("resources not declared"):
                return self.told(asked, {**complete, **info, **kept, "resources": []})
            case "tools/call":
                return await self.call(asked, {**complete, **info}, -32602)
            case "subscriptions/listen":
                return self.listen(asked)
            case _ if self.has(f"modern {method}"):
                return self.told(asked, complete)
        wrong = Wrong(asked, -32601, 200 if self.has("unknown method is 200") and "/no-such" in method else 404)
        if self.has("error without id") and asked.params.get("_meta"):
            wrong.body["id"] = None
        if self.has("modern error without message"):
            del wrong.body["error"]["message"]
        raise wrong

    def modern_list(self, asked: Asked, kept: dict[str, Any]) -> dict[str, Any]:
        if self.listening and self.has("listening blocks"):
            self.listening = False
            raise Answer(503)
        tools = listed_tools(self.defect, "modern", asked.port)
        if self.has("public list differs") and asked.who == SECOND:
            tools = tools[:-1]
        page = {**kept, **self.page(asked, tools)}
        start = asked.params.get("cursor") is not None
        if self.has("scope per page") and start:
            page["cacheScope"] = "private"
        changes: dict[str, dict[str, Any]] = {
            "list result type": {"resultType": "all"},
            "list ttl": {"ttlMs": "soon"},
            "list cache scope": {"cacheScope": None},
        }
        return {**page, **changes.get(self.defect, {})}

    def listen(self, asked: Asked) -> Answer:
        self.listening = True
        identity = {"_meta": {} if self.has("no subscription id") else {f"{META}subscriptionId": asked.message["id"]}}
        honoured = {"toolsListChanged": True, **({"promptsListChanged": True} if self.has("more than asked") else {})}
        first = {"method": "notifications/subscriptions/acknowledged", "params": {"notifications": honoured, **identity}}
        if self.has("not acknowledged"):
            first = {"method": "notifications/tools/list_changed", "params": identity}
        return Answer(200, [{"jsonrpc": "2.0", **first}, ...], {"content-type": "text/event-stream"})
