"""What a cached result is kept under: everything that decides who may have it and what it would be, hashed with a key.

Whoever looks into the directory learns neither who called nor with what; and whoever can write there, but does not know the
gateway's credential, cannot make up an entry. Gateways with one credential share what they keep on one volume.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from hashlib import blake2b, sha256
from typing import Any, Final

import msgspec

from mcplocal.gate import Caller
from mcplocal.json_text import write
from mcplocal.recent import Recent
from mcplocal.shapes import Shape
from mcplocal.uses import Use

_TRACE_CONTEXT: Final = frozenset(("traceparent", "tracestate"))
"""Members of ``_meta`` that differ from call to call and that no result depends on (W3C Trace Context)."""


_MINUS_ZERO: Final = re.compile(r"[\[:,\s]-0(?![\d.eE])")
REMEMBERED: Final = 512
"""Names of stamps, of which every call needs one; and what is the same in the keys of one caller and tool."""

_sorting: Final = msgspec.json.Encoder(order="sorted")
_encoder: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


class CacheKeys:
    """Makes keys, and marks of what is kept under them."""

    def __init__(self, secret: Callable[[], str]) -> None:
        """Use a key made from ``secret``, which is the gateway's credential as it is then."""
        self._secret = secret
        self._made: tuple[str, bytes] = ("", b"")
        self._stamps: Recent[tuple[bytes, str], str] = Recent(REMEMBERED)
        self._beginnings: Recent[tuple[str, ...], str] = Recent(REMEMBERED)

    def of_call(self, caller: Caller, use: Use, asked: str, digest: str, shape: Shape) -> str:
        """The name under which the result of a call is kept.

        Args:
            caller: who calls, by what rights.
            use: what it calls, with what.
            asked: ``<server>/<tool>``.
            digest: of everything about reaching the server.
            shape: what becomes of its results.
        """
        meta = {name: value for name, value in use.meta.items() if name not in _TRACE_CONTEXT} if use.meta else {}
        client = use.client.capabilities if use.client is not None else {}
        what = (
            caller.identity.subject,
            str(caller.authority.revision),
            caller.project,
            asked,
            digest,
            shape.key,
        )
        beginning = self._beginnings.get(what)
        if beginning is None:
            beginning = self._beginnings.keep(what, _told_apart("result", *what))
        others = sorted((name, text) for name, text in use.params.items() if name != "arguments") if len(use.params) > 1 else ()
        rest = _told_apart(
            _canonical(use.arguments, use.params.get("arguments", "")),
            write(others) if others else "",
            write(meta) if meta else "",
            _sorted(client) if client else "",
        )
        return self._hashed(beginning + rest)

    def of_stamp(self, digest: str) -> str:
        """The name of the file that says when anything was last done to the server of that digest."""
        key = (self._key(), digest)
        known = self._stamps.get(key)
        return known if known is not None else self._stamps.keep(key, "stamp-" + self.name("stamp", digest))

    def name(self, *parts: str) -> str:
        """A file's name that says ``parts``, each to the letter, to nobody."""
        return self._hashed(_told_apart(*parts))

    def _hashed(self, text: str) -> str:
        return blake2b(text.encode("utf-8", "surrogatepass"), key=self._key(), digest_size=32).hexdigest()

    def mark(self, name: str, *pieces: bytes | bytearray | memoryview) -> bytes:
        """What shows that ``pieces`` were written by a gateway, under that name. 32 bytes."""
        whole = sha256()  # twice as fast on what is large as what takes a key
        for piece in pieces:
            whole.update(piece)
        return blake2b(name.encode() + whole.digest(), key=self._key(), digest_size=32).digest()

    def _key(self) -> bytes:
        secret = self._secret()
        if self._made[0] != secret:
            self._made = (secret, sha256(b"mcplocal results\0" + secret.encode()).digest())
        return self._made[1]


def _told_apart(*parts: str) -> str:
    """All ``parts`` as one text that no other parts make."""
    return "".join([f"{len(part)}:{part}" for part in parts])


def _canonical(arguments: Any, source: str) -> str:
    """Arguments that mean the same, in one way of writing them.

    With a fraction or a ``-0`` among them they are what was sent: numbers that are one to this program may be two to a server.
    """
    if _has_fraction(arguments) or ("-0" in source and _MINUS_ZERO.search(source) is not None):
        return source
    return _sorted(arguments)


def _sorted(value: Mapping[str, Any] | Any) -> str:
    try:
        return _sorting.encode(value).decode()
    except (msgspec.MsgspecError, OverflowError, UnicodeError, RecursionError):
        return _encoder.encode(value)  # a number of more than 64 bits, or half of a surrogate pair


def _has_fraction(value: Any) -> bool:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, float):
            return True
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return False
