"""A small MCP server that leaves every decision to mcpctl: a policy enforcement point in a hundred lines.

Who calls is asked by RFC 7662 introspection, what they may do by the OpenID AuthZEN Authorization API 1.0. Nothing here is made
for mcpctl: another authorization server and another policy decision point would do.

    PDP=http://127.0.0.1:8470 PDP_CLIENT=shelf PDP_SECRET_FILE=./shelf-session python server.py --port 8480
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import httpx2
from mcp import MCPError
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import INVALID_PARAMS, ListToolsResult
from pydantic import AnyHttpUrl

NAME = "shelf"
"""What this server is called in the policy: its tools are ``shelf/<tool>`` on the resource ``servers``."""


class DecisionPoint:
    """The questions this server asks, with a credential of its own. Whatever goes wrong is a no."""

    def __init__(self, url: str, client: str, secret: str) -> None:
        """Ask at ``url``, as the user ``client`` whose session ``secret`` is."""
        self._http = httpx2.AsyncClient(base_url=url, timeout=5, trust_env=False)
        self._client, self._secret = client, secret

    async def verify_token(self, token: str) -> AccessToken | None:
        """Whose token this is, or nobody's (RFC 7662)."""
        found = await self._ask("/oauth2/introspect", data={"token": token}, auth=(self._client, self._secret))
        audience, ends = found.get("aud", [NAME]), found.get("exp")
        meant = audience == NAME or (isinstance(audience, list) and NAME in audience)
        if found.get("active") is not True or not meant or not isinstance(found.get("sub"), str):
            return None
        return AccessToken(
            token=token,
            client_id=str(found.get("client_id", "")),
            scopes=str(found.get("scope", "")).split(),
            expires_at=ends if isinstance(ends, int) else None,
            subject=found["sub"],
        )

    async def may_run(self, tools: list[str]) -> list[bool]:
        """Whether whoever is calling may run each of these tools: one request for all (AuthZEN, section 7)."""
        caller = get_access_token()
        kind, _, name = (caller.subject if caller and caller.subject else "").partition(":")
        question = {
            "subject": {"type": kind.lower(), "id": name},
            "action": {"name": "run"},
            "evaluations": [{"resource": {"type": "servers", "id": f"{NAME}/{tool}"}} for tool in tools],
        }
        headers = {"Authorization": f"Bearer {self._secret}"}
        found = (await self._ask("/access/v1/evaluations", json=question, headers=headers)).get("evaluations")
        decisions = found if isinstance(found, list) and len(found) == len(tools) else [None] * len(tools)
        return [isinstance(one, dict) and one.get("decision") is True for one in decisions]

    async def _ask(self, path: str, **request: Any) -> dict[str, Any]:
        """The object that is answered; an empty one if none is, for whatever reason."""
        try:
            answer = await self._http.post(path, **request)
            found = answer.raise_for_status().json()
        except (httpx2.HTTPError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def guard(point: DecisionPoint) -> Any:
    """What stands in front of every request: lists show what may be run, and nothing else is."""

    async def guarded(context: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if context.method == "tools/call":
            tool = str((context.params or {}).get("name"))
            if not (await point.may_run([tool]))[0]:
                raise MCPError(INVALID_PARAMS, f"Unknown tool: {tool}")
        result = await call_next(context)
        if context.method == "tools/list":
            listed = result if isinstance(result, ListToolsResult) else ListToolsResult.model_validate(result)
            allowed = await point.may_run([tool.name for tool in listed.tools]) if listed.tools else []
            shown = [tool for tool, may in zip(listed.tools, allowed, strict=True) if may]
            return listed.model_copy(update={"tools": shown})
        return result

    return guarded


def build(point: DecisionPoint, pdp: str, address: str) -> MCPServer[Any]:
    """The server: a shelf of three books, which may be listed, read and burnt."""
    books = {"emma": "Jane Austen", "dune": "Frank Herbert", "ulysses": "James Joyce"}
    auth = AuthSettings(
        issuer_url=AnyHttpUrl(pdp),
        resource_server_url=AnyHttpUrl(address),
        validate_token_resource=False,  # an audience is a server's name here, and ``verify_token`` looks at it
    )
    server: MCPServer[Any] = MCPServer(NAME, token_verifier=point, auth=auth, middleware=[guard(point)])

    def on_the_shelf(title: str) -> str:
        if title not in books:
            raise ToolError(f"There is no {title!r} on the shelf.")
        return title

    @server.tool()
    def titles() -> list[str]:
        """The titles on the shelf."""
        return sorted(books)

    @server.tool()
    def author(title: str) -> str:
        """Who wrote it."""
        return books[on_the_shelf(title)]

    @server.tool()
    def burn(title: str) -> str:
        """Take it away for good."""
        return f"{title} by {books.pop(on_the_shelf(title))} is gone"

    return server


def main() -> None:
    """Serve over Streamable HTTP."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=8480)
    port = parser.parse_args().port
    pdp = os.environ["PDP"]
    secret = Path(os.environ["PDP_SECRET_FILE"]).read_text().strip()
    point = DecisionPoint(pdp, os.environ.get("PDP_CLIENT", NAME), secret)
    build(point, pdp, f"http://127.0.0.1:{port}").run("streamable-http", port=port)


if __name__ == "__main__":
    main()
