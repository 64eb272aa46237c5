"""Two control planes on one database, in this process, called through their whole HTTP application without a socket."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest
from anyio.from_thread import BlockingPortal
from sqlalchemy import event

from mcpctl.api.app import build_app
from mcpctl.api.control_plane import ControlPlane
from mcpctl.policy.files import PolicyFiles
from mcpctl.services import policy_feed
from mcpctl.services.keyring import Keyring
from mcpctl.services.throttle import FailureThrottle
from mcpctl.store.database import Database

Answer = TypeVar("Answer")
KEYRING = Keyring([b"k" * 32])


class Replica:
    """One control plane, its feed and its remembered principals; ``call`` may be used by many threads at once."""

    def __init__(self, url: str, policy: PolicyFiles, portal: BlockingPortal) -> None:
        """Start on a database that is set up."""
        database = Database(url)
        if database.is_sqlite:
            event.listen(database.engine, "connect", _without_fsync)
        self.control = ControlPlane(database, policy, KEYRING)
        # Here many a call is wrong on purpose; being slowed down has tests of its own.
        self.control.failed_bearers = FailureThrottle("bearer", free=10**9)
        self.control.failed_logins = FailureThrottle("login", free=10**9)
        self.control.feed.start()
        self._portal = portal
        transport = httpx2.ASGITransport(build_app(self.control))
        self._http = httpx2.AsyncClient(transport=transport, base_url="http://replica/api/v1", timeout=60)

    def call(self, method: str, path: str, bearer: str | None, body: Any = None) -> httpx2.Response:
        """One request below ``/api/v1``."""
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        return self._portal.call(partial(self._http.request, method, path, json=body, headers=headers))

    def catch_up(self) -> None:
        """Look at the revision now, as the feed does by itself several times a second."""
        self.control.feed._look()

    def stop(self) -> None:
        """End it."""
        self._portal.call(self._http.aclose)
        self.control.feed.stop()
        self.control.database.close()


def _without_fsync(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")  # nothing here outlives the test


@contextmanager
def two(url: str, policy: PolicyFiles, portal: BlockingPortal) -> Iterator[tuple[Replica, Replica]]:
    """Two replicas on one database that is set up."""
    one = Replica(url, policy, portal)
    try:
        other = Replica(url, policy, portal)
        try:
            yield one, other
        finally:
            other.stop()
    finally:
        one.stop()


@contextmanager
def looking_only_when_told() -> Iterator[None]:
    """No replica on SQLite looks at the revision by itself: how far it lags behind is part of the test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy_feed, "LOOK_EVERY", 3600)
        yield


def copied(template: Path, to: Path) -> str:
    """A copy of an SQLite file, as a URL."""
    shutil.copyfile(template, to)
    return f"sqlite:///{to}"


class Pair:
    """Two replicas, and an admin's session that is good on both."""

    def __init__(self, one: Replica, other: Replica, admin_password: str) -> None:
        """Log the admin in."""
        self.one, self.other, self.both = one, other, (one, other)
        self.admin: str = self.made("POST", "/auth/login", {"username": "admin", "password": admin_password}, bearer="")[
            "token"
        ]

    def made(self, method: str, path: str, body: Any = None, *, bearer: str | None = None) -> dict[str, Any]:
        """The body of a call on the first replica that must be accepted; the admin's if nobody else is named."""
        answer = self.one.call(method, path, self.admin if bearer is None else bearer, body)
        assert answer.status_code < 300, (method, path, answer.status_code, answer.text)
        given: dict[str, Any] = answer.json() if answer.content else {}
        return given

    def somebody(self, name: str, *bindings: str) -> str:
        """The session of a new service user that holds these bindings."""
        self.made("POST", "/users", {"name": name, "service": True})
        if bindings:
            self.made("POST", "/rbac", {"name": f"for-{name}", "subjects": [f"User:{name}"], "roleBindings": list(bindings)})
        return str(self.made("POST", "/sessions", {"user": name, "ttl": "1h"})["token"])

    def server(self, name: str) -> None:
        """A server that nobody needs to reach."""
        self.made("POST", "/servers", {"name": name, "transport": "streamable-http", "url": "http://127.0.0.1:9/mcp"})


def at_once(*does: Callable[[], Answer]) -> list[Answer]:
    """What all of these gave, begun at the same moment, each in a thread of its own."""
    gate = threading.Barrier(len(does))

    def begin(each: Callable[[], Answer]) -> Answer:
        gate.wait(10)
        return each()

    with ThreadPoolExecutor(len(does)) as pool:
        return list(pool.map(begin, does))
