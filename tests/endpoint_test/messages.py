"""What the reference is asked and answers, and what it remembers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

MODERN, LEGACY = "2026-07-28", "2025-11-25"
HANDSHAKE = (LEGACY, "2025-06-18", "2025-03-26")
META = "io.modelcontextprotocol/"
GOOD, SECOND, EXPIRED = "good-token-of-the-tests", "second-token-of-the-tests", "expired-token-of-the-tests"
PAGE = 3


class Answer(Exception):
    """An answer that is not the usual one."""

    def __init__(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        self.status, self.body, self.headers = status, body, headers or {}


@dataclass
class Asked:
    """One request: the HTTP method, the headers by name (all values), the body, who asks, and from which port."""

    method: str
    headers: dict[str, list[str]]
    raw: bytes
    query: bytes
    port: int
    who: str = ""
    message: dict[str, Any] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        values = self.headers.get(name)
        return values[0].strip(" \t") if values else None

    @property
    def params(self) -> dict[str, Any]:
        found = self.message.get("params")
        return found if isinstance(found, dict) else {}

    @property
    def meta(self) -> dict[str, Any]:
        found = self.params.get("_meta")
        return found if isinstance(found, dict) else {}


class Wrong(Answer):
    """A JSON-RPC error."""

    def __init__(self, asked: Asked, code: int, status: int, data: Any = None, *, id: Any = ...) -> None:  # noqa: A002
        error = {"code": code, "message": "no", **({"data": data} if data else {})}
        super().__init__(status, {"jsonrpc": "2.0", "id": asked.message.get("id") if id is ... else id, "error": error})


@dataclass
class State:
    """One endpoint with its defect, its sessions and its counters."""

    defect: str
    sessions: dict[str, str] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    lists: int = 0
    requests: int = 0
    sick: bool = False
    listening: bool = False
    under_way: list[Any] = field(default_factory=list)
    called: list[str] = field(default_factory=list)

    def has(self, name: str) -> bool:
        return self.defect == name

    def told(self, asked: Asked, result: dict[str, Any]) -> Answer:
        headers = {"mcp-session-id": "minted"} if self.has("session minted") and "resultType" in result else {}
        return Answer(200, {"jsonrpc": "2.0", "id": asked.message["id"], "result": result}, headers)


def notification(method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def slug(defect: str) -> str:
    """The defect as it stands in a path."""
    return re.sub(r"[^a-z0-9]+", "-", defect.lower())
