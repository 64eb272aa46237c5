"""Asks ``judge_process`` about schemas and values, and ends it when it takes too long."""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import IO, Any, Final

from mcpctl.endpoint_test import official_schemas as official

LONGEST: Final = 2.0
"""Seconds for one schema or value."""
STARTING: Final = 10.0
"""Seconds in which the process has to be there."""
MOST_ENDED: Final = 5
"""Times in one run that the process may have to be ended; after that nothing more is judged by it."""
SMALL: Final = 500
"""Values in a message that is judged against the official schema right here; it takes a millisecond for each at worst."""


class Unjudged(Exception):
    """It could not be told in the time or the memory there is; the message says why."""


class _Process:
    """One child process, started when it is needed and used again."""

    def __init__(self) -> None:
        self._running: subprocess.Popen[bytes] | None = None
        self._pipes: tuple[IO[bytes], IO[bytes]] | None = None

    def ask(self, task: bytes, seconds: float) -> dict[str, Any]:
        """The answer to a task.

        Raises:
            TimeoutError: there is none in time; the process is gone.
            OSError: the process cannot be started, or has died.
        """
        try:
            if self._running is None or self._running.poll() is not None or self._pipes is None:
                self._start()
            given, answers = self._pipes or self._start()
            given.write(task + b"\n")
            given.flush()
            found: dict[str, Any] = json.loads(_line(answers.fileno(), monotonic() + seconds))
        except BaseException:
            self.end()
            raise
        if found.get("over"):
            self.end()
        return found

    def _start(self) -> tuple[IO[bytes], IO[bytes]]:
        self.end()
        # The same interpreter, this very package, and nothing of the environment that may be a secret.
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONHOME")}
        self._running = subprocess.Popen(
            [sys.executable, "-P", "-m", "mcpctl.endpoint_test.judge_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**kept, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
            start_new_session=True,
        )
        if self._running.stdin is None or self._running.stdout is None:
            raise OSError("there are no pipes")
        self._pipes = self._running.stdin, self._running.stdout
        _line(self._pipes[1].fileno(), monotonic() + STARTING)
        return self._pipes

    def end(self) -> None:
        """End the process, if there is one."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
        for pipe in self._pipes or ():
            with suppress(OSError):
                pipe.close()
        self._running = self._pipes = None


def _line(source: int, until: float) -> bytes:
    waiting, found = select.poll(), b""
    waiting.register(source, select.POLLIN)
    while not found.endswith(b"\n"):
        left = until - monotonic()
        if left <= 0 or not waiting.poll(left * 1000):
            raise TimeoutError
        chunk = os.read(source, 65536)
        if not chunk:
            raise ConnectionError
        found += chunk
    return found


_process: Final = _Process()
atexit.register(_process.end)


class Judge:
    """Judges during one run.

    Args:
        left: seconds that are left of the run; raises when there are none.
    """

    def __init__(self, left: Callable[[], float]) -> None:
        self._left = left
        self._ended = 0

    def wrong_schema(self, schema: Any) -> str:
        """As ``tool_schemas.wrong_schema``.

        Raises:
            Unjudged: it cannot be told.
        """
        return self._asked("schema", schema)

    def wrong_value(self, schema: Mapping[str, Any], value: Any) -> str:
        """As ``tool_schemas.wrong_value``.

        Raises:
            Unjudged: it cannot be told.
        """
        return self._asked("value", schema, value)

    def wrong_result(self, nodes: int, revision: str, method: str, result: Any) -> str:
        """As ``official_schemas.wrong_result``, of a message with so many values.

        Raises:
            Unjudged: it cannot be told.
        """
        return self._here(official.wrong_result, "result", nodes, revision, method, result)

    def wrong_error(self, nodes: int, revision: str, message: Any) -> str:
        """As ``official_schemas.wrong_error``.

        Raises:
            Unjudged: it cannot be told.
        """
        return self._here(official.wrong_error, "error", nodes, revision, message)

    def wrong_notification(self, nodes: int, revision: str, message: Mapping[str, Any]) -> str:
        """As ``official_schemas.wrong_notification``.

        Raises:
            Unjudged: it cannot be told.
        """
        return self._here(official.wrong_notification, "notification", nodes, revision, message)

    def _here(self, judge: Callable[..., str], task: str, nodes: int, *about: Any) -> str:
        if nodes > SMALL:
            return self._asked(task, *about)
        self._left()  # a stream of a thousand of them takes its time
        try:
            return judge(*about)
        except Exception as error:
            raise Unjudged(f"{type(error).__name__}: {str(error)[:200]}") from None

    def _asked(self, task: str, *about: Any) -> str:
        if self._ended >= MOST_ENDED:
            raise Unjudged(f"{MOST_ENDED} others took too long")
        seconds = min(LONGEST, self._left())
        try:
            found = _process.ask(json.dumps({"task": task, "about": about, "seconds": seconds}).encode(), seconds)
        except TimeoutError:
            self._ended += 1
            raise Unjudged(f"it could not be judged within {seconds:.2g} s") from None
        except (OSError, ValueError, RecursionError) as error:
            self._ended += 1
            raise Unjudged(f"the process that judges is gone ({type(error).__name__})") from None
        if "unjudged" in found:
            self._ended += bool(found.get("over"))
            raise Unjudged(str(found["unjudged"]))
        return str(found["said"])
