"""A control plane and gateways as they are installed: real processes, started by their own commands, on loopback."""

from __future__ import annotations

import itertools
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from benchmarks import processes

GATEWAY_SETTINGS = {"MCPLOCAL_UPSTREAM_NETWORKS": "127.0.0.0/8", "MCPLOCAL_LOG_LEVEL": "warning"}


@dataclass
class Installation:
    """One control plane, seen as its admin, and the gateways that belong to it."""

    process: subprocess.Popen[bytes]
    address: str
    directory: Path
    http: httpx2.Client
    credential: Path = field(init=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """One request below ``/api/v1``; the JSON of the answer, which must be a success."""
        answer = self.http.request(method, f"/api/v1{path}", json=body)
        if answer.status_code >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def project(self, name: str, servers: Mapping[str, str], tool_names: str = "prefixed") -> None:
        """A project with servers at these addresses."""
        for server, address in servers.items():
            self.send("POST", "/servers", {"name": server, "transport": "streamable-http", "url": f"http://{address}/mcp"})
        self.send("POST", "/projects", {"name": name, "servers": list(servers), "toolNames": tool_names})

    def token(self, project: str, servers: Sequence[str]) -> dict[str, Any]:
        """A new token that may run these servers: ``token`` is the bearer, ``id`` what to revoke."""
        bindings = [f"role:run,resource:servers,name:{server}" for server in servers]
        body = {"name": f"t{next(self._numbers)}", "project": project, "bindings": bindings}
        made: dict[str, Any] = self.send("POST", "/mcptokens", body)
        return made

    @contextmanager
    def gateway(self, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
        """``mcplocal serve`` with these settings more, started a moment ago: its process and where it will be."""
        number, address = next(self._numbers), free_address()
        home = self.directory / f"gateway-{number}"
        environ = {
            **_clean_environ(),
            "MCPLOCAL_LISTEN": address,
            "MCPLOCAL_CONTROL_PLANE": f"http://{self.address}",
            "MCPLOCAL_CREDENTIAL_FILE": str(self.credential),
            "MCPLOCAL_NAME": f"gateway-{number}",
            "MCPLOCAL_STATE_DIR": str(home / "state"),
            "MCPLOCAL_CACHE_DIR": str(home / "cache"),
            **GATEWAY_SETTINGS,
            **settings,
        }
        command = [str(Path(sys.executable).with_name("mcplocal")), "serve"]
        with processes.program(command, environ, self.directory / f"gateway-{number}.log") as process:
            yield process, address


@contextmanager
def installation(directory: Path, database_url: str | None = None) -> Iterator[Installation]:
    """A control plane that keeps what it has in ``directory``, or in the database given, with a gateway's credential."""
    address, password = free_address(), secrets.token_urlsafe()
    environ = {**_clean_environ(), "MCPCTL_ADMIN_PASSWORD": password}
    command = [str(Path(sys.executable).with_name("mcpctl")), "server", "--listen", address, "--data-dir", str(directory)]
    if database_url is not None:
        command += ["--database-url", database_url]
    with (
        processes.program(command, environ, directory / "control-plane.log") as process,
        httpx2.Client(base_url=f"http://{address}", timeout=20, trust_env=False) as http,
    ):
        wait_for(address)
        there = Installation(process, address, directory, http)
        session = there.send("POST", "/auth/login", {"username": "admin", "password": password})
        http.headers["Authorization"] = f"Bearer {session['token']}"
        there.send("POST", "/users", {"name": "gw", "service": True})
        there.send("PUT", "/groups/gateways/members/gw")
        there.credential = directory / "gateway-credential"
        there.credential.write_text(there.send("POST", "/sessions", {"user": "gw", "ttl": "never"})["token"])
        yield there


def free_address() -> str:
    """A loopback address nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"127.0.0.1:{listening.getsockname()[1]}"


def wait_for(address: str, seconds: float = 30.0) -> None:
    """Wait until somebody accepts connections there.

    Raises:
        TimeoutError: nobody does.
    """
    host, _, port = address.rpartition(":")
    until = time.perf_counter() + seconds
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            if time.perf_counter() > until:
                raise TimeoutError(f"nothing listens on {address}") from None
            time.sleep(0.002)


def _clean_environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("MCPCTL_", "MCPLOCAL_"))}
