"""Raw bearers: their form, and what is kept of them.

A bearer is a prefix and 32 random bytes in base62, always 43 characters, so a scanner can match it exactly. 256 random
bits need no salt and no slow hash: at rest stands the SHA-256, in lower-case hex.
"""

from __future__ import annotations

import hmac
import re
import secrets
from hashlib import sha256
from typing import Final

TOKEN_PREFIX: Final = "mcpctl_pat_"  # noqa: S105 - the published prefix, not a secret
SESSION_PREFIX: Final = "mcpctl_ses_"

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_WIDTH: Final = 43  # 62^43 > 2^256; left-padded, or one in 61 would come out shorter

SCANNER_REGEX: Final = r"\bmcpctl_(?:pat|ses)_[0-9A-Za-z]{43}\b"
"""For secret scanners: matches every raw token and session, and nothing shorter or longer."""

_BEARER = re.compile(r"mcpctl_(pat|ses)_[0-9A-Za-z]+")
_TOKEN = re.compile(TOKEN_PREFIX + r"[0-9A-Za-z]{43}")
_SESSION = re.compile(SESSION_PREFIX + r"[0-9A-Za-z]{43}")


def _secret() -> str:
    number = int.from_bytes(secrets.token_bytes(32))
    digits = []
    for _ in range(_WIDTH):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def generate_token() -> str:
    """A new raw token."""
    return TOKEN_PREFIX + _secret()


def generate_session() -> str:
    """A new raw session."""
    return SESSION_PREFIX + _secret()


def hash_token(raw: str) -> str:
    """What is kept of a raw token or session: its SHA-256 in lower-case hex."""
    return sha256(raw.encode("utf-8", "surrogatepass")).hexdigest()


def is_mcp_token(raw: str) -> bool:
    """Whether this has the form of a token; says nothing about whether it exists."""
    return _TOKEN.fullmatch(raw) is not None


def is_session(raw: str) -> bool:
    """Whether this has the form of a session; says nothing about whether it exists."""
    return _SESSION.fullmatch(raw) is not None


def without_bearers(text: str) -> str:
    """``text`` with whatever looks like a raw token or session covered: somebody may put one where a name belongs."""
    return _BEARER.sub(r"mcpctl_\1_***", text) if "mcpctl_" in text else text


def timing_safe_equal_hex(one: str, other: str) -> bool:
    """Whether two SHA-256 in hex are the same, in a time that does not depend on where they differ."""
    return len(one) == len(other) == 64 and hmac.compare_digest(
        one.encode("ascii", "replace"), other.encode("ascii", "replace")
    )
