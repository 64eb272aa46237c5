"""One request and what came back, kept as evidence; and the form of it that may be shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

EXCERPT: Final = 800
"""Characters of a body that a report shows."""

_HIDDEN: Final = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "mcp-session-id", "x-api-key", "api-key", "x-auth-token"}
)
_UNSHOWABLE = re.compile(
    r"[^\t\n\x20-\x7e\xa0-\u200d\u2010-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
_BEARER = re.compile(r"(?i)\b(bearer\s+)(?!\w+=)[A-Za-z0-9._~+/=-]{8,}")
MASK: Final = "•••"

Header = tuple[str, str]


@dataclass(slots=True)
class Exchange:
    """One HTTP request and its answer.

    Attributes:
        method: of HTTP.
        url: where it went.
        headers: as they were sent.
        body: as it was sent.
        sent: the JSON-RPC message in it, if it is one.
        status: of the answer; 0 if there was none.
        answered: the answer's headers, names in lower case.
        raw: the beginning of the answer's body.
        size: bytes of the answer's body that were read.
        messages: the JSON-RPC messages in it, in order.
        is_stream: they came as an event stream.
        ended: the other side ended the answer, rather than this one.
        problem: why there is no answer that can be read, as a clause of a sentence.
        timed_out: the problem is that time ran out.
        faults: what is wrong with the form of what could be read.
        nodes: how many JSON values the largest message holds.
        seconds: until the answer to the request was there.
        http_version: of the answer.
    """

    method: str
    url: str
    headers: tuple[Header, ...] = ()
    body: bytes = b""
    sent: Any = None
    status: int = 0
    answered: tuple[Header, ...] = ()
    raw: bytes = b""
    size: int = 0
    messages: list[Any] = field(default_factory=list)
    is_stream: bool = False
    ended: bool = False
    problem: str = ""
    timed_out: bool = False
    faults: list[str] = field(default_factory=list)
    nodes: int = 0
    seconds: float = 0.0
    http_version: str = ""

    def header(self, name: str) -> str:
        """A header of the answer, the first of several; empty if it has none."""
        return next((value for key, value in self.answered if key == name), "")

    @property
    def id(self) -> Any:
        """The identifier of the request, ``None`` for anything else."""
        return self.sent.get("id") if isinstance(self.sent, dict) else None

    @property
    def response(self) -> dict[str, Any]:
        """The JSON-RPC response, by identifier or else the only one; empty if there is none."""
        found = [one for one in self.messages if isinstance(one, dict) and ("result" in one or "error" in one)]
        same = [one for one in found if same_id(one.get("id"), self.id)]
        return (same or found or [{}])[0]

    @property
    def result(self) -> dict[str, Any] | None:
        """The result, if it is an object."""
        found = self.response.get("result")
        return found if isinstance(found, dict) else None

    @property
    def error(self) -> dict[str, Any]:
        """The JSON-RPC error; empty if there is none."""
        found = self.response.get("error")
        return found if isinstance(found, dict) else {}

    @property
    def code(self) -> Any:
        """The code of the JSON-RPC error, ``None`` without one."""
        return self.error.get("code")

    @property
    def before(self) -> list[dict[str, Any]]:
        """Messages that are no response."""
        return [one for one in self.messages if isinstance(one, dict) and "method" in one]

    def told(self) -> str:
        """The answer in a few words."""
        if self.problem and not self.status:
            return f"no answer ({self.problem})"
        words = [f"HTTP {self.status}"]
        if self.error:
            words.append(f"error {self.code}")
        elif "result" in self.response:
            words.append("a result")
        if self.problem:
            words.append(f"of which {self.problem}")
        return " with ".join(words[:2]) + ("" if len(words) < 3 else f", {words[2]}")


@dataclass(frozen=True, slots=True)
class Shown:
    """An exchange as reports show it: an excerpt of either side, secrets masked, nothing that steers a terminal."""

    sent: str
    received: str


def same_id(one: Any, other: Any) -> bool:
    """Whether two identifiers are the same, of the same type."""
    return type(one) is type(other) and one == other


class Mask:
    """Hides what must not be shown, wherever it stands."""

    def __init__(self, secrets: Iterable[str]) -> None:
        written = {form for secret in secrets for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])}
        self._secrets = sorted((secret for secret in written if len(secret) >= 4), key=len, reverse=True)

    def text(self, text: str) -> str:
        """``text`` without secrets, and with characters that are not for showing escaped."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        text = _BEARER.sub(rf"\1{MASK}", text)
        return _UNSHOWABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)

    def show(self, exchange: Exchange) -> Shown:
        """What a report may say of ``exchange``."""
        sent = [f"{exchange.method} {self.text(exchange.url)}", *self._headers(exchange.headers)]
        if exchange.body:
            sent += ["", self._excerpt(exchange.body, len(exchange.body))]
        received = []
        if exchange.status:
            received = [f"HTTP/{exchange.http_version} {exchange.status}", *self._headers(exchange.answered)]
        if exchange.raw:
            received += ["", self._excerpt(exchange.raw, exchange.size)]
        if exchange.problem:
            received += ["" if received else "no answer", f"[{self.text(exchange.problem)}]"]
        return Shown("\n".join(sent), "\n".join(line for line in received).strip("\n"))

    def _headers(self, headers: Iterable[Header]) -> list[str]:
        shown = []
        for name, value in list(headers)[:40]:
            text = MASK if name.lower() in _HIDDEN else value
            if name.lower() == "authorization" and " " in value:
                text = f"{value.partition(' ')[0]} {MASK}"
            shown.append(f"{self.text(name)}: {self.text(text[:300])}")
        return shown

    def _excerpt(self, raw: bytes, size: int) -> str:
        # Masked before it is cut, so that no half of a secret is left at the end.
        kept = raw if size <= len(raw) else raw[: -max(map(len, self._secrets), default=1)]
        text = self.text(kept.decode("utf-8", "backslashreplace"))
        cut = text[:EXCERPT]
        return cut if len(text) <= EXCERPT and size <= 4 * EXCERPT else f"{cut}… [{size} bytes in all]"
