"""An upstream MCP server as a process of its own, which writes down every request it gets before it answers.

Run as ``python -m tests.gateway.killable PORT LOG ERA``. Its tool ``echo`` takes as many seconds as its argument ``for`` says.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import Response

from tests.gateway.upstreams import Upstream


@dataclass
class Logged(Upstream):
    """A scripted server with a log of its own on disk."""

    log: Path = Path("log")

    async def _serve(self, request: Request) -> Response:
        body = json.loads(await request.body() or b"{}")
        rejected = self.era == "legacy" and request.headers.get("mcp-session-id") not in self.sessions
        with self.log.open("a") as log:
            log.write(json.dumps({"headers": dict(request.headers), "body": body, "rejected": rejected}) + "\n")
        if body.get("method") == "tools/call":
            await asyncio.sleep(body["params"].get("arguments", {}).get("for", 0))
        return await super()._serve(request)


def logged(log: Path) -> list[dict[str, Any]]:
    """What such a server has written down."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


if __name__ == "__main__":
    server = Logged(era=sys.argv[3], log=Path(sys.argv[2]))
    uvicorn.run(server.app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="critical")
