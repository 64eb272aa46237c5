"""Passwords: argon2id, and checking one in a time that does not tell whether the user exists."""

from __future__ import annotations

import secrets
from functools import cache
from threading import BoundedSemaphore
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER: Final = PasswordHasher()  # the library's defaults follow RFC 9106's second recommendation
_AT_ONCE: Final = BoundedSemaphore(2)  # each check takes 64 MiB; a flood of log-ins must not take the machine


def hash_password(password: str) -> str:
    """The argon2id hash to keep."""
    with _AT_ONCE:
        return _HASHER.hash(password)


def verify(password: str, kept: str | None) -> bool:
    """Whether ``password`` is the one; without a kept hash it takes as long and is never right."""
    with _AT_ONCE:
        try:
            return _HASHER.verify(kept or _nobody(), password) and kept is not None
        except (VerificationError, InvalidHashError):
            return False


def generate() -> str:
    """A password nobody chose: 24 characters of base64."""
    return secrets.token_urlsafe(18)


@cache
def _nobody() -> str:
    return _HASHER.hash(secrets.token_hex(16))
