"""Every route names its guard and keeps it; errors and the OpenAPI document are what they say they are."""

from __future__ import annotations

import json

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from mcpctl.api.app import OPERATIONS, build_app
from mcpctl.api.control_plane import ControlPlane
from mcpctl.api.operations import Decided, Filtered, Guarded, Operation, Unguarded
from mcpctl.policy.vocabulary import ACTIONS, RESOURCES
from tests.api.contract import DOCUMENT, problems
from tests.api.people import Person, nothing_changes, refused, setup
from tests.api.samples import BODIES, path, query
from tests.serving import Served, made

by_id = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.operation_id)

OPEN = {
    "post_auth_login",
    "get_mcptokens_introspect",
    "get_healthz",
    "get_readyz",
    "get_openapi_json",
    "get__well_known_authzen_configuration",
}
"""What anybody at all may ask. Whoever adds to this list changes what strangers can reach."""

DECIDED_WITHOUT_RIGHT = {
    "get_auth_whoami": 200,
    "post_auth_logout": 204,
    "patch_users_id": 403,
    "post_authorize": 403,
    "post_authorize_explain": 403,
    "get_authorize_subjects": 403,
    "get_authorize_rights": 200,
    "post_access_v1_evaluation": 403,
    "post_access_v1_evaluations": 403,
    "post_access_v1_search_subject": 403,
    "post_access_v1_search_resource": 403,
    "post_access_v1_search_action": 403,
    "get_watch": 200,
    "get_audit": 200,
    "get_gateway_slices": 403,
    "get_gateway_upstreams": 403,
    "post_gateway_audit": 403,
    "post_gateway_status": 204,
    "post_oauth2_introspect": 415,
    "post_apply": 403,
}
"""What somebody without any binding is answered where the service itself decides."""


THEIR_WORDS = {
    *("token_type", "client_id", "evaluations_semantic", "next_token", "policy_decision_point"),
    *("access_evaluation_endpoint", "access_evaluations_endpoint"),
    *(f"search_{what}_endpoint" for what in ("subject", "resource", "action")),
}

QUESTIONS = {"authorize", "authzen"}
"""Tags of what asks and changes nothing, though the question is too large for an address."""


@pytest.fixture(scope="module", name="shared")
def _shared(shared: Served) -> Served:
    """With what the samples name."""
    setup(
        shared,
        ("POST", "/users", {"name": "sample", "service": True}),
        ("POST", "/users", {"name": "person", "password": "a long password"}),
        ("POST", "/groups", {"name": "sample"}),
        ("POST", "/servers", {"name": "sample", "transport": "stdio", "command": "x"}),
        ("POST", "/projects", {"name": "sample", "servers": ["sample"]}),
        ("POST", "/proxymodels", {"name": "sample", "stages": [{"stage": "truncate"}]}),
        ("POST", "/secrets", {"name": "sample", "values": {"k": "v"}}),
        ("POST", "/mcptokens", {"name": "sample", "project": "sample"}),
        ("POST", "/rbac", BODIES["post_rbac"]),
    )
    return shared


@by_id
def test_every_route_names_its_guard(operation: Operation) -> None:
    guard = operation.guard
    if isinstance(guard, Guarded):
        assert guard.action in ACTIONS
        assert guard.resource in RESOURCES
        assert operation.kind in ("read", "write"), "only these kinds are asked before they run"
    elif isinstance(guard, Filtered):
        assert guard.resource in RESOURCES
        assert ("GET", "read") == (operation.method, operation.kind)
    else:
        assert isinstance(guard, (Decided, Unguarded))
        assert len(guard.why) >= 10
    assert (operation.operation_id in OPEN) == isinstance(guard, Unguarded)
    assert (operation.operation_id in DECIDED_WITHOUT_RIGHT) == isinstance(guard, Decided)


@by_id
def test_what_writes_is_no_get_and_what_reads_is_one(operation: Operation) -> None:
    """A page that makes a browser fetch an address changes nothing."""
    if operation.method == "GET":
        assert operation.kind in ("read", "memory", "raw")
    elif operation.operation_id not in ("post_auth_login", "post_oauth2_introspect") and not QUESTIONS & {*operation.tags}:
        assert operation.kind in ("write", "append")


def test_the_application_has_these_routes_and_no_others(shared: Served) -> None:
    built = build_app(ControlPlane(shared.control.database, shared.control.policy))
    routes = [(route.path, sorted(route.methods or ())) for route in built.routes if isinstance(route, Route)]
    assert len(routes) == len(built.routes)
    wanted = [(one.path, sorted({one.method, "HEAD"} if one.method == "GET" else {one.method})) for one in OPERATIONS]
    assert sorted(wanted) == sorted(routes)


def test_no_two_operations_share_an_id_or_a_method_and_path() -> None:
    assert (
        len(OPERATIONS) == len({one.operation_id for one in OPERATIONS}) == len({(one.method, one.path) for one in OPERATIONS})
    )


@by_id
def test_without_a_bearer_every_route_is_refused_that_is_not_open(operation: Operation, shared: Served) -> None:
    """threats 2: no form of a path is let through by another rule than the route it reaches."""
    body = BODIES.get(operation.operation_id)
    with nothing_changes(shared, refusals=0):
        answer = shared.nobody.call(operation.method, path(operation), body, params=query(operation))
    if operation.operation_id in OPEN - {"post_auth_login", "get_mcptokens_introspect"}:
        assert 200 == answer.status_code
    else:
        assert 401 == answer.status_code


@by_id
def test_somebody_without_any_binding_is_refused_or_sees_nothing(operation: Operation, actor: Person, shared: Served) -> None:
    """threats 6, 7: knowing an id or a path is no right, and no route forgets to ask."""
    if isinstance(operation.guard, Unguarded):
        return
    if operation.operation_id == "post_auth_logout":
        actor = Person(shared, "leaver")
    body = BODIES.get(operation.operation_id)
    if operation.operation_id == "get_watch":
        with actor.client.http.stream(
            "GET", "/api/v1/watch", headers={"Authorization": f"Bearer {actor.client.bearer}"}
        ) as stream:
            lines = stream.iter_lines()
            assert {"revision"} == set(json.loads([next(lines), next(lines)][1].removeprefix("data: ")))
        return
    answer = actor.client.call(operation.method, path(operation), body, params=query(operation))
    if isinstance(operation.guard, Filtered):
        assert {"items": [], "nextCursor": None} == made(answer, 200)
    elif isinstance(operation.guard, Decided):
        assert DECIDED_WITHOUT_RIGHT[operation.operation_id] == answer.status_code, answer.text
    else:
        problem = refused(answer, "forbidden")
        assert problem["missing"][0].startswith(f"{operation.guard.action} {operation.guard.resource} ")


@by_id
def test_what_is_refused_is_in_the_audit(operation: Operation, actor: Person, shared: Served) -> None:
    refusing = isinstance(operation.guard, Guarded) or DECIDED_WITHOUT_RIGHT.get(operation.operation_id) == 403
    if not refusing:
        return
    body = BODIES.get(operation.operation_id)
    with nothing_changes(shared, refusals=1) as audited:
        answer = actor.client.call(
            operation.method, path(operation), body, params=query(operation), headers={"X-Request-Id": "r-1"}
        )
    row = audited[0]
    missing = refused(answer, "forbidden")["missing"]
    assert missing == (row.details["missing"] if len(missing) > 1 else [f"{row.action} {row.resource} {row.name}"])
    wanted = ("User:actor", "actor", False, "forbidden", "127.0.0.1", "r-1", answer.json()["detail"])
    assert wanted == (row.subject, row.user, row.allowed, row.outcome, row.source, row.request_id, row.reason)
    assert row.revision > 0


def test_every_error_has_a_code_of_its_own_and_says_what_it_means() -> None:
    classes = problems()
    codes = [one.code for one in classes if one.__module__ == "mcpctl.errors"]
    assert len(codes) == len(set(codes))
    for one in classes:
        assert one.__doc__
        assert len(one.__doc__) >= 15
        assert one.title
        assert 400 <= one.status < 600


def test_the_document_is_valid_openapi() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_the_document_served_is_the_one_that_answers_are_held_against(shared: Served) -> None:
    served = made(shared.nobody.get("//openapi.json"), 200)
    assert json.loads(json.dumps(DOCUMENT["paths"])) == served["paths"]
    assert json.loads(json.dumps(DOCUMENT["components"])) == served["components"]


def test_every_member_that_crosses_the_wire_is_in_camel_case() -> None:
    """But what RFC 7662 and AuthZEN call otherwise."""
    for name, schema in DOCUMENT["components"]["schemas"].items():
        if name == "Problem" or "properties" not in schema:
            continue
        for member in schema["properties"]:
            assert member == member[0].lower() + member[1:]
            assert "_" not in member or member in THEIR_WORDS


def test_the_reason_of_not_being_ready_is_told_to_nobody(served_on_sqlite: Served) -> None:
    made(served_on_sqlite.nobody.get("//readyz"), 200)
    served_on_sqlite.control.draining = True
    answer = served_on_sqlite.nobody.get("//readyz")
    assert (503, "unavailable", "requests cannot be served now") == (
        answer.status_code,
        answer.json()["code"],
        answer.json()["detail"],
    )


def test_an_unforeseen_fault_tells_nothing_and_is_never_an_allow(shared: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """authz d40."""
    from mcpctl.policy.slices import Slice

    hooks, shared.nobody.http.event_hooks = shared.nobody.http.event_hooks, {}
    try:
        monkeypatch.setattr(Slice, "ask", lambda *_args: 1 // 0)
        answer = shared.admin.get("/servers/sample")
        body = answer.json()
        assert (500, "internal") == (answer.status_code, body["code"])
        assert "ZeroDivision" not in answer.text
        assert answer.headers["x-request-id"] in body["detail"]
        created = shared.admin.post("/groups", {"name": "by-fault"})
        assert 500 == created.status_code
    finally:
        monkeypatch.undo()
        shared.nobody.http.event_hooks = hooks
        shared.control.principals.supersede(0, frozenset({"*"}))
    refused(shared.admin.get("/groups/by-fault"), "not_found")


def test_a_policy_that_cannot_be_evaluated_is_said_and_is_never_an_allow(
    shared: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """authz d40."""
    from mcpctl.policy.slices import Slice

    shared.control.principals.supersede(0, frozenset({"*"}))
    monkeypatch.setattr(Slice, "_narrow", lambda *_args: 1 // 0)
    for answer in (shared.admin.get("/servers/sample"), shared.admin.post("/groups", {"name": "by-fault"})):
        assert (503, "policy_unavailable") == (answer.status_code, answer.json()["code"])
    monkeypatch.undo()
    refused(shared.admin.get("/groups/by-fault"), "not_found")


def test_an_id_of_the_request_is_taken_over_only_if_it_is_one(shared: Served) -> None:
    """threats 19: what a client sends stands in the log and the audit."""
    assert "abc.DEF-1_2" == shared.admin.get("/users", headers={"X-Request-Id": "abc.DEF-1_2"}).headers["x-request-id"]
    for value in ("a b", "a" * 65, "", "<script>", "\u00e4", "a\tb"):
        sent = [(b"Authorization", f"Bearer {shared.admin.bearer}".encode()), (b"X-Request-Id", value.encode())]
        answer = shared.nobody.http.get("/api/v1/users", headers=sent)
        assert value != answer.headers["x-request-id"]
        assert answer.headers["x-request-id"].isalnum()
