"""The process in which schemas are judged, where it can be ended: a stranger's schema may take for ever, or all memory.

``judge`` starts it. It reads a task per line, JSON, and writes a line for each: ``said``, or ``unjudged`` and why.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

MOST_MEMORY: Final = 512 << 20
"""Bytes of address space."""


def main() -> None:
    """Carry out tasks until nobody gives any more."""
    with suppress(ValueError, OSError):  # not every system has this limit
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    tasks = _tasks()
    _write({})
    for line in sys.stdin.buffer:
        try:
            asked = json.loads(line)
            # Whoever asked has ended this process by then, or is dead itself.
            signal.setitimer(signal.ITIMER_REAL, asked["seconds"] + 1)
            answer = _answer(tasks[asked["task"]], asked["about"])
        except MemoryError:
            answer = {"unjudged": "it takes more memory than it may", "over": True}
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(answer)
        if answer.get("over"):
            return  # what is left of the memory may be in pieces


def _write(answer: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _tasks() -> Mapping[str, Callable[..., str]]:
    from mcpctl.endpoint_test import official_schemas, tool_schemas

    return {
        "schema": tool_schemas.wrong_schema,
        "value": tool_schemas.wrong_value,
        "result": official_schemas.wrong_result,
        "error": official_schemas.wrong_error,
        "notification": official_schemas.wrong_notification,
    }


def _answer(task: Callable[..., str], about: list[Any]) -> dict[str, Any]:
    try:
        return {"said": task(*about)}
    except MemoryError:
        raise
    except Exception as error:
        why = str(error)[:200]
        return {"unjudged": why if type(error).__name__ == "TooMuch" else f"{type(error).__name__} {why}".strip()}


if __name__ == "__main__":
    main()
