"""An HTTP server that speaks the OpenAI protocol as a test tells it, and wrongly if a test wants that."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp


@dataclass
class LanguageModel:
    """A model behind ``/v1/chat/completions``.

    Attributes:
        says: the pieces of its answer.
        usage: the tokens it says it counted; ``None``: it does not say.
        fails: answers before the good one: a status, or a status and headers.
        stalls_after: pieces after which it says nothing more, and does not end.
        raw: what it answers instead of anything meaningful.
        breaks_off: whether the stream ends without saying that it is complete.
        seen: the requests' bodies.
        bearers: the requests' ``Authorization``.
    """

    says: tuple[str, ...] = ("It is ", "about x.")
    usage: int | None = 42
    fails: list[int | tuple[int, dict[str, str]]] = field(default_factory=list)
    stalls_after: int | None = None
    raw: tuple[str, str] | None = None
    breaks_off: bool = False
    whole: bool = False
    seen: list[dict[str, Any]] = field(default_factory=list)
    bearers: list[str | None] = field(default_factory=list)

    def app(self) -> ASGIApp:
        return Starlette(routes=[Route("/v1/chat/completions", self._complete, methods=["POST"])])

    async def _complete(self, request: Request) -> Response:
        self.seen.append(await request.json())
        self.bearers.append(request.headers.get("authorization"))
        if self.fails:
            failure = self.fails.pop(0)
            status, headers = failure if isinstance(failure, tuple) else (failure, {})
            return Response(status_code=status, headers=headers)
        if self.raw is not None:
            return Response(self.raw[1], media_type=self.raw[0])
        usage = {} if self.usage is None else {"usage": {"total_tokens": self.usage}}
        if self.whole:
            message = {"choices": [{"message": {"role": "assistant", "content": "".join(self.says)}}], **usage}
            return Response(json.dumps(message), media_type="application/json")
        return StreamingResponse(self._stream(usage), media_type="text/event-stream")

    async def _stream(self, usage: dict[str, Any]) -> AsyncIterator[str]:
        for number, piece in enumerate(self.says):
            if number == self.stalls_after:
                await asyncio.sleep(30)
            yield f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': piece}}]})}\n\n"
        if not self.breaks_off:
            yield f"data: {json.dumps({'choices': [], **usage})}\n\ndata: [DONE]\n\n"
