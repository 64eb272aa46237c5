"""One message from a client, read strictly, before anybody decides what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from msgspec import Raw

from mcplocal import wire
from mcplocal.heavy_json import MOST_VALUES, is_heavy
from mcplocal.json_text import (
    UNREAD,
    NoObject,
    NotJson,
    Rpc,
    decode,
    read,
    read_compact,
    read_rpc,
    text_of,
    write,
    write_object,
)

Kind = Literal["request", "notification", "response"]

_NOTHING: Final[dict[str, Any]] = {}


class Rejection(Exception):
    """A JSON-RPC error for the client.

    Attributes:
        id_text: the id of the request as it was written; ``None`` where none could be read.
    """

    def __init__(self, code: int, message: str, *, data: Any = None, id_text: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
        self.id_text = id_text


@dataclass(slots=True)
class Incoming:
    """A JSON-RPC message.

    Attributes:
        id: of a request; a string or an integer.
        id_text: the same as it was written.
        params: each parameter's value.
        meta: ``_meta`` among them.
        written: each parameter as it was written.
        size: bytes of the whole message.
        result: of a response that is one, as JSON text.
        error: of a response that is one, parsed.
    """

    kind: Kind
    method: str = ""
    id: str | int | None = None
    id_text: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    written: Mapping[str, Raw] = field(default_factory=dict)
    size: int = 0
    result: str | None = None
    error: Any = None

    @property
    def is_enveloped(self) -> bool:
        """Whether it carries the modern era's envelope, at least the part that says so."""
        return wire.VERSION_KEY in self.meta

    def value(self, name: str) -> Any:
        """A parameter's value; ``None`` if it is absent."""
        return self.params.get(name)

    def text(self, name: str) -> str:
        """A parameter, which is there, as it was written."""
        return text_of(self.written[name])


def parse(body: bytes) -> Incoming:
    """The one message ``body`` is.

    Raises:
        Rejection: it is not JSON, holds a member twice, or is no single JSON-RPC 2.0 message.
    """
    try:
        # A body of no more bytes than that holds no more values: nobody has to count them.
        values = read_compact(body) if len(body) <= MOST_VALUES else UNREAD
        if values is UNREAD:
            values = _read_slowly(body)
        if isinstance(values, list):
            raise Rejection(wire.INVALID_REQUEST, "a batch is not accepted: send one message per request")
        rpc = read_rpc(body, values)
    except NoObject:
        raise Rejection(wire.INVALID_REQUEST, "the body is no JSON-RPC 2.0 message: it is not an object") from None
    except NotJson as error:
        raise Rejection(wire.PARSE_ERROR, f"the body cannot be read: {error}") from None
    identity = values.get("id")
    id_text = text_of(rpc.id) if isinstance(identity, (str, int)) and not isinstance(identity, bool) else None
    if values.get("jsonrpc") != "2.0":
        raise Rejection(wire.INVALID_REQUEST, "the body is no JSON-RPC 2.0 message", id_text=id_text)
    if "method" not in values:
        if "id" in values and ("result" in values) != ("error" in values):
            return _response(values, rpc, id_text, len(body))
        raise Rejection(wire.INVALID_REQUEST, "the message has no method", id_text=id_text)
    method = values["method"]
    if not isinstance(method, str):
        raise Rejection(wire.INVALID_REQUEST, "the method is not a string", id_text=id_text)
    if id_text is None and "id" in values:
        raise Rejection(wire.INVALID_REQUEST, "the id is neither a string nor an integer")
    params = values.get("params", _NOTHING)
    if not isinstance(params, dict):
        raise Rejection(wire.INVALID_REQUEST, "the params are not an object", id_text=id_text)
    meta = params.get(wire.META, _NOTHING)
    if not isinstance(meta, dict):
        raise Rejection(wire.INVALID_PARAMS, "_meta is not an object", id_text=id_text)
    kind: Kind = "request" if id_text is not None else "notification"
    return Incoming(kind, method, identity, id_text, params, meta, rpc.params or _NOTHING, len(body))


def _read_slowly(body: bytes) -> Any:
    """What ``body`` says, however it is written; each of its objects is looked at.

    Raises:
        Rejection: it holds too much.
        NotJson: it is not JSON, or holds a member twice.
    """
    text = decode(body)
    if is_heavy(text):
        raise Rejection(wire.INVALID_REQUEST, f"the message holds more than {MOST_VALUES} values")
    return read(text, unique=True)


def _response(values: dict[str, Any], rpc: Rpc, id_text: str | None, size: int) -> Incoming:
    response = Incoming("response", id=values["id"], id_text=id_text, size=size)
    if "error" in values:
        response.error = values["error"]
    elif rpc.result:
        response.result = write_object({key: text_of(raw) for key, raw in rpc.result.items()})
    elif isinstance(values["result"], dict):
        response.result = "{}"
    return response


def result_text(id_text: str | None, result: str) -> str:
    """The response that carries ``result``, which is JSON text."""
    return f'{{"jsonrpc":"2.0","id":{id_text or "null"},"result":{result}}}'


def error_text(rejection: Rejection) -> str:
    """The response that says ``rejection``."""
    error: dict[str, Any] = {"code": rejection.code, "message": rejection.message}
    if rejection.data is not None:
        error["data"] = rejection.data
    return f'{{"jsonrpc":"2.0","id":{rejection.id_text or "null"},"error":{write(error)}}}'


def notification_text(method: str, params: str) -> str:
    """A notification with ``params``, which is JSON text."""
    return write_object([("jsonrpc", '"2.0"'), ("method", write(method)), ("params", params)])
