"""A cache with all that is beside it; run as a program it writes without end, to be killed.

python -m tests.gateway.results.kept DIRECTORY
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from mcplocal.json_text import Member, write
from mcplocal.results.cache_key import CacheKeys
from mcplocal.results.counts import ResultCounts
from mcplocal.results.file_cache import FileCache
from mcplocal.results.pages import Origin, Pages
from mcplocal.results.private_directory import Limits, PrivateDirectory
from mcplocal.upstream.answers import Answer
from mcplocal.wire import Era

LIMITS = Limits(10 << 20, 1000, 3600.0)
KEYS = CacheKeys(lambda: "the gateway's credential")
OF = Origin("s__get", "shape")
ALICE = ("User:alice", "p")


class Kept:
    """A cache, and all there is beside it."""

    def __init__(self, path: Path, limits: Limits = LIMITS, keys: CacheKeys = KEYS) -> None:
        self.path = path
        self.directory = PrivateDirectory(path, limits)
        self.counts = ResultCounts()
        self.cache = FileCache(self.directory, keys, self.counts)
        self.pages = Pages(self.directory, keys)

    def keep(self, name: str, text: str, ttl: float = 60.0, stamp: int = 0) -> bool:
        answer = Answer(Era.MODERN, {"content": Member(write([{"type": "text", "text": text}])), "x": Member("1.10")}, size=7)
        return self.cache.keep(KEYS.name(name), answer, ttl, stamp)

    def get(self, name: str) -> str | None:
        found = self.cache.get(KEYS.name(name), "digest")
        if found is None or found.answer.result is None:
            return None
        assert "1.10" == found.answer.result["x"].text
        text: str = found.answer.result["content"].value[0]["text"]
        return text

    def file(self, name: str) -> Path:
        return self.path / KEYS.name(name)


def main() -> None:
    """Write the same few results, and pages, again and again."""
    kept = Kept(Path(sys.argv[1]))
    print("ready", flush=True)
    for number in itertools.count():
        name = f"n{number % 5}"
        kept.keep(name, f"{name} {number} " + name * (number * 37 % 20000))
        kept.pages.keep([f"page of {number} " * 500], 1000, 60, OF, ALICE)


if __name__ == "__main__":
    main()
