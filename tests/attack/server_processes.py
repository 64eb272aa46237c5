"""Two ``mcpctl server`` processes on one database, as they run in a cluster: they share nothing but that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.serving import ADMIN_PASSWORD, Client, made


@dataclass
class Process:
    """One of them, and the admin on it."""

    process: subprocess.Popen[str]
    nobody: Client
    admin: Client

    def log_in(self, username: str, password: str) -> Client:
        """A client of this process with a fresh session."""
        return self.nobody.as_(
            made(self.nobody.post("/auth/login", {"username": username, "password": password}), 200)["token"]
        )


def _started(url: str, policies: Path, data: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mcpctl", "server", "--listen", "127.0.0.1:0", "--log-format", "json"]
    command += ["--database-url", url, "--policy-dir", str(policies), "--data-dir", str(data)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MCPCTL_", "MCPLOCAL_"))}
    environment = {**kept, "MCPCTL_ADMIN_PASSWORD": ADMIN_PASSWORD, "MCPCTL_SECRET_KEY": "6b" * 32}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if '"listening"' in line:
            return str(json.loads(line)["address"])
    raise AssertionError("".join(said))


@contextmanager
def two(url: str, policies: Path, data: Path) -> Iterator[tuple[Process, Process]]:
    """Both, started at the same moment; the first start of a database among them is part of what is tested."""
    with ExitStack() as stack:
        started = [stack.enter_context(_started(url, policies, data / str(number))) for number in range(2)]
        for process in started:
            stack.callback(process.terminate)
        addresses = [_address(process) for process in started]
        clients = [
            Client(stack.enter_context(httpx2.Client(base_url=address, timeout=20, trust_env=False))) for address in addresses
        ]
        both = [Process(process, client, client) for process, client in zip(started, clients, strict=True)]
        for one in both:
            one.admin = one.log_in("admin", ADMIN_PASSWORD)
        yield both[0], both[1]
