"""A picture and a sound, as small as they can be, in base64."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Final


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png() -> bytes:
    """One red pixel."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00\xff\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _wav() -> bytes:
    """One sample of silence."""
    sound = struct.pack("<4sIHHIIHH4sIh", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", 2, 0)
    return struct.pack("<4sI4s", b"RIFF", 4 + len(sound), b"WAVE") + sound


IMAGE: Final = base64.b64encode(_png()).decode()
AUDIO: Final = base64.b64encode(_wav()).decode()
