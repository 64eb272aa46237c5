"""One bearer at the gateway: a call that streams and does not end, and beside it a question asked again and again."""

from __future__ import annotations

import socket
import threading
from time import perf_counter

from benchmarks.gateway import wire

GIVEN_UP_AFTER = 10.0
"""Seconds after which a stream that still runs, or a call that is still answered, counts as never ended."""


class OpenStream:
    """A call of ``wait``, whose progress comes as a stream. It notes when the stream ends."""

    def __init__(self, address: str, tool: str, bearer: str) -> None:
        """Open it, and wait for the first progress."""
        self.ended_at: float | None = None
        self._socket = _connected(address)
        self._socket.sendall(wire.call(address, "/mcp", tool, bearer=bearer, progress=True).encode())
        received = b""
        while b"notifications/progress" not in received:
            if not (piece := self._socket.recv(65536)):
                raise RuntimeError(f"the stream did not open: {received!r}")
            received += piece
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        received = b""
        try:
            while piece := self._socket.recv(65536):
                received = (received + piece)[-4096:]
                if received.endswith(b"0\r\n\r\n"):
                    break
        except OSError:
            pass
        self.ended_at = perf_counter()

    def wait(self) -> float | None:
        """When it ended, by ``perf_counter``; ``None`` if it did not within ``GIVEN_UP_AFTER``."""
        self._thread.join(GIVEN_UP_AFTER)
        self._socket.close()
        return self.ended_at


class Questions:
    """The list of tools, over one kept connection, as often as it is answered."""

    def __init__(self, address: str, bearer: str, source: str) -> None:
        """Connect from the address ``source``."""
        self._socket = _connected(address, source)
        self._request = wire.request(address, "/mcp", "tools/list", {}, bearer=bearer).encode()

    def ask(self) -> int:
        """The status of one answer."""
        self._socket.sendall(self._request)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._piece()
        head, _, body = received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += self._piece()
        return int(head[9:12])

    def until_refused(self, since: float) -> float | None:
        """When the first 401 was there; ``None`` if there was none within ``GIVEN_UP_AFTER`` seconds of ``since``."""
        while (now := perf_counter()) - since < GIVEN_UP_AFTER:
            if self.ask() == 401:
                return perf_counter()
            if (left := 0.001 - (perf_counter() - now)) > 0:
                threading.Event().wait(left)
        return None

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()

    def _piece(self) -> bytes:
        piece = self._socket.recv(65536)
        if not piece:
            raise RuntimeError("the gateway hung up")
        return piece


def _connected(address: str, source: str = "127.0.0.1") -> socket.socket:
    host, _, port = address.rpartition(":")
    connected = socket.create_connection((host, int(port)), timeout=GIVEN_UP_AFTER * 2, source_address=(source, 0))
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected
