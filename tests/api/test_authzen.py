"""The OpenID AuthZEN Authorization API 1.0, as a policy enforcement point that knows only the specification sees it.

Every answer is held against schemas written from the specification (``tests/data/authzen``), and against ``/authorize``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator

from tests.api.people import Person, audit_rows, bind, refused, setup
from tests.serving import Served, made

SCHEMAS = {
    path.stem: Draft202012Validator(json.loads(path.read_text()))
    for path in (Path(__file__).parents[1] / "data" / "authzen").glob("*.json")
}
ALICE = {"type": "user", "id": "alice@example.com"}
RUN = {"name": "run"}
TIME = {"type": "servers", "id": "time"}


@pytest.fixture(scope="module", name="shared")
def _shared(shared: Served) -> Served:
    """Alice holds two servers through a group, less one tool; she and one of her tokens are asked about."""
    for server in ("docs", "mail", "time"):
        shared.server(server)
    shared.project("lab", "docs", "time")
    setup(
        shared,
        ("POST", "/users", {"name": "alice@example.com", "password": "a long password"}),
        ("POST", "/users", {"name": "bob", "service": True}),
        ("POST", "/users", {"name": "gone", "service": True}),
        ("POST", "/groups", {"name": "ops", "members": ["User:alice@example.com", "User:gone"]}),
        ("PATCH", "/users/gone", {"disabled": True}),
    )
    bind(
        shared,
        "Group:ops",
        "role:run,resource:servers,name:time",
        "role:run,resource:servers,name:docs",
        "role:run,resource:servers,name:time/convert,effect:deny",
        "role:view,resource:projects,name:lab",
        "role:edit,resource:mcptokens,name:lab",
    )
    return shared


@pytest.fixture(scope="module")
def pep(shared: Served) -> Person:
    """A policy enforcement point: it may ask about everybody and see servers, and nothing else."""
    return Person(shared, "pep").holds("action:impersonate", "role:view,resource:servers", "role:view,resource:projects")


@pytest.fixture(scope="module")
def token(shared: Served) -> dict[str, Any]:
    """A token of alice for one tool."""
    alice = shared.log_in("alice@example.com", "a long password")
    new = {"name": "clock", "project": "lab", "bindings": ["role:run,resource:servers,name:time/now"]}
    return made(alice.post("/mcptokens", new))


def ask(person: Person, what: str, body: Any, **options: Any) -> dict[str, Any]:
    """The answer to one request, which must be one that the specification knows."""
    answer = person.client.post(f"//access/v1/{what}", body, **options)
    found = made(answer, 200)
    shape = "evaluation" if what == "evaluations" and "evaluations" not in found else what.replace("/", "-")
    SCHEMAS[shape].validate(found)
    return found


def evaluation(resource: str, action: str = "run", subject: dict[str, Any] = ALICE) -> dict[str, Any]:
    return {"subject": subject, "action": {"name": action}, "resource": {"type": "servers", "id": resource}}


CASES = [
    (True, "time", "run"),
    (True, "time/now", "run"),
    (False, "time/convert", "run"),
    (False, "mail", "run"),
    (False, "time", "delete"),
    (False, "*", "run"),
]


@pytest.mark.parametrize(("decision", "resource", "action"), CASES)
def test_an_evaluation_is_what_authorize_answers_with_its_reasons(
    decision: bool, resource: str, action: str, pep: Person
) -> None:
    found = ask(pep, "evaluation", evaluation(resource, action))
    question = {"subject": "User:alice@example.com", "action": action, "resource": "servers", "name": resource}
    verdict = made(pep.client.post("/authorize", question), 200)
    assert decision == found["decision"] == verdict["allowed"]
    same = {key: verdict[key] for key in ("reason", "rule", "origin", "via", "revision", "id") if verdict[key] is not None}
    assert same == found["context"]


def test_a_token_is_a_subject_and_is_bounded_by_its_owner(pep: Person, token: dict[str, Any], shared: Served) -> None:
    subject = {"type": "mcptoken", "id": token["tokenSha"]}
    assert ask(pep, "evaluation", evaluation("time/now", subject=subject))["decision"]
    assert not ask(pep, "evaluation", evaluation("time/other", subject=subject))["decision"]
    setup(shared, ("PATCH", "/users/alice@example.com", {"disabled": True}))
    assert not ask(pep, "evaluation", evaluation("time/now", subject=subject))["decision"]
    setup(shared, ("PATCH", "/users/alice@example.com", {"disabled": False}))


def test_a_group_is_a_subject_by_its_own_lines(pep: Person) -> None:
    assert ask(pep, "evaluation", evaluation("time", subject={"type": "group", "id": "ops"}))["decision"]


WORDS_NOT_KNOWN = [
    evaluation("time", subject={"type": "robot", "id": "r2d2"}),
    evaluation("time", subject={"type": "user", "id": "No Such Name"}),
    evaluation("time", action="can_read"),
    evaluation("time", action="admin"),
    evaluation("Time!"),
    {"subject": ALICE, "action": RUN, "resource": {"type": "todo", "id": "1"}},
    {"subject": ALICE, "action": RUN, "resource": {"type": "operations", "id": "*"}},
]


@pytest.mark.parametrize("body", WORDS_NOT_KNOWN)
def test_a_word_that_is_not_known_is_a_no_that_says_why(body: dict[str, Any], pep: Person) -> None:
    """Section 7.2.1: such an error is of one evaluation, and its decision is closed."""
    found = ask(pep, "evaluation", body)
    assert (False, 400) == (found["decision"], found["context"]["error"]["status"])
    assert found["context"]["error"]["message"]


def test_somebody_that_is_not_there_is_a_no(pep: Person) -> None:
    found = ask(pep, "evaluation", evaluation("time", subject={"type": "user", "id": "nobody"}))
    assert (False, "User:nobody is not known or not enabled") == (found["decision"], found["context"]["reason"])


def test_members_that_are_not_known_change_nothing(pep: Person) -> None:
    body = evaluation("time")
    plain = ask(pep, "evaluation", body)
    more = {key: value | {"properties": {"x": [1, {"y": None}]}, "later": 1} for key, value in body.items()}
    assert plain == ask(pep, "evaluation", more | {"context": {"time": "2026-01-01T00:00:00Z"}, "later": {"a": []}})


MALFORMED = [
    {},
    {"subject": ALICE, "action": RUN},
    {"subject": ALICE, "resource": TIME},
    {"action": RUN, "resource": TIME},
    {"subject": {"type": "user"}, "action": RUN, "resource": TIME},
    {"subject": ALICE, "action": {}, "resource": TIME},
    {"subject": ALICE, "action": "run", "resource": TIME},
    {"subject": {"type": "user", "id": 7}, "action": RUN, "resource": TIME},
    {"subject": ALICE, "action": RUN, "resource": TIME, "context": "now"},
]


@pytest.mark.parametrize("body", MALFORMED)
@pytest.mark.parametrize("what", ["evaluation", "evaluations"])
def test_a_request_that_is_none_is_a_bad_request(what: str, body: dict[str, Any], pep: Person) -> None:
    """Section 10.1.1: 400, and no decision."""
    answer = pep.client.post(f"//access/v1/{what}", body)
    assert (400, "malformed") == (answer.status_code, answer.json()["code"])
    assert "decision" not in answer.json()


def test_many_evaluations_take_what_they_leave_out_from_the_top(pep: Person) -> None:
    body = {
        "subject": ALICE,
        "action": RUN,
        "context": {"time": "now"},
        "evaluations": [
            {"resource": TIME},
            {"resource": {"type": "servers", "id": "mail"}},
            {"resource": TIME, "action": {"name": "delete"}},
            {"resource": TIME, "subject": {"type": "user", "id": "bob"}},
            {"resource": {"type": "todo", "id": "1"}},
        ],
    }
    found = ask(pep, "evaluations", body)["evaluations"]
    assert [True, False, False, False, False] == [one["decision"] for one in found]
    assert "error" in found[4]["context"]
    single = [ask(pep, "evaluation", {"subject": ALICE, "action": RUN} | one) for one in body["evaluations"]]  # type: ignore[operator]
    assert single == found


@pytest.mark.parametrize("more", [{}, {"evaluations": []}])
def test_without_evaluations_it_is_a_single_one(more: dict[str, Any], pep: Person) -> None:
    assert ask(pep, "evaluation", evaluation("time")) == ask(pep, "evaluations", evaluation("time") | more)


def test_what_neither_an_evaluation_nor_the_top_says_is_named(pep: Person) -> None:
    body = {"subject": ALICE, "evaluations": [{"resource": TIME, "action": RUN}, {"resource": TIME}]}
    answer = pep.client.post("//access/v1/evaluations", body)
    assert (400, ["evaluations.1.action"]) == (answer.status_code, [one["field"] for one in answer.json()["errors"]])


SEMANTICS = [
    (None, ["time", "mail", "docs"], [True, False, True]),
    ("execute_all", ["time", "mail", "docs"], [True, False, True]),
    ("deny_on_first_deny", ["time", "mail", "docs"], [True, False]),
    ("deny_on_first_deny", ["time", "docs"], [True, True]),
    ("deny_on_first_deny", ["Not A Name", "docs"], [False]),
    ("permit_on_first_permit", ["mail", "time", "docs"], [False, True]),
    ("permit_on_first_permit", ["mail", "Not A Name"], [False, False]),
]


@pytest.mark.parametrize(("semantic", "asked", "decisions"), SEMANTICS)
def test_evaluations_end_where_their_semantic_says(
    semantic: str | None, asked: list[str], decisions: list[bool], pep: Person
) -> None:
    options = {"options": {"another_option": 1} | ({"evaluations_semantic": semantic} if semantic else {})}
    body = {"subject": ALICE, "action": RUN, "evaluations": [{"resource": {"type": "servers", "id": one}} for one in asked]}
    assert decisions == [one["decision"] for one in ask(pep, "evaluations", body | options)["evaluations"]]


def test_a_semantic_that_is_not_known_is_a_bad_request(pep: Person) -> None:
    body = evaluation("time") | {"evaluations": [{}], "options": {"evaluations_semantic": "deny_on_first"}}
    assert 400 == pep.client.post("//access/v1/evaluations", body).status_code


def test_many_subjects_in_one_request_are_answered_as_one_by_one(pep: Person, token: dict[str, Any]) -> None:
    subjects = [ALICE, {"type": "user", "id": "bob"}, {"type": "user", "id": "gone"}, {"type": "user", "id": "nobody"}]
    subjects += [{"type": "group", "id": "ops"}, {"type": "mcptoken", "id": token["tokenSha"]}, {"type": "user", "id": "admin"}]
    body = {
        "action": RUN,
        "resource": {"type": "servers", "id": "time/now"},
        "evaluations": [{"subject": one} for one in subjects],
    }
    found = ask(pep, "evaluations", body)["evaluations"]
    assert [ask(pep, "evaluation", evaluation("time/now", subject=one)) for one in subjects] == found
    assert [True, False, False, False, True, True, True] == [one["decision"] for one in found]


def everything(person: Person, what: str, body: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    """All results of a search, page by page; each page says how many there are in all."""
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {"limit": limit}
    while True:
        answer = ask(person, f"search/{what}", body | {"page": page})
        assert len(answer["results"]) == answer["page"]["count"] <= limit
        found += answer["results"]
        if not answer["page"]["next_token"]:
            assert len(found) == answer["page"]["total"]
            return found
        page = {"limit": limit, "token": answer["page"]["next_token"]}


@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_searched_subjects_are_those_whose_evaluation_is_a_yes(limit: int, pep: Person, token: dict[str, Any]) -> None:
    resource = {"type": "servers", "id": "time/now"}
    for kind, wanted in (
        ("user", {"admin", "alice@example.com"}),
        ("group", {"admins", "ops"}),
        ("mcptoken", {token["tokenSha"]}),
    ):
        body = {"subject": {"type": kind, "id": "ignored"}, "action": RUN, "resource": resource}
        found = everything(pep, "subject", body, limit)
        assert [] == [one for one in found if one["type"] != kind]
        assert wanted <= {one["id"] for one in found}
        for one in found:
            assert ask(pep, "evaluation", {"subject": one, "action": RUN, "resource": resource})["decision"]
        assert "gone" not in {one["id"] for one in found}


@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_searched_resources_are_those_whose_evaluation_is_a_yes(limit: int, pep: Person) -> None:
    body = {"subject": ALICE, "action": RUN, "resource": {"type": "servers"}}
    assert ["docs", "time"] == [one["id"] for one in everything(pep, "resource", body, limit)]
    projects = {"subject": ALICE, "action": {"name": "view"}, "resource": {"type": "project"}}
    assert [{"type": "project", "id": "lab"}] == everything(pep, "resource", projects, limit)


def test_a_search_names_nothing_that_the_caller_may_not_view(shared: Served) -> None:
    narrow = Person(shared, "narrow").holds("action:impersonate", "role:view,resource:servers,name:docs")
    body = {"subject": {"type": "user", "id": "admin"}, "action": RUN, "resource": {"type": "servers"}}
    assert ["docs"] == [one["id"] for one in everything(narrow, "resource", body, 10)]
    secrets = {"subject": {"type": "user", "id": "admin"}, "action": RUN, "resource": {"type": "secrets"}}
    assert [] == everything(narrow, "resource", secrets, 10)


@pytest.mark.parametrize(
    ("resource", "actions"),
    [
        (TIME, ["run", "view"]),
        ({"type": "servers", "id": "time/convert"}, []),
        ({"type": "mcptokens", "id": "lab/x"}, ["create", "delete", "edit", "expose", "view"]),
        ({"type": "operations", "id": "lab"}, []),
    ],
)
def test_searched_actions_are_those_whose_evaluation_is_a_yes(
    resource: dict[str, Any], actions: list[str], pep: Person
) -> None:
    found = everything(pep, "action", {"subject": ALICE, "resource": resource}, 2)
    assert actions == [one["name"] for one in found]
    for one in found:
        assert ask(pep, "evaluation", {"subject": ALICE, "action": one, "resource": resource})["decision"]


UNKNOWN_SEARCHES = [
    ("subject", {"subject": {"type": "robot"}, "action": RUN, "resource": TIME}),
    ("subject", {"subject": {"type": "user"}, "action": {"name": "can_read"}, "resource": TIME}),
    ("resource", {"subject": {"type": "robot", "id": "x"}, "action": RUN, "resource": {"type": "servers"}}),
    ("resource", {"subject": ALICE, "action": RUN, "resource": {"type": "todo"}}),
    ("action", {"subject": ALICE, "resource": {"type": "todo", "id": "1"}}),
    ("action", {"subject": ALICE, "resource": {"type": "servers", "id": "Not A Name"}}),
]


@pytest.mark.parametrize(("what", "body"), UNKNOWN_SEARCHES)
def test_a_search_for_what_is_not_known_finds_nothing_and_says_why(what: str, body: dict[str, Any], pep: Person) -> None:
    found = ask(pep, f"search/{what}", body)
    assert ([], 0) == (found["results"], found["page"]["total"])
    assert found["context"]["error"]["message"]


def test_a_token_of_a_page_is_good_for_that_very_search_only(pep: Person) -> None:
    """Section 8.2: whatever else changes between pages is an error."""
    body: dict[str, Any] = {"subject": ALICE, "action": RUN, "resource": {"type": "servers"}}
    token = ask(pep, "search/resource", body | {"page": {"limit": 1}})["page"]["next_token"]
    assert 1 == ask(pep, "search/resource", body | {"page": {"token": token}})["page"]["count"], "the limit may change"
    other = body | {"subject": {"type": "user", "id": "admin"}}
    for asked, given in ((other, token), (body, token[:-1]), (body, token[1:]), (body, "x"), (body, token + "=")):
        answer = pep.client.post("//access/v1/search/resource", asked | {"page": {"token": given}})
        assert (400, ["page.token"]) == (answer.status_code, [one["field"] for one in answer.json()["errors"]])


def test_a_page_of_nothing_says_how_much_there_is(pep: Person) -> None:
    body = {"subject": ALICE, "action": RUN, "resource": {"type": "servers"}, "page": {"limit": 0}}
    found = ask(pep, "search/resource", body)
    assert ([], 0, 2) == (found["results"], found["page"]["count"], found["page"]["total"])
    assert found["page"]["next_token"]


def test_asking_about_oneself_is_free_and_about_others_needs_the_right(actor: Person, shared: Served) -> None:
    actor.holds("role:run,resource:servers,name:time")
    me = {"type": "user", "id": "actor"}
    assert ask(actor, "evaluation", evaluation("time", subject=me))["decision"]
    assert [True, False] == [
        one["decision"]
        for one in ask(
            actor,
            "evaluations",
            {"subject": me, "action": RUN, "evaluations": [{"resource": TIME}, {"resource": TIME | {"id": "mail"}}]},
        )["evaluations"]
    ]
    assert ["run", "view"] == [one["name"] for one in everything(actor, "action", {"subject": me, "resource": TIME}, 10)]
    others = [
        ("evaluation", evaluation("time")),
        ("evaluations", {"action": RUN, "resource": TIME, "evaluations": [{"subject": me}, {"subject": ALICE}]}),
        ("search/subject", {"subject": {"type": "user"}, "action": RUN, "resource": TIME}),
        ("search/resource", {"subject": ALICE, "action": RUN, "resource": {"type": "servers"}}),
        ("search/action", {"subject": ALICE, "resource": TIME}),
    ]
    for what, body in others:
        refused(actor.client.post(f"//access/v1/{what}", body), "forbidden", ["impersonate operations *"])


def test_a_token_asks_about_itself_and_never_about_another(token: dict[str, Any], shared: Served) -> None:
    client = shared.nobody.as_(token["token"])
    me = {"type": "mcptoken", "id": token["tokenSha"]}
    assert made(client.post("//access/v1/evaluation", evaluation("time/now", subject=me)), 200)["decision"]
    refused(client.post("//access/v1/evaluation", evaluation("time/now")), "forbidden")


def test_who_asked_about_whom_is_in_the_audit_once(shared: Served) -> None:
    asker = Person(shared, "curious").holds("action:impersonate")
    for _ in range(3):
        ask(asker, "evaluation", evaluation("time"))
        ask(asker, "search/subject", {"subject": {"type": "user"}, "action": RUN, "resource": TIME})
    rows = [row for row in audit_rows(shared) if row.user == "curious" and row.action == "impersonate"]
    assert [["User:alice@example.com"], ["everybody"]] == [row.details["about"] for row in rows]
    assert {("asked", True, "operations")} == {(row.outcome, row.allowed, row.resource) for row in rows}


@pytest.mark.parametrize("given", ["bfe9eb29-ab87-4ca3-be83-a1d5d8305716", "a b;c/d=e?\"'<>", "x" * 255])
def test_the_id_of_a_request_comes_back_whatever_it_is(given: str, pep: Person) -> None:
    """Section 10.1.2."""
    for body in (evaluation("time"), {}):
        answer = pep.client.post("//access/v1/evaluation", body, headers={"X-Request-ID": given})
        assert given == answer.headers["x-request-id"]


def test_an_id_that_could_break_the_answer_does_not_come_back(pep: Person) -> None:
    sent = [(b"Authorization", f"Bearer {pep.client.bearer}".encode()), (b"Content-Type", b"application/json")]
    for given in ("x" * 256, "\u00e4", "a\tb"):
        answer = pep.client.http.post(
            "/access/v1/evaluation", content=json.dumps(evaluation("time")), headers=[*sent, (b"X-Request-ID", given.encode())]
        )
        assert answer.headers["x-request-id"].isalnum()


def test_the_metadata_names_every_endpoint_under_the_address_it_was_asked_at(shared: Served, pep: Person) -> None:
    """Section 9: and the identifier is that address itself."""
    found = made(shared.nobody.get("//.well-known/authzen-configuration"), 200)
    SCHEMAS["metadata"].validate(found)
    assert shared.address == found.pop("policy_decision_point")
    assert 5 == len(found)
    for url in found.values():
        answer = httpx2.post(url, json={}, headers={"Authorization": f"Bearer {pep.client.bearer}"}, trust_env=False)
        assert 400 == answer.status_code


@pytest.mark.parametrize("host", ["x/../healthz", "x?", "x#y", "a@b", "[::1", "x y", "x:port", '"'])
def test_the_metadata_sends_no_host_back_that_is_none(host: str, shared: Served) -> None:
    """incident 3: what is made of the Host header is looked at first."""
    hooks, shared.nobody.http.event_hooks = shared.nobody.http.event_hooks, {}
    try:
        answer = shared.nobody.get("//.well-known/authzen-configuration", headers={"Host": host})
        assert answer.status_code in (400, 421)
        assert f"http://{host}" not in answer.text
    finally:
        shared.nobody.http.event_hooks = hooks


def test_the_metadata_believes_only_a_configured_proxy_about_the_scheme(served_on_sqlite: Served) -> None:
    """Section 9.1: the identifier of a decision point is an https URL, which it is behind a proxy."""
    forwarded = {"Host": "pdp.example.com", "X-Forwarded-Proto": "https"}
    found = made(served_on_sqlite.nobody.get("//.well-known/authzen-configuration", headers=forwarded), 200)
    assert "http://pdp.example.com" == found["policy_decision_point"]
    served_on_sqlite.control.trusted_proxies = ("127.0.0.1",)
    found = made(served_on_sqlite.nobody.get("//.well-known/authzen-configuration", headers=forwarded), 200)
    assert "https://pdp.example.com" == found["policy_decision_point"]


def test_nobody_is_told_to_say_who_they_are(shared: Served) -> None:
    answer = shared.nobody.post("//access/v1/evaluation", evaluation("time"))
    assert (401, 'Bearer realm="mcpctl"') == (answer.status_code, answer.headers["www-authenticate"])
