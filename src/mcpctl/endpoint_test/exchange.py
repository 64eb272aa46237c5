"""One request and what came back, kept as evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

EXCERPT: Final = 800
"""Characters of a body that a report shows; four times as many bytes are kept."""

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
