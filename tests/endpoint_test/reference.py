"""An endpoint that does everything right in both eras, written by hand so that it can be given single defects.

One server has an endpoint for each defect, at ``/<defect>/mcp``; ``/none/mcp`` has none. Which check a defect is for stands
beside its name in ``defects.py``.
"""

from __future__ import annotations

import json

from tests.endpoint_test.handshake_era import HandshakeEra
from tests.endpoint_test.messages import EXPIRED, GOOD, HANDSHAKE, META, SECOND, Answer, Asked, Wrong, slug
from tests.endpoint_test.modern_era import ModernEra


class Endpoint(ModernEra, HandshakeEra):
    """One endpoint: who comes in, what is a message, and of which era it is."""

    def authenticate(self, asked: Asked, base: str) -> None:
        bearer = (asked.header("authorization") or "").removeprefix("Bearer ")
        method = _method_of(asked.raw) or asked.method
        if bearer in (GOOD, SECOND):
            asked.who = bearer
            return
        if not bearer and (self.has("open") or self.has(f"unguarded {method}")):
            asked.who = "anybody"
            return
        if self.has("malformed bearer fails") and bearer == "!":
            raise Answer(500)
        if self.has("any bearer will do") and len(bearer) > 30 and bearer != EXPIRED:
            asked.who = bearer
            return
        expired = self.has("expired bearer accepted") and bearer == EXPIRED
        if expired or (self.has("bearer in query") and f"access_token={GOOD}".encode() in asked.query):
            asked.who = GOOD
            return
        if self.has("403 for strangers"):
            raise Answer(403)
        place = f"{base}/elsewhere" if self.has("metadata elsewhere") else f"{base}/.well-known/oauth-protected-resource"
        place += f"/{slug(self.defect)}/mcp"
        if self.has("metadata missing"):
            place = f"{base}/nowhere"
        challenge = f'Bearer resource_metadata="{place}", scope="mcp"'
        raise Answer(401, None, {} if self.has("no challenge") else {"www-authenticate": challenge})

    # -- any request -------------------------------------------------------------------------------------------------

    async def answer(self, asked: Asked, base: str) -> Answer:
        if self.has("redirect abroad"):
            raise Answer(307, None, {"location": "http://localhost:9/mcp"})
        self.requests += 1
        if self.has("rate limited") and self.requests % 5 == 0:
            raise Answer(429, None, {"retry-after": "0"})
        self.authenticate(asked, base)
        if self.has("echoes the bearer"):
            said = {"code": -32603, "message": f"no use for {asked.header('authorization')} {asked.header('x-secret')}"}
            raise Answer(400, {"jsonrpc": "2.0", "id": None, "error": said}, {"set-cookie": f"a={asked.who}"})
        if self.has("forges lines"):
            code = "\n::error::owned" + "y" * 100_000
            error = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": "\n::error::owned"}}
            raise Answer(400, error) if self.requests % 2 else Answer(500, b"{\n::error::owned\n}")
        if self.has("no endpoint"):
            raise Answer(200, b"<html>Welcome</html>", {"content-type": "text/html"})
        origin, host = asked.header("origin"), asked.header("host") or ""
        if origin and not self.has("foreign origin") and origin != "null":
            raise Answer(403)
        if origin == "null" and not self.has("null origin"):
            raise Answer(403)
        if not host.startswith("127.0.0.1") and not self.has("foreign host"):
            raise Answer(421)
        if asked.method == "POST":
            return await self.post(asked)
        return self.not_post(asked)

    def not_post(self, asked: Asked) -> Answer:
        session = asked.header("mcp-session-id")
        if session in self.sessions and self.sessions[session] == asked.who:
            if asked.method == "GET":
                if self.has("get is no stream"):
                    raise Answer(200, {"hello": 1})
                raise Answer(200, b": hello\n\n", {"content-type": "text/event-stream"})
            if asked.method == "DELETE":
                if self.has("delete fails"):
                    raise Answer(500)
                self.ended.add(session)
                raise Answer(204)
        if (self.has("put accepted") and asked.method == "PUT") or (self.has("modern delete") and asked.method == "DELETE"):
            raise Answer(200)
        raise Answer(404 if self.has("modern get") and asked.method == "GET" else 405, None, {"allow": "POST"})

    async def post(self, asked: Asked) -> Answer:
        if (asked.header("content-type") or "") != "application/json" and not self.has("text/plain accepted"):
            raise Answer(415)
        accept = asked.header("accept")
        if self.has("accept json fails") and accept == "application/json":
            raise Answer(500)
        if accept is None:
            raise Answer(500 if self.has("no accept fails") else 406)
        self.read(asked)
        if self.sick:
            self.sick = False
            raise Answer(503)
        version = asked.meta.get(f"{META}protocolVersion")
        named = asked.header("mcp-protocol-version")
        modern = version is not None or (named is not None and named not in HANDSHAKE)
        if self.has("any version") and asked.header("mcp-session-id") in self.sessions:
            modern = False
        if modern and not (named is None and asked.message["method"] == "initialize" and version is None):
            return await self.modern(asked, version, named)
        return await self.legacy(asked)

    def read(self, asked: Asked) -> None:
        raw = asked.raw
        if raw.startswith(b"{'") and self.has("no json accepted"):
            raise Answer(200, {"jsonrpc": "2.0", "id": 1, "result": {}})
        half = raw.startswith(b'{"jsonrpc": "2.0", "id": 1, "method"') and raw.count(b"{") > raw.count(b"}")
        if half and self.has("half json accepted"):
            raise Answer(200, {"jsonrpc": "2.0", "id": 1, "result": {}})
        if raw.count(b"[") > 900:
            raise Answer(500) if self.has("deep fails") else Wrong(asked, -32700, 400)
        try:
            found = json.loads(raw.decode(errors="replace" if self.has("bad utf-8 accepted") else "strict"))
        except ValueError:
            raise Wrong(asked, -32700, 400) from None
        if isinstance(found, list) and self.has("batch accepted"):
            raise Answer(200, [{"jsonrpc": "2.0", "id": 1, "result": {}}])
        if not isinstance(found, dict):
            raise Wrong(asked, -32600, 400)
        asked.message = found
        if "result" in found or "error" in found:
            legacy = asked.header("mcp-session-id") is not None
            raise Answer(202) if legacy or self.has("response accepted") else Wrong(asked, -32600, 400, id=None)
        wrong_id = "id" in found and (isinstance(found["id"], bool) or found["id"] is None)
        tolerated = self.has("null id accepted" if found.get("id") is None else "boolean id accepted")
        if wrong_id and not tolerated:
            raise Wrong(asked, -32600, 400, id=None)
        if found.get("jsonrpc") != "2.0" and not self.has("json-rpc 1.0 accepted"):
            raise Wrong(asked, -32600, 400)
        if not isinstance(found.get("method"), str):
            self.sick = self.has("dies of a bad message")
            raise Answer(202) if self.has("no method accepted") else Wrong(asked, -32600, 400)


def _method_of(raw: bytes) -> str:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return ""
    return str(found.get("method", "")) if isinstance(found, dict) else ""
