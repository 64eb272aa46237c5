"""The control plane in a process of its own, with two routes more. Prints its address, serves until its input ends.

``/empty`` answers nothing at all: the budget's measure. ``/hash`` does what any program would have to that knows its caller by
the SHA-256 of a bearer: the hash, a dictionary, a small JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mcpctl.api.app import build_app
from mcpctl.api.control_plane import ControlPlane
from mcpctl.long_life import collect_rarely
from mcpctl.server.listener import Listener, run
from mcpctl.store.database import Database

ANSWER = {"active": True, "sub": "McpToken:" + "ab" * 32, "bindings": ["role:run,resource:servers,name:one"] * 15}


async def empty(_request: Request) -> Response:
    """Nothing."""
    return Response()


async def hashed(request: Request) -> Response:
    """A dictionary of bearers."""
    digest = sha256(request.headers.get("authorization", "").encode()).hexdigest()
    return Response(json.dumps(KNOWN.get(digest, ANSWER)), media_type="application/json")


KNOWN: dict[str, dict[str, object]] = {}


async def serve(database_url: str, policy_directory: Path) -> None:
    """Serve until standard input ends."""
    control, _ = ControlPlane.prepare(Database(database_url), policy_directory, "a password nobody uses")
    app = build_app(control)
    # In front of all others: a route of the product pays for finding its place in the table.
    app.router.routes.insert(0, Route("/empty", empty, methods=["GET", "POST"]))
    app.router.routes.insert(1, Route("/hash", hashed, methods=["GET", "POST"]))
    listener = Listener(app, "127.0.0.1", 0)
    running = asyncio.create_task(listener.serve_until_stopped())
    collect_rarely()
    print(listener.address, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    control.draining = True
    listener.stop()
    await running


if __name__ == "__main__":
    run(serve(sys.argv[1], Path(sys.argv[2])))
