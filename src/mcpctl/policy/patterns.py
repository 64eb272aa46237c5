"""What a name in a policy line matches. Two relations, both used by ``model.conf``.

Both are total over strings, and neither says yes to the empty string. ``tests/policy/test_patterns.py`` proves their laws
exhaustively on a small alphabet.
"""

from __future__ import annotations


def covers(line: str, asked: str) -> bool:
    """Whether everything ``asked`` stands for is within ``line``.

    ``*`` covers all; equal covers; a trailing ``*`` covers what begins with the rest; ``github`` covers ``github/…``.
    ``asked`` may itself be a pattern: then the whole of it must be within ``line``.
    """
    if line[-1:] == "*":
        return asked != "" and asked.startswith(line[:-1])
    if not asked.startswith(line):
        return False
    return line != "" and (asked == line or asked[len(line)] == "/")


def overlaps(line: str, asked: str) -> bool:
    """Whether something ``asked`` stands for is within ``line``. For a plain name this is ``covers``."""
    return covers(line, asked) or (asked[-1:] == "*" and covers(asked, line))
