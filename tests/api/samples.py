"""A valid body for every operation that takes one, and a path and query for every operation there is."""

from __future__ import annotations

import re
from typing import Any

from mcpctl.api.app import OPERATIONS
from mcpctl.api.operations import Operation

SHA = "a" * 64
ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
CALL = {
    "id": "call-1",
    "at": "2026-01-01T00:00:00Z",
    "subject": "User:admin",
    "user": "admin",
    "tokenName": "t",
    "tokenSha": SHA,
    "project": "sample",
    "server": "sample",
    "tool": "now",
    "method": "tools/call",
    "allowed": True,
    "reason": "because",
    "rule": "p, User:admin, admin, *, *, allow",
    "origin": "bindings.csv:4",
    "revision": 3,
    "decisionId": "d" * 24,
    "durationMs": 1.5,
    "requestBytes": 10,
    "responseBytes": 20,
    "outcome": "ok",
    "source": "127.0.0.1",
    "requestId": "r",
}
INSTANCE = {
    "server": "sample",
    "status": "RUNNING",
    "detail": "",
    "tools": 3,
    "latencyMs": 1.5,
    "at": "2026-01-01T00:00:00Z",
    "log": [{"number": 1_767_225_600_000_000, "stream": "stderr", "text": "ready"}],
}
SERVER = {
    "name": "sample",
    "transport": "streamable-http",
    "url": "http://127.0.0.1:9/mcp",
    "headers": {"X-One": "1"},
    "healthCheck": {"intervalSeconds": 30, "timeoutSeconds": 5, "tool": "ping"},
    "stateful": False,
}
PROXY_MODEL = {
    "name": "sample",
    "description": "what fits a context window",
    "stages": [
        {"stage": "select", "options": {"expression": "items[].name"}},
        {"stage": "redact", "options": {"patterns": [{"name": "ticket", "pattern": "TICKET-[0-9]+"}]}},
        {"stage": "truncate"},
    ],
    "cache": {"ttlSeconds": 300, "tools": ["sample/get_*"]},
}
SOMEBODY = {"type": "user", "id": "sample"}
SOMETHING = {"type": "servers", "id": "sample"}
BODIES: dict[str, Any] = {
    "post_auth_login": {"username": "admin", "password": "wrong password"},
    "post_users": {"name": "sample", "password": "a long password", "service": False},
    "patch_users_id": {"disabled": False, "password": "a long password", "oldPassword": "a long password"},
    "post_groups": {"name": "sample", "members": ["User:admin"]},
    "put_groups_id": {"members": ["User:sample"]},
    "post_sessions": {"user": "sample", "ttl": "1h"},
    "post_mcptokens": {
        "name": "sample",
        "project": "sample",
        "rbacMode": "empty",
        "bindings": ["role:view,resource:servers"],
        "ttl": "1h",
        "description": "",
    },
    "post_mcptokens_id_rotate": {"grace": "1h"},
    "post_rbac": {"name": "sample", "subjects": ["User:sample"], "roleBindings": ["role:view,resource:servers"]},
    "put_rbac_id": {"name": "sample", "subjects": ["User:sample"], "roleBindings": ["role:view,resource:servers"]},
    "post_authorize": {"subject": "User:sample", "action": "view", "resource": "servers", "name": "sample"},
    "post_authorize_explain": {"subject": "User:sample", "action": "view", "resource": "servers", "name": "sample"},
    "post_access_v1_evaluation": {"subject": SOMEBODY, "action": {"name": "view"}, "resource": SOMETHING},
    "post_access_v1_evaluations": {
        "subject": SOMEBODY,
        "action": {"name": "view"},
        "evaluations": [{"resource": SOMETHING}, {"resource": SOMETHING, "action": {"name": "run"}}],
        "options": {"evaluations_semantic": "execute_all"},
    },
    "post_access_v1_search_subject": {"subject": {"type": "user"}, "action": {"name": "view"}, "resource": SOMETHING},
    "post_access_v1_search_resource": {"subject": SOMEBODY, "action": {"name": "view"}, "resource": {"type": "servers"}},
    "post_access_v1_search_action": {"subject": SOMEBODY, "resource": SOMETHING, "page": {"limit": 10}},
    "post_secrets": {"name": "sample", "values": {"key": "value"}},
    "put_secrets_id": {"values": {"key": "value"}},
    "patch_secrets_id": {"values": {"key": "value"}},
    "post_proxymodels": PROXY_MODEL,
    "put_proxymodels_id": PROXY_MODEL,
    "post_servers": SERVER,
    "put_servers_id": SERVER,
    "post_projects": {"name": "sample", "servers": ["sample"], "toolNames": "prefixed"},
    "put_projects_id": {"servers": ["sample"], "toolNames": "prefixed"},
    "post_apply": {
        "items": [
            {"kind": "user", "name": "applied", "service": True, "disabled": False},
            {"kind": "group", "name": "applied", "members": ["User:applied"]},
            {"kind": "secret", "name": "applied", "keys": ["key"], "values": {"key": "value"}},
            {"kind": "proxymodel", **PROXY_MODEL, "name": "applied"},
            {"kind": "server", **SERVER, "name": "applied"},
            {"kind": "project", "name": "applied", "servers": ["applied"], "toolNames": "prefixed"},
            {"kind": "rbac", "name": "applied", "subjects": ["User:applied"], "roleBindings": ["role:view,resource:servers"]},
        ],
        "prune": [],
        "dryRun": True,
    },
    "post_gateway_audit": {"gateway": "gw", "events": [CALL]},
    "post_gateway_status": {"gateway": "gw", "instances": [INSTANCE]},
}
QUERIES = {
    "get_authorize_subjects": {"action": "view", "resource": "servers"},
    "get_gateway_slices": {"subject": "User:sample", "project": "sample"},
    "get_gateway_upstreams": {"project": "sample"},
}
WITH_BODY = [operation for operation in OPERATIONS if operation.body_adapter is not None]
WITH_PATH = [operation for operation in OPERATIONS if "{" in operation.path]


def path(operation: Operation, **parts: str) -> str:
    """The path of ``operation`` from the root, each part something there is unless said otherwise."""
    there = {"id": "person"} if operation.operation_id == "patch_users_id" else {}
    return "/" + re.sub(r"{(\w+)}", lambda part: (there | parts).get(part[1], "sample"), operation.path)


def query(operation: Operation) -> dict[str, str]:
    """What its query must hold."""
    if operation.path.startswith("/api/v1/mcptokens/{id}"):
        return {"project": "sample"}
    return dict(QUERIES.get(operation.operation_id, {}))
