"""The era of the handshake (up to 2025-11-25): sessions, each bound to the principal and project that opened it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Any, Protocol

from mcplocal import wire
from mcplocal.client_side import ClientSide, askable
from mcplocal.gate import Caller
from mcplocal.json_text import write
from mcplocal.protocol.envelope import Incoming, Rejection, result_text
from mcplocal.protocol.questions import Questions
from mcplocal.subscriber import Subscriber

CANCELLED = -32800
"""What a request is answered with that its own client cancelled. The client ignores it; over HTTP something must be said."""


class Cancellable(Protocol):
    """An answer on its way."""

    def cancel(self) -> None:
        """It is no longer wanted."""


class UnderWay:
    """An answer on its way, among the others of its session; a class, as a generator costs a call twice as much."""

    __slots__ = ("_all", "_answer", "_key")

    def __init__(self, everything: dict[Any, set[Cancellable]], key: Any, answer: Cancellable) -> None:
        self._all = everything
        self._key = key
        self._answer = answer

    def __enter__(self) -> None:
        self._all.setdefault(self._key, set()).add(self._answer)

    def __exit__(self, *_: object) -> None:
        answers = self._all.get(self._key, set())
        answers.discard(self._answer)
        if not answers:
            self._all.pop(self._key, None)


@dataclass(eq=False)
class Session:
    """One handshake. It tells nobody's identity: every request of it carries its own bearer.

    Attributes:
        listening: ends the stream that the client has opened; ``None`` if there is none.
        client: what it may be asked and wants to hear; ``questions`` are those it has not answered.
        subscriber: what it is subscribed to.
        under_way: the requests being answered, by the client's id. Clients do use an id twice at once, so each may be several.
    """

    id: str
    subject: str
    project: str
    version: str
    client: ClientSide
    questions: Questions = field(default_factory=Questions)
    subscriber: Subscriber = field(default_factory=Subscriber)
    used_at: float = field(default_factory=monotonic)
    under_way: dict[Any, set[Cancellable]] = field(default_factory=dict)
    listening: Callable[[], None] | None = None

    @property
    def is_in_use(self) -> bool:
        """Whether an answer is under way in it, or its stream is open."""
        return bool(self.under_way) or self.listening is not None

    @property
    def holder(self) -> str:
        """Whose state a stateful server keeps."""
        return f"session {self.id}"

    def answering(self, message: Incoming, answer: Cancellable) -> UnderWay:
        """Within a ``with`` block ``message`` is being answered, and the client may cancel that."""
        return UnderWay(self.under_way, (type(message.id), message.id), answer)

    def cancel(self, identity: Any) -> None:
        """The client no longer wants the answer to its request ``identity``."""
        if isinstance(identity, str | int):
            for answer in list(self.under_way.get((type(identity), identity), ())):
                answer.cancel()


class Sessions:
    """The sessions there are. A session of somebody else does not exist."""

    def __init__(self, idle_timeout: float, per_principal: int, ended: Callable[[Session], None]) -> None:
        """Forget sessions unused for ``idle_timeout`` seconds, and the idlest of a principal that has ``per_principal``."""
        self._idle_timeout = idle_timeout
        self._per_principal = per_principal
        self._ended = ended
        self._sessions: dict[str, Session] = {}
        self._swept_at = monotonic()
        self._sweeping: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, caller: Caller, version: str, client: ClientSide) -> Session:
        """A new session of ``caller``."""
        self._sweep()
        own = [s for s in self._sessions.values() if s.subject == caller.identity.subject]
        if len(own) >= self._per_principal:
            self._end(min(own, key=lambda session: session.used_at))
        session = Session(secrets.token_urlsafe(24), caller.identity.subject, caller.project, version, client)
        self._sessions[session.id] = session
        return session

    def find(self, identity: str, caller: Caller) -> Session | None:
        """The session of that id, if it is this caller's and at this endpoint."""
        session = self._sessions.get(identity)
        if session is None or (session.subject, session.project) != (caller.identity.subject, caller.project):
            return None
        if monotonic() - session.used_at > self._idle_timeout and not session.is_in_use:
            self._end(session)
            return None
        session.used_at = monotonic()
        return session

    def close(self, session: Session) -> None:
        """The client is done with it; what is under way for it is cancelled."""
        for answers in list(session.under_way.values()):
            for answer in list(answers):
                answer.cancel()
        self._end(session)

    def sweep_meanwhile(self) -> None:
        """A session holds something that must not outlast its time, though nobody should come by until then."""
        if self._sweeping is None:
            loop = asyncio.get_running_loop()
            self._sweeping = loop.call_later(max(1.0, self._idle_timeout / 4), self._sweep_on)

    def _sweep_on(self) -> None:
        self._sweeping = None
        self._swept_at = -inf
        self._sweep()
        if any(session.subscriber.held for session in self._sessions.values()):
            self.sweep_meanwhile()

    def _end(self, session: Session) -> None:
        if self._sessions.pop(session.id, None) is not None:
            if session.listening is not None:
                session.listening()
            self._ended(session)

    def _sweep(self) -> None:
        now = monotonic()
        if now - self._swept_at < 30:
            return
        self._swept_at = now
        for session in [s for s in self._sessions.values() if now - s.used_at > self._idle_timeout and not s.is_in_use]:
            self._end(session)


def settle_version(message: Incoming) -> str:
    """The revision to speak with a client that asked ``initialize``: its own if it is spoken here, else our latest.

    Raises:
        Rejection: the request does not say which revision the client speaks.
    """
    asked = message.value("protocolVersion")
    if not isinstance(asked, str):
        raise Rejection(wire.INVALID_PARAMS, "initialize needs the protocolVersion", id_text=message.id_text)
    return asked if asked in wire.LEGACY_VERSIONS else wire.LATEST_LEGACY


def client_of(message: Incoming) -> ClientSide:
    """What the client that asked ``initialize`` may be asked."""
    return ClientSide(askable(message.value("capabilities")))


def offered(tells_of_updates: bool) -> dict[str, Any]:
    """The capabilities that a client is told of, in either era.

    Lists can change whatever the servers are, as rights can. Of changes to single resources only servers can tell.
    """
    capabilities: dict[str, Any] = {what: {"listChanged": True} for what in wire.LIST_CHANGED}
    if tells_of_updates:
        capabilities["resources"]["subscribe"] = True
    return capabilities | {"completions": {}, "logging": {}}


def initialized_text(message: Incoming, version: str, tells_of_updates: bool, name: str | None = None) -> str:
    """The response to ``initialize``, where resources can be subscribed to or cannot.

    ``name`` is what the gateway calls itself there, if not by its own.
    """
    capabilities = offered(tells_of_updates)
    named = {"name": name} if name is not None else {}
    result = {"protocolVersion": version, "capabilities": capabilities, "serverInfo": {**wire.IMPLEMENTATION, **named}}
    return result_text(message.id_text, write(result))
