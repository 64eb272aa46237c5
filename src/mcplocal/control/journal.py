"""What servers write to standard error and what the gateway says of them, on its way to ``mcpctl logs``.

Lines wait here until the next report takes them along. Of a server that writes faster than that, the newest lines are kept.
Values configured for the server, and anything that looks like a bearer, are covered before a line is kept at all.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterable
from time import time
from typing import Any, Final, Literal, NamedTuple

from mcplocal.catalog import ServerSpec
from mcplocal.json_text import shown

LONGEST_LINE: Final = 1000
WAITING: Final = 500
"""Lines kept of one server until they are reported."""

PER_REPORT: Final = 200
"""Lines of one report, over all servers; with the longest lines that is well below what the control plane reads."""

SHORTEST_COVERED: Final = 8
"""A configured value shorter than this is no secret worth the name, and covering it would spoil words."""

COVER: Final = "***"

_BEARER: Final = re.compile(r"mcpctl_(pat|ses)_[0-9A-Za-z_-]+")

Stream = Literal["stderr", "gateway"]


class Line(NamedTuple):
    """One line.

    Attributes:
        number: microseconds since the epoch when it was noted, and greater than that of the line before.
        stream: where it comes from.
        text: safe to keep and to show.
    """

    number: int
    stream: Stream
    text: str

    def as_json(self) -> dict[str, Any]:
        """The shape of ``log`` in ``POST /api/v1/gateway/status``."""
        return self._asdict()


class Journal:
    """Lines that have not been reported, by server."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Line]] = {}
        self._last = 0

    def note(self, spec: ServerSpec, stream: Stream, text: str) -> None:
        """Take one line about ``spec``."""
        self._last = max(self._last + 1, int(time() * 1e6))
        line = Line(self._last, stream, shown(covered(text, _configured(spec)), LONGEST_LINE))
        self._waiting.setdefault(spec.name, deque(maxlen=WAITING)).append(line)

    @property
    def has_lines(self) -> bool:
        """Whether there is anything to report."""
        return any(self._waiting.values())

    def take(self, servers: Iterable[str]) -> dict[str, list[Line]]:
        """Lines for the next report about ``servers``, the oldest first. They are here no more; lines of others are dropped."""
        wanted, left = set(servers), PER_REPORT
        for server in [server for server in self._waiting if server not in wanted]:
            del self._waiting[server]
        taken: dict[str, list[Line]] = {}
        for server, lines in self._waiting.items():
            some = [lines.popleft() for _ in range(min(left, len(lines)))]
            left -= len(some)
            if some:
                taken[server] = some
        return taken

    def put_back(self, taken: dict[str, list[Line]]) -> None:
        """The report did not arrive: keep its lines for the next, as far as there is room."""
        for server, lines in taken.items():
            waiting = self._waiting.setdefault(server, deque(maxlen=WAITING))
            room = WAITING - len(waiting)
            waiting.extendleft(reversed(lines[len(lines) - room :] if room < len(lines) else lines))


def covered(text: str, secrets: Collection[str]) -> str:
    """``text`` with ``secrets``, and whatever looks like a bearer of ours, covered."""
    for secret in secrets:
        text = text.replace(secret, COVER)
    return _BEARER.sub(r"mcpctl_\1_" + COVER, text) if "mcpctl_" in text else text


def _configured(spec: ServerSpec) -> list[str]:
    """The values that may be secret, the longest first. ``Bearer X`` is covered as X too."""
    values = {word for value in [*spec.headers.values(), *spec.env.values()] for word in (value, value.rpartition(" ")[2])}
    return sorted((value for value in values if len(value) >= SHORTEST_COVERED), key=len, reverse=True)
