"""What gateways are given and report: only about projects they serve, only who lives, and nothing that could spoil the audit."""

# ruff: noqa: E501 - a case is a row
from __future__ import annotations

from typing import Any

import pytest

from tests.api.people import Person, nothing_changes, refused, setup
from tests.serving import Served, made

AT = "2026-01-01T00:00:00Z"


@pytest.fixture(scope="module", name="shared")
def _shared(shared: Served) -> Served:
    """Two projects with a server each, one attached nowhere, and somebody with a token."""
    shared.project("mine", "mine", "also")
    shared.project("theirs", "theirs")
    shared.server("loose")
    setup(
        shared,
        ("POST", "/users", {"name": "alice", "password": "a long password"}),
        ("POST", "/groups", {"name": "team", "members": ["User:alice"]}),
        ("POST", "/rbac", {"name": "team", "subjects": ["Group:team"], "roleBindings": ["role:admin,resource:*"]}),
    )
    return shared


@pytest.fixture(scope="module")
def minted(shared: Served) -> dict[str, Any]:
    alice = shared.log_in("alice", "a long password")
    body = {"name": "t", "project": "mine", "bindings": ["role:run,resource:servers,name:mine"]}
    return made(alice.post("/mcptokens", body))


def event(event_id: str, **more: Any) -> dict[str, Any]:
    return {"id": event_id, "at": AT, "method": "tools/call", "allowed": True, "outcome": "ok", "project": "mine", **more}


def test_a_gateway_is_given_the_lines_that_decide_about_a_token(shared: Served, actor: Person, minted: dict[str, Any]) -> None:
    actor.holds("action:gateway,name:mine")
    subject = f"McpToken:{minted['tokenSha']}"
    said = made(actor.client.get("/gateway/slices", params={"subject": subject, "project": "mine"}), 200)
    origin = f"mcptoken:{minted['id']}"
    assert {"subject": subject, "groups": [], "rules": [[subject, "run", "servers", "mine", "allow", origin]]} == said["own"]
    owner = {
        "subject": "User:alice",
        "groups": ["Group:team"],
        "rules": [["Group:team", "admin", "*", "*", "allow", "rbac:team"]],
    }
    assert owner == said["owner"]
    assert (subject, "mine", ["mine", "also"]) == (said["subject"], said["project"], said["attached"])
    assert {subject, "User:alice", "Group:team", "Project:mine"} <= set(said["topics"])
    assert [["edit", "view"], ["run", "run"]] == [link for link in said["roles"] if link in (["edit", "view"], ["run", "run"])]
    assert said["model"].startswith("#")


def test_a_gateway_learns_nothing_of_who_is_not_there(shared: Served, actor: Person, minted: dict[str, Any]) -> None:
    actor.holds("action:gateway")
    setup(
        shared,
        ("POST", "/users", {"name": "off", "service": True}),
        ("PATCH", "/users/off", {"disabled": True}),
        ("POST", "/mcptokens", {"name": "revoked", "project": "mine"}),
    )
    revoked = shared.admin.get("/mcptokens/revoked?project=mine").json()["tokenSha"]
    setup(shared, ("POST", "/mcptokens/revoked/revoke?project=mine", None))
    for subject, project in (
        ("User:nobody", "mine"),
        ("User:off", "mine"),
        (f"McpToken:{'a' * 64}", "mine"),
        (f"McpToken:{revoked}", "mine"),
        (f"McpToken:{minted['tokenSha']}", "theirs"),
        ("User:alice", "nowhere"),
        ("Group:nobody", "mine"),
    ):
        refused(actor.client.get("/gateway/slices", params={"subject": subject, "project": project}), "not_found")


def test_a_gateway_of_one_project_is_told_nothing_of_another(shared: Served, actor: Person) -> None:
    """authz.md d38."""
    actor.holds("action:gateway,name:mine")
    with nothing_changes(shared, refusals=4):
        for project in ("theirs", "nowhere"):
            missing = [f"gateway operations {project}"]
            parameters = {"subject": "User:alice", "project": project}
            refused(actor.client.get("/gateway/slices", params=parameters), "forbidden", missing)
            refused(actor.client.get("/gateway/upstreams", params={"project": project}), "forbidden", missing)
    assert ["mine", "also"] == [one["name"] for one in actor.asks("GET", "/gateway/upstreams?project=mine").json()["servers"]]


def test_a_gateway_reports_only_the_calls_of_projects_it_serves(shared: Served, actor: Person) -> None:
    actor.holds("action:gateway,name:mine")
    batch = {"gateway": "gw", "events": [event("own-1"), event("own-2", project="theirs"), event("own-3", project=None)]}
    assert {"accepted": 1} == made(actor.asks("POST", "/gateway/audit", batch), 202)
    ids = {row["id"] for row in shared.admin.get("/audit?limit=1000").json()["items"]}
    assert {"own-1"} == ids & {"own-1", "own-2", "own-3"}
    for events in ([event("own-4", project="theirs")], [event("own-5", project=None)], []):
        refused(actor.asks("POST", "/gateway/audit", {"gateway": "gw", "events": events}), "forbidden")


def test_no_event_a_gateway_reports_can_spoil_the_audit(shared: Served) -> None:
    """authz.md d27: it is cut, clamped or refused, and the rest of the audit stays readable."""
    long = {
        "subject": "s" * 200,
        "user": "u" * 200,
        "origin": "o" * 300,
        "method": "m" * 128,
        "reason": "r" * 2000,
        "tool": "t" * 1024,
    }
    strange = {"rule": "\U0001f600" * 1000, "source": "\u202e" * 100, "requestId": "\n" * 100, "server": "\u0007"}
    large = {"revision": 2**31 - 1, "durationMs": 1e12, "requestBytes": 2**53, "responseBytes": 2**53}
    moments = [
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "1969-12-31T00:00:00Z",
        "1h",
        "2026-02-28T23:59:59.999999+02:00",
    ]
    events = [event("spoil-a", **long), event("spoil-b", **strange), event("spoil-c", **large)]
    events += [event(f"spoil-{n}", at=at) for n, at in enumerate(moments)]
    assert {"accepted": 8} == made(shared.admin.post("/gateway/audit", {"gateway": "gw", "events": events}), 202)
    rows = {row["id"]: row for row in shared.admin.get("/audit?limit=1000").json()["items"]}
    assert {one["id"] for one in events} <= set(rows)
    assert ("s" * 140, "m" * 64) == (rows["spoil-a"]["subject"], rows["spoil-a"]["action"])
    assert "1970-01-01T00:00:00.000Z" == rows["spoil-1"]["at"]
    assert rows["spoil-0"]["at"] <= max(row["at"] for row in rows.values()) < "9999"
    for field, value in (("revision", 2**31), ("revision", -1), ("requestBytes", 2**53 + 1), ("durationMs", 10**400), ("durationMs", -1), ("at", "soon"), ("at", "2026-01-01")):  # fmt: skip
        answer = shared.admin.post("/gateway/audit", {"gateway": "gw", "events": [event("ok"), event("bad", **{field: value})]})
        assert [f"events.1.{field}"] == [error["field"] for error in refused(answer, "invalid")["errors"]]
    assert not {"ok", "bad"} & {row["id"] for row in shared.admin.get("/audit?limit=1000").json()["items"]}


def test_the_status_of_a_server_is_kept_from_gateways_that_serve_it(shared: Served, actor: Person) -> None:
    actor.holds("action:gateway,name:mine")

    def report(status: str, *servers: str) -> int:
        instances = [
            {"server": one, "status": status, "detail": status, "tools": 2, "latencyMs": 1.5, "at": AT} for one in servers
        ]
        return actor.asks("POST", "/gateway/status", {"gateway": "gw-1", "instances": instances}).status_code

    assert [204, 204] == [report("STARTING", "mine", "theirs", "loose", "nowhere"), report("RUNNING", "mine")]
    listed = shared.admin.get("/instances").json()["items"]
    assert [("mine/gw-1", "RUNNING", 2)] == [
        (one["name"], one["status"], one["tools"]) for one in listed if one["gateway"] == "gw-1"
    ]
    assert "RUNNING" == shared.admin.get("/instances/mine/gw-1").json()["status"]
    setup(shared, ("DELETE", "/servers/also", None))
    assert 204 == report("ERROR", "also")
    refused(shared.admin.get("/instances/also/gw-1"), "not_found")


def test_questions_are_answered_with_the_deciding_line_and_the_revision(
    shared: Served, actor: Person, minted: dict[str, Any]
) -> None:
    actor.holds("role:view,resource:servers", "role:view,resource:servers,name:mine,effect:deny")
    asked = [{"action": "view", "resource": "server", "name": name} for name in ("mine", "theirs")] + [
        {"action": "run", "resource": "servers"}
    ]
    answers = made_list(actor.asks("POST", "/authorize", asked))
    assert [False, True, False] == [one["allowed"] for one in answers]
    assert ["rbac:for-actor", "rbac:for-actor", None] == [one["origin"] for one in answers]
    assert ["p, User:actor, view, servers, mine, deny", "p, User:actor, view, servers, *, allow", None] == [
        one["rule"] for one in answers
    ]
    assert "nothing allows User:actor to run servers *" == answers[2]["reason"]
    assert {shared.control.feed.revision} == {one["revision"] for one in answers}
    assert 3 == len({one["id"] for one in answers})
    assert answers == made_list(actor.asks("POST", "/authorize", asked)), (
        "the same question under the same revision has the same id"
    )
    other = {"subject": f"McpToken:{minted['tokenSha']}", "action": "run", "resource": "servers", "name": "mine/x"}
    refused(actor.asks("POST", "/authorize", [asked[0], other]), "forbidden", ["impersonate operations *"])
    actor.holds("action:impersonate")
    subjects = [other["subject"], "User:alice", "Group:team", "User:nobody", f"McpToken:{'b' * 64}"]
    answers = made_list(actor.asks("POST", "/authorize", [{**other, "subject": one} for one in subjects]))
    assert [True, True, True, False, False] == [one["allowed"] for one in answers]
    assert "User:nobody is not known or not enabled" == answers[3]["reason"]
    for action, resource, name, field in (
        ("admin", "servers", "*", "action"),
        ("view", "*", "*", "resource"),
        ("logs", "servers", "*", "action"),
        ("view", "operations", "*", "action"),
        ("view", "servers", "", "name"),
        ("view", "servers", "A", "name"),
        ("view", "nothing", "*", "resource"),
        ("", "servers", "*", "action"),
    ):
        answer = actor.asks("POST", "/authorize", {"action": action, "resource": resource, "name": name})
        assert [field] == [error["field"] for error in refused(answer, "invalid")["errors"]]


def made_list(answer: Any) -> list[dict[str, Any]]:
    assert 200 == answer.status_code, answer.text
    body: list[dict[str, Any]] = answer.json()
    return body
