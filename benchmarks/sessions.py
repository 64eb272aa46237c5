"""What sessions cost that nobody uses: ``python -m benchmarks.sessions [SESSIONS]``, a thousand unless said.

A gateway as it is installed is looked at from outside: the memory it has with no session, with that many of the handshake's
era, with a stream open in each, and after all of them were ended; several times over, because memory that grows each time is
lost, while memory that is there after the first time is the allocator's, and used again.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import Final

from benchmarks import processes, provenance
from benchmarks.installation import Installation, installation, wait_for
from benchmarks.processes import resident
from benchmarks.tables import Verdict, table

SESSIONS: Final = 1000
TURNS: Final = 4
SETTLE: Final = 0.7
"""Seconds in which what was begun ends, before the memory is looked at."""
MEGABYTE: Final = 1e6

IDLE_BUDGET: Final = 20.0
STREAM_BUDGET: Final = 60.0
NOISE: Final = 3.0
"""Megabytes by which two looks at a gateway that does nothing differ."""

HANDSHAKE: Final = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "idle", "version": "1"}},
}


@dataclass
class Look:
    """Memory in bytes, and open descriptors, of the gateway."""

    memory: int
    descriptors: int

    @classmethod
    def at(cls, pid: int) -> Look:
        """As it is in a moment."""
        sleep(SETTLE)
        return cls(resident(pid), len(list(Path(f"/proc/{pid}/fd").iterdir())))


@dataclass
class Turn:
    """One time: with sessions, with a stream in each, and after their end."""

    idle: Look
    streaming: Look
    ended: Look


class Client:
    """One bearer at one gateway."""

    def __init__(self, address: str, bearer: str) -> None:
        self._address = address
        self._bearer = bearer
        self._http = http.client.HTTPConnection(address)

    def open(self) -> str:
        """A session; its id."""
        answer = self._ask("POST", json.dumps(HANDSHAKE), 200)
        session = answer.headers["mcp-session-id"]
        self._ask("POST", json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}), 202, session)
        return session

    def end(self, session: str) -> None:
        """The session's end."""
        self._ask("DELETE", "", 204, session)

    def listen(self, session: str) -> socket.socket:
        """The open stream of a session."""
        host, _, port = self._address.rpartition(":")
        stream = socket.create_connection((host, int(port)))
        lines = ["GET /mcp HTTP/1.1", f"Host: {self._address}", f"Authorization: Bearer {self._bearer}"]
        lines += ["Accept: text/event-stream", f"Mcp-Session-Id: {session}"]
        stream.sendall("\r\n".join([*lines, "", ""]).encode())
        if b" 200 " not in stream.recv(1 << 16):
            raise RuntimeError("a stream was refused")
        return stream

    def close(self) -> None:
        """Nothing more is asked."""
        self._http.close()

    def _ask(self, method: str, body: str, expected: int, session: str | None = None) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {self._bearer}", "Content-Type": "application/json"}
        headers["Accept"] = "application/json, text/event-stream"
        self._http.request(method, "/mcp", body, headers | ({"Mcp-Session-Id": session} if session is not None else {}))
        answer = self._http.getresponse()
        answer.read()
        if answer.status != expected:
            raise RuntimeError(f"{method}: {answer.status}")
        return answer


def measure(there: Installation, upstream: str, sessions: int) -> tuple[Look, list[Turn]]:
    """The gateway before, and in each turn."""
    there.project("weather", {"forecast": upstream})
    with there.gateway(MCPLOCAL_MAX_SESSIONS=str(sessions + 10)) as (process, address):
        wait_for(address)
        client = Client(address, there.token("weather", ["forecast"])["token"])
        warm = client.open()
        client.listen(warm).close()
        client.end(warm)
        before = Look.at(process.pid)
        turns = []
        for _ in range(TURNS):
            opened = [client.open() for _ in range(sessions)]
            idle = Look.at(process.pid)
            streams = [client.listen(session) for session in opened]
            streaming = Look.at(process.pid)
            for session in opened:
                client.end(session)
            for stream in streams:
                stream.close()
            turns.append(Turn(idle, streaming, Look.at(process.pid)))
        client.close()
        return before, turns


def _page(before: Look, turns: list[Turn], sessions: int, seconds: float, load_before: float) -> str:
    def more(look: Look, than: Look) -> str:
        return f"{(look.memory - than.memory) / MEGABYTE:+.1f} MB, {look.descriptors - than.descriptors:+d}"

    # What was there before a turn is what the turn before it left.
    begun = [before, *(turn.ended for turn in turns[:-1])]
    idle = max(turn.idle.memory - first.memory for first, turn in zip(begun, turns, strict=True))
    streaming = max(turn.streaming.memory - first.memory for first, turn in zip(begun, turns, strict=True))
    grown = (turns[-1].ended.memory - turns[0].ended.memory) / (len(turns) - 1)
    left = max(turn.ended.descriptors for turn in turns) - before.descriptors
    budgets = [
        Verdict(f"{sessions:,} idle sessions", value, f"{value:.1f} MB", IDLE_BUDGET, IDLE_BUDGET, " MB").row
        for value in [idle / MEGABYTE]
    ]
    budgets += [
        Verdict("with an open stream each", value, f"{value:.1f} MB", STREAM_BUDGET, STREAM_BUDGET, " MB").row
        for value in [streaming / MEGABYTE]
    ]
    value = grown / MEGABYTE
    budgets.append(Verdict("what each further turn leaves behind", value, f"{value:+.1f} MB", NOISE, NOISE, " MB").row)
    budgets.append(Verdict("connections left", left, str(left), 0, 0, "").row)
    rows = [
        f"| {number} | {more(turn.idle, before)} | {more(turn.streaming, before)} | {more(turn.ended, before)} |"
        for number, turn in enumerate(turns, 1)
    ]
    parts = [
        "# What sessions cost that nobody uses",
        provenance.lines("make bench-sessions", seconds, ("uvicorn", "uvloop", "starlette"), (), load_before),
        "## Budgets",
        table(("what", "found", "budget", "goal", "met"), budgets),
        "## Turn by turn",
        f"Beside the {before.memory / MEGABYTE:.1f} MB and {before.descriptors} descriptors that the gateway has once it has "
        f"answered one session's requests: what there is more with {sessions:,} sessions of one token, with a stream open in "
        "each, and once each was ended with DELETE. Memory as the kernel tells it (VmRSS): what the first turn needed stays "
        "with the allocator, which gives little of it back, and is what the next turns use.",
        table(("turn", "idle", "streaming", "ended"), rows),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Measure, print, write."""
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else SESSIONS
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    begun, load_before = perf_counter(), os.getloadavg()[0]
    with (
        processes.module("benchmarks.gateway.upstream") as process,
        tempfile.TemporaryDirectory(prefix="sessions") as directory,
        installation(Path(directory)) as there,
    ):
        before, turns = measure(there, processes.pipes(process)[1].readline().strip(), sessions)
    text = _page(before, turns, sessions, perf_counter() - begun, load_before)
    print(text)
    if len(sys.argv) == 1:
        (provenance.RESULTS / "sessions.md").write_text(text)


if __name__ == "__main__":
    main()
