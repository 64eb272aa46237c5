"""Longer answers than yes and no: many at once, why, who else, all that somebody holds; introspection for other programs."""

from __future__ import annotations

from base64 import b64encode
from typing import Any
from urllib.parse import quote_plus

import pytest

from mcpctl.policy.slices import Slice
from tests.api.people import Person, audit_rows, bind, refused, setup
from tests.serving import Client, Served, made

POLICY_FILES = {"people.csv": "g, User:filed, Group:ops\np, Group:ops, view, servers, filed-server, allow\n"}


MINTED: dict[str, dict[str, Any]] = {}
"""Alice's token on each control plane."""


@pytest.fixture(scope="module", name="shared")
def _shared(shared: Served) -> Served:
    """Alice is in a group that may run two servers, less one tool; a file puts somebody else into it."""
    for server in ("docs", "mail", "time"):
        shared.server(server)
    shared.project("lab", "docs", "time")
    setup(
        shared,
        ("POST", "/users", {"name": "alice", "password": "a long password"}),
        ("POST", "/users", {"name": "filed", "service": True}),
        ("POST", "/users", {"name": "paused", "service": True}),
        ("POST", "/groups", {"name": "ops", "members": ["User:alice", "User:paused"]}),
        ("PATCH", "/users/paused", {"disabled": True}),
    )
    bind(
        shared,
        "Group:ops",
        "role:run,resource:servers,name:time",
        "role:run,resource:servers,name:docs",
        "role:view,resource:projects,name:lab",
        "role:edit,resource:mcptokens,name:lab",
    )
    new = {
        "name": "clock",
        "project": "lab",
        "bindings": ["role:run,resource:servers,name:time", "role:view,resource:servers,name:docs"],
    }
    MINTED[shared.address] = made(shared.log_in("alice", "a long password").post("/mcptokens", new))
    # Only now, as nobody gives what is denied in part.
    body = {
        "name": "no-convert",
        "subjects": ["Group:ops"],
        "roleBindings": ["role:run,resource:servers,name:time/convert,effect:deny"],
    }
    made(shared.admin.post("/rbac", body))
    return shared


@pytest.fixture(scope="module")
def alice(shared: Served) -> Client:
    return shared.log_in("alice", "a long password")


@pytest.fixture(scope="module")
def token(shared: Served) -> dict[str, Any]:
    return MINTED[shared.address]


def run(name: str, **more: str) -> dict[str, Any]:
    return {"action": "run", "resource": "servers", "name": name, **more}


BATCHES = [
    ("all", ["time", "mail", "docs"], [True, False, True]),
    ("until_deny", ["time", "mail", "docs"], [True, False]),
    ("until_deny", ["time", "docs"], [True, True]),
    ("until_permit", ["mail", "time", "docs"], [False, True]),
    ("until_permit", ["mail", "mail"], [False, False]),
]


@pytest.mark.parametrize("subject", [None, "User:alice"])
@pytest.mark.parametrize(("evaluate", "asked", "answers"), BATCHES)
def test_many_questions_are_answered_as_far_as_is_wanted(
    evaluate: str, asked: list[str], answers: list[bool], subject: str | None, alice: Client, shared: Served
) -> None:
    who, more = (alice, {}) if subject is None else (shared.admin, {"subject": subject})
    body = {"questions": [run(name, **more) for name in asked], "evaluate": evaluate}
    assert answers == [one["allowed"] for one in who.post("/authorize", body).json()]


def test_left_to_itself_a_batch_is_answered_whole(alice: Client) -> None:
    questions = [run("time"), run("mail")]
    whole: Any = alice.post("/authorize", {"questions": questions}).json()
    assert 2 == len(whole)
    assert whole == alice.post("/authorize", questions).json()


def test_what_is_wrong_in_a_batch_is_said_of_the_question_it_is_in(alice: Client) -> None:
    body: dict[str, Any] = {"questions": [run("time"), run("time") | {"nme": "x"}]}
    assert ["questions.1.nme"] == [one["field"] for one in refused(alice.post("/authorize", body), "invalid")["errors"]]
    body = {"questions": [run("time")], "evaluate": "some"}
    assert ["evaluate"] == [one["field"] for one in refused(alice.post("/authorize", body), "invalid")["errors"]]


def test_an_answer_names_the_line_its_origin_the_group_on_the_way_and_what_is_missing(alice: Client) -> None:
    yes, no, nothing = alice.post("/authorize", [run("time/now"), run("time/convert"), run("mail")]).json()
    assert ("p, Group:ops, run, servers, time, allow", "rbac:of-ops", "Group:ops", []) == (
        yes["rule"], yes["origin"], yes["via"], yes["missing"],
    )  # fmt: skip
    assert ("p, Group:ops, run, servers, time/convert, deny", "Group:ops", ["run servers time/convert"]) == (
        no["rule"], no["via"], no["missing"],
    )  # fmt: skip
    assert (None, None, ["run servers mail"]) == (nothing["rule"], nothing["via"], nothing["missing"])


def test_an_explanation_has_every_leg_and_every_line_that_speaks_of_it(token: dict[str, Any], shared: Served) -> None:
    asked = run("time/convert", subject=f"McpToken:{token['tokenSha']}")
    found = made(shared.admin.post("/authorize/explain", asked), 200)
    assert (False, "rbac:no-convert", "Group:ops") == (found["allowed"], found["origin"], found["via"])
    legs = {leg["kind"]: leg for leg in found["legs"]}
    assert {"never": True, "project": True, "token": True, "owner": False} == {k: v["allowed"] for k, v in legs.items()}
    assert [("allow", f"mcptoken:{token['id']}")] == [(line["effect"], line["origin"]) for line in legs["token"]["lines"]]
    assert ["allow", "deny"] == [line["effect"] for line in legs["owner"]["lines"]]
    assert (["Group:ops"], "User:alice") == (legs["owner"]["groups"], legs["owner"]["subject"])
    assert found["reason"] == legs["owner"]["reason"]


def test_an_explanation_of_nobody_says_so(shared: Served) -> None:
    for nobody in ("User:paused", "User:not-there", "Group:not-there", f"McpToken:{'0' * 64}"):
        found = made(shared.admin.post("/authorize/explain", run("time", subject=nobody)), 200)
        assert (False, [], f"{nobody} is not known or not enabled") == (found["allowed"], found["legs"], found["reason"])


def holders(client: Client, limit: int = 1000, **question: str) -> list[dict[str, Any]]:
    """Everybody who can, page by page."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = made(client.get("/authorize/subjects", params={**question, "limit": limit, **cursor}), 200)
        found += page["items"]
        if page["nextCursor"] is None:
            assert len(found) == page["total"]
            return found
        cursor = {"cursor": page["nextCursor"]}


@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_who_can_lists_users_groups_and_tokens_with_their_lines(limit: int, token: dict[str, Any], shared: Served) -> None:
    found = {one["subject"]: one for one in holders(shared.admin, limit, **run("time/now"))}
    sha = f"McpToken:{token['tokenSha']}"
    assert {"User:admin", "User:alice", "User:filed", "Group:admins", "Group:ops", sha} == set(found)
    assert ("rbac:of-ops", "Group:ops") == (found["User:filed"]["origin"], found["User:filed"]["via"])
    assert (None, "rbac:of-ops") == (found["Group:ops"]["via"], found["Group:ops"]["origin"])
    assert ("lab/clock", "User:alice") == (found[sha]["name"], found[sha]["owner"])


def test_who_can_knows_denies_file_lines_and_kinds(token: dict[str, Any], shared: Served) -> None:
    assert {"User:admin", "Group:admins"} == {one["subject"] for one in holders(shared.admin, **run("time/convert"))}
    filed = holders(shared.admin, kind="user", action="view", resource="server", name="filed-server")
    assert [("User:admin", "bindings.csv"), ("User:alice", "people.csv"), ("User:filed", "people.csv")] == [
        (one["subject"], one["origin"].partition(":")[0]) for one in filed
    ]
    assert [f"McpToken:{token['tokenSha']}"] == [
        one["subject"] for one in holders(shared.admin, kind="mcptoken", **run("time"))
    ]


def test_who_can_tells_about_everybody_and_so_needs_the_right(actor: Person) -> None:
    actor.holds("role:view,resource:users")
    answer = actor.client.get("/authorize/subjects", params=run("time"))
    refused(answer, "forbidden", ["impersonate operations *"])


def test_rights_list_every_line_with_the_actions_it_means(alice: Client, token: dict[str, Any], shared: Served) -> None:
    found = made(alice.get("/authorize/rights"), 200)
    assert ("User:alice", ["Group:ops"], None, []) == (found["subject"], found["groups"], found["owner"], found["never"])
    lines = {(one["effect"], one["binding"]): one for one in found["rights"]}
    deny = lines["deny", "role:run,resource:servers,name:time/convert,effect:deny"]
    assert (["run", "view"], "Group:ops", "rbac:no-convert") == (deny["actions"], deny["subject"], deny["origin"])
    assert "people.csv:2" in {one["origin"] for one in found["rights"]}
    mine = made(shared.nobody.as_(token["token"]).get("/authorize/rights"), 200)
    assert ("User:alice", "lab", ["docs", "time"]) == (mine["owner"], mine["project"], mine["attached"])
    assert found["rights"] == mine["ownerRights"]
    assert 6 == len(mine["never"])
    theirs = made(shared.admin.get("/authorize/rights", params={"subject": "User:alice"}), 200)
    assert found["rights"] == theirs["rights"]
    refused(shared.admin.get("/authorize/rights", params={"subject": "User:paused"}), "not_found")
    refused(alice.get("/authorize/rights", params={"subject": "User:admin"}), "forbidden")


def test_asking_for_somebody_else_is_in_the_audit_and_asking_for_oneself_is_not(shared: Served, alice: Client) -> None:
    auditor = Person(shared, "auditor").holds("action:impersonate")
    made(auditor.client.post("/authorize", run("time", subject="User:alice"), headers={"X-Request-Id": "r-7"}), 200)
    made(auditor.client.post("/authorize", run("time", subject="User:auditor")), 200)
    made(auditor.client.post("/authorize/explain", run("time", subject="User:filed")), 200)
    rows = [row for row in audit_rows(shared) if row.user == "auditor" and row.outcome == "asked"]
    assert [("r-7", ["User:alice"]), (rows[1].request_id, ["User:filed"])] == [
        (row.request_id, row.details["about"]) for row in rows
    ]
    assert "asked about User:alice" == rows[0].reason
    assert rows[0].revision > 0


@pytest.mark.parametrize(
    ("bindings", "most"), [(["role:view,resource:users"], 1), ([], 1), (["role:view,resource:servers"], 1)]
)
def test_a_list_is_filtered_by_one_question_where_one_answers_for_all(
    bindings: list[str], most: int, shared: Served, actor: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may view all of them, or none, is not asked about row by row."""
    if not shared.admin.get("/users/many-0").is_success:
        for number in range(20):
            made(shared.admin.post("/users", {"name": f"many-{number}", "service": True}))
    actor.holds(*bindings)
    asked: list[tuple[str, ...]] = []
    ask = Slice.ask

    def counted(self: Slice, *question: str) -> Any:
        asked.append(question)
        return ask(self, *question)

    monkeypatch.setattr(Slice, "ask", counted)
    items = made(actor.client.get("/users", params={"limit": 1000}), 200)["items"]
    assert (len(items) >= 20) == ("role:view,resource:users" in bindings)
    assert [("view", "users", "*")] * most == asked


def basic(name: str, bearer: str | None) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{quote_plus(name)}:{quote_plus(bearer or '')}".encode()).decode()}


@pytest.fixture(scope="module")
def resource_server(shared: Served) -> Client:
    """A program without any right: a session of a service user is all it needs to introspect."""
    made(shared.admin.post("/users", {"name": "notes@lab", "service": True}))
    return shared.nobody.as_(made(shared.admin.post("/sessions", {"user": "notes@lab", "ttl": "never"}))["token"])


def introspected(client: Client, token: str, **options: Any) -> dict[str, Any]:
    data = {"token": token, "token_type_hint": "access_token"}
    return made(client.call("POST", "//oauth2/introspect", data=data, **options), 200)


def test_a_resource_server_shows_its_session_as_a_bearer_or_as_a_clients_secret(
    resource_server: Client, token: dict[str, Any], shared: Served
) -> None:
    """RFC 7662 section 2.1; RFC 6749 section 2.3.1: both parts are form-encoded."""
    by_bearer = introspected(resource_server, token["token"])
    by_secret = introspected(shared.nobody, token["token"], headers=basic("notes@lab", resource_server.bearer))
    assert by_bearer == by_secret
    assert by_bearer["active"]


@pytest.mark.parametrize("name", ["", "notes", "admin", "NOTES@LAB"])
def test_a_client_id_is_the_user_whose_secret_it_is(name: str, resource_server: Client, shared: Served) -> None:
    data = {"token": "x"}
    answer = shared.nobody.call("POST", "//oauth2/introspect", data=data, headers=basic(name, resource_server.bearer))
    assert 401 == answer.status_code


@pytest.mark.parametrize("credentials", ["Basic", "Basic !!", "Basic " + b64encode(b"no-colon").decode(), "Basic /w=="])
def test_what_is_no_clients_secret_is_refused(credentials: str, shared: Served) -> None:
    answer = shared.nobody.call("POST", "//oauth2/introspect", data={"token": "x"}, headers={"Authorization": credentials})
    assert 401 == answer.status_code


def test_a_clients_secret_is_a_way_in_nowhere_else(resource_server: Client, shared: Served) -> None:
    answer = shared.nobody.get("/auth/whoami", headers=basic("notes@lab", resource_server.bearer))
    refused(answer, "invalid_credential")


def test_a_resource_server_is_told_what_the_bearer_may_do_now_and_for_whom_it_is(
    resource_server: Client, token: dict[str, Any]
) -> None:
    """Scopes are answers of the one question: a deny, the owner and the project are in them."""
    found = introspected(resource_server, token["token"])
    assert ["docs", "time"] == found["aud"]
    assert ["view:servers/docs", "run:servers/time", "view:servers/time"] == found["scope"].split()
    assert f"McpToken:{token['tokenSha']}" == found["sub"] == found["client_id"]
    assert ("mcptoken", "alice", "lab", "clock") == (
        found["token_type"],
        found["username"],
        found["project"],
        found["tokenName"],
    )
    assert {"reason", "topics", "exp"}.isdisjoint(found)


def test_a_session_is_for_no_audience_and_has_the_scopes_of_its_groups(resource_server: Client, alice: Client) -> None:
    assert alice.bearer
    found = introspected(resource_server, alice.bearer)
    assert "aud" not in found
    assert {"run:servers/time", "view:projects/lab"} <= set(found["scope"].split())
    assert "run:servers/time/convert" not in found["scope"].split()


@pytest.mark.parametrize("bearer", ["", "x", "mcpctl_pat_" + "0" * 43])
def test_of_what_is_not_active_nothing_is_said(bearer: str, resource_server: Client) -> None:
    assert {"active": False} == introspected(resource_server, bearer)


def test_every_answer_says_the_revision_that_is_in_force(served: Served) -> None:
    """About oneself it is remembered, and stays true while others change: as of the newest revision, like every other."""
    alice = served.user("alice", "role:view,resource:servers")
    question = {"action": "view", "resource": "servers"}
    first = made(alice.post("/authorize", question), 200)["revision"]
    made(served.admin.post("/users", {"name": "bob", "service": True}))
    for body in (question, [question]):
        answer: Any = made(alice.post("/authorize", body), 200)
        assert first + 1 == (answer[0] if isinstance(answer, list) else answer)["revision"]
    assert first + 1 == made(served.admin.post("/authorize", {"subject": "User:alice", **question}), 200)["revision"]


def test_whom_somebody_asked_about_stands_in_the_audit_however_many_they_were(served: Served) -> None:
    decoys = [f"User:decoy{number:03}" for number in range(250)]
    questions = [{"subject": one, "action": "view", "resource": "servers"} for one in [*decoys, "User:admin"]]
    dave = served.user("dave", "action:impersonate")
    made(dave.post("/authorize", questions), 200)
    rows = made(served.admin.get("/audit?user=dave&limit=100"), 200)["items"]
    told = [name for row in rows if row["outcome"] == "asked" for name in row["details"]["about"]]
    assert sorted([*decoys, "User:admin"]) == sorted(told)
