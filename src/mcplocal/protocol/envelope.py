"""One message from a client, read strictly, before anybody decides what it means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from mcplocal import wire
from mcplocal.heavy_json import MOST_VALUES, is_heavy
from mcplocal.json_text import Members, NoObject, NotJson, Rpc, decode, members_of, read, read_rpc, text_of, write, write_object

Kind = Literal["request", "notification", "response"]


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
        params: each parameter with its text.
        meta: the parsed ``_meta``.
        size: bytes of the whole message.
        result: of a response that is one, as JSON text.
        error: of a response that is one, parsed.
    """

    kind: Kind
    method: str = ""
    id: str | int | None = None
    id_text: str | None = None
    params: Members = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    size: int = 0
    result: str | None = None
    error: Any = None

    @property
    def is_enveloped(self) -> bool:
        """Whether it carries the modern era's envelope, at least the part that says so."""
        return wire.VERSION_KEY in self.meta

    def value(self, name: str) -> Any:
        """A parameter's value; ``None`` if it is absent."""
        member = self.params.get(name)
        return member.value if member is not None else None


def parse(body: bytes) -> Incoming:
    """The one message ``body`` is.

    Raises:
        Rejection: it is not JSON, holds a member twice, or is no single JSON-RPC 2.0 message.
    """
    try:
        text = decode(body)
        if is_heavy(text):
            raise Rejection(wire.INVALID_REQUEST, f"the message holds more than {MOST_VALUES} values")
        values = read(text, unique=True)
        if isinstance(values, list):
            raise Rejection(wire.INVALID_REQUEST, "a batch is not accepted: send one message per request")
        rpc = read_rpc(text, values)
    except NoObject:
        raise Rejection(wire.INVALID_REQUEST, "the body is no JSON-RPC 2.0 message: it is not an object") from None
    except NotJson as error:
        raise Rejection(wire.PARSE_ERROR, f"the body cannot be read: {error}") from None
    identity = values.get("id")
    id_text = text_of(rpc.id) if isinstance(identity, str | int) and not isinstance(identity, bool) else None
    if values.get("jsonrpc") != "2.0":
        raise Rejection(wire.INVALID_REQUEST, "the body is no JSON-RPC 2.0 message", id_text=id_text)
    if "method" not in values:
        if "id" in values and ("result" in values) != ("error" in values):
            return _response(values, rpc, id_text, len(body))
        raise Rejection(wire.INVALID_REQUEST, "the message has no method", id_text=id_text)
    method = values["method"]
    if not isinstance(method, str):
        raise Rejection(wire.INVALID_REQUEST, "the method is not a string", id_text=id_text)
    if "id" in values and id_text is None:
        raise Rejection(wire.INVALID_REQUEST, "the id is neither a string nor an integer")
    given = values.get("params", {})
    if not isinstance(given, dict):
        raise Rejection(wire.INVALID_REQUEST, "the params are not an object", id_text=id_text)
    params = members_of(rpc.params, given) if rpc.params else {}
    meta = given.get(wire.META, {})
    if not isinstance(meta, dict):
        raise Rejection(wire.INVALID_PARAMS, "_meta is not an object", id_text=id_text)
    if id_text is None:
        return Incoming("notification", method, params=params, meta=meta, size=len(body))
    return Incoming("request", method, identity, id_text, params, meta, len(body))


def _response(values: dict[str, Any], rpc: Rpc, id_text: str | None, size: int) -> Incoming:
    response = Incoming("response", id=values["id"], id_text=id_text, size=size)
    if "error" in values:
        response.error = values["error"]
    elif rpc.result:
        response.result = write_object({key: member.text for key, member in members_of(rpc.result).items()})
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
