"""An upstream that is a child process of the gateway, speaking JSON lines over its pipes.

The child leads a process group of its own, sees an allow-list of variables, and works in an empty directory that is its
own. One reader and one drain of stderr run as long as it lives; when it ends, those who wait are told at once, and it is
started again on use, later and later if it keeps failing.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Any, Final

import structlog

from mcpctl.errors import Forbidden
from mcplocal import wire
from mcplocal.catalog import ServerSpec
from mcplocal.client_side import ClientSide
from mcplocal.event_stream import one_line
from mcplocal.json_text import NotJson, decode
from mcplocal.settings import Settings
from mcplocal.single_flight import SingleFlight
from mcplocal.upstream import era as eras
from mcplocal.upstream.answers import Answer, Message, Note, Said, UpstreamFailed, read_message
from mcplocal.upstream.era import Call
from mcplocal.upstream.reaper import Reaper
from mcplocal.upstream.stdio_guard import StdioGuard
from mcplocal.wire import UNSUPPORTED_VERSION, Era

log = structlog.get_logger(__name__)
_CHANCE = Random()  # noqa: S311 - spreads attempts; nothing secret comes of it

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 60.0
"""Seconds between the end of a child and its next start: doubled with each failure, and back to none after this long a life."""

GRACE: Final = 2.0
"""Seconds a child has to leave after its stdin closed, and again after SIGTERM."""

LONGEST_LINE: Final = 1000
CHUNK: Final = 1 << 16
PER_CHUNK: Final = 200
"""Lines taken of one chunk of standard error; a child that writes more at once loses the older ones."""
PAUSE: Final = 0.01
"""Seconds between full chunks of standard error, so that a child that floods it holds nobody else up."""


@dataclass(eq=False)
class Child:
    """One life of the server: its process, and who waits for which answer."""

    process: Process
    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader
    directory: str
    pending: dict[int, tuple[asyncio.Future[Message], Call]] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    started_at: float = field(default_factory=monotonic)
    era: Era = Era.LEGACY
    capabilities: frozenset[str] = frozenset()
    ended: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class StdioConnection:
    """One server as a child process."""

    def __init__(
        self,
        spec: ServerSpec,
        guard: StdioGuard,
        reaper: Reaper,
        settings: Settings,
        said: Said,
        note: Note,
        started: Callable[[], None],
        client: ClientSide | None = None,
    ) -> None:
        """Run ``spec`` if ``guard`` lets it.

        Args:
            spec: the server.
            guard: says what may be started.
            reaper: ends the child if the gateway is killed.
            settings: the settings in force.
            said: called with each notification by which the server says that a list or resource of it has changed.
            note: takes each line that it writes to standard error, and what happens to it.
            started: called with each child that is started.
            client: whose alone the child is, if it is anybody's.
        """
        self.spec = spec
        self._guard = guard
        self._reaper = reaper
        self._settings = settings
        self._said = said
        self._client = client
        self._child: Child | None = None
        self._known_era: Era | None = None
        self._starting: SingleFlight[str, Child] = SingleFlight()
        self._ids = itertools.count(1)
        self._failures = 0
        self._not_before = 0.0
        self._closed = False
        self._endings: set[asyncio.Task[None]] = set()
        self._note = note
        self._started = started
        self.answered = 0

    @property
    def busy(self) -> int:
        """How many answers are waited for."""
        return len(self._child.pending) if self._child is not None else 0

    @property
    def capabilities(self) -> frozenset[str]:
        """What the child says it has, once ``ready``."""
        return self._child.capabilities if self._child is not None else frozenset()

    @property
    def is_ready(self) -> bool:
        """Whether its child runs."""
        return self._child is not None and not self._child.ended

    async def ready(self) -> Era:
        """The server's era, starting it if it does not run.

        Raises:
            UpstreamFailed: it may not be started, does not start, or is waiting out a pause after failures.
        """
        return (await self._living()).era

    async def request(self, call: Call) -> Answer:
        """The server's answer to ``call``. Nothing is ever sent twice.

        Raises:
            UpstreamFailed: there is no answer.
        """
        try:
            async with asyncio.timeout(None if call.held else call.timeout):
                child = await self._living()
                message = await self._ask(child, call, child.era)
        except TimeoutError:
            raise UpstreamFailed(f"no answer within {call.timeout:g} s", sent=True) from None
        self.answered += 1
        return message.answer(child.era)

    @property
    def settled(self) -> object | None:
        """Stands for the life that the server leads now; ``None`` if it does not run."""
        return self._child

    async def hear(self, _streams: bool, opened: Callable[[], None]) -> None:
        """Let the server say what it will, until it ends. All of it comes on the one pipe.

        Raises:
            UpstreamFailed: it cannot be started.
        """
        child = await self._living()
        opened()
        await child.gone.wait()

    async def close(self) -> None:
        """End the child and everything in its process group."""
        self._closed = True
        await self._starting.stop()
        if self._child is not None:
            self._end(self._child, "the gateway no longer needs it")
        await asyncio.gather(*self._endings, return_exceptions=True)

    async def _living(self) -> Child:
        if self._child is not None and not self._child.ended:
            return self._child
        return await self._starting.run("", self._start)

    async def _start(self) -> Child:
        if self._closed:
            raise UpstreamFailed("the gateway is closing")
        if (wait := self._not_before - monotonic()) > 0:
            raise UpstreamFailed(f"it ended {self._failures} times in a row and is started again in {wait:.1f} s")
        try:
            argv, environment = self._guard.command(self.spec), self._guard.environment(self.spec)
        except Forbidden as refusal:
            raise UpstreamFailed(refusal.detail, lasting=True) from None
        await self._reaper.ready()
        directory = tempfile.mkdtemp(prefix="mcplocal-")
        try:
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=directory, env=environment, start_new_session=True
            )
        except (OSError, ValueError) as error:
            shutil.rmtree(directory, ignore_errors=True)
            self._count_failure()
            raise UpstreamFailed(f"it cannot be started: {type(error).__name__}") from error
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise UpstreamFailed("it has no pipes")
        self._reaper.guard(process.pid)
        self._started()
        child = Child(process, process.stdin, process.stdout, process.stderr, directory)
        self._aside(child, self._read(child))
        self._aside(child, self._drain(child))
        log.info("stdio server started", server=self.spec.name, pid=process.pid)
        self._note("gateway", f"started as process {process.pid}")
        try:
            async with asyncio.timeout(self._settings.start_timeout):
                child.era = self._known_era = await self._shake_hands(child)
        except TimeoutError:
            self._end(child, "it did not shake hands in time", failed=True)
            raise UpstreamFailed(f"it does not answer within {self._settings.start_timeout:g} s of its start") from None
        except UpstreamFailed:
            self._end(child, "it could not be spoken to", failed=True)
            raise
        except BaseException:
            self._end(child, "its start was given up")
            raise
        self._child = child
        return child

    async def _shake_hands(self, child: Child) -> Era:
        """Find the era. A server that does not answer ``server/discover`` is a legacy one, unless it objects."""
        discover: asyncio.Future[Message] | None = None
        if self._known_era is not Era.LEGACY:
            discover = self._send(child, Call(eras.DISCOVER), Era.MODERN)
            done, _ = await asyncio.wait([discover], timeout=self._settings.probe_timeout)
            if done and eras.era_told_by(discover.result()) is Era.MODERN:
                child.capabilities = eras.capabilities_told_by(discover.result())
                return Era.MODERN
        answer = await self._ask(child, eras.initialize_call(self._settings.start_timeout, self._client), Era.LEGACY)
        if answer.error is not None and answer.error.code == UNSUPPORTED_VERSION:
            # Slow to start, it took the probe for its first request after all.
            if discover is not None and discover.done():
                child.capabilities = eras.capabilities_told_by(discover.result())
            return Era.MODERN
        eras.negotiated_version(answer)
        child.capabilities = eras.capabilities_told_by(answer)
        await self._write(child, eras.notification_text(eras.INITIALIZED))
        return Era.LEGACY

    def _send(self, child: Child, call: Call, era: Era) -> asyncio.Future[Message]:
        """Begin a request; the future is its answer."""
        identity = next(self._ids)
        text = eras.request_text(identity, call, era)  # first: if this fails, nothing must be left waiting
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        child.pending[identity] = (future, call)
        future.add_done_callback(lambda done: self._settled(child, identity, call, done))
        self._aside(child, self._write(child, text))
        return future

    def _aside(self, child: Child, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, context=Context())  # what a child writes belongs to no request
        child.tasks.add(task)
        task.add_done_callback(child.tasks.discard)

    async def _ask(self, child: Child, call: Call, era: Era) -> Message:
        return await self._send(child, call, era)

    def _settled(self, child: Child, identity: int, call: Call, future: asyncio.Future[Message]) -> None:
        child.pending.pop(identity, None)
        if not future.cancelled():
            future.exception()
        elif not child.ended and call.method not in (eras.INITIALIZE, eras.DISCOVER):
            reason = {"requestId": identity, "reason": "the caller no longer waits"}
            self._aside(child, self._write(child, eras.notification_text(eras.CANCELLED, reason)))

    async def _write(self, child: Child, text: str) -> None:
        stdin = child.stdin
        with suppress(OSError, RuntimeError):  # a child that is gone is noticed where its stdout ends
            async with child.writing:
                stdin.write(one_line(text).encode() + b"\n")
                await stdin.drain()

    async def _read(self, child: Child) -> None:
        why = "it ended"
        try:
            async for line in _lines(child.stdout, self._settings.max_response_bytes):
                if line.strip():
                    self._take(child, line)
        except _LineTooLong:
            why = f"it wrote a line of more than {self._settings.max_response_bytes} bytes"
        finally:
            if not child.ended:
                self._end(child, why, failed=True)

    def _take(self, child: Child, line: bytes) -> None:
        try:
            message = read_message(decode(line))
        except NotJson:
            log.info("stdio server wrote something that is no message", server=self.spec.name, bytes=len(line))
            return
        if message.method is None:
            waiting = child.pending.get(message.id) if isinstance(message.id, int) else None
            if waiting is not None and not waiting[0].done():
                waiting[0].set_result(message)
        elif message.has_id:
            self._aside(child, self._reply(child, message))
        elif message.method in eras.UNASKED:
            self._said(message.method, message.params)
        elif message.method == wire.ACKNOWLEDGED:
            identity = _subscription_of(message)
            listening = child.pending.get(identity) if identity is not None else None
            if listening is not None and listening[1].notify is not None:
                listening[1].notify(message.method, message.params)
        elif message.method == wire.PROGRESS and "progressToken" in message.params:
            token = message.params["progressToken"].value
            waiting = child.pending.get(token) if isinstance(token, int) else None
            if waiting is not None and waiting[1].notify is not None:
                waiting[1].notify(message.method, message.params)
        elif message.method == wire.LOG_MESSAGE:
            call = self._call_of_client(child)
            if call is not None and call.notify is not None:
                call.notify(message.method, message.params)

    async def _reply(self, child: Child, question: Message) -> None:
        await self._write(child, await eras.reply_text(question, self._call_of_client(child)))

    def _call_of_client(self, child: Child) -> Call | None:
        """The call that what the child says unasked belongs to. A pipe does not tell, so only a child of one client has any."""
        calls = [call for _, call in child.pending.values() if call.client is not None]
        return calls[-1] if calls and self._client is not None else None

    async def _drain(self, child: Child) -> None:
        rest = b""
        while chunk := await child.stderr.read(CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines[-PER_CHUNK:]:
                self._note("stderr", line[:LONGEST_LINE].decode(errors="replace").rstrip("\r"))
            if len(chunk) == CHUNK:
                await asyncio.sleep(PAUSE)
        if rest:
            self._note("stderr", rest.decode(errors="replace"))

    def _count_failure(self) -> None:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**self._failures)
        self._failures += 1
        self._not_before = monotonic() + pause * _CHANCE.uniform(0.8, 1.2)

    def _end(self, child: Child, why: str, *, failed: bool = False) -> None:
        """The child is of no more use: tell those who wait, and let it go aside."""
        if child.ended:
            return
        child.ended = True
        child.gone.set()
        if self._child is child:
            self._child = None
        if monotonic() - child.started_at > LONGEST_PAUSE:
            self._failures = 0
        if failed:
            self._count_failure()
        for future, _ in list(child.pending.values()):
            if not future.done():
                future.set_exception(UpstreamFailed(why, sent=True))
        ending = asyncio.create_task(self._let_go(child, why))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def _let_go(self, child: Child, why: str) -> None:
        """Close its stdin, then SIGTERM, then SIGKILL to its whole group, and collect it."""
        process = child.process
        child.stdin.close()
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                _signal_group(process.pid, number)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), GRACE)
                break
        _signal_group(process.pid, signal.SIGKILL)  # whatever it started and left behind
        tasks = list(child.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        process._transport.close()  # type: ignore[attr-defined]
        shutil.rmtree(child.directory, ignore_errors=True)
        self._reaper.release(process.pid)
        log.info("stdio server ended", server=self.spec.name, pid=process.pid, status=process.returncode, why=why)
        self._note("gateway", f"process {process.pid} ended with status {process.returncode}: {why}")


def _subscription_of(message: Message) -> int | None:
    """Which request of ours the message belongs to, by what stands in its ``_meta``."""
    meta = message.params[wire.META].value if wire.META in message.params else None
    identity = meta.get(wire.SUBSCRIPTION_ID_KEY) if isinstance(meta, dict) else None
    return identity if isinstance(identity, int) and not isinstance(identity, bool) else None


class _LineTooLong(ValueError):
    """A line is larger than the limit."""


async def _lines(reader: asyncio.StreamReader, limit: int) -> AsyncIterator[bytes]:
    """Lines as they come, at a cost linear in the bytes."""
    parts: list[bytes] = []
    size = 0
    while chunk := await reader.read(1 << 16):
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            yield b"".join([*parts, end])
            parts, size = [], 0
        if rest:
            parts.append(rest)
            size += len(rest)
            if size > limit:
                raise _LineTooLong


def _signal_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
