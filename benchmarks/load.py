"""Load, in a process of its own: keep-alive connections, each asking again as soon as it is answered.

A client that costs more than what is measured would be what is measured (aiohttp's took 140 µs a request where an empty
route took 100), so this one writes prepared bytes and reads no more of an answer than its status, its length and whether it
holds what it must. One line of JSON in says what to ask, whom, and for how long; one line out says how many answers came and
how long each took.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from time import perf_counter
from typing import Final, cast

import uvloop

CHUNKED: Final = -2
"""The length of an answer that says it in its chunks."""


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
        self._fail(exc or ConnectionError("the server hung up"))

    def begin(
        self, request: bytes, expects: bytes, until: float, most: int, took: list[float], status: int
    ) -> asyncio.Future[None]:
        """Ask ``request`` until then or so many times, and note how long each answer took.

        Args:
            request: head and body.
            expects: what every answer must hold somewhere.
            until: by the clock of ``perf_counter``; one answer is waited for in any case.
            most: answers of all connections together.
            took: takes the seconds of each answer.
            status: what every answer must have.
        """
        self.good = f"HTTP/1.1 {status} ".encode()
        self.request, self.expects, self.until, self.most, self.took = request, expects, until, most, took
        self.done = asyncio.get_running_loop().create_future()
        self._ask()
        return self.done

    def _ask(self) -> None:
        self.buffer = b""
        self.missing = -1
        self.asked = perf_counter()
        self.transport.write(self.request)

    def _fail(self, why: Exception) -> None:
        if self.done is not None and not self.done.done():
            self.done.set_exception(why)

    def data_received(self, data: bytes) -> None:
        """Take a piece of the answer."""
        self.buffer = self.buffer + data if self.buffer else data
        if self.missing == -1:
            head, end, _ = self.buffer.partition(b"\r\n\r\n")
            if not end:
                return None
            if not head.startswith(self.good):
                return self._fail(ValueError(self.buffer.decode("latin-1")))
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self.missing = len(head) + 4 + int(length) if length else CHUNKED
        if self.missing == CHUNKED:
            if not self.buffer.endswith(b"0\r\n\r\n"):
                return None
        elif len(self.buffer) < self.missing:
            return None
        now = perf_counter()
        if self.expects not in self.buffer:
            return self._fail(ValueError(f"{self.expects!r} is not in {self.buffer[:2000]!r}"))
        self.took.append(now - self.asked)
        if now < self.until and len(self.took) < self.most:
            return self._ask()
        assert self.done is not None
        return self.done.set_result(None)


def prepared(method: str, path: str, host: str, headers: Mapping[str, str], body: str = "") -> str:
    """A request as it goes over the wire."""
    length = {"Content-Length": str(len(body.encode()))} if body else {}
    lines = [f"{name}: {value}" for name, value in {"Host": host, **headers, **length}.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]) + body


class Connections:
    """The connections there are, by address; they are kept from order to order."""

    def __init__(self) -> None:
        """None yet."""
        self.open: dict[str, list[Asking]] = {}

    async def to(self, address: str, number: int) -> list[Asking]:
        """So many to ``address``, in good health."""
        kept = [one for one in self.open.get(address, []) if not one.transport.is_closing()]
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        while len(kept) < number:
            kept.append((await loop.create_connection(Asking, host, int(port)))[1])
        self.open[address] = kept
        return kept[:number]


async def follow() -> None:
    """Carry out each order."""
    loop = asyncio.get_running_loop()
    connections = Connections()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        asking = await connections.to(order["address"], order["connections"])
        request, expects = order["request"].encode(), order["expects"].encode()
        took: list[float] = []
        begun = perf_counter()
        until = begun + order["seconds"]
        await asyncio.gather(*(one.begin(request, expects, until, order["most"], took, order["status"]) for one in asking))
        print(json.dumps({"seconds": perf_counter() - begun, "took": took}), flush=True)


if __name__ == "__main__":
    uvloop.run(follow())
