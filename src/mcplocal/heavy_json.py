"""JSON that costs more to read than its length says: how many values a text holds, and how to read many without a stop.

Reading is one step for the event loop, so while it lasts everybody waits. What a client sends is therefore limited in values,
and what a server answers is read without the collector of cycles, which would look at every list of it again and again.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MOST_VALUES: Final = 50_000
"""Values of one message from a client: read within about a tenth of a second."""

_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""One that never ends goes to the end of the text: else its end would be looked for from every quotation mark in it."""


def is_heavy(text: str) -> bool:
    """Whether ``text`` holds more than ``MOST_VALUES`` values. What stands inside strings does not count."""
    if len(text) <= MOST_VALUES or _marks(text) <= MOST_VALUES:
        return False
    return _marks(_STRING.sub("", text)) > MOST_VALUES


def _marks(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")


@contextmanager
def without_collector() -> Iterator[None]:
    """Read a large text in this block. JSON has no cycles, so there is nothing to collect meanwhile."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
