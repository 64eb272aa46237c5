"""What happened to systems like this one, tried here: each incident that concerns who somebody is or what the control plane does."""

# ruff: noqa: E501 - a case is a row
from __future__ import annotations

import ast
import json
import re
import socket
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from mcpctl.api.app import OPERATIONS
from mcpctl.api.operations import Filtered, Guarded
from mcpctl.services.token_secret import TOKEN_PREFIX
from tests.api.people import Person, audit_rows, nothing_changes, refused, setup
from tests.api.samples import BODIES, ULID, path, query
from tests.serving import Served, made
from tests.store.rows import dump

ROOT = Path(__file__).parents[2]
CONTROL_PLANE = [ROOT / "src" / "mcpctl" / room for room in ("api", "policy", "services", "store", "wire")]


@pytest.fixture(scope="module")
def world(shared: Served) -> Served:
    """What the sample requests name, and nobody slowed down."""
    shared.control.failed_bearers.wait = lambda *_keys: 0.0  # type: ignore[method-assign]  # this is not about guessing
    shared.project("sample", "sample")
    setup(
        shared,
        ("POST", "/users", {"name": "sample", "service": True}),
        ("POST", "/users", {"name": "person", "password": "a long password"}),
        ("POST", "/groups", {"name": "sample"}),
        ("POST", "/secrets", {"name": "sample", "values": {"key": "value"}}),
        ("POST", "/mcptokens", {"name": "sample", "project": "sample"}),
        ("POST", "/rbac", BODIES["post_rbac"]),
    )
    return shared


def raw(served: Served, text: str, *, answered: bool = True) -> bytes:
    """What comes back on a connection of its own for these very bytes."""
    where = urlsplit(served.address)
    with socket.create_connection((where.hostname, where.port), timeout=5) as connection:
        connection.sendall(text.encode("latin-1"))
        if not answered:
            return b""
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while chunk := connection.recv(65536):
            found += chunk
        return found


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


PATHS = ["/api/v1/users", "/api/v1/users/", "//api/v1/users", "/api/v1//users", "/api/v1/users/.", "/api/v1/./users", "/api/v1/x/../users", "/healthz/../api/v1/users", "/api/v1/users;x=/healthz", "/api/v1/users?x=/healthz", "/api/v1/users/%2e%2e/users", "/api/v1/users%2f", "/api/v1/users%00", "/API/V1/users", "/api/v1/users/mcp", "/api/v1/rbac/healthz", "/api/v1/rbac/openapi.json", "/api/v1/users/introspect", "/api/v1/mcptokens/introspect/", "/api/v1/mcptokens/introspect/rotate", "http://x/api/v1/users", "/api/v1/users#/healthz", "/healthz/", "/healthz/api/v1/users"]  # fmt: skip


@pytest.mark.parametrize("where", PATHS)
def test_no_form_of_a_path_is_let_through_without_a_bearer(where: str, world: Served) -> None:
    """incidents 2, 3: the guard is part of the route, so there is no second opinion about which path this is."""
    for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS", "get", "PROPFIND"):
        answer = raw(
            world,
            f"{method} {where} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{{}}",
        )
        assert status_of(answer) in (0, 400, 401, 404, 405, 422), answer[:200]
        assert b'"items"' not in answer


HOSTS = [
    "x/healthz?",
    "x/healthz#",
    "x\\healthz",
    "x?",
    "x/api/v1/auth/login",
    "x@y",
    "",
    "a b",
    "[::1",
    "x/../../healthz",
    "x:80/healthz?y=",
]


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_header_changes_no_path(host: str, world: Served) -> None:
    """incident 3: routed by ``scope["path"]`` alone; the stack has the mended version."""
    for headers in (
        f"Host: {host}",
        f"Host: x\r\nX-Forwarded-Host: {host}\r\nX-Original-URL: /healthz\r\nX-Rewrite-URL: /healthz",
    ):
        answer = raw(world, f"GET /api/v1/users HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n")
        assert status_of(answer) in (400, 401), answer[:200]
    assert "starlette>=1.0.1" in (ROOT / "pyproject.toml").read_text()
    for source in (one for room in CONTROL_PLANE for one in room.rglob("*.py")):
        assert "request.url" not in source.read_text(), f"{source.name}: the URL is made of the Host header"


FABRICATED = ["Bearer", "Bearer sk-1234", "Bearer null", "Bearer undefined", "Bearer {}", "Basic Og==", "Bearer mcpctl_pat_", "Bearer ' OR '1'='1", "Bearer mcpctl_pat_' UNION SELECT 1--", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJVc2VyOmFkbWluIn0.", "router-key secret-api-key", "Bearer *", "Bearer Group:admins", "Bearer \xff"]  # fmt: skip


@pytest.mark.parametrize("fabricated", FABRICATED)
def test_a_made_up_credential_is_nobody_on_every_route(fabricated: str, world: Served) -> None:
    """incidents 1, 4, 14: no empty principal, no internal key, no text of a bearer in a statement."""
    internal = {
        "router-key": "secret-api-key",
        "mcp-init-host": "x",
        "X-Internal": "true",
        "X-Api-Key": "secret-api-key",
        "Mcp-Session-Id": "1",
    }
    with nothing_changes(world, refusals=0):
        for operation in OPERATIONS:
            if operation.path.startswith("/api/v1/") and operation.operation_id not in (
                "post_auth_login",
                "get_mcptokens_introspect",
            ):
                sent = [
                    *((name.encode(), value.encode()) for name, value in internal.items()),
                    (b"Authorization", fabricated.encode("latin-1")),
                ]
                answer = world.nobody.http.request(operation.method, path(operation)[1:], headers=sent, params=query(operation))
                assert 401 == answer.status_code, (operation.operation_id, answer.text)


@pytest.mark.parametrize(
    "header",
    [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "Mcp-Method",
        "X-Original-URL",
        "X-Rewrite-URL",
        "Forwarded",
        "Via",
    ],
)
def test_no_header_makes_another_request_of_this_one(header: str, world: Served, actor: Person) -> None:
    """incidents 4, 23: what is routed and guarded is the request line, and the body is the one that is there."""
    actor.holds("role:view,resource:groups")
    for value in ("DELETE", "/api/v1/users", "for=127.0.0.1;host=x"):
        assert "sample" == made(actor.client.get("/groups/sample", headers={header: value}), 200)["name"]
        refused(actor.client.get("/users/sample", headers={header: value}), "forbidden", ["view users sample"])
    assert 200 == world.admin.get("/groups/sample").status_code


def test_a_bearer_almost_like_a_remembered_one_is_somebody_else(world: Served) -> None:
    """incident 5: what is remembered is found by the whole hash of the whole bearer."""
    token = made(world.admin.post("/mcptokens", {"name": "i5", "project": "sample", "rbacMode": "clone"}))["token"]
    assert "User:admin" == made(world.nobody.as_(token).get("/mcptokens/introspect"), 200)["owner"]
    body = token.removeprefix(TOKEN_PREFIX)
    almost = [TOKEN_PREFIX + body[:n] + ("A" if body[n] != "A" else "B") + body[n + 1 :] for n in range(len(body))]
    almost += [
        TOKEN_PREFIX + body.swapcase(),
        token + "A",
        token[:-1],
        token + "\u00a0",
        token.upper(),
        f"{token},{token}",
        f" {token[1:]}",
    ]
    for bearer in almost:
        answer = world.nobody.http.get("/api/v1/servers", headers=[(b"Authorization", f"Bearer {bearer}".encode("latin-1"))])
        assert 401 == answer.status_code, bearer


def test_what_was_remembered_for_one_is_never_anothers_answer(world: Served) -> None:
    """incident 28: two people and two tokens in turns, each asked what is remembered for it."""
    people = [world.user(f"i28-{n}", f"role:view,resource:servers,name:i28-{n}") for n in range(2)]
    tokens = [
        made(world.admin.post("/mcptokens", {"name": f"i28-{n}", "project": "sample", "bindings": [f"action:logs,name:p{n}"]}))
        for n in range(2)
    ]
    agents = [world.nobody.as_(token["token"]) for token in tokens]
    for _ in range(3):
        assert ["User:i28-0", "User:i28-1"] == [one.get("/auth/whoami").json()["subject"] for one in people]
        assert ["User:i28-0", "User:i28-1"] == [one.get("/mcptokens/introspect").json()["sub"] for one in people]
        assert [one["tokenSha"] for one in tokens] == [one.get("/mcptokens/introspect").json()["tokenSha"] for one in agents]
        asked = [{"action": "view", "resource": "servers", "name": f"i28-{n}"} for n in range(2)]
        assert [[True, False], [False, True]] == [
            [said["allowed"] for said in one.post("/authorize", asked).json()] for one in people
        ]
    for answer in (people[0].get("/auth/whoami"), people[0].get("/nothing"), agents[0].get("/servers")):
        assert "no-store" in answer.headers.get("cache-control", "no-store")
        assert "set-cookie" not in answer.headers


def test_a_token_without_bindings_does_nothing_on_any_route(world: Served) -> None:
    """incidents 6, 7: what a token was not given it has not, on every route there is and by every id; lists are empty."""
    agent = world.nobody.as_(made(world.admin.post("/mcptokens", {"name": "i7", "project": "sample"}))["token"])
    before = dump(world.control.database, without=frozenset({"audit"}))
    for operation in OPERATIONS:
        if not isinstance(operation.guard, Guarded | Filtered):
            continue
        ways = [path(operation)]
        if operation.path.endswith("/{id}") and operation.method == "GET":
            known = world.admin.call("GET", path(operation), params=query(operation)).json()
            ways.append(path(operation, id=known.get("id", ULID)) if "rbac" not in operation.path else path(operation))
        for where in ways:
            answer = agent.call(operation.method, where, BODIES.get(operation.operation_id), params=query(operation))
            if isinstance(operation.guard, Filtered):
                assert [] == made(answer, 200)["items"], operation.operation_id
            else:
                assert answer.status_code in (403, 404), (operation.operation_id, answer.text)
    assert before == dump(world.control.database, without=frozenset({"audit"}))


def test_taking_one_of_two_grants_away_leaves_the_other_and_says_which(world: Served, actor: Person) -> None:
    """incident 13: the answer names the line that still gives it; a deny ends both; ending a token ends every line of it."""
    view = "role:view,resource:servers,name:sample"
    actor.holds(view)
    twice = {"name": "i13", "subjects": [actor.subject], "roleBindings": [view]}
    setup(world, ("POST", "/rbac", twice))
    asked = {"subject": actor.subject, "action": "view", "resource": "servers", "name": "sample"}
    actor.holds()
    said = made(world.admin.post("/authorize", asked), 200)
    assert (True, "rbac:i13") == (said["allowed"], said["origin"])
    setup(world, ("POST", "/rbac", {"name": "i13d", "subjects": [actor.subject], "roleBindings": [f"{view},effect:deny"]}))
    said = made(world.admin.post("/authorize", asked), 200)
    assert (False, "rbac:i13d") == (said["allowed"], said["origin"])
    setup(world, ("DELETE", "/rbac/i13d", None), ("DELETE", "/rbac/i13", None))
    assert made(world.admin.post("/authorize", asked), 200)["allowed"] is False


def test_no_registered_command_runs_in_the_control_plane(world: Served, tmp_path: Path) -> None:
    """incidents 15, 18, 19: a command, its arguments, environment and health check are text here; no template is filled in."""
    mark = tmp_path / "ran"
    script = f"touch {mark}"
    texts = ["{{7*7}}", "${7*7}", "$(id)", "`id`", "%(x)s", "{0.__class__}", "--privileged", "-v/:/host"]
    body = {
        "name": "i15",
        "transport": "stdio",
        "command": "/bin/sh",
        "args": ["-c", script, *texts],
        "env": {"LD_PRELOAD": str(mark), "X": texts[0]},
    }
    setup(
        world,
        ("POST", "/servers", body),
        ("PUT", "/projects/sample/servers/i15", None),
        ("PUT", "/servers/i15", {**body, "healthCheck": {"intervalSeconds": 1, "timeoutSeconds": 1}}),
    )
    for where in ("/servers/i15", "/servers", "/instances", "/projects/sample"):
        assert 200 == world.admin.get(where).status_code
    upstream = next(
        one for one in world.admin.get("/gateway/upstreams?project=sample").json()["servers"] if one["name"] == "i15"
    )
    assert (body["command"], body["args"], body["env"]) == (upstream["command"], upstream["args"], upstream["env"])
    for where in (
        "/servers/i15/test",
        "/servers/test",
        "/servers/i15/start",
        "/mcp-rest/test/connection",
        "/instances/i15/run",
    ):
        assert world.admin.post(where, body).status_code in (404, 405)
    assert not mark.exists()
    starters = {
        "subprocess",
        "os.system",
        "os.popen",
        "os.execv",
        "os.spawnv",
        "pty",
        "multiprocessing",
        "jinja2",
        "pickle",
        "marshal",
        "shelve",
    }
    for source in (one for room in CONTROL_PLANE for one in room.rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text())):
            names = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [one.name for one in node.names]
                if isinstance(node, ast.Import)
                else [ast.unparse(node)]
                if isinstance(node, ast.Attribute)
                else []
            )
            assert not starters & {*names, *(name.partition(".")[0] for name in names)}, f"{source.name}:{names}"


def test_what_a_client_sends_stays_one_row_of_the_audit_and_one_line_of_the_log(
    world: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """incident 19: neither a line feed nor a terminal's escape in a name, a header or a path makes up an entry."""
    forged = 'x\n2026-01-01 [info] login user=admin ok\r\n\x1b[2J"}{"level":"info"}'
    known = len(audit_rows(world))
    world.control.failed_logins.wait = lambda *_keys: 0.0  # type: ignore[method-assign]
    for call in (
        ("POST", "/auth/login", {"username": forged, "password": "a long password"}),
        ("POST", "/users", {"name": forged, "service": True}),
        ("POST", "/mcptokens", {"name": forged, "project": forged, "description": forged}),
        ("POST", "/authorize", {"action": forged, "resource": forged, "name": forged, "subject": forged}),
    ):
        answer = world.admin.call(*call)
        assert answer.status_code in (401, 422), answer.text
        assert "\x1b" not in answer.text
    assert known == len(audit_rows(world))
    for line in ("GET /api/v1/users/x%0a%1b%5b2Jadmin HTTP/1.1", "GET /x\x1b[2J HTTP/1.1"):
        raw(world, f"{line}\r\nHost: x\r\nX-Request-Id: a\x1b[2J\r\nUser-Agent: \x1b[2J\r\nConnection: close\r\n\r\n")
    assert "\x1b" not in caplog.text


SPELLINGS = [
    "Name",
    "NAME",
    "name ",
    "\u017fubjects",
    "Subjects",
    "role_bindings",
    "rolebindings",
    "RoleBindings",
    "__proto__",
    "constructor",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_member_has_one_spelling_and_one_value(spelling: str, world: Served) -> None:
    """incidents 20, 21: no second parser could see another request in the same bytes."""
    body = {"name": "i20", "subjects": ["User:sample"], "roleBindings": ["role:view,resource:groups"]}
    with nothing_changes(world, refusals=0):
        refused(world.admin.post("/rbac", {**body, spelling: "admins"}), "invalid")
        for text in (
            json.dumps(body)[:-1] + ', "subjects": ["User:admin"]}',
            '{"\\u006eame": "i20", ' + json.dumps(body)[1:],
            json.dumps([body, body]),
            json.dumps(body) + json.dumps(body),
            json.dumps(body) + "\n//",
            json.dumps(body).replace('"i20"', "1e2"),
        ):
            answer = world.admin.call("POST", "/rbac", content=text.encode(), headers={"Content-Type": "application/json"})
            assert answer.status_code in (400, 422), text
        for media in ("text/plain", "application/json, text/plain", "application/json;charset=utf-16", "multipart/form-data"):
            answer = world.admin.call(
                "POST",
                "/rbac",
                content=json.dumps(body).encode("utf-16" if "16" in media else "utf-8"),
                headers={"Content-Type": media},
            )
            assert answer.status_code in (400, 415), (media, answer.text)


BROKEN_OFF = {
    "in the head": "POST /api/v1/users HTTP/1.1\r\nHost: x\r\nAuthor",
    "in the body": "POST /api/v1/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{{",
    "in a chunk": "POST /api/v1/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n{{",
    "in a stream": "GET /api/v1/watch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\n\r\n",
    "before the answer": "GET /api/v1/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\n\r\n",
    "with a huge promise": "POST /api/v1/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{{",
    "with nonsense": "\x00\x01\x02\r\n\r\n",
}


@pytest.mark.parametrize("where", BROKEN_OFF)
def test_a_client_that_breaks_off_stops_nobody(where: str, world: Served) -> None:
    """incident 29: at any place of a request; nothing is written of it and the next request is served."""
    with nothing_changes(world, refusals=0):
        for _ in range(5):
            raw(world, BROKEN_OFF[where].format(bearer=world.admin.bearer), answered=False)
        assert 200 == world.nobody.get("//healthz").status_code
        assert 200 == world.admin.get("/users").status_code


def test_what_is_installed_is_pinned_and_nothing_else_is_asked_for() -> None:
    """incident 30: one exact version of every dependency, the test tools included, and none that nobody declared."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert [] == [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+!-]*( ?;.*)?", line)]
    pinned = {re.split("==", line)[0].lower().replace("_", "-") for line in lines}
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = {re.split(r"[<>=!~;\[ ]", one)[0].lower().replace("_", "-") for one in wanted}
    assert set() == names - pinned
    makefile = (ROOT / "Makefile").read_text()
    installs = [line for line in makefile.splitlines() if "pip install" in line and "--upgrade" not in line]
    assert all("--constraint constraints.txt" in line for line in installs)
