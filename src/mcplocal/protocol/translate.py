"""What an upstream answered, in the era of the client: the translation matrix of results and errors.

Members nobody here knows, and content of any type, pass through as the text they came in.
"""

from __future__ import annotations

from typing import Any, Final

from mcplocal import wire
from mcplocal.json_text import Members, write, write_object
from mcplocal.protocol.envelope import Rejection
from mcplocal.upstream.answers import Answer, RpcError
from mcplocal.wire import Era

SERVER_META: Final = {wire.SERVER_INFO_KEY: wire.IMPLEMENTATION}
SERVER_META_TEXT: Final = write(SERVER_META)

MODERN_MEMBERS: Final = frozenset(("resultType", "ttlMs", "cacheScope"))
"""Members of results that the legacy era does not know."""

LONGEST_MESSAGE: Final = 2000

_CODES: Final = {-32002: wire.INVALID_PARAMS}
"""Upstream error codes that mean something else on this hop. Those about the gateway's own request become internal errors."""
_ABOUT_OUR_REQUEST: Final = (wire.PARSE_ERROR, wire.INVALID_REQUEST, wire.METHOD_NOT_FOUND, -32042)


def tool_result(answer: Answer, era: Era, id_text: str | None) -> str:
    """The result of a ``tools/call`` as JSON text.

    Raises:
        Rejection: the upstream answered with a JSON-RPC error.
    """
    if answer.error is not None or answer.result is None:
        raise _rejection(answer.error, era, id_text)
    result = answer.result
    kind = result["resultType"].value if "resultType" in result else "complete"
    if kind == "input_required" and era is Era.MODERN:
        members = {key: member.text for key, member in result.items() if key != wire.META}
        return write_object(members | {wire.META: _meta(result, era) or "{}"})
    if kind == "input_required":
        return text_result("The tool asks for input that your client did not say it can give.", era)
    if kind != "complete" or ("content" in result and not result["content"].is_array):
        return text_result("The server's answer is no tool result.", era)
    members = {key: member.text for key, member in result.items() if key not in MODERN_MEMBERS and key != wire.META}
    members.setdefault("content", "[]")
    meta = _meta(result, era)
    if meta is not None:
        members[wire.META] = meta
    if era is Era.MODERN:
        return write_object({"resultType": '"complete"', **members})
    if "structuredContent" in result and not result["structuredContent"].is_object:
        del members["structuredContent"]  # before 2026-07-28 it is an object, and its text stands in content as well
    return write_object(members)


def text_result(text: str, era: Era) -> str:
    """A failed tool result that a model can read."""
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": True}
    if era is Era.MODERN:
        result |= {"resultType": "complete", wire.META: SERVER_META}
    return write(result)


def progress_params(params: Members, token: Any) -> str:
    """The parameters of a progress notification, under the token of the client that asked for it."""
    return write_object({key: member.text for key, member in params.items()} | {wire.PROGRESS_TOKEN: write(token)})


def _meta(result: Members, era: Era) -> str | None:
    """``_meta`` of a result: what the upstream says of itself as a server is replaced by what this gateway is."""
    given = result[wire.META].value if wire.META in result else {}
    if not isinstance(given, dict) or not given:
        return SERVER_META_TEXT if era is Era.MODERN else None
    kept = {key: value for key, value in given.items() if key != wire.SERVER_INFO_KEY}
    if not kept:
        return SERVER_META_TEXT if era is Era.MODERN else None
    return write(kept | SERVER_META) if era is Era.MODERN else write(kept)


def _rejection(error: RpcError | None, era: Era, id_text: str | None) -> Rejection:
    if error is None:
        return Rejection(wire.INTERNAL_ERROR, "the server gave no result", id_text=id_text)
    code = _CODES.get(error.code, error.code)
    if code == wire.MISSING_CAPABILITY and era is Era.MODERN:  # what the server was told of the client is what it said
        required = error.data.get("requiredCapabilities") if isinstance(error.data, dict) else None
        data = {"requiredCapabilities": required if isinstance(required, dict) else {}}
        return Rejection(code, error.message[:LONGEST_MESSAGE] or "a capability is missing", data=data, id_text=id_text)
    if code in _ABOUT_OUR_REQUEST or -32099 <= code <= -32020:
        return Rejection(wire.INTERNAL_ERROR, "the server could not make sense of the gateway's request", id_text=id_text)
    return Rejection(code, error.message[:LONGEST_MESSAGE] or "the server reports an error", id_text=id_text)
