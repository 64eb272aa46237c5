"""What reports may show: excerpts, secrets hidden in every usual form, nothing that steers a terminal or forges a line."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote

from mcpctl.endpoint_test.exchange import EXCERPT, Exchange, Header, Shown

MASK: Final = "•••"
LINE: Final = 500
"""Characters of what is said of one check."""
SHORTEST: Final = 4
"""Characters a secret must have to be looked for; shorter ones are in every text."""
PREFIX: Final = 8
"""Characters of the beginning of a secret that are hidden as well: texts are cut."""

_HIDDEN: Final = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "mcp-session-id", "x-api-key", "api-key", "x-auth-token"}
)
_UNSHOWABLE = re.compile(
    r"[^\t\n\x20-\x7e\xa0-\u200d\u2010-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
_BEARER = re.compile(r"(?i)\b(bearer\s+)(?!\w+=)[A-Za-z0-9._~+/=-]{8,}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9-]*\s+(?=\S)")


class Mask:
    """Hides what must not be shown, wherever it stands."""

    def __init__(self, secrets: Iterable[str]) -> None:
        given = {part for secret in secrets for part in (secret, _SCHEME.sub("", secret, count=1))}
        written = {form for secret in given if len(secret) >= SHORTEST for form in _forms(secret)}
        self._secrets = sorted((form for form in written if len(form) >= SHORTEST), key=len, reverse=True)
        self._long = [one for one in self._secrets if len(one) > PREFIX and not _SCHEME.match(one)]

    def text(self, text: str) -> str:
        """``text`` without secrets, and with characters that are not for showing escaped."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        for secret in self._long:
            text = _without_beginnings(text, secret)
        text = _BEARER.sub(rf"\1{MASK}", text)
        return _UNSHOWABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)

    def line(self, text: str, longest: int = LINE) -> str:
        """``text`` as one line that may be shown, cut after it was masked."""
        found = self.text(text).replace("\n", "\\n").replace("\t", "\\t")
        return found if len(found) <= longest else f"{found[:longest]}…"

    def show(self, exchange: Exchange) -> Shown:
        """What a report may say of ``exchange``."""
        sent = [f"{self.line(exchange.method)} {self.line(exchange.url)}", *self._headers(exchange.headers)]
        if exchange.body:
            sent += ["", self._excerpt(exchange.body[: 4 * EXCERPT], len(exchange.body))]
        received = []
        if exchange.status:
            received = [f"HTTP/{exchange.http_version} {exchange.status}", *self._headers(exchange.answered)]
        if exchange.raw:
            received += ["", self._excerpt(exchange.raw, exchange.size)]
        if exchange.problem:
            received += ["" if received else "no answer", f"[{self.line(exchange.problem)}]"]
        return Shown("\n".join(sent), "\n".join(line for line in received).strip("\n"))

    def _headers(self, headers: Iterable[Header]) -> list[str]:
        shown = []
        for name, value in list(headers)[:40]:
            text = MASK if name.lower() in _HIDDEN else value
            if name.lower() == "authorization" and " " in value:
                text = f"{value.partition(' ')[0]} {MASK}"
            shown.append(f"{self.line(name, 100)}: {self.line(text, 300)}")
        return shown

    def _excerpt(self, raw: bytes, size: int) -> str:
        # Masked before it is cut, so that no half of a secret is left at the end.
        text = self.text(raw.decode("utf-8", "backslashreplace"))
        cut = text[:EXCERPT]
        return cut if len(text) <= EXCERPT and size <= 4 * EXCERPT else f"{cut}… [{size} bytes in all]"


def _forms(secret: str) -> Iterator[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    yield from (secret, quote(raw, safe=""), json.dumps(secret)[1:-1])
    for text in (raw.hex(), "".join(f"%{byte:02x}" for byte in raw)):
        yield from (text, text.upper())
    if len(raw) >= PREFIX:
        # Three bytes make four characters, so that it looks different after one or two other bytes.
        for before in range(3):
            text = b64encode(b"\0" * before + raw).decode().rstrip("=")
            middle = text[(0, 2, 3)[before] : None if (before + len(raw)) % 3 == 0 else -1]
            yield from (middle, middle.replace("+", "-").replace("/", "_"))


def _without_beginnings(text: str, secret: str) -> str:
    start, begin, kept = 0, text.find(secret[:PREFIX]), list[str]()
    while begin >= 0:
        end = begin + PREFIX
        while end < len(text) and end - begin < len(secret) and text[end] == secret[end - begin]:
            end += 1
        kept += [text[start:begin], MASK]
        start, begin = end, text.find(secret[:PREFIX], end)
    return "".join([*kept, text[start:]])
