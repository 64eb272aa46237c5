"""What a program does once it has started and means to stay."""

from __future__ import annotations

import gc


def collect_rarely() -> None:
    """Keep Python's garbage collector away from what stays, and from requests, which leave no cycles behind.

    With its defaults it looks at the young objects every few requests and now and then at everything there is, which for a
    program of this size is a pause of tens of milliseconds in the middle of somebody's request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
