"""A command imports what it needs and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.cli.conftest import Mcpctl

PROBE = """
import json, sys
from mcpctl.main import program
try:
    program(sys.argv[1:])
finally:
    print("MODULES" + json.dumps(sorted(sys.modules)))
"""

NEVER = (
    "mcpctl.server",
    "mcpctl.services",
    "mcpctl.store",
    "mcpctl.api",
    "mcpctl.quickstart",
    "sqlalchemy",
    "starlette",
    "casbin",
)
HEAVY = ("httpx2", "pydantic", "stamina", "ruamel", "asyncio")

CASES = (
    (["--help"], (*NEVER, *HEAVY)),
    (["--version"], (*NEVER, *HEAVY, "rich.table")),
    (["get", "--help"], (*NEVER, *HEAVY)),
    (["create", "mcptoken", "--help"], (*NEVER, *HEAVY)),
    (["config", "get-contexts"], (*NEVER, *HEAVY, "rich.table")),
    (["get", "users"], (*NEVER, "pydantic", "ruamel", "rich.table", "structlog")),
    (["explain", "proxymodel"], (*NEVER, *HEAVY, "jsonschema", "re2", "jmespath")),
    (["completion", "bash"], (*NEVER, *HEAVY)),
)


@pytest.mark.parametrize(("command", "unwanted"), CASES, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_it_does_not_import(command: list[str], unwanted: tuple[str, ...], mcpctl: Mcpctl) -> None:
    mcpctl.use("http://127.0.0.1:9")
    ran = subprocess.run(
        [sys.executable, "-c", PROBE, *command], capture_output=True, text=True, check=True, env=dict(os.environ), timeout=60
    )
    modules = set(json.loads(ran.stdout.rpartition("MODULES")[2]))
    assert [] == [name for name in unwanted if name in modules]


def test_reading_contexts_imports_no_http_client() -> None:
    code = "import sys, mcpctl.client.target; print(sorted({'httpx2', 'pydantic', 'click'} & {*sys.modules}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "[]\n" == ran.stdout
