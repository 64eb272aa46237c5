"""The reference in the handshake era."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any

from tests.endpoint_test.messages import HANDSHAKE, LEGACY, MODERN, Answer, Asked, Wrong
from tests.endpoint_test.tool_calls import Calls
from tests.endpoint_test.tools import listed_tools


class HandshakeEra(Calls):
    """Sessions, and the methods of this era."""

    async def legacy(self, asked: Asked) -> Answer:
        method, session = asked.message["method"], asked.header("mcp-session-id")
        if method == "initialize":
            return self.initialize(asked)
        if self.has("no legacy era"):
            raise Wrong(asked, -32601, 404)
        if session is None and not self.has("session optional"):
            raise Wrong(asked, -32600, 400)
        owner = self.sessions.get(session or "")
        stranger = owner != asked.who and not (self.has("session for anybody") and owner)
        over = session in self.ended and not self.has("ended session served")
        if session is not None and (stranger or over):
            raise Wrong(asked, -32600, 400 if self.has("unknown session is 400") and session not in self.ended else 404)
        named = asked.header("mcp-protocol-version")
        if named is not None and named not in HANDSHAKE and not self.has("any version"):
            raise Wrong(asked, -32600, 400)
        if "id" not in asked.message:
            if method == "notifications/initialized" and self.has("initialized answered"):
                raise Answer(200, {"ok": True})
            raise Answer(400 if method == "notifications/cancelled" and self.has("cancelled refused") else 202)
        return await self.legacy_result(asked, method)

    def initialize(self, asked: Asked) -> Answer:
        if self.has("no legacy era"):
            raise Wrong(asked, -32601, 404, {"supported": [MODERN]})
        if self.has("no legacy era without a word"):
            raise Wrong(asked, -32601, 404)
        wanted = asked.params.get("protocolVersion")
        settled = wanted if wanted in HANDSHAKE or self.has("any version promised") else LEGACY
        if self.has("version of its own") and wanted == "2025-06-18":
            settled = "1.0"
        session = f"session-{len(self.sessions) + 1:08}" if self.has("guessable session") else secrets.token_hex(16)
        if self.has("session with blanks"):
            session = session[:16] + " " + session[16:]
        self.sessions[session] = asked.who
        result: dict[str, Any] = {
            "protocolVersion": settled,
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "r", "version": "1"},
        }
        if self.has("initialize without capabilities"):
            del result["capabilities"]
        if self.has("initialize without server info"):
            del result["serverInfo"]
        return Answer(200, {"jsonrpc": "2.0", "id": asked.message["id"], "result": result}, {"mcp-session-id": session})

    async def legacy_result(self, asked: Asked, method: str) -> Answer:
        id_ = asked.message["id"]
        self.under_way.append(id_)
        try:
            if self.has("ids crossed") or (self.has("one at a time") and method == "ping"):
                await asyncio.sleep(0.01)
            if self.has("one at a time") and method == "ping" and len(self.under_way) > 1:
                raise Answer(503)
            if self.has("ids crossed") and self.under_way.count(id_) > 1:
                return self.told(asked, {})
        finally:
            self.under_way.remove(id_)
        match method:
            case "ping":
                return self.ping(asked)
            case "tools/list":
                if self.has("legacy list is no list"):
                    return self.told(asked, {"tools": {}})
                return self.told(asked, self.page(asked, listed_tools(self.defect, "legacy", asked.port)))
            case "tools/call":
                return await self.call(asked, {}, -32602)
        wrong = Wrong(asked, -32600 if self.has("legacy unknown method code") else -32601, 200)
        if self.has("legacy error without message"):
            del wrong.body["error"]["message"]
        raise wrong

    def ping(self, asked: Asked) -> Answer:
        answer = self.told(asked, {"ok": True} if self.has("ping says something") else {})
        if self.has("id becomes a string"):
            answer.body["id"] = str(answer.body["id"])
        if self.has("json-rpc 1.0 sent"):
            answer.body["jsonrpc"] = "1.0"
        if self.has("media type text"):
            answer.headers["content-type"] = "text/plain"
        if self.has("member twice"):
            answer.body = json.dumps(answer.body).replace('"result"', '"jsonrpc":"2.0","result"').encode()
            answer.headers["content-type"] = "application/json"
        if self.has("legacy notification malformed"):
            wrong = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": 7}
            answer.body, answer.headers["content-type"] = [wrong, answer.body], "text/event-stream"
        return answer
