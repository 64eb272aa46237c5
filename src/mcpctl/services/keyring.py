"""The keys that secrets are encrypted with at rest: AES-256-GCM, each value bound to its row.

The first key encrypts; all of them decrypt. So a key is rotated by putting a new one in front: at the next start every value
is encrypted anew, and the old key can go. Where several replicas run, the new key is first put *behind* the old one on all of
them, so that each can read what the first to be turned around encrypts. A value moved to another row, or changed by one bit,
does not decrypt. ``docs/secrets.md`` is the operator's side of it.
"""

from __future__ import annotations

import binascii
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable
from hashlib import sha256
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mcpctl.errors import Conflict, InvalidSetting, Unavailable

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")


class Sealed(NamedTuple):
    """An encrypted value and the id of the key it needs."""

    key_id: str
    nonce: bytes
    ciphertext: bytes


class Keyring:
    """The keys of this process. Without any, secrets can be neither kept nor read."""

    def __init__(self, keys: Iterable[bytes] = (), source: str = "MCPCTL_SECRET_KEY") -> None:
        """Hold ``keys``, the encrypting one first; ``source`` is where they come from, for a person who has to find them."""
        self.source = source
        self._keys = {sha256(key).hexdigest()[:16]: AESGCM(key) for key in keys}
        self.encrypting: str | None = next(iter(self._keys), None)

    @property
    def ids(self) -> tuple[str, ...]:
        """What the keys are called, the encrypting one first; tells nothing of a key."""
        return tuple(self._keys)

    def seal(self, value: str, row: str) -> Sealed:
        """``value`` encrypted for the row called ``row`` and for no other.

        Raises:
            Conflict: there is no key.
        """
        if self.encrypting is None:
            raise Conflict("this control plane has no secret key: set MCPCTL_SECRET_KEY_FILE and start it again")
        nonce = secrets.token_bytes(NONCE_BYTES)
        ciphertext = self._keys[self.encrypting].encrypt(nonce, value.encode(), row.encode())
        return Sealed(self.encrypting, nonce, ciphertext)

    def open(self, sealed: Sealed, row: str) -> str:
        """The value.

        Raises:
            Unavailable: its key is not here, or it was altered or moved. The value is not guessed at.
        """
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise Unavailable(f"it needs the key {sealed.key_id}, which this control plane does not have")
        try:
            return key.decrypt(sealed.nonce, sealed.ciphertext, row.encode()).decode()
        except InvalidTag:
            raise Unavailable("it does not decrypt: it was altered or moved in the database, so it must be set anew") from None


def parse_keys(text: str, source: str) -> list[bytes]:
    """The keys in ``text``: one a line, each 32 bytes in base64 or hex; lines that begin with # are passed over.

    Raises:
        InvalidSetting: one is no such key, or there is none; the sentence names ``source`` and never the key.
    """
    keys = []
    for number, line in enumerate(text.split("\n"), start=1):
        word = line.strip()
        if not word or word.startswith("#"):
            continue
        try:
            key = bytes.fromhex(word) if _HEX.fullmatch(word) else b64decode(word, validate=True)
        except (ValueError, binascii.Error):
            key = b""
        if len(key) != KEY_BYTES:
            raise InvalidSetting(
                f"{source}: line {number} is not a key of 32 bytes in base64 or hex; make one: openssl rand -base64 32"
            )
        keys.append(key)
    if not keys:
        raise InvalidSetting(f"{source} holds no key; make one: openssl rand -base64 32")
    return keys


def generate_key() -> str:
    """A new key, as ``parse_keys`` reads it."""
    return b64encode(secrets.token_bytes(KEY_BYTES)).decode()
