"""The era of the per-request envelope (2026-07-28): what must be in it, and what its headers must repeat."""

from __future__ import annotations

from typing import Any, Final

from mcplocal import wire
from mcplocal.client_side import LEVELS, ClientSide, askable
from mcplocal.param_headers import decode
from mcplocal.protocol.envelope import Incoming, Rejection
from mcplocal.protocol.head import Head, Headers

_SILENT: Final = ClientSide()
"""A client that may be asked nothing and wants to hear nothing. In this era nobody changes what is known of one."""


def is_modern(message: Incoming, headers: Headers) -> bool:
    """Whether the message belongs to this era: its body says so, or its header names a revision that is no legacy one."""
    return message.is_enveloped or any(version not in wire.LEGACY_VERSIONS for version in headers.get(wire.VERSION_HEADER, ()))


def check_request(message: Incoming, head: Head | None) -> None:
    """Check the envelope, and the headers against it where there are any.

    Raises:
        Rejection: a required key is missing (-32602), a header is missing, doubled or differs (-32020), or the revision
            is not spoken here (-32022).
    """
    meta = message.meta
    if wire.VERSION_KEY not in meta or wire.CAPABILITIES_KEY not in meta:
        missing = [key for key in (wire.VERSION_KEY, wire.CAPABILITIES_KEY) if key not in meta]
        raise Rejection(wire.INVALID_PARAMS, f"_meta lacks {', '.join(missing)}", id_text=message.id_text)
    version = meta[wire.VERSION_KEY]
    if head is not None and not _repeats(head, message, version):
        _check_headers(message, version, head.headers)
    if not isinstance(version, str):
        raise Rejection(wire.INVALID_PARAMS, f"{wire.VERSION_KEY} is not a string", id_text=message.id_text)
    check_version(version, message.id_text)
    if not isinstance(meta[wire.CAPABILITIES_KEY], dict):
        raise Rejection(wire.INVALID_PARAMS, f"{wire.CAPABILITIES_KEY} is not an object", id_text=message.id_text)


def client_of(message: Incoming) -> ClientSide:
    """What the client that sent ``message`` may be asked, and what it wants to hear while this request runs.

    Raises:
        Rejection: there is no such severity (-32602).
    """
    level = message.meta.get(wire.LOG_LEVEL_KEY)
    if level is not None and level not in LEVELS:
        raise Rejection(wire.INVALID_PARAMS, f"{wire.LOG_LEVEL_KEY} is none of {', '.join(LEVELS)}", id_text=message.id_text)
    declared = message.meta.get(wire.CAPABILITIES_KEY)
    if not declared and level is None:
        return _SILENT
    return ClientSide(askable(declared) if declared else {}, level)


def check_version(version: str, id_text: str | None) -> None:
    """Check that the revision is spoken here.

    Raises:
        Rejection: it is not (-32022), with what is.
    """
    if version != wire.MODERN_VERSION:
        data = {"supported": [wire.MODERN_VERSION], "requested": version[:64]}
        raise Rejection(wire.UNSUPPORTED_VERSION, "Unsupported protocol version", data=data, id_text=id_text)


def _repeats(head: Head, message: Incoming, version: Any) -> bool:
    """Whether the headers say what the body says, as they nearly always do."""
    repeated, method = head.repeated, message.method
    if repeated is None or repeated[0] != version or repeated[1] != method:
        return False
    named_by = wire.NAMED_BY.get(method)
    named = message.value(named_by) if named_by else None
    return named is None or repeated[2] == named


def _check_headers(message: Incoming, version: Any, headers: Headers) -> None:
    if _one(message, headers, wire.VERSION_HEADER) != version:
        raise _mismatch(message, f"the header {wire.VERSION_HEADER} does not repeat the envelope's revision")
    if _one(message, headers, wire.METHOD_HEADER) != message.method:
        raise _mismatch(message, f"the header {wire.METHOD_HEADER} does not repeat the method")
    said = _one(message, headers, wire.NAME_HEADER)
    named_by = wire.NAMED_BY.get(message.method)
    named = message.value(named_by) if named_by else None
    if named is not None and (said is None or decode(said) != named):
        raise _mismatch(message, f"the header {wire.NAME_HEADER} does not repeat params.{named_by}")


def _one(message: Incoming, headers: Headers, name: str) -> str | None:
    values = headers.get(name)
    if not values:
        return None
    if len(values) > 1:
        raise _mismatch(message, f"the header {name} stands twice")
    return values[0]


def _mismatch(message: Incoming, text: str) -> Rejection:
    return Rejection(wire.HEADER_MISMATCH, text, id_text=message.id_text)
