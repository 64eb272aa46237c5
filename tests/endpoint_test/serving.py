"""The reference as an ASGI application: paths, bodies, event streams, and the documents about authorization."""

from __future__ import annotations

import json
from typing import Any

from tests.endpoint_test.defects import DEFECTS
from tests.endpoint_test.messages import Answer, Asked, slug
from tests.endpoint_test.reference import Endpoint

OTHERS = (
    "none",
    "no legacy era without a word",
    "hides but serves",
    "echoes the bearer",
    "no endpoint",
    "rate limited",
    "forges lines",
)
"""Endpoints that tests of one check use, besides those of ``DEFECTS``."""
NAMES = {slug(defect): defect for defect in (*OTHERS, *DEFECTS)}
WELL_KNOWN = "/.well-known/oauth-protected-resource"


class Reference:
    """All endpoints of one server, each made when it is first asked."""

    def __init__(self) -> None:
        self.endpoints: dict[str, Endpoint] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        raw = b""
        while True:
            event = await receive()
            raw += event.get("body", b"")
            if not event.get("more_body"):
                break
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode(), []).append(value.decode("latin-1"))
        base = f"http://127.0.0.1:{scope['server'][1]}"
        asked = Asked(scope["method"], headers, raw, scope["query_string"], scope["client"][1])
        try:
            answer = await self.answer(scope["path"], asked, base)
        except Answer as found:
            answer = found
        await _send(answer, receive, send)

    async def answer(self, path: str, asked: Asked, base: str) -> Answer:
        if path.startswith((WELL_KNOWN, "/elsewhere/")):
            found = path.removeprefix(WELL_KNOWN).removeprefix("/elsewhere").removesuffix("/mcp").strip("/")
            return self.metadata(NAMES.get(found, ""), path, base)
        if path.startswith("/.well-known/"):
            defect = NAMES.get(path.rpartition("/as/")[2], "")
            issuer = f"{base}/as/{'other' if defect == 'issuer differs' else slug(defect)}"
            methods = ["plain"] if defect == "no pkce" else ["S256"]
            return Answer(200, {"issuer": issuer, "code_challenge_methods_supported": methods})
        name, _, rest = path.strip("/").rpartition("/")
        if rest != "mcp" or name not in NAMES:
            return Answer(404)
        defect = NAMES[name]
        return await self.endpoints.setdefault(defect, Endpoint(defect)).answer(asked, base)

    def metadata(self, defect: str, path: str, base: str) -> Answer:
        if not defect or defect == "metadata missing" or (defect == "metadata elsewhere" and path.startswith(WELL_KNOWN)):
            return Answer(404)
        resource = "http://127.0.0.1:1/mcp" if defect == "metadata of another" else f"{base}/{slug(defect)}/mcp"
        servers = [] if defect == "no authorization server" else [f"{base}/as/{slug(defect)}"]
        return Answer(200, {"resource": resource, "authorization_servers": servers})


async def _send(answer: Answer, receive: Any, send: Any) -> None:
    headers, body = dict(answer.headers), answer.body
    if headers.get("content-type") == "text/event-stream":
        await send({"type": "http.response.start", "status": answer.status, "headers": _raw(headers)})
        for message in body if isinstance(body, list) else [body]:
            if message is ...:  # open until the client leaves
                await _left(receive)
                return
            raw = message if isinstance(message, bytes) else f"data: {json.dumps(message)}\n\n".encode()
            await send({"type": "http.response.body", "body": raw, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    if raw:
        headers.setdefault("content-type", "application/json")
    headers["content-length"] = str(len(raw))
    if answer.status == 204:
        del headers["content-length"]
    await send({"type": "http.response.start", "status": answer.status, "headers": _raw(headers)})
    await send({"type": "http.response.body", "body": raw})


async def _left(receive: Any) -> None:
    while True:
        if (await receive())["type"] == "http.disconnect":
            return


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
