"""One client that is told when resources change: what it is subscribed to, and what it has not been told yet.

It is a session of the handshake's era, a stream of the later one, or the client at the other end of a pipe. What it has not
been told waits here, each resource once, however often it changes and however slowly the client listens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mcplocal.client_side import ClientSide
from mcplocal.names import Ref
from mcplocal.upstream.hearing import Hearing
from mcplocal.upstream.wishes import Wish
from mcplocal.vigil import Watched


@dataclass(eq=False)
class Subscribed:
    """One resource that a client is subscribed to.

    Attributes:
        subscriber: the client.
        uri: as the client knows it.
        ref: the resource; ``original`` is its server's own URI for it.
        holder: whose state a stateful server keeps; ``client`` is what it may be asked.
        digest: of the server as it was reached; ``hearing`` and ``wish`` are what listens to it, and for what.
        watched: sees to it that it is still allowed.
        tell: called when the resource changes.
    """

    subscriber: Subscriber
    uri: str
    ref: Ref
    original: str
    holder: str
    client: ClientSide | None
    digest: str
    hearing: Hearing
    watched: Watched
    wish: Wish
    tell: Callable[[], None]


class Subscriber:
    """One client. It costs little as long as it subscribes to nothing."""

    __slots__ = ("_has_listened", "_untold", "_wake", "closed", "held", "is_patient")

    def __init__(self, *, is_patient: bool = False) -> None:
        """It is subscribed to nothing.

        Args:
            is_patient: whether it waits for a server that cannot be reached now, or would rather be told so.
        """
        self.is_patient = is_patient
        self.closed = False
        self.held: dict[str, Subscribed] = {}
        self._untold: dict[str, str] = {}
        self._wake: Callable[[], None] | None = None
        self._has_listened = False

    def tell(self, subscribed: Subscribed) -> None:
        """Its resource has changed, or may have."""
        self._untold[subscribed.uri] = subscribed.ref.asked
        if self._wake is not None:
            self._wake()

    def take(self) -> tuple[str, str] | None:
        """One URI that it has not been told of, as it knows it and as a decision is asked about it; it counts as told."""
        uri = next(iter(self._untold), None)
        return (uri, self._untold.pop(uri)) if uri is not None else None

    @contextmanager
    def heard_by(self, wake: Callable[[], None]) -> Iterator[None]:
        """Within the block the client can be told; ``wake`` is called when there is something.

        If it could be before, what it was told at last may have been lost on the way.
        """
        if self._has_listened:
            self._untold.update((uri, held.ref.asked) for uri, held in self.held.items())
        self._has_listened, self._wake = True, wake
        if self._untold:
            wake()
        try:
            yield
        finally:
            if self._wake is wake:
                self._wake = None
