"""The headers of requests. A client sends nearly the same ones with each, so what they say is found once for all of those.

Only names are among them that are known to tell no secret and to change seldom (``SHARED``): lengths, ids, arguments and
whatever may be a credential belong to one request alone, and are never remembered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mcplocal import wire
from mcplocal.event_stream import MEDIA_TYPE
from mcplocal.header_names import lower_name
from mcplocal.param_headers import decode

Headers = Mapping[str, Sequence[str]]
"""Every header by lower-case name, with all its values in order, white space around them taken off."""

Pairs = Sequence[tuple[bytes, bytes]]
"""Headers as they come over the wire."""

_SHARED: Final = frozenset(
    (
        "accept",
        "accept-encoding",
        "accept-language",
        "connection",
        "content-type",
        "expect",
        "host",
        "origin",
        "user-agent",
        wire.VERSION_HEADER,
        wire.METHOD_HEADER,
        wire.NAME_HEADER,
    )
)

SHARED: Final = frozenset(
    spelt.encode() for name in _SHARED for spelt in (name, name.title(), name.upper(), name.title().replace("Mcp-", "MCP-"))
)
"""Names of headers that requests have in common, as they are usually spelt."""

MOST: Final = 512
"""Sets of headers that are remembered at most, so that nobody can fill the memory with them."""

LONGEST: Final = 2048
WIDEST: Final = 32
"""Bytes of the largest one that is, and its headers: many short ones take far more memory than bytes."""


class Head:
    """Headers that many requests have in common.

    Attributes:
        headers: by name.
        is_json: whether the body is said to be JSON in UTF-8.
        takes_json: whether JSON may be answered; a client that says nothing takes it.
        takes_stream: whether an event stream may be answered.
        expects_100: whether the client waits to be told that it may send the body.
        repeated: the revision, the method and the name that the headers of 2026-07-28 repeat; ``None`` if one stands twice.
        welcomed_by: what has found such a request to be meant for it; ``None`` before that.
    """

    __slots__ = ("expects_100", "headers", "is_json", "repeated", "takes_json", "takes_stream", "welcomed_by")

    def __init__(self, headers: Headers) -> None:
        self.headers = headers
        media = headers.get("content-type", ())
        accepted = headers.get("accept")
        self.is_json = len(media) == 1 and _is_json(media[0])
        self.takes_json = not accepted or _takes(",".join(accepted), "application/json")
        self.takes_stream = accepted is not None and _takes(",".join(accepted), MEDIA_TYPE)
        expected = headers.get("expect", ())
        self.expects_100 = len(expected) == 1 and expected[0].lower() == "100-continue"
        repeating = [headers.get(name, ()) for name in (wire.VERSION_HEADER, wire.METHOD_HEADER, wire.NAME_HEADER)]
        self.repeated: tuple[str | None, str | None, str | None] | None = None
        if all(len(values) <= 1 for values in repeating):
            version, method, name = (values[0] if values else None for values in repeating)
            self.repeated = version, method, decode(name) if name is not None else None
        self.welcomed_by: object = None


_known: dict[tuple[tuple[bytes, bytes], ...], Head] = {}


def taken_apart(shared: Pairs, own: Pairs) -> tuple[Head, Headers]:
    """What the headers of a request say, and all of them by name.

    Args:
        shared: those that are called as in ``SHARED``.
        own: the others.
    """
    found = by_name(own)
    if _SHARED.isdisjoint(found):
        key = tuple(shared)
        head = _known.get(key) or _remembered(key)
        return head, {**head.headers, **found}
    # Somebody spells one of the shared names as nobody does. It may stand twice then, and must be seen to.
    found = by_name((*shared, *own))
    return Head(found), found


def _remembered(key: tuple[tuple[bytes, bytes], ...]) -> Head:
    head = Head(by_name(key))
    if len(key) <= WIDEST and sum(len(name) + len(value) for name, value in key) <= LONGEST:
        if len(_known) >= MOST:
            _known.clear()
        _known[key] = head
    return head


def by_name(headers: Pairs) -> dict[str, list[str]]:
    """Headers by lower-case name, each with all its values in order."""
    found: dict[str, list[str]] = {}
    for raw, value in headers:
        name = lower_name(raw)
        text = value.decode("latin-1").strip(" \t")
        if name in found:
            found[name].append(text)
        else:
            found[name] = [text]
    return found


def _is_json(media: str) -> bool:
    kind, _, parameters = media.partition(";")
    charset = parameters.strip().lower()
    return kind.strip().lower() == "application/json" and charset in ("", "charset=utf-8", 'charset="utf-8"')


def _takes(accepted: str, media: str) -> bool:
    main = media.partition("/")[0]
    for part in accepted.lower().split(","):
        kind, _, parameters = part.partition(";")
        if kind.strip() in (media, f"{main}/*", "*/*") and parameters.replace(" ", "") not in ("q=0", "q=0.0"):
            # curl's */* asks for nothing in particular; a stream is only for who can name it.
            return media == "application/json" or kind.strip() == media
    return False
