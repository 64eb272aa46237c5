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
        ("POST", "/rbac", {"name": "off", "subjects": ["User:off"], "roleBindings": ["role:admin,resource:*"]}),
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
    """authz d38."""
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
    """authz d27: it is cut, clamped or refused, and the rest of the audit stays readable."""
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


def lines(*numbers: int, text: str = "") -> list[dict[str, Any]]:
    return [{"number": number, "stream": "stderr", "text": text or f"line {number}"} for number in numbers]


def reports(client: Any, server: str, log: list[dict[str, Any]], gateway: str = "gw-log") -> int:
    instance = {"server": server, "status": "RUNNING", "at": AT, "log": log}
    status: int = client.post("/gateway/status", {"gateway": gateway, "instances": [instance]}).status_code
    return status


def test_the_lines_of_an_instance_are_kept_in_their_order_and_none_twice(shared: Served) -> None:
    assert 204 == reports(shared.admin, "mine", lines(30, 10))
    assert 204 == reports(shared.admin, "mine", [*lines(20), *lines(10, text="again"), *lines(40, 40)])

    def read(query: str = "") -> list[str]:
        return [line["text"] for line in made(shared.admin.get(f"/instances/mine/gw-log/logs{query}"), 200)["items"]]

    assert ["line 10", "line 20", "line 30", "line 40"] == read()
    assert ["line 30", "line 40"] == read("?limit=2")
    assert ["line 30"] == read("?after=20&limit=1")
    assert [] == read("?after=40")
    first = made(shared.admin.get("/instances/mine/gw-log/logs?limit=1"), 200)["items"][0]
    assert {"number": 40, "at": "1970-01-01T00:00:00.000Z", "stream": "stderr", "text": "line 40"} == first


def test_of_an_instance_the_newest_thousand_lines_are_kept(shared: Served) -> None:
    assert [204, 204] == [reports(shared.admin, "mine", lines(*range(start, start + 600)), "gw-long") for start in (1, 601)]
    kept = made(shared.admin.get("/instances/mine/gw-long/logs?limit=1000"), 200)["items"]
    assert (1000, 201, 1200) == (len(kept), kept[0]["number"], kept[-1]["number"])


LOG_READERS: list[tuple[list[str], str, str | None]] = [
    ([], "mine", "view instances mine/gw-log"),
    (["role:view,resource:instances"], "mine", "logs operations *"),
    (["role:view,resource:instances", "action:logs,name:theirs"], "mine", "logs operations *"),
    (["role:view,resource:instances", "action:logs,name:mine"], "mine", None),
    (["role:view,resource:instances,name:mine", "action:logs"], "mine", None),
    (["action:logs"], "mine", "view instances mine/gw-log"),
    (["role:view,resource:instances", "action:logs,name:mine"], "both", "logs operations *"),
    (["role:view,resource:instances", "action:logs,name:mine", "action:logs,name:theirs"], "both", None),
    (["role:view,resource:instances", "action:logs,name:mine"], "loose", "logs operations *"),
    (["role:view,resource:instances", "action:logs"], "loose", None),
    (["role:admin,resource:*", "action:logs,effect:deny"], "mine", "logs operations *"),
]
"""What the reader holds, the server, and what is missing. ``both`` is attached to two projects, ``loose`` to none."""


@pytest.mark.parametrize(("held", "server", "missing"), LOG_READERS)
def test_a_log_is_read_with_view_on_the_instance_and_logs_on_every_project_of_its_server(
    shared: Served, actor: Person, held: list[str], server: str, missing: str | None
) -> None:
    if shared.admin.get("/servers/both").status_code == 404:
        shared.server("both")
        setup(shared, ("PUT", "/projects/mine/servers/both", None), ("PUT", "/projects/theirs/servers/both", None))
        setup(shared, ("PUT", "/projects/mine/servers/loose", None))
        assert [204, 204, 204] == [reports(shared.admin, name, lines(1)) for name in ("mine", "both", "loose")]
        setup(shared, ("DELETE", "/projects/mine/servers/loose", None))
    actor.holds(*held)
    answer = actor.client.get(f"/instances/{server}/gw-log/logs")
    if missing is None:
        assert made(answer, 200)["items"]
    else:
        refused(answer, "forbidden", [missing.replace("mine/", f"{server}/")])


def test_a_gateway_adds_no_line_to_a_server_it_does_not_serve(shared: Served, actor: Person) -> None:
    actor.holds("action:gateway,name:mine")
    assert 204 == reports(actor.client, "theirs", lines(1), "gw-stranger")
    refused(shared.admin.get("/instances/theirs/gw-stranger/logs"), "not_found")


def test_a_token_reads_the_logs_of_its_own_project_and_no_others(shared: Served) -> None:
    held = ["role:view,resource:instances", "action:logs,name:mine"]
    minted_one = made(shared.admin.post("/mcptokens", {"name": "reader", "project": "mine", "bindings": held}))
    reader = shared.nobody.as_(minted_one["token"])
    assert [204, 204] == [reports(shared.admin, name, lines(1)) for name in ("mine", "theirs")]
    assert made(reader.get("/instances/mine/gw-log/logs"), 200)["items"]
    refused(reader.get("/instances/theirs/gw-log/logs"), "not_found")


def test_every_member_of_an_event_stands_in_the_audit(shared: Served) -> None:
    """Under a name of its column's own or the wire's: none is dropped on the way."""
    shared.project("whole")
    told = event("whole-event", project="whole", user="alice", tokenName="agent", tokenSha="ab" * 32, source="10.0.0.9")
    made(shared.admin.post("/gateway/audit", {"gateway": "gw", "events": [told]}), 202)
    (row,) = [one for one in shared.admin.get("/audit?project=whole").json()["items"] if one["id"] == "whole-event"]
    kept = ("user", "tokenName", "tokenSha", "project", "server", "tool", "outcome", "allowed", "source")
    assert {name: told[name] for name in kept if name in told} == {name: row[name] for name in kept if name in told}
    assert "alice" == row["user"]
