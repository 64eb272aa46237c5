"""Questions to a client of the handshake era: requests of the gateway's own, each settled by the response that comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from mcplocal.client_side import Declined
from mcplocal.json_text import write, write_object
from mcplocal.protocol.envelope import Incoming
from mcplocal.ulids import new_ulid
from mcplocal.wire import INTERNAL_ERROR

LONGEST_MESSAGE: Final = 2000
AT_ONCE: Final = 20
"""Questions of one call that a client has not answered."""


class Asking:
    """Asks the client on behalf of one call, see ``Ask``. Every call has one and hardly any uses it."""

    __slots__ = ("_asked", "_emit", "_waiting")

    def __init__(self, waiting: dict[str, asyncio.Future[str]], emit: Callable[[str], None]) -> None:
        self._waiting = waiting
        self._emit = emit
        self._asked: list[asyncio.Future[str]] = []

    async def __call__(self, method: str, params: str) -> str:
        """The client's answer."""
        if sum(not answer.done() for answer in self._asked) >= AT_ONCE:
            raise Declined(INTERNAL_ERROR, "too many questions at once")
        identity = f"mcplocal-{new_ulid()}"
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[identity] = answer
        self._asked.append(answer)
        try:
            members = [("jsonrpc", '"2.0"'), ("id", write(identity)), ("method", write(method)), ("params", params)]
            self._emit(write_object(members))
            return await answer
        finally:
            del self._waiting[identity]

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *_: object) -> None:
        for answer in self._asked:
            if not answer.done():
                answer.set_exception(Declined(INTERNAL_ERROR, "the call that this was asked for has ended"))


class Questions:
    """Those that one client has not answered yet."""

    def __init__(self) -> None:
        """Nothing has been asked."""
        self._waiting: dict[str, asyncio.Future[str]] = {}

    def of_call(self, emit: Callable[[str], None]) -> Asking:
        """What asks the client within a ``with`` block, by ``emit``. What it has not answered by the end is given up."""
        return Asking(self._waiting, emit)

    def settle(self, response: Incoming) -> None:
        """Take a response. One that nobody waits for is nobody's: the question may have been given up."""
        answer = self._waiting.get(response.id) if isinstance(response.id, str) else None
        if answer is None or answer.done():
            return
        if response.result is not None:
            answer.set_result(response.result)
            return
        error = response.error if isinstance(response.error, dict) else {}
        code, message = error.get("code"), error.get("message")
        known = code if isinstance(code, int) and not isinstance(code, bool) else INTERNAL_ERROR
        answer.set_exception(Declined(known, str(message or "the client declines")[:LONGEST_MESSAGE]))
