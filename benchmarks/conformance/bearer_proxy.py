"""A reverse proxy that adds a bearer to each request, for clients that cannot send one. Everything else passes as it came.

Heads are not taken apart further than into lines: a scenario may be about the space around a value, or about ``Host``. Each
connection carries one request, so that no body has to be understood either; that is the one thing a client can tell it by.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

from anyio.from_thread import start_blocking_portal

PIECE: Final = 65536
REPLACED: Final = (b"authorization", b"connection")


@contextmanager
def bearing(target: str, bearer: str) -> Iterator[str]:
    """The address of a proxy before ``target``, another address, until the block ends."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_serving(target, bearer)) as address:
        yield address


@asynccontextmanager
async def _serving(target: str, bearer: str) -> AsyncIterator[str]:
    host, _, port = target.rpartition(":")

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            there_reader, there_writer = await asyncio.open_connection(host, int(port))
            there_writer.write(with_bearer(head, bearer))
            await _until_one_ends((reader, there_writer), (there_reader, writer))
        writer.close()

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    yield "{}:{}".format(*server.sockets[0].getsockname())
    server.close()


def with_bearer(head: bytes, bearer: str) -> bytes:
    """The head of a request, with this bearer, and as the only one of its connection."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept = [line for line in lines if line.partition(b":")[0].lower() not in REPLACED]
    return b"\r\n".join((first, *kept, b"authorization: Bearer " + bearer.encode(), b"connection: close", b"", b""))


async def _until_one_ends(*ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    """Carry both ways. Once one side has closed, the other is closed: a client that has gone cancels what it asked for."""
    running = [asyncio.create_task(_pump(*way)) for way in ways]
    _, left = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for one in left:
        one.cancel()
    for _, writer in ways:
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
