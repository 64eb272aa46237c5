"""Every command sends what the wire says, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from mcpctl.cli.resources import KINDS
from mcpctl.wire import catalog, decisions, people, proxy_models, rbac, secrets, tokens
from mcpctl.wire.shapes import Answer
from tests.cli.conftest import Mcpctl
from tests.cli.recording import Recording

NOW = "2030-01-01T00:00:00.000Z"
USER = {"id": "U", "name": "alice", "service": False, "disabled": False, "groups": [], "createdAt": NOW}
GROUP = {"id": "G", "name": "ops", "members": ["User:alice"], "createdAt": NOW}
LOGGED_IN = {"token": "mcpctl_ses_new", "id": "S", "user": "gateway-1", "expiresAt": None}
PROJECT: dict[str, Any] = {
    "id": "P", "name": "demo", "servers": ["time"], "proxyModel": None, "toolNames": "prefixed", "createdAt": NOW,
    "updatedAt": NOW,
}  # fmt: skip
REMOTE: dict[str, Any] = {
    "id": "R", "name": "docs", "transport": "streamable-http", "url": "https://mcp.example.com/mcp",
    "headers": {"X-Team": "ops", "Authorization": {"secret": "docs", "key": "bearer"}}, "command": None, "args": [], "env": {},
    "healthCheck": {"intervalSeconds": 10, "timeoutSeconds": 2}, "proxyModel": "short", "stateful": True, "projects": [],
    "createdAt": NOW, "updatedAt": NOW,
}  # fmt: skip
LOCAL = REMOTE | {
    "name": "time", "transport": "stdio", "url": None, "headers": {}, "command": "uvx", "args": ["mcp-server-time"],
    "env": {"TZ": "UTC", "LANG": "C"}, "healthCheck": None, "proxyModel": None, "stateful": False,
}  # fmt: skip
DEFINITION = {
    "name": "readers", "subjects": ["User:alice"], "roleBindings": ["role:view,resource:servers"], "origin": "rbac:readers",
    "readOnly": False,
}  # fmt: skip
TOKEN = {
    "id": "T", "name": "ci", "project": "demo", "owner": "User:alice", "tokenSha": "0" * 64, "rbacMode": "empty",
    "bindings": ["role:run,resource:servers"], "description": "", "status": "active", "createdAt": NOW, "expiresAt": None,
    "revokedAt": None, "lastUsedAt": None,
}  # fmt: skip
SECRET = {"id": "S", "name": "github", "keys": ["bearer"], "servers": [], "createdAt": NOW, "updatedAt": NOW}
MODEL: dict[str, Any] = {
    "id": "M", "name": "short", "description": "d", "stages": [{"stage": "truncate", "options": {"maxChars": 8000}}],
    "cache": {"ttlSeconds": 300, "tools": ["time/get_*"]}, "projects": [], "servers": [], "createdAt": NOW, "updatedAt": NOW,
}  # fmt: skip
KEPT = {member: MODEL[member] for member in ("description", "stages", "cache")}
MINTED = TOKEN | {"token": "mcpctl_pat_new", "never": ["read or write secrets"], "unusable": []}
VERDICT = {
    "allowed": True, "reason": "allowed by x", "rule": None, "origin": None, "via": None, "missing": [],
    "revision": 1, "id": "d",
}  # fmt: skip
EXPLANATION = VERDICT | {"subject": "User:a", "action": "run", "resource": "servers", "name": "a", "legs": []}
HOLDERS = {
    "items": [{"subject": "User:alice", "name": "alice", "owner": None, "rule": "p, x", "origin": "rbac:x", "via": None}],
    "nextCursor": None, "revision": 3, "total": 1,
}  # fmt: skip
RIGHTS = {
    "subject": "User:alice", "revision": 3, "groups": [], "rights": [], "owner": None, "ownerGroups": [], "ownerRights": [],
    "project": None, "attached": [], "never": [],
}  # fmt: skip
ME: dict[str, Any] = {
    "subject": "User:admin", "kind": "session", "user": "admin", "groups": [], "project": None, "tokenName": None,
    "tokenSha": None, "bindings": [], "expiresAt": None, "revision": 1,
}  # fmt: skip
EMPTY: dict[str, Any] = {"items": [], "nextCursor": None}
INSTANCE: dict[str, Any] = {
    "name": "time/gw", "server": "time", "gateway": "gw", "status": "RUNNING", "detail": "", "tools": 1, "latencyMs": 1.0,
    "at": NOW,
}  # fmt: skip
LINES = {"items": [{"number": 1, "at": NOW, "stream": "stderr", "text": "ready"}]}
ULID = "01J0000000000000000000000A"


@dataclass(frozen=True)
class Case:
    """One command line, the answers it gets, and the requests it must make."""

    command: str
    answers: list[dict[str, Any]]
    sent: list[tuple[str, str]]
    body: dict[str, Any] | None = None
    shape: type[BaseModel] | None = None
    query: dict[str, str] = field(default_factory=dict)
    stdin: str = ""


CASES = (
    Case("whoami", [ME], [("GET", "/auth/whoami")]),
    Case("get users", [EMPTY], [("GET", "/users")], query={"limit": "1000"}),
    Case("get mcptokens", [EMPTY], [("GET", "/mcptokens")], query={"project": "home", "limit": "1000"}),
    Case("get mcptokens -p demo", [EMPTY], [("GET", "/mcptokens")], query={"project": "demo", "limit": "1000"}),
    Case("get mcptokens -A", [EMPTY], [("GET", "/mcptokens")], query={"limit": "1000"}),
    Case("get mcptoken ci", [TOKEN], [("GET", "/mcptokens/ci")], query={"project": "home"}),
    Case("get mcptoken ci -p demo", [TOKEN], [("GET", "/mcptokens/ci")], query={"project": "demo"}),
    Case("get mcptoken/demo/ci", [TOKEN], [("GET", "/mcptokens/ci")], query={"project": "demo"}),
    Case(f"get mcptoken {ULID}", [TOKEN], [("GET", f"/mcptokens/{ULID}")]),
    Case("get instance time/gw", [EMPTY], [("GET", "/instances/time/gw")]),
    Case("logs time/gw", [LINES], [("GET", "/instances/time/gw/logs")], query={"limit": "100"}),
    Case("logs instance/time/gw --tail 5", [LINES], [("GET", "/instances/time/gw/logs")], query={"limit": "5"}),
    Case(
        "logs time", [{"items": [INSTANCE], "nextCursor": None}, LINES],
        [("GET", "/instances"), ("GET", "/instances/time/gw/logs")],
    ),
    Case("get users,groups", [EMPTY, EMPTY], [("GET", "/users"), ("GET", "/groups")]),
    Case("get user alice bob", [USER, USER], [("GET", "/users/alice"), ("GET", "/users/bob")]),
    Case(
        "get audit --token demo/ci --user alice -p demo --since 1h --until 5m --decision refused --limit 5",
        [EMPTY],
        [("GET", "/audit")],
        query={
            "token": "demo/ci", "user": "alice", "project": "demo", "since": "1h", "until": "5m", "decision": "refused",
            "limit": "5",
        },
    ),
    Case("get audit", [EMPTY], [("GET", "/audit")], query={"limit": "100"}),
    Case("describe user alice", [USER], [("GET", "/users/alice")]),
    Case("describe mcptoken ci -p demo", [TOKEN], [("GET", "/mcptokens/ci")], query={"project": "demo"}),
    Case("delete user alice --yes", [EMPTY, {}], [("GET", "/rbac"), ("DELETE", "/users/alice")]),
    Case("delete mcptoken demo/ci -y", [{}], [("DELETE", "/mcptokens/ci")], query={"project": "demo"}),
    Case("delete user/a server/b --yes", [EMPTY, {}, {}], [("GET", "/rbac"), ("DELETE", "/users/a"), ("DELETE", "/servers/b")]),
    Case(
        "create user alice --password -", [USER], [("POST", "/users")],
        {"name": "alice", "service": False, "password": "pass word 1"}, people.NewUser, stdin="pass word 1\n",
    ),
    Case("create user gw --service", [USER], [("POST", "/users")], {"name": "gw", "service": True}, people.NewUser),
    Case("create group ops", [GROUP], [("POST", "/groups")], {"name": "ops", "members": []}, people.NewGroup),
    Case(
        "create groups ops --member User:alice --member User:bob", [GROUP], [("POST", "/groups")],
        {"name": "ops", "members": ["User:alice", "User:bob"]}, people.NewGroup,
    ),
    Case(
        "create secret github --from-file bearer=-", [SECRET], [("POST", "/secrets")],
        {"name": "github", "values": {"bearer": "hunter2"}}, secrets.NewSecret, stdin="hunter2\n",
    ),
    Case(
        "set secret github --from-file bearer=- --remove old", [SECRET], [("PATCH", "/secrets/github")],
        {"values": {"bearer": "hunter2", "old": None}}, secrets.SecretPatch, stdin="hunter2\n",
    ),
    Case(
        "edit secret github --from-file bearer=- --remove old", [SECRET], [("PATCH", "/secrets/github")],
        {"values": {"bearer": "hunter2", "old": None}}, secrets.SecretPatch, stdin="hunter2\n",
    ),
    Case("create session gateway-1", [LOGGED_IN], [("POST", "/sessions")], {"user": "gateway-1"}, people.NewSession),
    Case(
        "create session gateway-1 --ttl never", [LOGGED_IN], [("POST", "/sessions")],
        {"user": "gateway-1", "ttl": "never"}, people.NewSession,
    ),
    Case("create project demo", [PROJECT], [("POST", "/projects")], {"name": "demo"}, catalog.NewProject),
    Case(
        "create project demo --server a --server b --tool-names plain", [PROJECT], [("POST", "/projects")],
        {"name": "demo", "servers": ["a", "b"], "toolNames": "plain"}, catalog.NewProject,
    ),
    Case(
        "create server docs --url https://mcp.example.com/mcp --header X-Team=ops --header Authorization=secret:docs/bearer "
        "--health-interval 10 --health-timeout 2 --stateful",
        [REMOTE], [("POST", "/servers")],
        {
            "name": "docs", "transport": "streamable-http", "url": "https://mcp.example.com/mcp",
            "headers": {"X-Team": "ops", "Authorization": {"secret": "docs", "key": "bearer"}},
            "healthCheck": {"intervalSeconds": 10, "timeoutSeconds": 2}, "proxyModel": None, "stateful": True,
        },
        catalog.NewServer,
    ),
    Case(
        "create server time --env TZ=UTC --env EMPTY= -- uvx mcp-server-time --local-timezone -o json",
        [LOCAL], [("POST", "/servers")],
        {
            "name": "time", "transport": "stdio", "command": "uvx", "args": ["mcp-server-time", "--local-timezone", "-o",
            "json"],
            "env": {"TZ": "UTC", "EMPTY": ""}, "healthCheck": None, "proxyModel": None, "stateful": False,
        },
        catalog.NewServer,
    ),
    Case(
        "set server docs --url https://mcp.example.com/v2 --remove-header X-Team --header X-New=1",
        [REMOTE, REMOTE], [("GET", "/servers/docs"), ("PUT", "/servers/docs")],
        {
            "transport": "streamable-http", "url": "https://mcp.example.com/v2",
            "headers": {"Authorization": {"secret": "docs", "key": "bearer"}, "X-New": "1"},
            "healthCheck": {"intervalSeconds": 10, "timeoutSeconds": 2}, "proxyModel": "short", "stateful": True,
        },
        catalog.ServerBody,
    ),
    Case(
        "set server docs --stateless --health-timeout 4",
        [REMOTE, REMOTE], [("GET", "/servers/docs"), ("PUT", "/servers/docs")],
        {
            "transport": "streamable-http", "url": "https://mcp.example.com/mcp",
            "headers": {"X-Team": "ops", "Authorization": {"secret": "docs", "key": "bearer"}},
            "healthCheck": {"intervalSeconds": 10, "timeoutSeconds": 4}, "proxyModel": "short", "stateful": False,
        },
        catalog.ServerBody,
    ),
    Case(
        "set server time --remove-env TZ -- python -m other",
        [LOCAL, LOCAL], [("GET", "/servers/time"), ("PUT", "/servers/time")],
        {
            "transport": "stdio", "command": "python", "args": ["-m", "other"], "env": {"LANG": "C"},
            "healthCheck": None, "proxyModel": None, "stateful": False,
        },
        catalog.ServerBody,
    ),
    Case(
        "set server time --url https://mcp.example.com/time",
        [LOCAL, LOCAL], [("GET", "/servers/time"), ("PUT", "/servers/time")],
        {
            "transport": "streamable-http", "url": "https://mcp.example.com/time", "headers": {},
            "healthCheck": None, "proxyModel": None, "stateful": False,
        },
        catalog.ServerBody,
    ),
    Case("set project demo --tool-names plain", [PROJECT], [("PUT", "/projects/demo")], {"toolNames": "plain"},
        catalog.ProjectBody),
    Case(
        "set project demo --server b --server a", [PROJECT], [("PUT", "/projects/demo")], {"servers": ["b", "a"]},
        catalog.ProjectBody
    ),
    Case("attach server time -p demo", [PROJECT], [("PUT", "/projects/demo/servers/time")]),
    Case("attach servers a b", [PROJECT], [("PUT", "/projects/home/servers/a"), ("PUT", "/projects/home/servers/b")]),
    Case("detach server time --project demo", [PROJECT], [("DELETE", "/projects/demo/servers/time")]),
    Case("attach user alice --group ops", [GROUP], [("PUT", "/groups/ops/members/alice")]),
    Case("detach user alice bob --group ops", [GROUP], [("DELETE", "/groups/ops/members/alice"), ("DELETE",
        "/groups/ops/members/bob")]),
    Case("set group ops --member User:bob", [GROUP], [("PUT", "/groups/ops")], {"members": ["User:bob"]}, people.GroupMembers),
    Case("set group ops --no-members", [GROUP], [("PUT", "/groups/ops")], {"members": []}, people.GroupMembers),
    Case("disable user alice", [USER], [("PATCH", "/users/alice")], {"disabled": True}, people.UserPatch),
    Case("enable user alice", [USER], [("PATCH", "/users/alice")], {"disabled": False}, people.UserPatch),
    Case(
        "set password bob --password -", [ME, {}], [("GET", "/auth/whoami"), ("PATCH", "/users/bob")],
        {"password": "pass word 1"}, people.UserPatch, stdin="pass word 1",
    ),
    Case(
        "create rbac readers --subject User:alice --subject Group:ops --roleBindings role:view,resource:servers,name:foo "
        "--roleBindings action:logs",
        [DEFINITION], [("POST", "/rbac")],
        {
            "name": "readers", "subjects": ["User:alice", "Group:ops"],
            "roleBindings": ["role:view,resource:servers,name:foo", "action:logs"],
        },
        rbac.NewDefinition,
    ),
    Case(
        "create rbac triage --subject User:alice --role-bindings role:triage,resource:servers", [DEFINITION], [("POST",
        "/rbac")],
        {"name": "triage", "subjects": ["User:alice"], "roleBindings": ["role:triage,resource:servers"]}, rbac.NewDefinition,
    ),
    Case(
        "set rbac readers --subject User:bob", [DEFINITION, DEFINITION], [("GET", "/rbac/readers"), ("PUT", "/rbac/readers")],
        {"subjects": ["User:bob"], "roleBindings": ["role:view,resource:servers"]}, rbac.DefinitionBody,
    ),
    Case(
        "set rbac readers --subject User:bob --roleBindings role:run,resource:servers", [DEFINITION], [("PUT",
        "/rbac/readers")],
        {"subjects": ["User:bob"], "roleBindings": ["role:run,resource:servers"]}, rbac.DefinitionBody,
    ),
    Case(
        "create mcptoken ci", [MINTED], [("POST", "/mcptokens")],
        {"name": "ci", "project": "home", "rbacMode": "empty", "bindings": []}, tokens.NewToken,
    ),
    Case(
        "create token ci --project demo --rbac clone --bind role:run,resource:servers,name:github --bind action:logs,name:demo "
        "--ttl 30d --description nightly",
        [MINTED], [("POST", "/mcptokens")],
        {
            "name": "ci", "project": "demo", "rbacMode": "clone",
            "bindings": ["role:run,resource:servers,name:github", "action:logs,name:demo"], "ttl": "30d",
            "description": "nightly",
        },
        tokens.NewToken,
    ),
    Case("revoke mcptoken ci -p demo", [TOKEN], [("POST", "/mcptokens/ci/revoke")], query={"project": "demo"}),
    Case(f"revoke token {ULID} demo/a", [TOKEN], [("POST", f"/mcptokens/{ULID}/revoke"), ("POST", "/mcptokens/a/revoke")]),
    Case("rotate mcptoken ci", [MINTED], [("POST", "/mcptokens/ci/rotate")], {}, tokens.Rotation, {"project": "home"}),
    Case(
        "rotate mcptoken demo/ci --grace 1h", [MINTED], [("POST", "/mcptokens/ci/rotate")], {"grace": "1h"}, tokens.Rotation,
        {"project": "demo"},
    ),
    Case("auth can-i run server", [VERDICT], [("POST", "/authorize")], {"action": "run", "resource": "servers"},
        decisions.Question),
    Case(
        "auth can-i logs operations demo --as User:alice", [VERDICT], [("POST", "/authorize")],
        {"action": "logs", "resource": "operations", "name": "demo", "subject": "User:alice"}, decisions.Question,
    ),
    Case("auth explain run server a", [EXPLANATION], [("POST", "/authorize/explain")],
        {"action": "run", "resource": "servers", "name": "a"}, decisions.Question),
    Case("auth who-can run server a", [HOLDERS], [("GET", "/authorize/subjects")],
        query={"action": "run", "resource": "servers", "name": "a", "limit": "1000"}),
    Case("auth who-can delete servers --kind user", [HOLDERS | {"nextCursor": "c"}, HOLDERS],
        [("GET", "/authorize/subjects")] * 2,
        query={"action": "delete", "resource": "servers", "kind": "user", "limit": "1000", "cursor": "c"}),
    Case("auth can-i --list --as User:alice", [RIGHTS], [("GET", "/authorize/rights")], query={"subject": "User:alice"}),
    Case(
        "create server s --url https://x.example/mcp --health-tool ping --health-arguments {\"deep\":true}", [REMOTE],
        [("POST", "/servers")],
        {
            "name": "s", "transport": "streamable-http", "url": "https://x.example/mcp", "headers": {}, "proxyModel": None,
            "healthCheck": {"tool": "ping", "arguments": {"deep": True}}, "stateful": False,
        },
        catalog.NewServer,
    ),
    Case(
        "create project demo --proxy-model short", [PROJECT], [("POST", "/projects")],
        {"name": "demo", "proxyModel": "short"}, catalog.NewProject,
    ),
    Case(
        "set project demo --proxy-model short", [PROJECT], [("PUT", "/projects/demo")], {"proxyModel": "short"},
        catalog.ProjectBody,
    ),
    Case(
        "set project demo --no-proxy-model", [PROJECT], [("PUT", "/projects/demo")], {"proxyModel": None}, catalog.ProjectBody,
    ),
    Case(
        "create server s --proxy-model short -- x", [LOCAL], [("POST", "/servers")],
        {
            "name": "s", "transport": "stdio", "command": "x", "args": [], "env": {}, "healthCheck": None,
            "proxyModel": "short", "stateful": False,
        },
        catalog.NewServer,
    ),
    Case(
        "set server time --no-proxy-model", [LOCAL | {"proxyModel": "short"}, LOCAL],
        [("GET", "/servers/time"), ("PUT", "/servers/time")],
        {
            "transport": "stdio", "command": "uvx", "args": ["mcp-server-time"], "env": {"TZ": "UTC", "LANG": "C"},
            "healthCheck": None, "proxyModel": None, "stateful": False,
        },
        catalog.ServerBody,
    ),
    Case(
        "create proxymodel short --stage redact:detectors=email,jwt,replacement=x --stage truncate:maxChars=8000,keep=tail "
        "--stage select:{\"expression\":\"a[0]\"} --stage html-to-markdown:links=false --stage theirs:loud=3,mark=no "
        "--cache-ttl 1h30m --cache-tool time/get_* --cache-tool time/now",
        [MODEL], [("POST", "/proxymodels")],
        {
            "name": "short", "description": "",
            "stages": [
                {"stage": "redact", "options": {"detectors": ["email", "jwt"], "replacement": "x"}},
                {"stage": "truncate", "options": {"maxChars": 8000, "keep": "tail"}},
                {"stage": "select", "options": {"expression": "a[0]"}},
                {"stage": "html-to-markdown", "options": {"links": False}},
                {"stage": "theirs", "options": {"loud": 3, "mark": "no"}},
            ],
            "cache": {"ttlSeconds": 5400, "tools": ["time/get_*", "time/now"]},
        },
        proxy_models.NewProxyModel,
    ),
    Case(
        "create proxymodel short -f -", [MODEL], [("POST", "/proxymodels")],
        {"name": "short", "stages": [{"stage": "truncate"}], "cache": {"ttlSeconds": 60}}, proxy_models.NewProxyModel,
        stdin="stages:\n- stage: truncate\ncache:\n  ttlSeconds: 60\n",
    ),
    Case(
        "set proxymodel short --stage redact", [MODEL, MODEL], [("GET", "/proxymodels/short"), ("PUT", "/proxymodels/short")],
        KEPT | {"stages": [{"stage": "redact", "options": {}}]}, proxy_models.ProxyModelBody,
    ),
    Case(
        "set proxymodel short --cache-tool a/b", [MODEL, MODEL], [("GET", "/proxymodels/short"), ("PUT", "/proxymodels/short")],
        KEPT | {"cache": {"ttlSeconds": 300, "tools": ["a/b"]}}, proxy_models.ProxyModelBody,
    ),
    Case(
        "set proxymodel short --no-cache --description new", [MODEL, MODEL],
        [("GET", "/proxymodels/short"), ("PUT", "/proxymodels/short")], KEPT | {"cache": None, "description": "new"},
        proxy_models.ProxyModelBody,
    ),
    Case("logout", [{}], [("POST", "/auth/logout")]),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.command)
def test_a_command_sends_exactly_this(case: Case, mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address, project="home")
    recording.say(*case.answers)
    ran = mcpctl(*case.command.split(), stdin=case.stdin)
    assert 0 == ran.code, ran
    assert case.sent == [(asked.method, asked.path.removeprefix("/api/v1")) for asked in recording.asked]
    assert {"mcpctl_ses_test"} == {asked.bearer for asked in recording.asked}
    last = recording.asked[-1]
    if case.query:
        assert case.query == last.query
    assert case.body == last.body
    if case.shape is not None:
        case.shape.model_validate(last.body)


@pytest.mark.parametrize("answer", [{"hello": "world"}, ["hello"]])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.command)
def test_something_that_is_no_control_plane_is_never_a_traceback(
    case: Case, answer: dict[str, Any] | list[Any], mcpctl: Mcpctl, recording: Recording
) -> None:
    mcpctl.use(recording.address, project="home")
    recording.say(answer)
    ran = mcpctl(*case.command.split(), stdin=case.stdin)
    assert ran.code in (0, 2, 4), ran
    assert ran.code == 0 or ran.err.startswith(("error: ", "warning: "))


@pytest.mark.parametrize(
    ("shape", "answer"),
    [
        (people.User, USER),
        (people.Group, GROUP),
        (people.LoggedIn, LOGGED_IN),
        (people.WhoAmI, ME),
        (catalog.Project, PROJECT),
        (catalog.Server, REMOTE),
        (catalog.Server, LOCAL),
        (catalog.Instance, INSTANCE),
        (proxy_models.ProxyModel, MODEL),
        (catalog.Log, LINES),
        (rbac.Definition, DEFINITION),
        (tokens.Token, TOKEN),
        (tokens.MintedToken, MINTED),
        (decisions.Verdict, VERDICT),
    ],
)
def test_the_answers_these_tests_give_are_answers_of_the_wire(shape: type[Answer], answer: dict[str, Any]) -> None:
    assert set(answer) == set(json.loads(TypeAdapter(shape).validate_python(answer).model_dump_json(by_alias=True)))


def test_every_member_that_is_shown_is_a_member_of_the_wire() -> None:
    from mcpctl.wire.audit import AuditRow

    shapes: dict[str, type[Answer]] = {
        "users": people.User,
        "groups": people.Group,
        "sessions": people.Session,
        "projects": catalog.Project,
        "servers": catalog.Server,
        "secrets": secrets.Secret,
        "proxymodels": proxy_models.ProxyModel,
        "instances": catalog.Instance,
        "rbac": rbac.Definition,
        "mcptokens": tokens.Token,
        "audit": AuditRow,
    }
    for kind in KINDS:
        members = {field.alias or name for name, field in shapes[kind.plural].model_fields.items()}
        assert {one.member for one in kind.fields} | {kind.identity} <= members
