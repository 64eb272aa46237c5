"""Load, in a process of its own: keep-alive connections, each asking again as soon as it is answered.

A client that costs more than the empty route would be what is measured (aiohttp's took 140 µs a request where the empty
route took 100), so this one writes prepared bytes and reads no more of an answer than its status and length. One line of
JSON in says what to ask and for how long; one line out says how many answers came and how long each took.
"""

from __future__ import annotations

import asyncio
import json
import sys
from time import perf_counter
from typing import Any, cast

import uvloop


class Asking(asyncio.Protocol):
    """One connection: asks, waits for the whole answer, asks again; counts only while there is an order."""

    def __init__(self) -> None:
        """Begin idle."""
        self.done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """A server that hangs up is a failed measurement."""
        if self.done is not None and not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server hung up"))

    def begin(self, request: bytes, until: float, took: list[float]) -> asyncio.Future[None]:
        """Ask ``request`` until then, and note how long each answer took."""
        self.request, self.until, self.took = request, until, took
        self.done = asyncio.get_running_loop().create_future()
        self._ask()
        return self.done

    def _ask(self) -> None:
        self.buffer = b""
        self.missing = -1
        self.asked = perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Take a piece of the answer."""
        assert self.done is not None
        self.buffer += data
        if self.missing < 0:
            head, end, _ = self.buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 200"):
                self.done.set_exception(ValueError(head.decode("latin-1")))
                return
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self.missing = len(head) + 4 + int(length)
        if len(self.buffer) < self.missing:
            return
        now = perf_counter()
        self.took.append(now - self.asked)
        if now < self.until:
            self._ask()
        else:
            self.done.set_result(None)


def bytes_of(order: dict[str, Any], host: str) -> bytes:
    """The request as it goes over the wire."""
    body = str(order["body"]).encode()
    headers = {"Host": host, **order["headers"], **({"Content-Length": str(len(body))} if body else {})}
    lines = [f"{order['method']} {order['path']} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def follow(host: str, port: int, connections: int) -> None:
    """Carry out each order."""
    loop = asyncio.get_running_loop()
    asking = [(await loop.create_connection(Asking, host, port))[1] for _ in range(connections)]
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        request = bytes_of(order, f"{host}:{port}")
        took: list[float] = []
        begun = perf_counter()
        await asyncio.gather(*(one.begin(request, begun + order["seconds"], took) for one in asking[: order["connections"]]))
        print(json.dumps({"seconds": perf_counter() - begun, "took": took}), flush=True)


if __name__ == "__main__":
    uvloop.run(follow(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
