"""Where a client without a bearer finds out who gives it one: protected resource metadata (RFC 9728).

Only where authorization servers are configured. Without any, a challenge is a bare ``Bearer``, so that a client stops and says
so, instead of looking for a log-in that does not exist.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mcplocal.protocol.origin import Addressed
from mcplocal.settings import Settings
from mcplocal.wire import IMPLEMENTATION

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"

_ENDPOINT: Final = re.compile(r"/mcp|/projects/[a-z0-9._-]{1,63}/mcp")


class ResourceMetadata:
    """The metadata of every endpoint, and the reference to it in challenges."""

    def __init__(self, settings: Settings) -> None:
        self._servers = list(settings.authorization_servers)
        self._base = (settings.public_url or "").rstrip("/")
        self._addressed = Addressed(settings)

    def challenge(self, said: str, path: str) -> str:
        """The challenge ``said`` to a request for ``path``, with the address of the metadata if there is any."""
        if not self._servers or not _ENDPOINT.fullmatch(path):
            return said
        comma = "," if " " in said else ""
        return f'{said}{comma} resource_metadata="{self._base}{WELL_KNOWN}{path}"'

    def routes(self) -> list[Route]:
        """Both well-known forms: with the path of an endpoint behind it, and bare for ``/mcp``."""
        if not self._servers:
            return []
        return [
            Route(WELL_KNOWN, self._serve, methods=["GET"]),
            Route(WELL_KNOWN + "{path:path}", self._serve, methods=["GET"]),
        ]

    async def _serve(self, request: Request) -> Response:
        # Whether a project exists is not said here: any name that could be one has metadata.
        path = request.path_params.get("path") or "/mcp"
        if not self._addressed.is_host(request.headers.getlist("host")) or not _ENDPOINT.fullmatch(path):
            return Response(status_code=404)
        found = {
            "resource": self._base + path,
            "authorization_servers": self._servers,
            "bearer_methods_supported": ["header"],
            "resource_name": IMPLEMENTATION["title"],
        }
        return JSONResponse(found, headers={"Cache-Control": "max-age=300"})
