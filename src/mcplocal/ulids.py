"""ULIDs as text (https://github.com/ulid/spec): 48 bits of time in milliseconds and 80 of chance, in Crockford's base 32.

Every call needs two, and python-ulid takes far longer for one than the decision takes. They tell requests and events apart
and are no secrets, so the chance in them is not the operating system's.
"""

from __future__ import annotations

from random import getrandbits
from time import time_ns
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = [high + low for high in _ALPHABET for low in _ALPHABET]
"""Two characters for ten bits."""


_SHIFTS: Final = range(120, -1, -10)


def new_ulid() -> str:
    """A new one."""
    bits = (time_ns() // 1_000_000) << 80 | getrandbits(80)
    return "".join([_PAIRS[bits >> shift & 1023] for shift in _SHIFTS])
