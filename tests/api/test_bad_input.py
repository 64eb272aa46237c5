"""Whatever is sent, the answer is a problem that names the field, never a fault of the server.

Table-driven over every operation there is, on both databases, by somebody who may do everything.
"""

# ruff: noqa: E501 - a case is a row
from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mcpctl.api.app import OPERATIONS
from mcpctl.api.operations import Operation
from tests.api.contract import DOCUMENT
from tests.api.people import setup
from tests.api.samples import BODIES, WITH_BODY, WITH_PATH, path, query
from tests.serving import Client, Served

JSON_VALUES: list[Any] = ["text", "", 1, -1, 0.5, True, None, [], ["x"], {}, {"x": 1}]
HOSTILE_TEXT = [
    "\0",
    "a\0b",
    "a" * 100_000,
    "\n",
    "'; DROP TABLE casbin_rule; --",
    "../../etc/passwd",
    "\u0430dmin",
    "a\u200bb",
    "\uffff",
    "\U0001f600",
    "*",
    "%",
    "User:admin, Group:admins",
    "(a+)+$",
]
HOSTILE_PATH = ["%00", "a%00b", "%0a", "%2e%2e", "%ff%fe", "%F0%9F%98%80", "*", "%25", "ADMIN", "'%20OR%201=1--", "a" * 4000, "%20", "a%2fb", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "a,b"]  # fmt: skip
FOREIGN = re.compile(r"[Ii]nput should|[a-z] should |[Ff]ield required|instance of|SecretRef|dictionary|pydantic")
"""Words of the library that reads the shapes; a person is told in ours."""

IN_OUR_WORDS = [
    ("/users", {"name": "x", "password": "short"}, "password: it must have 8 characters or more"),
    ("/users", {"password": "long enough"}, "name: it is missing"),
    ("/users", {"name": "x", "service": 1}, "service: it must be true or false"),
    ("/groups", {"name": "x", "members": "User:a"}, "members: it must be a list"),
    ("/projects", {"name": "x", "toolNames": "both"}, "toolNames: it must be 'prefixed' or 'plain'"),
    ("/servers", {"name": "x", "transport": "stdio", "command": "x", "env": {"A": 1}}, "env.A: it must be text"),
    ("/servers", {"name": "x", "transport": "stdio", "command": "x", "env": {"A": 1}}, "env.A: it must be an object"),
    (
        "/servers",
        {"name": "x", "transport": "stdio", "command": "x", "healthCheck": {"timeoutSeconds": 0}},
        "it must be 1 or more",
    ),
    (
        "/servers",
        {"name": "x", "transport": "stdio", "command": "x", "healthCheck": {"timeoutSeconds": "x"}},
        "it must be a whole number",
    ),
]

REFUSED = {400, 401, 403, 404, 409, 413, 415, 422}

by_id = pytest.mark.parametrize("operation", WITH_BODY, ids=lambda operation: operation.operation_id)
by_our_rules = pytest.mark.parametrize(
    "operation", [one for one in WITH_BODY if one.standard == "ours"], ids=lambda operation: operation.operation_id
)
"""AuthZEN passes over members it does not know; tests/api/test_authzen.py is about those."""


@pytest.fixture(scope="module")
def admin(shared: Served) -> Client:
    """Somebody who may do everything, beside a world in which what the samples name exists."""
    setup(
        shared,
        ("POST", "/users", {"name": "sample", "service": True}),
        ("POST", "/users", {"name": "person", "password": "a long password"}),
        ("POST", "/users", {"name": "fuzzer", "password": "a long password"}),
        ("POST", "/rbac", {"name": "fuzzer", "subjects": ["User:fuzzer"], "roleBindings": ["role:admin,resource:*"]}),
        ("POST", "/groups", {"name": "sample"}),
        ("POST", "/servers", {"name": "sample", "transport": "streamable-http", "url": "http://127.0.0.1:9/mcp"}),
        ("POST", "/projects", {"name": "sample", "servers": ["sample"]}),
        ("POST", "/proxymodels", BODIES["post_proxymodels"]),
        ("POST", "/mcptokens", {"name": "sample", "project": "sample"}),
        ("POST", "/rbac", BODIES["post_rbac"]),
    )
    shared.control.failed_logins.wait = lambda *_keys: 0.0  # type: ignore[method-assign]  # this is not about guessing
    return shared.log_in("fuzzer", "a long password")


def send(client: Client, operation: Operation, body: Any = None, **options: Any) -> httpx2.Response:
    """The operation with its sample path and query, and this body."""
    answer = client.call(operation.method, path(operation), body, params=query(operation), **options)
    assert answer.status_code < 500, answer.text
    assert not FOREIGN.search(answer.text), answer.text
    return answer


def send_raw(client: Client, operation: Operation, raw: bytes, media: str = "application/json") -> httpx2.Response:
    return send(client, operation, content=raw, headers={"Content-Type": media})


def fields(answer: httpx2.Response) -> list[str]:
    return [error["field"] for error in answer.json().get("errors", [])]


def schema_of(operation: Operation) -> Draft202012Validator:
    content = DOCUMENT["paths"][operation.path][operation.method.lower()]["requestBody"]["content"]
    return Draft202012Validator({**content["application/json"]["schema"], "components": DOCUMENT["components"]})


def members(value: Any, where: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every member and item of a body, at any depth."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield (*where, name)
            yield from members(member, (*where, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield (*where, index)
            yield from members(item, (*where, index))


def with_member(body: Any, where: tuple[str | int, ...], value: Any) -> Any:
    changed = copy.deepcopy(body)
    inner = changed
    for step in where[:-1]:
        inner = inner[step]
    inner[where[-1]] = value
    return changed


def without_member(body: Any, where: tuple[str | int, ...]) -> Any:
    changed = copy.deepcopy(body)
    inner = changed
    for step in where[:-1]:
        inner = inner[step]
    del inner[where[-1]]
    return changed


def names(field: str, where: tuple[str | int, ...]) -> bool:
    """Whether the field of an error is the member changed, or something within it, or what holds it."""
    said, changed = field.split("."), [str(step) for step in where]
    return all(one == other for one, other in zip(said, changed, strict=False))


def test_every_operation_with_a_body_has_a_sample_that_its_schema_takes() -> None:
    assert set(BODIES) == {operation.operation_id for operation in WITH_BODY}
    for operation in WITH_BODY:
        schema_of(operation).validate(BODIES[operation.operation_id])


@by_our_rules
def test_an_unknown_member_is_refused_by_name_at_any_depth(operation: Operation, admin: Client) -> None:
    body = BODIES[operation.operation_id]
    objects = [
        (),
        *(where for where in members(body) if isinstance(_at(body, where), dict) and where[-1] not in ("headers", "values")),
    ]
    for where in objects:
        changed = with_member(body, (*where, "noSuchMember"), 1)
        answer = send(admin, operation, changed)
        assert (422, "invalid") == (answer.status_code, answer.json()["code"])
        assert [".".join(map(str, (*where, "noSuchMember")))] == fields(answer)


def _at(body: Any, where: tuple[str | int, ...]) -> Any:
    for step in where:
        body = body[step]
    return body


@by_our_rules
def test_a_misspelled_member_is_refused_with_the_nearest_one(operation: Operation, admin: Client) -> None:
    body = BODIES[operation.operation_id]
    name = max(body, key=len)
    answer = send(admin, operation, without_member({**body, name + "x": body[name]}, (name,)))
    assert name in [error.get("nearest") for error in answer.json()["errors"]]


@by_our_rules
def test_a_value_of_another_type_is_refused_by_name(operation: Operation, admin: Client) -> None:
    body, schema = BODIES[operation.operation_id], schema_of(operation)
    for where in members(body):
        for value in JSON_VALUES:
            changed = with_member(body, where, value)
            if schema.is_valid(changed):
                continue
            answer = send(admin, operation, changed)
            assert 422 == answer.status_code, (where, value, answer.text)
            assert any(names(field, where) for field in fields(answer)), (where, value, answer.text)


@by_our_rules
def test_a_member_that_is_missing_is_named(operation: Operation, admin: Client) -> None:
    body, schema = BODIES[operation.operation_id], schema_of(operation)
    for where in members(body):
        changed = without_member(body, where)
        if not isinstance(where[-1], int) and not schema.is_valid(changed):
            answer = send(admin, operation, changed)
            assert 422 == answer.status_code
            assert [True] == [names(field, where) for field in fields(answer)], answer.text


@by_our_rules
def test_hostile_text_is_refused_by_name_or_taken_literally(operation: Operation, admin: Client) -> None:
    """authz d25, d28; threats 14: whatever a name may not hold is refused at one door."""
    body = BODIES[operation.operation_id]
    for where in members(body):
        if not isinstance(_at(body, where), str):
            continue
        for text in HOSTILE_TEXT:
            answer = send(admin, operation, with_member(body, where, text))
            if answer.status_code == 422:
                assert any(names(field, where) for field in fields(answer)), (where, text[:20], answer.text)
            if "\0" in text:
                assert (422, [".".join(map(str, where))]) == (answer.status_code, fields(answer))
            if len(text) > 1000 and answer.status_code >= 400:
                assert len(answer.content) < 3000, "a refusal does not throw back what it was sent"


NOT_ONE_OBJECT: list[tuple[int, str, bytes]] = [
    (400, "malformed", b""),
    (400, "malformed", b" "),
    (400, "malformed", b"null"),
    (400, "malformed", b"{"),
    (400, "malformed", b"{}{}"),
    (400, "malformed", b"{'a': 1}"),
    (400, "malformed", b'{"a": 1,}'),
    (400, "malformed", b'{"a": NaN}'),
    (400, "malformed", b'{"a": Infinity}'),
    (400, "malformed", b'{"a": -Infinity}'),
    (400, "malformed", b'{"a": 1e999}'),
    (400, "malformed", b'{"a": -1e999}'),
    (400, "malformed", b'{"a": ' + b"9" * 5000 + b"}"),
    (400, "malformed", b'{"a": 1, "a": 1}'),
    (400, "malformed", b'{"a": {"b": 1, "\\u0062": 2}}'),
    (400, "malformed", b'{"a": "\\ud800"}'),
    (400, "malformed", b'{"\\udc00": 1}'),
    (400, "malformed", b'{"a": "\xff"}'),
    (400, "malformed", b'\xef\xbb\xbf{"a": 1}'),
    (400, "malformed", '{"a": 1}'.encode("utf-16")),
    (400, "malformed", b"[" * 33 + b"]" * 33),
    (400, "malformed", b'{"a":' * 33 + b"1" + b"}" * 33),
    (400, "malformed", b"[" * 8000),
    (422, "invalid", b'{"a": "\\u0000"}'),
    (422, "invalid", b'{"a\\u0000": 1}'),
    (422, "invalid", b"1"),
    (422, "invalid", b'"text"'),
    (422, "invalid", b"true"),
    (422, "invalid", b"[]"),
    (422, "invalid", b"[[]]"),
]


@pytest.mark.parametrize(("where", "body", "said"), IN_OUR_WORDS)
def test_what_is_wrong_with_a_member_is_said_in_our_words(where: str, body: dict[str, Any], said: str, admin: Client) -> None:
    answer = admin.post(where, body)
    assert 422 == answer.status_code
    assert said in answer.json()["detail"]
    assert not FOREIGN.search(answer.text)


@by_id
def test_a_body_that_is_not_one_json_object_is_refused(operation: Operation, admin: Client) -> None:
    """threats 20, 21: a member that stands twice would be read differently by another parser."""
    may_be_left_out = operation.operation_id == "post_mcptokens_id_rotate"
    for status, code, raw in NOT_ONE_OBJECT:
        if not (may_be_left_out and raw in (b"", b"null")):
            answer = send_raw(admin, operation, raw)
            if operation.standard == "authzen":
                status, code = 400, "malformed"  # Authorization API 1.0, section 10.1.1
            assert (status, code) == (answer.status_code, answer.json()["code"]), (raw[:40], answer.text)


@by_id
def test_only_json_is_read(operation: Operation, admin: Client) -> None:
    """threats 21, 22: another content type is not another way in."""
    raw = json.dumps(BODIES[operation.operation_id]).encode()
    for media in ("text/plain", "application/x-www-form-urlencoded", "", "application/jsonp", "application/json-patch+json", "text/json"):  # fmt: skip
        answer = send_raw(admin, operation, raw, media)
        assert (415, "unsupported_media") == (answer.status_code, answer.json()["code"])
    for media in ("Application/JSON", "application/json; charset=utf-8"):
        assert 415 != send_raw(admin, operation, b"{}", media).status_code


@by_id
def test_a_body_over_the_limit_is_refused_whatever_it_declares(operation: Operation, admin: Client, shared: Served) -> None:
    large = b'{"a": "' + b"a" * shared.control.max_body_bytes + b'"}'
    answer = send_raw(admin, operation, large)
    assert (413, "too_large") == (answer.status_code, answer.json()["code"])

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(large), 65536):
            yield large[start : start + 65536]

    answer = send(admin, operation, content=chunks(), headers={"Content-Type": "application/json"})
    assert (413, "too_large") == (answer.status_code, answer.json()["code"])


def test_somebody_unknown_may_send_little_whatever_it_declares(shared: Served) -> None:
    """A log-in is small, and reading a large body takes the time of everybody else."""
    large = json.dumps({"username": "a", "password": "p" * 9000}).encode()
    for content in (large, iter([large[:100], large[100:]])):
        answer = shared.nobody.call("POST", "/auth/login", content=content, headers={"Content-Type": "application/json"})
        assert (413, "too_large") == (answer.status_code, answer.json()["code"])


def test_very_many_members_are_refused_in_a_moment(admin: Client) -> None:
    """A search that grew with the square of the members would stop the server for minutes."""
    users = next(operation for operation in WITH_BODY if operation.operation_id == "post_users")
    for count, code, said in ((60_000, "malformed", "more than 1000 members"), (999, "malformed", "'m998' stands in it twice")):
        many = ", ".join(f'"m{n}": 0' for n in range(count))
        began = time.perf_counter()
        answer = send_raw(admin, users, f'{{{many}, "m{count - 1}": 1}}'.encode())
        assert time.perf_counter() - began < 5
        assert (400, code) == (answer.status_code, answer.json()["code"])
        assert said in answer.json()["detail"]
    many = ", ".join(f'"m{n}": 0' for n in range(999))
    assert 50 == len(send_raw(admin, users, f"{{{many}}}".encode()).json()["errors"])


OPERATIONS_WITHOUT_BODY = [
    one for one in OPERATIONS if one.body_adapter is None and one.method != "GET" and one.path != "/oauth2/introspect"
]


@pytest.mark.parametrize("operation", OPERATIONS_WITHOUT_BODY, ids=lambda operation: operation.operation_id)
def test_a_body_where_none_belongs_is_refused(operation: Operation, admin: Client) -> None:
    if operation.operation_id == "post_auth_logout":
        admin = admin.as_(None)
        for raw in (b'{"a": 1}', b"[]"):
            assert 401 == send_raw(admin, operation, raw).status_code
        return
    for raw in (b'{"a": 1}', b"[]", b"[1]", b"0", b"false", b'""', b"{"):
        answer = send_raw(admin, operation, raw)
        assert (400, "malformed") == (answer.status_code, answer.json()["code"]), raw


@pytest.mark.parametrize("operation", WITH_PATH, ids=lambda operation: operation.operation_id)
def test_a_path_nobody_could_have_named_is_refused(operation: Operation, admin: Client) -> None:
    body = BODIES.get(operation.operation_id)
    for part in re.findall(r"{(\w+)}", operation.path):
        for value in HOSTILE_PATH:
            answer = admin.call(operation.method, path(operation, **{part: value}), body, params=query(operation))
            assert answer.status_code in REFUSED | {405}, (value, answer.status_code, answer.text)
            if "%00" in value:
                assert (422, [part]) == (answer.status_code, fields(answer))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.operation_id)
def test_a_query_it_does_not_know_is_refused_by_name(operation: Operation, admin: Client) -> None:
    body = BODIES.get(operation.operation_id)
    where = path(operation, id="no-such-thing", user="no-such-thing", server="no-such-thing")
    answer = admin.call(operation.method, where, body, params={**query(operation), "noSuch": "1"})
    refused_as = 400 if operation.standard == "authzen" else 422
    assert (refused_as, ["noSuch"]) == (answer.status_code, fields(answer)), answer.text
    given = DOCUMENT["paths"][operation.path][operation.method.lower()].get("parameters", [])
    for parameter in (one["name"] for one in given if one["in"] == "query"):
        kept = {name: value for name, value in query(operation).items() if name != parameter}
        twice = admin.call(operation.method, where, body, params=[*kept.items(), (parameter, "1"), (parameter, "1")])
        assert (422, [parameter]) == (twice.status_code, fields(twice))
        for value in ["\0", "a\0b", "%", "*", "", " ", "\U0001f600", "a" * 4000, "1e9", "-1", "0", "nan", "inf", "9" * 5000, "2026-01-01", "AA", "AAAA", "////", "YQBi", "1_x", "nan_x", "inf_\ud7ff"]:  # fmt: skip
            answer = admin.call(operation.method, where, body, params={**kept, parameter: value})
            assert answer.status_code < 500, (parameter, value, answer.text)
            if "\0" in value:
                assert (422, [parameter]) == (answer.status_code, fields(answer))


def test_another_method_is_refused_with_those_there_are(admin: Client) -> None:
    for where in sorted({operation.path for operation in OPERATIONS}):
        concrete = next(operation for operation in OPERATIONS if operation.path == where)
        pattern = re.compile(re.sub(r"{\w+}", "[^/]+", where) + r"\Z")
        reached = path(concrete).removeprefix("/")
        there = sorted({one.method for one in OPERATIONS if re.fullmatch(re.sub(r"{\w+}", "[^/]+", one.path), reached)})
        assert pattern.match(reached)
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - set(there):
            answer = admin.call(method, "/" + reached)
            assert (405, "method_not_allowed") == (answer.status_code, answer.json()["code"]), (method, where)
            assert ", ".join(there) == answer.headers["allow"]


@pytest.mark.parametrize("where", ["//", "//api", "//api/v1", "//api/v1/", "//api/v1/users/", "//api/v1/users//", "//api/v1//users", "//API/v1/users", "//api/v1/users/a/b", "//api/v1/nothing", "//api/v2/users", "//healthz/", "//.%2fhealthz"])  # fmt: skip
def test_a_path_that_is_almost_one_is_nothing(where: str, admin: Client) -> None:
    """threats 2, 3: no path is repaired into one that would be guarded differently."""
    answer = admin.get(where)
    assert (404, "not_found") == (answer.status_code, answer.json()["code"])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=12, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
@by_id
def test_no_body_whatsoever_is_a_fault_of_the_server(operation: Operation, admin: Client, data: st.DataObject) -> None:
    """A valid body with up to three members changed to anything; what its schema refuses is refused."""
    body = copy.deepcopy(BODIES[operation.operation_id])
    for where in data.draw(st.lists(st.sampled_from(list(members(body))), min_size=1, max_size=3, unique=True)):
        value = data.draw(json_values)
        try:
            body = with_member(body, where, value)
        except (TypeError, IndexError, KeyError):
            continue
    try:
        raw = json.dumps(body).encode()
        raw.decode("utf-8")
    except UnicodeError:
        return
    answer = send_raw(admin, operation, raw)
    if not schema_of(operation).is_valid(body):
        assert answer.status_code in (400, 409, 422), (body, answer.text)
