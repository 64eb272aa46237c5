"""Raw tokens, sessions, passwords and secret values are in the answers that give them, and nowhere else."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from mcpctl.services import audit
from mcpctl.services.token_secret import generate_session, generate_token
from tests import serving
from tests.api import contract
from tests.api.people import setup
from tests.serving import Client, Served, made
from tests.store.rows import dump

LISTS = [
    "users",
    "groups",
    "sessions",
    "projects",
    "servers",
    "instances",
    "secrets",
    "proxymodels",
    "rbac",
    "mcptokens",
    "audit",
]


def a_password() -> str:
    return f"pw-{uuid4().hex}"


class Story:
    """A control plane in whose life many secrets are made, used, mistyped and ended."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.given: list[str] = []
        """Secrets that were given out, in the order of the answers that gave them."""
        self.typed: list[str] = [serving.ADMIN_PASSWORD]
        """Secrets that clients sent."""
        self.said: list[str] = []
        """Every answer, with its headers."""
        served.nobody.http.event_hooks = {"response": [contract.check, self._hear]}

    def _hear(self, answer: httpx2.Response) -> None:
        answer.read()
        operation = contract.operation_of(answer.request.method, answer.request.url.path)
        self.said.append(f"{operation and operation.operation_id}\n{dict(answer.headers)}\n{answer.text}")

    def password(self) -> str:
        self.typed.append(a_password())
        return self.typed[-1]

    def gives(self, answer: httpx2.Response, status: int) -> Client:
        self.given.append(made(answer, status)["token"])
        return self.served.nobody.as_(self.given[-1])

    def live(self) -> None:
        served, admin = self.served, self.served.admin
        password, value = self.password(), self.password()
        setup(
            served,
            ("POST", "/users", {"name": "alice", "password": password}),
            ("POST", "/users", {"name": "robot", "service": True}),
            ("POST", "/groups", {"name": "team", "members": ["User:robot"]}),
            ("PUT", "/groups/gateways/members/robot", None),
            ("POST", "/secrets", {"name": "s", "values": {"key": value}}),
            (
                "POST",
                "/servers",
                {"name": "srv", "transport": "stdio", "command": "x", "env": {"KEY": {"secret": "s", "key": "key"}}},
            ),
            ("POST", "/projects", {"name": "p", "servers": ["srv"]}),
            ("POST", "/rbac", {"name": "alice", "subjects": ["User:alice"], "roleBindings": ["role:admin,resource:*"]}),
        )
        alice = self.gives(served.nobody.post("/auth/login", {"username": "alice", "password": password}), 200)
        assert 401 == served.nobody.post("/auth/login", {"username": "alice", "password": self.password()}).status_code
        assert 401 == served.nobody.post("/auth/login", {"username": self.password(), "password": "x" * 8}).status_code
        robot = self.gives(admin.post("/sessions", {"user": "robot"}), 201)
        token = self.gives(alice.post("/mcptokens", {"name": "t", "project": "p", "rbacMode": "clone"}), 201)
        second = self.gives(alice.post("/mcptokens/t/rotate?project=p", {"grace": "1h"}), 200)
        third = self.gives(admin.post("/mcptokens/t/rotate?project=p"), 200)
        for client in (alice, robot, token, second, third):
            for path in ("/auth/whoami", "/mcptokens/introspect", "/servers", "/secrets/s", "/nothing", "/users?limit=x"):
                client.get(path)
            client.post("/users", {"name": "UPPER"})
            client.post("/mcptokens", {"name": "t", "project": "p"})
            admin.call("POST", "//oauth2/introspect", data={"token": client.bearer})
            served.nobody.as_((client.bearer or "") + "x").get("/users")
            served.nobody.get("/users", headers={"Authorization": f"Basic {client.bearer}"})
            for method, path, body in (
                ("GET", f"/mcptokens/{client.bearer}?project=p", None),
                ("GET", f"/users/{client.bearer}", None),
                ("PUT", f"/groups/team/members/{client.bearer}", None),
                ("DELETE", f"/groups/team/members/{client.bearer}", None),
                ("DELETE", f"/sessions/{client.bearer}", None),
                ("GET", f"/{client.bearer}", None),
                ("GET", f"/users?{client.bearer}=1", None),
                ("GET", f"/users?cursor={client.bearer}", None),
                ("GET", f"/audit?token={client.bearer}&since={client.bearer}", None),
                ("POST", "/rbac", {"name": "x", "subjects": [f"User:{client.bearer}"], "roleBindings": [client.bearer]}),
                ("POST", "/authorize", {"action": client.bearer, "resource": client.bearer, "name": client.bearer}),
                ("POST", "/groups", {"name": client.bearer, client.bearer: 1}),
            ):
                assert admin.call(method, path, body).status_code >= 400
        upstreams = made(robot.get("/gateway/upstreams?project=p"), 200)
        assert {"KEY": value} == upstreams["servers"][0]["env"]
        assert self.said.pop().count(value) == 1, "the only way secret values leave"
        old, new = password, self.password()
        alice.patch("/users/alice", {"password": new, "oldPassword": self.password()})
        alice.patch("/users/alice", {"password": new, "oldPassword": old, "x": self.password()})
        alice.patch("/users/alice", {"password": "short"})
        made(alice.patch("/users/alice", {"password": new, "oldPassword": old}), 200)
        made(admin.patch("/users/alice", {"password": self.password()}), 200)
        setup(
            served,
            ("PUT", "/secrets/s", {"values": {"key": self.password()}}),
            ("POST", "/mcptokens/t/revoke?project=p", None),
            ("PATCH", "/users/robot", {"disabled": True}),
        )
        served.control.last_used.write()


@pytest.fixture
def told(
    database_url: str,
    policy_directory: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[tuple[Story, Path | None, list[str]]]:
    """The story on each database, its SQLite file if it has one, and all that was logged and printed at the finest level."""
    for logger in ("httpx2", "httpcore2"):
        caplog.set_level(logging.WARNING, logger)  # the client of this test, which logs addresses
    for logger in ("", "sqlalchemy", "uvicorn", "casbin", "alembic"):
        caplog.set_level(logging.DEBUG, logger)
    with serving.serve(database_url, policy_directory) as served:
        story = Story(served)
        story.given.append(served.admin.bearer or "")
        story.live()
        yield story, served.control.database.path, [caplog.text]
    assert not [one for one in [*story.given, *story.typed] if one in caplog.text]
    printed = capfd.readouterr()
    assert not [one for one in [*story.given, *story.typed] if one in printed.out + printed.err]


def test_a_secret_stands_in_the_answer_that_gives_it_and_nowhere_else(told: tuple[Story, Path | None, list[str]]) -> None:
    """Incident 8: no log, list, audit row, error, or database column."""
    story, path, logged = told
    secrets = [*story.given, *story.typed]
    assert (6, 10) <= (len(story.given), len(story.typed))
    assert any("INSERT INTO" in line for line in logged), "the log is as fine as it gets"
    for secret in story.given[1:]:
        holding = [answer for answer in story.said if secret in answer]
        assert 1 == len(holding)
        first = holding[0].partition("\n")[0]
        assert first in ("post_auth_login", "post_sessions", "post_mcptokens", "post_mcptokens_id_rotate")
    for secret in story.typed:
        assert not [answer for answer in story.said if secret in answer]
    for kind in LISTS:
        listed = json.dumps(made(story.served.admin.get(f"/{kind}?limit=1000"), 200))
        assert "nextCursor" in listed
        assert not [secret for secret in secrets if secret in listed]
    for lines in logged:
        assert not [secret for secret in secrets if secret in lines]
    database = story.served.control.database
    rows = str(dump(database))
    assert "alice" in rows
    assert not [secret for secret in secrets if secret in rows]
    if path is not None:
        kept = [file for file in path.parent.iterdir() if file.name.startswith(path.name)]
        assert {path.name, path.name + "-wal", path.name + "-shm"} == {file.name for file in kept}
        raw = b"".join(file.read_bytes() for file in kept)
        assert b"alice" in raw
        assert not [secret for secret in secrets if secret.encode() in raw]


def test_a_bearer_typed_below_a_server_or_seen_by_a_gateway_is_covered_in_the_audit(shared: Served) -> None:
    bearer = generate_token()
    body = {"name": "leak", "project": "demo", "bindings": [f"role:run,resource:servers,name:time/{bearer}"]}
    if shared.admin.get("/projects/demo").status_code == 404:
        shared.project("demo")
    eve = shared.user(f"eve-{uuid4().hex[:8]}", "role:create,resource:mcptokens", "role:view,resource:projects")
    assert 403 == eve.post("/mcptokens", body).status_code
    seen = {
        "id": uuid4().hex,
        "at": "2026-01-01T00:00:00Z",
        "project": "demo",
        "server": "time",
        "tool": bearer,
        "method": "tools/call",
        "allowed": False,
        "reason": f"there is no {bearer}",
        "outcome": "refused",
        "revision": 1,
    }
    made(shared.admin.post("/gateway/audit", {"gateway": "gw", "events": [seen]}), 202)
    kept = json.dumps(dump(shared.control.database), default=str)
    assert bearer not in kept
    assert "mcpctl_pat_***" in kept


def test_the_log_covers_what_looks_like_a_bearer(served_on_sqlite: Served) -> None:
    """The net below: nothing should log one, and if something does, it is covered."""
    from mcpctl.server import logs

    bearer = served_on_sqlite.admin.bearer or ""
    said = logs.mask(None, "info", {"event": f"got {bearer}!", "number": 1})
    assert {"event": "got mcpctl_ses_***!", "number": 1} == said


def test_an_audit_row_covers_what_looks_like_a_bearer() -> None:
    """Somebody may put one where a name belongs."""
    for bearer, covered in ((generate_token(), "mcpctl_pat_***"), (generate_session(), "mcpctl_ses_***")):
        row = audit.row(None, "view", "users", bearer, allowed=False, reason=f"there is no user {bearer}")
        assert (covered, f"there is no user {covered}") == (row.name, row.reason)


def test_an_audit_row_is_never_changed_by_anything_the_services_do(served_on_sqlite: Served) -> None:
    """Append-only: rows of before stand as they were after everything was deleted."""
    served = served_on_sqlite
    served.user("alice", "role:admin,resource:*")
    served.project("p")
    made(served.admin.post("/mcptokens", {"name": "t", "project": "p"}))
    before = dump(served.control.database)["audit"]
    setup(served, ("DELETE", "/mcptokens/t?project=p", None), ("DELETE", "/users/alice", None), ("DELETE", "/projects/p", None))
    assert set(before) < set(dump(served.control.database)["audit"])
