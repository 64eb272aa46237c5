"""A TCP relay between two real programs, with a switch: that is how an outage is made without touching either."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Relay:
    """Passes bytes on to a port of this machine, until it is cut or stalled."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._cut = False
        self._flowing = threading.Event()
        self._flowing.set()
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break every connection and accept no other."""
        self._cut = True
        self._break()

    def mend(self) -> None:
        """Pass on again."""
        self._cut = False
        self._flowing.set()

    def stall(self) -> None:
        """Keep connections open and pass nothing on: what a hung host looks like."""
        self._flowing.clear()

    def close(self) -> None:
        self.cut()
        self._flowing.set()
        self._listener.close()

    def _break(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for one in pairs:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self._listener.accept()
            except OSError:
                return
            if self._cut:
                inner.close()
                continue
            self.connections += 1
            try:
                outer = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                inner.close()
                continue
            with self._lock:
                self._pairs |= {inner, outer}
            for source, sink in ((inner, outer), (outer, inner)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self._flowing.wait()
                sink.sendall(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
