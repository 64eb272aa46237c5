"""What a token never does, how far it sees, and that it shrinks with its owner at once."""

from __future__ import annotations

from typing import Any

import pytest

from mcpctl.store import policy_rules
from tests.api.people import Person, nothing_changes, refused, setup
from tests.serving import Client, Served, made

SECRET = {"name": "own", "values": {"key": "value"}}


@pytest.fixture(scope="module")
def cloned(shared: Served) -> Client:
    """A token that clones the admin, of a project with one server; beside it things that are none of its business."""
    shared.project("mine", "mine")
    shared.project("theirs", "theirs")
    setup(
        shared,
        ("POST", "/users", {"name": "robot", "service": True}),
        ("POST", "/users", {"name": "bob", "password": "a long password"}),
        ("POST", "/groups", {"name": "team", "members": ["User:bob"]}),
        ("POST", "/rbac", {"name": "def", "subjects": ["User:bob"], "roleBindings": ["role:view,resource:servers"]}),
        ("POST", "/mcptokens", {"name": "other", "project": "mine"}),
        ("POST", "/mcptokens", {"name": "other", "project": "theirs"}),
        ("POST", "/sessions", {"user": "robot", "ttl": "1h"}),
        ("POST", "/secrets", {"name": "secret", "values": {"key": "value"}}),
    )
    minted = made(shared.admin.post("/mcptokens", {"name": "clone", "project": "mine", "rbacMode": "clone"}))
    return shared.nobody.as_(minted["token"])


NEVER: list[tuple[str, str, Any]] = [
    ("POST", "/mcptokens", {"name": "child", "project": "mine"}),
    ("POST", "/mcptokens", {"name": "child", "project": "mine", "rbacMode": "clone"}),
    ("POST", "/mcptokens", {"name": "child", "project": "mine", "ttl": "never"}),
    ("POST", "/mcptokens/other/rotate?project=mine", None),
    ("POST", "/mcptokens/clone/rotate?project=mine", {"grace": "1h"}),
    ("POST", "/mcptokens/other/revoke?project=mine", None),
    ("POST", "/mcptokens/clone/revoke?project=mine", None),
    ("DELETE", "/mcptokens/other?project=mine", None),
    ("POST", "/sessions", {"user": "robot", "ttl": "1h"}),
    ("POST", "/auth/logout", None),
    ("POST", "/users", {"name": "made", "password": "a long password"}),
    ("POST", "/users", {"name": "made", "service": True}),
    ("PATCH", "/users/bob", {"disabled": True}),
    ("PATCH", "/users/bob", {"password": "another password"}),
    ("PATCH", "/users/admin", {"password": "another password", "oldPassword": "correct horse battery staple"}),
    ("DELETE", "/users/bob", None),
    ("POST", "/groups", {"name": "made"}),
    ("PUT", "/groups/team", {"members": []}),
    ("PUT", "/groups/admins/members/bob", None),
    ("DELETE", "/groups/team/members/bob", None),
    ("DELETE", "/groups/team", None),
    ("POST", "/rbac", {"name": "made", "subjects": ["User:bob"], "roleBindings": ["role:view,resource:servers"]}),
    ("PUT", "/rbac/def", {"subjects": ["User:bob"], "roleBindings": ["role:view,resource:servers,name:mine"]}),
    ("DELETE", "/rbac/def", None),
    ("GET", "/secrets/secret", None),
    ("POST", "/secrets", SECRET),
    ("PUT", "/secrets/secret", {"values": {"key": "other"}}),
    ("DELETE", "/secrets/secret", None),
    ("POST", "/authorize", {"subject": "User:bob", "action": "view", "resource": "servers"}),
    (
        "POST",
        "/authorize",
        [{"action": "view", "resource": "servers"}, {"subject": "User:admin", "action": "view", "resource": "servers"}],
    ),
    ("GET", "/gateway/slices?subject=User:bob&project=mine", None),
    ("GET", "/gateway/upstreams?project=mine", None),
    ("POST", "/gateway/audit", {"gateway": "gw", "events": []}),
]


@pytest.mark.parametrize(("method", "path", "body"), NEVER, ids=lambda value: value if isinstance(value, str) else "")
def test_a_token_cloned_from_an_admin_handles_no_credentials_and_no_grants(
    method: str, path: str, body: Any, cloned: Client, shared: Served
) -> None:
    """authz d13, d14, d15; threats 9, 11: a leaked token breeds nothing."""
    with nothing_changes(shared, refusals=1) as audited:
        refused(cloned.call(method, path, body), "forbidden")
    assert ["clone"] == [row.token_name for row in audited]


def test_lists_of_what_a_token_never_sees_are_empty(cloned: Client) -> None:
    assert [] == made(cloned.get("/secrets"), 200)["items"]


def test_beyond_that_a_token_may_what_its_bindings_and_its_owner_may_in_its_project(cloned: Client, shared: Served) -> None:
    assert 200 == cloned.get("/servers/mine").status_code
    assert 200 == cloned.get("/projects/mine").status_code
    assert ["mine"] == [one["name"] for one in cloned.get("/servers").json()["items"]]
    assert ["mine"] == [one["name"] for one in cloned.get("/projects").json()["items"]]
    assert {"clone", "other"} == {one["name"] for one in cloned.get("/mcptokens").json()["items"]}
    assert [] == cloned.get("/mcptokens?project=theirs").json()["items"]
    body = {"transport": "streamable-http", "url": "http://127.0.0.1:9/other"}
    assert "http://127.0.0.1:9/other" == made(cloned.put("/servers/mine", body), 200)["url"]
    assert "plain" == made(cloned.put("/projects/mine", {"toolNames": "plain"}), 200)["toolNames"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/servers/{name}", None),
        ("PUT", "/servers/{name}", {"transport": "stdio", "command": "x"}),
        ("DELETE", "/servers/{name}", None),
        ("GET", "/projects/{name}", None),
        ("PUT", "/projects/{name}", {"toolNames": "plain"}),
        ("DELETE", "/projects/{name}", None),
        ("PUT", "/projects/{name}/servers/mine", None),
        ("DELETE", "/projects/{name}/servers/mine", None),
        ("PUT", "/projects/mine/servers/{name}", None),
        ("GET", "/instances/{name}/gw", None),
        ("GET", "/mcptokens/other?project={name}", None),
    ],
)
def test_outside_its_project_nothing_exists_for_a_token(
    method: str, path: str, body: Any, cloned: Client, shared: Served
) -> None:
    """authz d38: what is there and what is nowhere answer the very same, by name and by id."""
    found = [("theirs", "nowhere")]
    if path.startswith(("/servers/{name}", "/projects/{name}")):
        kind = path.split("/")[1]
        found.append((shared.admin.get(f"/{kind}/theirs").json()["id"], "01ARZ3NDEKTSV4RRFFQ69G5FAV"))
    for names in found:
        with nothing_changes(shared, refusals=2 if method != "GET" else 0):
            answers = [cloned.call(method, path.format(name=name), body) for name in names]
        for answer in answers:
            refused(answer, "not_found")
    foreign = shared.admin.get("/mcptokens/other?project=theirs").json()["id"]
    for key in (foreign, "01ARZ3NDEKTSV4RRFFQ69G5FAV"):
        refused(cloned.get(f"/mcptokens/{key}"), "not_found")


def test_a_server_that_is_detached_is_gone_for_the_token_in_the_next_request(cloned: Client, shared: Served) -> None:
    assert 200 == cloned.get("/servers/mine").status_code
    setup(shared, ("DELETE", "/projects/mine/servers/mine", None))
    refused(cloned.get("/servers/mine"), "not_found")
    setup(shared, ("PUT", "/projects/mine/servers/mine", None))
    assert 200 == cloned.get("/servers/mine").status_code


def answers(bearer: str, served: Served) -> bool | int:
    """Whether this token may run the server; its status where it is nobody at all."""
    answer = served.nobody.as_(bearer).post("/authorize", {"action": "run", "resource": "servers", "name": "mine"})
    return bool(answer.json()["allowed"]) if answer.status_code == 200 else answer.status_code


def test_a_token_shrinks_with_its_owner_in_the_next_request_and_comes_back_with_it(
    cloned: Client, shared: Served, actor: Person
) -> None:
    """authz d18; threats 11: effective right is the lesser of the token and its owner now."""
    mint = ["role:create,resource:mcptokens,name:mine", "role:view,resource:projects,name:mine"]
    actor.holds(*mint, "role:run,resource:servers")
    body = {"name": "shrinks", "project": "mine", "bindings": ["role:run,resource:servers,name:mine"]}
    bearer = made(actor.asks("POST", "/mcptokens", body))["token"]
    assert answers(bearer, shared) is True
    actor.holds(*mint)
    assert answers(bearer, shared) is False
    actor.holds("role:run,resource:servers,name:mine")
    assert answers(bearer, shared) is True
    actor.holds("role:run,resource:servers", "role:run,resource:servers,name:mine,effect:deny")
    assert answers(bearer, shared) is False
    actor.holds("role:admin,resource:*")
    assert answers(bearer, shared) is True
    setup(
        shared,
        ("PUT", "/groups/team/members/actor", None),
        (
            "POST",
            "/rbac",
            {"name": "stop", "subjects": ["Group:team"], "roleBindings": ["role:run,resource:servers,effect:deny"]},
        ),
    )
    assert answers(bearer, shared) is False
    setup(shared, ("DELETE", "/rbac/stop", None))
    assert answers(bearer, shared) is True
    setup(shared, ("PATCH", "/users/actor", {"disabled": True}))
    assert 401 == answers(bearer, shared)
    setup(shared, ("PATCH", "/users/actor", {"disabled": False}))
    assert answers(bearer, shared) is True


def test_a_token_does_not_grow_with_its_owner(shared: Served, actor: Person, cloned: Client) -> None:
    actor.holds("role:create,resource:mcptokens,name:mine", "role:view,resource:projects,name:mine")
    bearer = made(actor.asks("POST", "/mcptokens", {"name": "small", "project": "mine", "rbacMode": "clone"}))["token"]
    actor.holds("role:admin,resource:*")
    assert answers(bearer, shared) is False


def lines(served: Served, *subjects: str) -> list[str]:
    with served.control.database.read() as session:
        return [str(rule) for rule in policy_rules.of_subjects(session, subjects)]


def test_deleting_a_user_leaves_no_line_and_no_live_credential(served: Served) -> None:
    """authz d11: the name made again inherits no binding, no membership, no token, no session and no audit row."""
    served.project("p")
    alice = served.user("alice", "role:admin,resource:*")
    setup(served, ("POST", "/groups", {"name": "team", "members": ["User:alice"]}))
    setup(served, ("POST", "/rbac", {"name": "team", "subjects": ["Group:team"], "roleBindings": ["action:logs"]}))
    setup(
        served, ("POST", "/rbac", {"name": "two", "subjects": ["User:alice", "User:admin"], "roleBindings": ["action:audit"]})
    )
    token = made(alice.post("/mcptokens", {"name": "t", "project": "p", "rbacMode": "clone"}))
    assert 204 == served.admin.delete("/users/alice").status_code
    assert [] == lines(served, "User:alice", f"McpToken:{token['tokenSha']}")
    assert [] == served.admin.get("/mcptokens").json()["items"]
    assert [] == served.admin.get("/groups/team").json()["members"]
    assert ["User:admin"] == served.admin.get("/rbac/two").json()["subjects"]
    assert 404 == served.admin.get("/rbac/for-alice").status_code
    again = served.user("alice")
    assert [401, 401] == [one.get("/auth/whoami").status_code for one in (alice, served.nobody.as_(token["token"]))]
    said = again.get("/auth/whoami").json()
    assert ([], []) == (said["bindings"], said["groups"])
    assert ["login"] == [row["action"] for row in again.get("/audit").json()["items"]]
    assert "unknown" == served.nobody.as_(token["token"]).get("/mcptokens/introspect").json()["reason"]


def test_deleting_a_group_leaves_no_line(served: Served) -> None:
    setup(served, ("POST", "/groups", {"name": "team"}))
    setup(served, ("POST", "/rbac", {"name": "team", "subjects": ["Group:team"], "roleBindings": ["role:admin,resource:*"]}))
    alice = served.user("alice")
    setup(served, ("PUT", "/groups/team/members/alice", None))
    assert 200 == alice.get("/users/alice").status_code
    setup(served, ("DELETE", "/groups/team", None))
    refused(alice.get("/users/alice"), "forbidden")
    setup(served, ("POST", "/groups", {"name": "team", "members": ["User:alice"]}))
    assert [] == lines(served, "Group:team")
    refused(alice.get("/users/alice"), "forbidden")


def test_deleting_a_project_takes_its_tokens_and_every_line_of_them(served: Served) -> None:
    served.project("p", "s")
    token = made(served.admin.post("/mcptokens", {"name": "t", "project": "p", "bindings": ["role:run,resource:servers"]}))
    subject = f"McpToken:{token['tokenSha']}"
    setup(served, ("POST", "/rbac", {"name": "more", "subjects": [subject], "roleBindings": ["action:logs,name:p"]}))
    setup(served, ("DELETE", "/projects/p", None))
    assert [] == lines(served, subject)
    assert 404 == served.admin.get("/rbac/more").status_code
    served.project("p", "s")
    assert 401 == served.nobody.as_(token["token"]).get("/auth/whoami").status_code
    assert [] == served.admin.get("/mcptokens").json()["items"]


def test_a_server_made_again_is_attached_nowhere(served: Served) -> None:
    """authz d12."""
    served.project("p", "s")
    setup(served, ("DELETE", "/servers/s", None))
    assert [] == served.admin.get("/projects/p").json()["servers"]
    served.server("s")
    assert ([], []) == (served.admin.get("/projects/p").json()["servers"], served.admin.get("/servers/s").json()["projects"])


def test_namesakes_of_different_kinds_share_nothing(served: Served) -> None:
    """authz d10: a group called like a user, a user called like a group, and names that spell another kind."""
    alice = served.user("alice", "role:view,resource:users")
    setup(served, ("POST", "/groups", {"name": "alice"}), ("POST", "/users", {"name": "admins", "service": True}))
    setup(served, ("POST", "/rbac", {"name": "g", "subjects": ["Group:alice"], "roleBindings": ["role:admin,resource:*"]}))
    assert ["role:view,resource:users"] == alice.get("/auth/whoami").json()["bindings"]
    asked = {"subject": "User:admins", "action": "view", "resource": "servers"}
    assert served.admin.post("/authorize", asked).json()["allowed"] is False
    sha = "a" * 64
    for name in (
        "Group:admins",
        "User:admin",
        f"McpToken:{sha}",
        "User:User:bob",
        "Admin",
        "admin ",
        " admin",
        "ADMIN",
        "\uff41dmin",
        "\u0430dmin",
        "ad\u200bmin",
        "admin,Group:admins",
        "admin\n",
        "",
    ):
        for path, body in (("/users", {"name": name, "service": True}), ("/groups", {"name": name})):
            assert ["name"] == [error["field"] for error in refused(served.admin.post(path, body), "invalid")["errors"]]
    for subject in (
        "user:admin",
        "USER:admin",
        "User:Admin",
        "User:",
        "admin",
        "Group:User:admin",
        f"McpToken:{sha.upper()}",
        "McpToken:abc",
        "Role:admin",
        "",
    ):
        answer = served.admin.post("/rbac", {"name": "x", "subjects": [subject], "roleBindings": ["action:logs"]})
        assert ["subjects.0"] == [error["field"] for error in refused(answer, "invalid")["errors"]]
