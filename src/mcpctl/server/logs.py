"""The log: one line an event, for people or as JSON, on standard error. Bearers never reach it."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from mcpctl import request_ids

_SECRET = re.compile(r"mcpctl_(pat|ses)_[0-9A-Za-z]+")


def mask(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cover anything that looks like a bearer. Nothing should log one; this is the net below."""
    for key, value in event.items():
        if isinstance(value, str) and "mcpctl_" in value:
            event[key] = _SECRET.sub(r"mcpctl_\1_***", value)
    return event


def configure(form: Literal["auto", "json", "text"], level: int = logging.INFO) -> None:
    """Send the standard library's log and structlog's through one pipe: ``auto`` is text on a terminal and JSON elsewhere."""
    json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        request_ids.add_to_log,
        mask,
    ]
    last: Any = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
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
    root.setLevel(level)
    for chatty in ("alembic", "uvicorn", "watchfiles", "casbin", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
