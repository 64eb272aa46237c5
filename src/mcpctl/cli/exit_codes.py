"""What the exit code of every command means."""

from __future__ import annotations

from typing import Final

EXIT_CODES: Final[dict[int, str]] = {
    0: "done, or the answer is yes",
    1: "failed, or the answer is no",
    2: "wrong usage or invalid input",
    3: "not logged in, or the credential is not valid",
    4: "the control plane cannot be reached or is not available",
    5: "not allowed",
    6: "there is no such thing",
    7: "the present state does not allow it",
    130: "interrupted",
    141: "whoever read the output stopped reading",
}
"""Scripts may rely on these. ``mcpctl help exit-codes`` prints them."""

INTERRUPTED: Final = 130
READER_GONE: Final = 141
