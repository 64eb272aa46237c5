"""One client on a pair of pipes: JSON lines in, JSON lines out, both eras at any time.

The end of the input is the end of the program, whatever is under way. Standard output carries messages and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from mcplocal.event_stream import one_line
from mcplocal.protocol.envelope import Incoming, Rejection, error_text, parse
from mcplocal.wire import INTERNAL_ERROR

LONGEST_LINE: Final = 64 << 20

BEHIND: Final = 100
"""Messages that may wait for a client to read them before it is told more unasked."""

Emit = Callable[[str], None]
Handle = Callable[[Incoming, bytes, Emit], Awaitable[None]]
"""Answers one message: what it emits goes to the client. A ``Rejection`` it raises is the answer."""


class Pipes:
    """Reads messages from one descriptor and writes messages to another."""

    def __init__(self, handle: Handle, *, source: int = 0, sink: int = 1) -> None:
        """Let ``handle`` answer what comes."""
        self._handle = handle
        self._source = source
        self._sink = sink
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._out: asyncio.Queue[str | None] = asyncio.Queue()
        self._caught_up = asyncio.Event()
        self._caught_up.set()
        self._under_way: dict[tuple[type, Any], set[asyncio.Task[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def emit(self, text: str) -> None:
        """Send one message to the client."""
        self._out.put_nowait(one_line(text))

    async def emit_when_read(self, text: str) -> None:
        """Send one message that nobody has asked for, once the client has read all but a few of those before it."""
        if self._out.qsize() > BEHIND:
            self._caught_up.clear()
        await self._caught_up.wait()
        self.emit(text)

    def cancel(self, identity: Any) -> None:
        """Stop answering the client's request ``identity``; nothing more is said about it."""
        for task in list(self._under_way.get((type(identity), identity), ())) if isinstance(identity, str | int) else ():
            task.cancel()

    async def run(self) -> None:
        """Serve until the input ends."""
        # A thread of its own, because a pipe, a file and a terminal are not polled alike; it dies with the process.
        threading.Thread(target=self._read, args=(asyncio.get_running_loop(),), name="stdin", daemon=True).start()
        writing = asyncio.create_task(self._write())
        while (line := await self._lines.get()) is not None:
            self._begin(line)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._out.put_nowait(None)
        await writing

    def _begin(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            message = parse(line)
        except Rejection as rejection:
            self.emit(error_text(rejection))
            return
        task = asyncio.create_task(self._answer(message, line))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if message.kind == "request":
            key = (type(message.id), message.id)
            self._under_way.setdefault(key, set()).add(task)
            task.add_done_callback(lambda done: self._done(key, done))

    def _done(self, key: tuple[type, Any], task: asyncio.Task[None]) -> None:
        tasks = self._under_way.get(key, set())
        tasks.discard(task)
        if not tasks:
            self._under_way.pop(key, None)

    async def _answer(self, message: Incoming, line: bytes) -> None:
        try:
            await self._handle(message, line, self.emit)
        except Rejection as rejection:
            if message.kind == "request":
                rejection.id_text = message.id_text
                self.emit(error_text(rejection))
        except Exception as error:
            print(f"mcplocal: a message could not be answered: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            self.emit(error_text(Rejection(INTERNAL_ERROR, "mcplocal made a mistake", id_text=message.id_text)))

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        parts: list[bytes] = []
        size = 0
        with suppress(OSError):
            while chunk := os.read(self._source, 1 << 16):
                *ends, rest = chunk.split(b"\n")
                for end in ends:
                    loop.call_soon_threadsafe(self._lines.put_nowait, b"".join([*parts, end]))
                    parts, size = [], 0
                parts.append(rest)
                size += len(rest)
                if size > LONGEST_LINE:
                    break
        with suppress(RuntimeError):  # the loop may be gone already
            loop.call_soon_threadsafe(self._lines.put_nowait, None)

    async def _write(self) -> None:
        while (text := await self._out.get()) is not None:
            if self._out.qsize() <= BEHIND:
                self._caught_up.set()
            data = memoryview(text.encode() + b"\n")
            try:
                while data:
                    data = data[await asyncio.to_thread(os.write, self._sink, data) :]
            except OSError:
                self._lines.put_nowait(None)  # nobody reads any more
                return
