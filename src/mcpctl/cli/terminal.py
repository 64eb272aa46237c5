"""What the process is connected to, and text that is safe to show there."""

from __future__ import annotations

import os
import re
import sys
from typing import TextIO

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def is_terminal(stream: TextIO) -> bool:
    """Whether somebody looks at ``stream``, rather than a pipe or a file."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def may_color(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal that wants colour (no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def can_ask() -> bool:
    """Whether there is somebody to ask: both ends of the conversation are a terminal."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def printable(text: str) -> str:
    """``text`` with control characters escaped, so that what a server sends cannot steer the terminal or break a table.

    What is left may stand in XML 1.0 as well.
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(text: str) -> None:
    """A line for people, on standard error, where it does not mix with what a program reads."""
    print(printable(text), file=sys.stderr)
