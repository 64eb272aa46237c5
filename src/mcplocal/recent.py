"""A mapping that keeps the most recently stored entries and forgets the rest, so that nobody can fill the memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """At most ``limit`` entries; the one stored or used longest ago goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        """What is stored under ``key``; that counts as use."""
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def keep(self, key: Key, value: Value) -> Value:
        """Store ``value`` and hand it back."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)
        return value

    def got(self, key: Key, make: Callable[[], Value]) -> Value:
        """What is stored under ``key``, made now if there is nothing."""
        value = self.get(key)
        return value if value is not None else self.keep(key, make())

    def pop(self, key: Key) -> Value | None:
        """Take ``key`` out."""
        return self._entries.pop(key, None)

    def take_if(self, condition: Callable[[Key, Value], bool]) -> list[Value]:
        """Take out every entry for which ``condition`` holds."""
        found = [key for key, value in self._entries.items() if condition(key, value)]
        return [self._entries.pop(key) for key in found]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def __iter__(self) -> Iterator[Key]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
