"""Three control planes and two gateways as processes of their own on one PostgreSQL, as they run in a cluster.

The gateways reach the control planes through a balancer that gives each connection to the next one that takes it. Each process
can be killed and started again by its name.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.conftest import POLICIES
from tests.gateway.conftest import Endpoint
from tests.gateway.relay import Relay
from tests.gateway.test_kill_and_restart import free_port
from tests.scrapes import Scrape
from tests.serving import ADMIN_PASSWORD, Client, made

CONTROLS = ("control-1", "control-2", "control-3")
GATEWAYS = ("gateway-1", "gateway-2")
EVERYBODY = CONTROLS + GATEWAYS

GATEWAY = {
    "MCPLOCAL_UPSTREAM_NETWORKS": "127.0.0.0/8",
    "MCPLOCAL_LIST_TIMEOUT": "2s",
    "MCPLOCAL_LIST_RETRY": "200ms",
    "MCPLOCAL_TRUST_FOR": "2s",
    "MCPLOCAL_LOG_FORMAT": "json",
    "MCPLOCAL_TRUSTED_PROXIES": "127.0.0.2/32",
    "MCPLOCAL_DRAIN_DELAY": "700ms",
    "MCPLOCAL_PROBE_INTERVAL": "2s",
}
CONTROL = {
    "MCPCTL_ADMIN_PASSWORD": ADMIN_PASSWORD,
    "MCPCTL_SECRET_KEY": "6b" * 32,
    "MCPCTL_DRAIN_DELAY": "1s",
}


def until(check: Callable[[], bool], seconds: float = 20.0, what: str = "it") -> None:
    """Wait until ``check`` holds."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, f"{what} did not come true within {seconds} s"
        time.sleep(0.02)


@dataclass
class Cluster:
    """The processes, by name, and how to reach each."""

    directory: Path
    database_url: str
    ports: dict[str, int]
    metrics_ports: dict[str, int]
    balancer: Relay
    running: dict[str, subprocess.Popen[bytes]]
    http: httpx2.Client
    admin_bearer: str = ""
    opened: ExitStack = field(default_factory=ExitStack)
    threads: threading.local = field(default_factory=threading.local)

    def start(self, *names: str) -> None:
        """Start these at the same moment, and wait until all are ready."""
        for name in names:
            with (self.directory / f"{name}.log").open("ab") as log:
                self.running[name] = subprocess.Popen(
                    self._command(name), env=self._environment(name), stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
        for name in names:
            until(lambda name=name: self.ready(name) == 200, 60, f"{name} being ready")  # type: ignore[misc]

    def _command(self, name: str) -> list[str]:
        listen = ["--listen", f"127.0.0.1:{self.ports[name]}"]
        if name in GATEWAYS:
            return [sys.executable, "-c", "from mcplocal.main import main; main()", "serve", *listen]
        where = ["--database-url", self.database_url, "--data-dir", str(self.directory / name)]
        return [sys.executable, "-m", "mcpctl", "server", *listen, *where, "--policy-dir", str(self.directory / "policies")]

    def _environment(self, name: str) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("MCPCTL_", "MCPLOCAL_"))}
        metrics = f"127.0.0.1:{self.metrics_ports[name]}"
        if name in CONTROLS:
            return {**clean, **CONTROL, "MCPCTL_METRICS_LISTEN": metrics}
        return {
            **clean,
            **GATEWAY,
            "MCPLOCAL_METRICS_LISTEN": metrics,
            "MCPLOCAL_CONTROL_PLANE": self.balancer.address,
            "MCPLOCAL_CREDENTIAL_FILE": str(self.directory / "credential"),
            "MCPLOCAL_STATE_DIR": str(self.directory / name),
            "MCPLOCAL_NAME": name,
        }

    def ready(self, name: str) -> int:
        """What ``/readyz`` says; 0 if nothing answers."""
        assert self.running[name].poll() is None, (self.directory / f"{name}.log").read_text()
        with suppress(httpx2.TransportError):
            return self.http.get(f"http://127.0.0.1:{self.ports[name]}/readyz").status_code
        return 0

    def kill(self, *names: str) -> None:
        """With SIGKILL, so that nobody can prepare for it."""
        for name in names:
            self.running[name].kill()
        for name in names:
            self.running.pop(name).wait(10)

    def stop(self, name: str) -> subprocess.Popen[bytes]:
        """With SIGTERM; what becomes of it is for the caller."""
        self.running[name].send_signal(signal.SIGTERM)
        return self.running.pop(name)

    def admin(self, name: str = CONTROLS[0]) -> Client:
        """The admin at one control plane, on connections of its own thread."""
        return self.client(name, self.admin_bearer)

    def client(self, name: str, bearer: str | None = None) -> Client:
        """Somebody at one control plane."""
        return Client(self._http_of(f"http://127.0.0.1:{self.ports[name]}"), bearer)

    def endpoint(self, name: str, bearer: str) -> Endpoint:
        """Somebody at one gateway."""
        address = f"http://127.0.0.1:{self.ports[name]}"
        return Endpoint(self._http_of(address), f"{address}/mcp", bearer)

    def _http_of(self, address: str) -> httpx2.Client:
        """A client of this thread for an address, so that threads do not wait for each other's connections."""
        known: dict[str, httpx2.Client] = self.threads.__dict__.setdefault("known", {})
        if address not in known:
            known[address] = self.opened.enter_context(httpx2.Client(base_url=address, timeout=20, trust_env=False))
        return known[address]

    def scrape(self, name: str) -> Scrape:
        """What its ``/metrics`` says."""
        return Scrape(self.http.get(f"http://127.0.0.1:{self.metrics_ports[name]}/metrics").text)

    def log(self, name: str) -> list[dict[str, Any]]:
        """The lines of its log that are JSON."""
        found = []
        for line in (self.directory / f"{name}.log").read_text().splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
        return found

    def token(self, name: str, project: str, *bindings: str, at: str = CONTROLS[0]) -> dict[str, Any]:
        """A new token."""
        return made(self.admin(at).post("/mcptokens", {"name": name, "project": project, "bindings": list(bindings)}))


@contextmanager
def cluster(directory: Path, database_url: str) -> Iterator[Cluster]:
    """All five, started on a database in which there is nothing at all; and a gateway's credential."""
    shutil.copytree(POLICIES, directory / "policies")
    ports, metrics_ports = {name: free_port() for name in EVERYBODY}, {name: free_port() for name in EVERYBODY}
    balancer = Relay(*(ports[name] for name in CONTROLS))
    with httpx2.Client(timeout=20, trust_env=False) as http:
        found = Cluster(directory, database_url, ports, metrics_ports, balancer, {}, http)
        try:
            found.start(*CONTROLS)
            login = {"username": "admin", "password": ADMIN_PASSWORD}
            found.admin_bearer = made(found.client(CONTROLS[1]).post("/auth/login", login), 200)["token"]
            admin = found.admin()
            made(admin.post("/users", {"name": "gw", "service": True}))
            assert admin.put("/groups/gateways/members/gw").status_code == 200
            (directory / "credential").write_text(made(admin.post("/sessions", {"user": "gw", "ttl": "never"}))["token"])
            found.start(*GATEWAYS)
            yield found
        finally:
            for process in found.running.values():
                process.kill()
            for process in found.running.values():
                process.wait(10)
            balancer.close()
            found.opened.close()
