"""Regular expressions of strangers, in an engine whose time is linear in the text (RE2)."""

from __future__ import annotations

from typing import Any, Final

from mcpctl.errors import InvalidInput

LONGEST: Final = 500
"""Characters of one pattern."""

MEMORY: Final = 1 << 20
"""Bytes one compiled pattern may take; a repetition such as ``(a{500}){500}`` would take more."""


def compiled(pattern: str) -> Any:
    """``pattern`` as an object of RE2, with ``search``, ``finditer`` and ``sub`` as those of ``re``.

    Raises:
        InvalidInput: it is too long, no RE2 syntax (which has no look-around and no back-references), takes too much memory,
            or matches the empty text, which is everywhere.
    """
    import re2  # here, as most who describe stages never compile a pattern

    if len(pattern) > LONGEST:
        raise InvalidInput(f"the pattern has {len(pattern)} characters; the limit is {LONGEST}")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY
    try:
        found = re2.compile(pattern, options)
    except (re2.error, UnicodeError) as error:
        raise InvalidInput(f"it is no RE2 pattern (RE2 has no look-around and no back-references): {_said(error)}") from None
    if found.search("") is not None:
        raise InvalidInput("it matches the empty text, which is everywhere")
    return found


def _said(error: Exception) -> str:
    what = error.args[0] if error.args else error
    return what.decode("utf-8", "replace") if isinstance(what, bytes) else str(what)
