"""What comes back from an upstream, and how asking it can fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from msgspec import UNSET

from mcplocal.json_text import Members, NotJson, members_of, read_rpc, value_of
from mcplocal.wire import Era


@dataclass(frozen=True)
class RpcError:
    """A JSON-RPC error an upstream answered with."""

    code: int
    message: str
    data: Any = None


@dataclass(slots=True)
class Answer:
    """A JSON-RPC response: the members of its result with their own text, or an error.

    Attributes:
        era: the era of the upstream that gave it, so of the shape of the result.
        size: characters of the whole message.
        note: what the gateway adds to its ``_meta``, as JSON members.
    """

    era: Era
    result: Members | None = None
    error: RpcError | None = None
    size: int = 0
    note: str = ""


_NO_PARAMS: Final[Members] = {}


@dataclass(slots=True)
class Message(Answer):
    """One JSON-RPC message an upstream sent: an answer, a request of its own, or a notification.

    Its ``era`` says nothing before ``answer`` does: a message does not tell it.
    """

    id: Any = None
    has_id: bool = False
    method: str | None = None
    params: Members = field(default_factory=lambda: _NO_PARAMS)

    def answer(self, era: Era) -> Answer:
        """This message as an answer of that era. It is the same object: making another for each call costs more."""
        self.era = era
        return self


Notify = Callable[[str, Members], None]
"""Called with the method and parameters of each notification that belongs to a request under way. It must not wait:
whoever calls it is reading for other requests too."""


Said = Callable[[str, Members], None]
"""Called with the method and parameters of each notification that belongs to no request. It must not wait either."""


Note = Callable[[Literal["stderr", "gateway"], str], None]
"""Takes one line of a server's log: what it wrote to standard error, or what the gateway says of it."""


class UpstreamFailed(Exception):
    """An upstream could not be asked, or gave no usable answer. It never leaves the gateway.

    Attributes:
        detail: for the log and the instance's status; a client is told no more than the server's name and ``sent``.
        sent: whether the upstream may have received the request, and so may have acted on it.
        lasting: whether asking again is pointless until the configuration changes (a refused credential or command).
    """

    def __init__(self, detail: str, *, sent: bool = False, lasting: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.sent = sent
        self.lasting = lasting


def read_message(text: str) -> Message:
    """The one JSON-RPC message ``text`` is.

    Raises:
        NotJson: it is none.
    """
    rpc = read_rpc(text)
    if rpc.jsonrpc != "2.0":
        raise NotJson("it is no JSON-RPC 2.0 message")
    has_id, identity = rpc.id is not UNSET, value_of(rpc.id)
    if rpc.method is not UNSET:
        method = rpc.method
        if not isinstance(method, str):
            raise NotJson("its method is no string")
        params = members_of(rpc.params) if rpc.params else _NO_PARAMS
        return Message(Era.LEGACY, None, None, len(text), "", identity, has_id, method, params)
    if rpc.error is not UNSET:
        error = value_of(rpc.error)
        if not isinstance(error, dict) or not isinstance(error.get("code"), int) or isinstance(error.get("code"), bool):
            raise NotJson("its error has no code")
        found = RpcError(error["code"], str(error.get("message", "")), error.get("data"))
        return Message(Era.LEGACY, None, found, len(text), "", identity, has_id)
    if rpc.result is not UNSET:
        if rpc.result is None:
            raise NotJson("its result is no object")
        return Message(Era.LEGACY, members_of(rpc.result), None, len(text), "", identity, has_id)
    raise NotJson("it is neither request, notification nor response")
