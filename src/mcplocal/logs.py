"""The log of the program: one line an event on standard error, as JSON or for people. Bearers never reach it."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from mcpctl import request_ids

_SECRET = re.compile(r"mcpctl_(pat|ses)_[0-9A-Za-z_-]+")


def mask(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cover anything that looks like a bearer. Nothing should log one; this is the net below."""
    for key, value in event.items():
        if isinstance(value, str) and "mcpctl_" in value:
            event[key] = _SECRET.sub(r"mcpctl_\1_***", value)
    return event


def configure(form: str, level: str) -> None:
    """Send structlog's and the standard library's log through one pipe.

    Args:
        form: ``json``, ``text``, or ``auto`` for text on a terminal and JSON elsewhere.
        level: ``debug``, ``info``, ``warning`` or ``error``.
    """
    shared: list[Any] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        request_ids.add_to_log,
        mask,
    ]
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    # Plain tracebacks: the pretty ones print local variables, and those hold credentials.
    last: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if text
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, mask, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("uvicorn", "casbin", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
