"""A TCP relay between two real programs, with a switch: that is how an outage is made without touching either."""

from __future__ import annotations

import itertools
import queue
import socket
import threading
import time
from contextlib import suppress


class Relay:
    """Passes bytes on to a port of this machine, until it is cut or stalled.

    Of several ports each connection gets the next one that takes it, as a balancer below HTTP does it.
    """

    def __init__(self, *ports: int) -> None:
        self._to = itertools.cycle(ports)
        self._ports = len(ports)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._cut = False
        self._flowing = threading.Event()
        self._flowing.set()
        self.connections = 0
        self.watch_delay = 0.0
        self.watch_swaps = False
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

    def delay_watch(self, seconds: float) -> None:
        """From now on, everything the watch stream says comes that much later; all else flows as before."""
        self.watch_delay = seconds

    def swap_watch(self) -> None:
        """From now on, of every two pieces of the watch stream the second comes first."""
        self.watch_swaps = True

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

    def _send_late(self, late: queue.Queue[tuple[float, bytes] | None], sink: socket.socket) -> None:
        with suppress(OSError):
            while (item := late.get()) is not None:
                time.sleep(max(0.0, item[0] - time.monotonic()))
                sink.sendall(item[1])

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
            outer = self._connected()
            if outer is None:
                inner.close()
                continue
            with self._lock:
                self._pairs |= {inner, outer}
            asked = bytearray()
            threading.Thread(target=self._pump, args=(inner, outer, asked, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(outer, inner, asked, False), daemon=True).start()

    def _connected(self) -> socket.socket | None:
        for port in itertools.islice(self._to, self._ports):
            with suppress(OSError):
                return socket.create_connection(("127.0.0.1", port))
        return None

    def _pump(self, source: socket.socket, sink: socket.socket, asked: bytearray, asks: bool) -> None:
        late: queue.Queue[tuple[float, bytes] | None] = queue.Queue()
        sender: threading.Thread | None = None
        held = b""
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self._flowing.wait()
                if asks:
                    asked += data[:200]
                elif b"/api/v1/watch" in asked:
                    if self.watch_delay and sender is None:
                        sender = threading.Thread(target=self._send_late, args=(late, sink), daemon=True)
                        sender.start()
                    if sender is not None:
                        late.put((time.monotonic() + self.watch_delay, data))
                        continue
                    if self.watch_swaps and not held and data.count(b"event: revision") == 1 and b"HTTP/1.1" not in data:
                        held = data
                        continue
                sink.sendall(data + held)
                held = b""
        late.put(None)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
