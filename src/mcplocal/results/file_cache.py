"""Results kept in files: plain data, each with the mark of the gateway that wrote it, so a damaged one is none.

A file is its mark (32 bytes), the length of its head (4 bytes), the head (JSON: ``at``, ``until``, ``era``, ``stamp``,
``pages``), and the result's members as one JSON object. The file's name says whose it is and of what; the mark covers the
name, so one file put in another's place is a miss too.

A server's results are good until anything is done to it: a call of a tool that is not read-only leaves a stamp, and what was
fetched before the stamp is not given any more. So an agent that writes a note and lists its notes sees it, and doing the same
thing twice with something else between is done twice. What is done past the gateway is seen when the time is up.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hmac import compare_digest
from struct import Struct
from time import time, time_ns
from typing import Any, Final

import msgspec

from mcplocal.heavy_json import without_collector
from mcplocal.json_text import Member, Members, write_object
from mcplocal.recent import Recent
from mcplocal.results.cache_key import CacheKeys
from mcplocal.results.counts import ResultCounts
from mcplocal.results.private_directory import NotKept, PrivateDirectory
from mcplocal.upstream.answers import Answer
from mcplocal.wire import Era

LARGEST: Final = 16 << 20
"""Bytes of a result that is kept."""

SMALL: Final = 16 << 10
"""Bytes of a file that is not read again while it is the same one."""
REMEMBERED: Final = 512

_LENGTH: Final = Struct(">I")
_MARK: Final = 32


class _Head(msgspec.Struct):
    at: float
    until: float
    era: str
    stamp: int
    size: int
    pages: list[str]


_head: Final = msgspec.json.Decoder(_Head)
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Cached:
    """A result from the cache.

    Attributes:
        answer: it.
        age: seconds since it was fetched.
    """

    answer: Answer
    age: float


class FileCache:
    """Keeps results. Its methods may be called in any thread. Trouble with a disk is a miss, or nothing kept."""

    def __init__(self, directory: PrivateDirectory, keys: CacheKeys, counts: ResultCounts) -> None:
        """Keep them in ``directory``."""
        self._directory = directory
        self._keys = keys
        self._counts = counts
        self._floor: dict[str, int] = {}
        self._recent: Recent[str, tuple[tuple[int, ...] | None, _Head, Members]] = Recent(REMEMBERED)

    def get(self, key: str, digest: str, most: int = LARGEST) -> Cached | None:
        """What is kept under ``key``, if it is whole and still good.

        Args:
            key: of the call.
            digest: of its server.
            most: bytes that may be read now.

        Raises:
            Larger: it has more.
        """
        known = self._recent.get(key)
        if known is not None and known[0] == self._directory.identity(key):
            cached = self._good(key, known[1], known[2], self.stamp(digest))
        else:
            # Looked at before it is read: if it is another one by then, it is read again next time.
            identity = self._directory.identity(key)
            found = self._directory.read(key, most)
            cached = self._read(key, found, self.stamp(digest), identity) if found is not None else None
        self._counts.lookups.add("miss" if cached is None else "hit")
        return cached

    def keep(self, key: str, answer: Answer, ttl: float, stamp: int, pages: Sequence[str] = ()) -> bool:
        """Keep ``answer``, which has a result, under ``key``.

        Args:
            key: of the call.
            answer: what is given for it.
            ttl: seconds for which it is good.
            stamp: what ``stamp`` said before the server was asked.
            pages: files without which it is not good.
        """
        if answer.result is None:
            return False
        try:
            body = write_object([(name, member.text) for name, member in answer.result.items()]).encode(
                "utf-8", "surrogatepass"
            )
            now = time()
            told = {"at": now, "until": now + ttl, "era": answer.era.value, "stamp": stamp, "size": answer.size}
            head = json.dumps({**told, "pages": list(pages)}).encode()
            framed = _LENGTH.pack(len(head)) + head
            if _MARK + len(framed) + len(body) > LARGEST:
                return False
            self._directory.write(key, (self._keys.mark(key, framed, body), framed, body))
        except NotKept:
            self._counts.writes.add("unavailable")
            return False
        self._counts.writes.add("stored")
        return True

    def stamp(self, digest: str) -> int:
        """When anything was last done to the server of that digest, as far as gateways know; 0 if nothing was."""
        return max(self._directory.stamp(self._keys.of_stamp(digest)), self._floor.get(digest, 0))

    def done_to(self, digest: str) -> None:
        """Something is being done to the server of that digest: what was fetched before is not good any more."""
        now = time_ns()
        try:
            self._directory.mark(self._keys.of_stamp(digest), now)
        except NotKept:
            # The others are not told; they could not read what this process keeps either, if it cannot write.
            self._floor[digest] = now

    def _read(self, key: str, found: bytes, stamp: int, identity: tuple[int, ...] | None) -> Cached | None:
        try:
            (length,) = _LENGTH.unpack_from(found, _MARK)
            begin = _MARK + _LENGTH.size + length
            if begin > len(found) or not compare_digest(found[:_MARK], self._keys.mark(key, memoryview(found)[_MARK:])):
                raise ValueError
            head = _head.decode(found[_MARK + _LENGTH.size : begin])
            members = _result(found[begin:])
        except Exception:  # whatever can be wrong with bytes from a disk
            self._counts.damaged.add()
            self._directory.remove(key)
            return None
        if identity is not None and len(found) <= SMALL:
            self._recent.keep(key, (identity, head, members))
        return self._good(key, head, members, stamp)

    def _good(self, key: str, head: _Head, members: Members, stamp: int) -> Cached | None:
        now = time()
        good_until = min(head.until, head.at + self._directory.limits.most_age)
        if not head.at <= now < good_until or head.stamp != stamp:
            self._recent.pop(key)
            self._directory.remove(key)
            return None
        if head.pages and any(not self._directory.stamp(page) for page in head.pages):
            return None
        return Cached(Answer(Era(head.era), members, size=head.size), now - head.at)


def _result(body: bytes) -> Members:
    try:
        with without_collector():
            return {name: Member(str(raw, "utf-8")) for name, raw in _members.decode(body).items()}
    except (msgspec.MsgspecError, UnicodeError):
        values: dict[str, Any] = json.loads(body.decode("utf-8", "surrogatepass"))
        return {name: Member(json.dumps(value), value) for name, value in values.items()}
