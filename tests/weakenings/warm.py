"""A process that has imported what takes long to import, and nothing of the program: each trial is a fork of it.

It takes one order a line on standard input and answers each with the exit code of its pytest. ``SLOW`` may name modules
that are gone or missing: they are only imported ahead of time.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from contextlib import suppress
from typing import Any, Final, NoReturn

import pytest

SLOW: Final = (
    "aiohttp",
    "alembic.command",
    "argon2",
    "casbin",
    "casbin_sqlalchemy_adapter",
    "cryptography.hazmat.primitives.ciphers.aead",
    "httpx2",
    "hypothesis",
    "hypothesis.strategies",
    "jsonschema",
    "limits.strategies",
    "mcp",
    "psycopg",
    "pydantic",
    "pydantic_settings",
    "sqlalchemy.orm",
    "sqlalchemy.dialects.sqlite",
    "starlette.applications",
    "structlog",
    "uvicorn",
    "xdist",
)
PROGRAM: Final = ("mcpctl", "mcplocal")


def main() -> None:
    """Import, then carry out one order after the other until there are no more."""
    for name in SLOW:
        with suppress(ImportError):
            importlib.import_module(name)
    if early := [name for name in sys.modules if name.partition(".")[0] in PROGRAM]:
        raise SystemExit(f"{', '.join(early)} must not be imported before a trial")
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _carry_out(order)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _carry_out(order: dict[str, Any]) -> NoReturn:
    code = 3
    try:
        output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, target in enumerate((nothing, output, output)):
            os.dup2(target, number)
        os.environ.update(order["environment"])
        # What is imported already cannot be rewritten for assertions, and has none.
        code = int(pytest.main(["-W", "ignore::pytest.PytestAssertRewriteWarning", *order["arguments"]]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # the rest of this process is the parent's


if __name__ == "__main__":
    main()
