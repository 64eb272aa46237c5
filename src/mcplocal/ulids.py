"""ULIDs as text (https://github.com/ulid/spec): ten characters of time in milliseconds and sixteen of chance, in base 32.

Every call needs two, and python-ulid takes far longer for one than the decision takes. They tell requests and events apart
and are no secrets, so the chance in them is not the operating system's; and as hexadecimal digits are digits of base 32 too,
it is 64 bits in these and not 80.
"""

from __future__ import annotations

from functools import lru_cache
from random import Random
from time import time_ns
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LAST: Final = [first + second for first in _ALPHABET for second in _ALPHABET]
_CHANCE: Final = Random()  # noqa: S311 - of its own, so that nobody who seeds the common one makes two alike


def new_ulid(at: int | None = None) -> str:
    """A new one, of the time ``at`` in milliseconds, or of now."""
    return f"{_time(time_ns() // 1_000_000 if at is None else at)}{_CHANCE.getrandbits(64):016X}"


@lru_cache(maxsize=4)
def _time(milliseconds: int) -> str:
    """The first ten characters. Under load many calls are of one millisecond."""
    return f"{_first(milliseconds >> 10)}{_LAST[milliseconds & 1023]}"


@lru_cache(maxsize=4)
def _first(seconds: int) -> str:
    """The first eight characters of the time, which change once a second."""
    return "".join([_ALPHABET[seconds >> shift & 31] for shift in range(35, -1, -5)])
