"""What an upstream answered, in the era of the client: the translation matrix of results and errors.

Members nobody here knows, and content of any type, pass through as the text they came in.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from mcplocal import wire
from mcplocal.json_text import Member, Members, read_objects, write, write_members, write_object
from mcplocal.offers.uris import qualified, server_of
from mcplocal.protocol.envelope import Rejection
from mcplocal.upstream.answers import Answer, RpcError
from mcplocal.upstream.wishes import NOT_TOLD
from mcplocal.uses import Use
from mcplocal.wire import Era

SERVER_META: Final = {wire.SERVER_INFO_KEY: wire.IMPLEMENTATION}
SERVER_META_TEXT: Final = write(SERVER_META)

MODERN_MEMBERS: Final = frozenset(("resultType", "ttlMs", "cacheScope"))
"""Members of results that the legacy era does not know."""

_NOT_PASSED: Final = MODERN_MEMBERS | {wire.META}
"""Members of results that are the gateway's own on this hop."""

_LONGEST_KNOWN: Final = 1024
"""Characters of the longest ``_meta`` that is remembered."""

LONGEST_MESSAGE: Final = 2000

GOOD_FOR_MS: Final = 1000
"""How long a modern client may keep what it was given: as long as a revocation takes at most."""

_ABOUT_OUR_REQUEST: Final = (wire.PARSE_ERROR, wire.INVALID_REQUEST, wire.METHOD_NOT_FOUND, -32042)
"""Upstream error codes that are about the gateway's own request on that hop; they become internal errors on this one."""

HELD_BY: Final = {
    "tools/call": ("content", True),
    "prompts/get": ("messages", True),
    "resources/read": ("contents", True),
    wire.COMPLETE: ("completion", False),
}
"""The member that makes a result one of its method, and whether it is a list (else an object)."""


def result_of(use: Use, answer: Answer, era: Era, id_text: str | None) -> str:
    """The result of a request that used something, as JSON text in the era of the client.

    Raises:
        Rejection: the upstream answered with a JSON-RPC error, or with nothing that can be passed on.
    """
    method = use.method
    if answer.error is not None or answer.result is None:
        raise _rejection(use, answer.error, era, id_text)
    result = answer.result
    kind = result["resultType"].value if "resultType" in result else "complete"
    if kind == "input_required" and era is Era.MODERN:
        asked = {key: member.text for key, member in result.items() if key != wire.META}
        return write_object(asked | {wire.META: _meta(answer, result, era) or "{}"})
    if kind == "input_required":
        return _failed(method, "It asks for input that your client did not say it can give.", era, id_text)
    held, is_list = HELD_BY[method]
    if method == "tools/call" and held not in result:
        result = {**result, held: Member("[]")}
    if kind != "complete" or held not in result or not (result[held].is_array if is_list else result[held].is_object):
        return _failed(method, f"The server's answer is no result of {method}.", era, id_text)
    if method == "resources/read" and (to := server_of(use.name)) is not None:
        result = {**result, held: Member(_renamed(result[held], to[0], use.name))}
    if era is Era.LEGACY and "structuredContent" in result and not result["structuredContent"].is_object:
        # Before 2026-07-28 it is an object, and its text stands in content as well.
        result = {key: member for key, member in result.items() if key != "structuredContent"}
    members = write_members([(key, member.text) for key, member in result.items() if key not in _NOT_PASSED])
    meta = _meta(answer, result, era)
    if era is Era.LEGACY:
        return f'{{{members},"_meta":{meta}}}' if meta is not None else f"{{{members}}}"
    hints = "," + write_members(_hints(answer).items()) if method == "resources/read" else ""
    return f'{{"resultType":"complete",{members},"_meta":{meta}{hints}}}'


def subscribed(use: Use, answer: Answer, era: Era, id_text: str | None) -> str:
    """The result of a request to be told of changes, as JSON text.

    Raises:
        Rejection: the server does not tell of them.
    """
    if answer.error is NOT_TOLD:
        raise Rejection(answer.error.code, answer.error.message, id_text=id_text)
    if answer.error is not None:
        raise _rejection(use, answer.error, era, id_text)
    return "{}"


def _hints(answer: Answer) -> dict[str, str]:
    """How long a modern client may keep what it read: as long as the server says, but not longer than a right may end."""
    said = answer.result["ttlMs"].value if answer.era is Era.MODERN and answer.result and "ttlMs" in answer.result else 0
    lasts = said if isinstance(said, int) and not isinstance(said, bool) else 0
    return {"ttlMs": str(max(0, min(lasts, GOOD_FOR_MS))), "cacheScope": '"private"'}


def _renamed(contents: Member, server: str, asked: str) -> str:
    """``contents`` of what was asked for in the form that says its server, with their URIs in that form too.

    All else is the text it came in.
    """
    parts = read_objects(contents.text)
    if parts is None:
        return contents.text
    for part in parts:
        uri = part["uri"].value if "uri" in part else None
        if isinstance(uri, str) and uri != asked:
            part["uri"] = Member(write(qualified(server, uri)))
    return "[" + ",".join(write_object({key: member.text for key, member in part.items()}) for part in parts) + "]"


def _failed(method: str, text: str, era: Era, id_text: str | None) -> str:
    """A failed tool is a result that a model can read; all else fails with an error."""
    if method != "tools/call":
        raise Rejection(wire.INTERNAL_ERROR, text, id_text=id_text)
    return text_result(text, era)


def text_result(text: str, era: Era) -> str:
    """A failed tool result that a model can read."""
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": True}
    if era is Era.MODERN:
        result |= {"resultType": "complete", wire.META: SERVER_META}
    return write(result)


def progress_params(params: Members, token: Any) -> str:
    """The parameters of a progress notification, under the token of the client that asked for it."""
    return write_object({key: member.text for key, member in params.items()} | {wire.PROGRESS_TOKEN: write(token)})


def _meta(answer: Answer, result: Members, era: Era) -> str | None:
    """``_meta`` of a result: what the upstream says of itself as a server is replaced by what this gateway is."""
    if wire.META in result:
        text = result[wire.META].text
        # Most servers say the same in every result: who they are.
        meta = _known_meta(text, era) if len(text) <= _LONGEST_KNOWN else _meta_of(text, era)
    else:
        meta = SERVER_META_TEXT if era is Era.MODERN else None
    if answer.note:
        return f"{meta[:-1]},{answer.note}}}" if meta is not None else f"{{{answer.note}}}"
    return meta


def _meta_of(text: str, era: Era) -> str | None:
    given = Member(text).value
    if not isinstance(given, dict) or not given:
        return SERVER_META_TEXT if era is Era.MODERN else None
    if wire.SERVER_INFO_KEY not in given and text.startswith("{"):
        # As it was written, and what the gateway is behind it.
        return f"{text.rstrip()[:-1]},{SERVER_META_TEXT[1:]}" if era is Era.MODERN else text.rstrip()
    kept = {key: value for key, value in given.items() if key != wire.SERVER_INFO_KEY}
    if not kept:
        return SERVER_META_TEXT if era is Era.MODERN else None
    return write(kept | SERVER_META) if era is Era.MODERN else write(kept)


_known_meta: Final = lru_cache(maxsize=256)(_meta_of)


def _rejection(use: Use, error: RpcError | None, era: Era, id_text: str | None) -> Rejection:
    if error is None:
        return Rejection(wire.INTERNAL_ERROR, "the server gave no result", id_text=id_text)
    code = error.code
    if code == wire.MISSING_CAPABILITY and era is Era.MODERN:  # what the server was told of the client is what it said
        required = error.data.get("requiredCapabilities") if isinstance(error.data, dict) else None
        data = {"requiredCapabilities": required if isinstance(required, dict) else {}}
        return Rejection(code, error.message[:LONGEST_MESSAGE] or "a capability is missing", data=data, id_text=id_text)
    if code in _ABOUT_OUR_REQUEST or -32099 <= code <= -32020:
        return Rejection(wire.INTERNAL_ERROR, "the server could not make sense of the gateway's request", id_text=id_text)
    if code in (wire.RESOURCE_NOT_FOUND, wire.INVALID_PARAMS):
        return not_found(use, error.message[:LONGEST_MESSAGE] or "the server does not find it", era, id_text)
    return Rejection(code, error.message[:LONGEST_MESSAGE] or "the server reports an error", id_text=id_text)


def not_found(use: Use, text: str, era: Era, id_text: str | None) -> Rejection:
    """What a client is told of something that is not there.

    Of a request to read or to subscribe nothing but the URI can be wrong. Before 2026-07-28 that had a code of its own;
    SEP-2164 made it an invalid parameter. Both carry the URI.
    """
    if use.method not in ("resources/read", wire.SUBSCRIBE):
        return Rejection(wire.INVALID_PARAMS, text, id_text=id_text)
    code = wire.RESOURCE_NOT_FOUND if era is Era.LEGACY else wire.INVALID_PARAMS
    return Rejection(code, text, data={"uri": use.name}, id_text=id_text)
