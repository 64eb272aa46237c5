"""The client at the other end of a call: what a server may ask of it while the call runs, and what it wants to hear.

Up to 2025-11-25 a server asks with requests of its own (sampling, elicitation, roots); since 2026-07-28 its answer to the call
says what it needs, and the call is sent again with the answers. Either way it may ask only for what the client has declared.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Ask = Callable[[str, str], Awaitable[str]]
"""Asks the client: a method and its parameters as JSON text; the result as JSON text. Raises ``Declined``."""

CAPABILITY: Final = {"sampling/createMessage": "sampling", "elicitation/create": "elicitation", "roots/list": "roots"}
"""What a client must have declared to be asked, by method."""

LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""The severities of ``notifications/message``, the least one first (RFC 5424, which MCP follows)."""


class Declined(Exception):
    """The client answered a question with a JSON-RPC error.

    Attributes:
        code: of the error.
        message: of the error.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(slots=True)
class ClientSide:
    """What is known of a client.

    Attributes:
        capabilities: what it declared, as far as it is about being asked.
        log_level: the least severity it wants to hear; ``None`` if it has not said.
    """

    capabilities: Mapping[str, Any] = field(default_factory=dict)
    log_level: str | None = None

    def may_be_asked(self, method: str) -> bool:
        """Whether it declared that it answers ``method``."""
        return CAPABILITY.get(method) in self.capabilities

    def hears(self, level: Any) -> bool:
        """Whether it wants a message of this severity."""
        if level not in LEVELS:
            return False
        return self.log_level is None or LEVELS.index(level) >= LEVELS.index(self.log_level)


def askable(declared: Any) -> dict[str, Any]:
    """What of a client's declared capabilities is about being asked; nothing else of them travels on."""
    if not isinstance(declared, dict):
        return {}
    return {name: declared[name] for name in CAPABILITY.values() if isinstance(declared.get(name), dict)}
