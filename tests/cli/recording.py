"""A small HTTP server on loopback that remembers what it was asked and answers what it was told to."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mcpctl.errors import Problem

Answer = Response | Callable[["Asked"], Response]


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    bearer: str | None
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Recording:
    """Answers in order, the last one again and again; every request in ``asked``."""

    address: str = ""
    answers: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    slow: float = 0.0

    def say(self, *answers: Answer | dict[str, Any] | list[Any] | Problem) -> None:
        """From now on answer this; an object stands for itself as JSON, a problem for its document."""
        self.asked.clear()
        self.answers = [_response(answer) for answer in answers]

    def next(self, asked: Asked) -> Response:
        """The answer to this request."""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer(asked) if callable(answer) and not isinstance(answer, Response) else answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application."""
        request = Request(scope, receive)
        raw = await request.body()
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ") or None
        path = scope["raw_path"].decode()
        is_form = request.headers.get("content-type") == "application/x-www-form-urlencoded"
        body = raw.decode() if is_form else json.loads(raw) if raw else None
        asked = Asked(request.method, path, dict(request.query_params), bearer, body, dict(request.headers))
        self.asked.append(asked)
        if self.slow:
            await asyncio.sleep(self.slow)
        await self.next(asked)(scope, receive, send)


def _response(answer: Answer | dict[str, Any] | list[Any] | Problem) -> Answer:
    if isinstance(answer, Problem):
        return JSONResponse(answer.as_json(), answer.status, headers=answer.headers, media_type="application/problem+json")
    return JSONResponse(answer) if isinstance(answer, dict | list) else answer


@contextmanager
def recording_server() -> Iterator[Recording]:
    """The server in a thread of its own, on a free port, until the block ends."""
    found = Recording()
    server = uvicorn.Server(
        uvicorn.Config(found, "127.0.0.1", 0, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    for _ in range(500):
        if server.started:
            break
        threading.Event().wait(0.01)
    found.address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.should_exit = True
        thread.join(timeout=5)
