"""Changes that come in the middle: between a check and a write, while a principal is read, while a body is on its way."""

# ruff: noqa: E501 - a case is a row
from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx2
import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from mcpctl.api import access
from mcpctl.api.control_plane import ControlPlane
from mcpctl.policy.decision import Authority
from mcpctl.policy.files import read
from mcpctl.policy.slices import Slice
from mcpctl.services import passwords
from mcpctl.services.principals import Principal, PrincipalCache
from mcpctl.shipped import shipped
from tests.api.people import PASSWORD, Person, audit_rows, refused, setup
from tests.serving import Client, Served, made
from tests.store.rows import dump

POLICY = read(shipped("policies"))


def test_nothing_is_granted_after_the_right_to_grant_it_was_taken(served: Served) -> None:
    """authz d1: one thread gives and takes ``view servers``, the other grants it all the while."""
    served.user("grantee")
    actor = Person(served, "actor").holds("role:create,resource:rbac")
    stop = threading.Event()

    def grant() -> None:
        with httpx2.Client(base_url=served.address, timeout=20, trust_env=False) as http:
            client, number = Client(http, actor.client.bearer), 0
            while not stop.is_set():
                number += 1
                body = {"subjects": ["User:grantee"], "roleBindings": ["role:view,resource:servers"]}
                assert client.post("/rbac", {"name": f"raced{number}", **body}).status_code in (201, 403)

    thread = threading.Thread(target=grant)
    thread.start()
    for round_number in range(12):
        give = {"name": f"give{round_number}", "subjects": ["User:actor"], "roleBindings": ["role:view,resource:servers"]}
        setup(served, ("POST", "/rbac", give))
        time.sleep(0.03)
        setup(served, ("DELETE", f"/rbac/give{round_number}", None))
        time.sleep(0.03)
    stop.set()
    thread.join(20)
    held, granted, refusals = False, 0, 0
    # Writes come one after another, each at the revision the one before left: the audit has them in their true order.
    for row in sorted((row for row in audit_rows(served) if row.allowed), key=lambda row: row.revision):
        if row.name.startswith("give"):
            held = row.action == "create"
        elif row.name.startswith("raced"):
            granted += 1
            assert held, f"granted at revision {row.revision} without the right to"
    refusals = sum(row.outcome == "ceiling" for row in audit_rows(served))
    assert min(granted, refusals) > 0, "both happened"


@pytest.fixture
def in_between(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], None]], None]]:
    """Does something once, right after a principal was read and before it is kept."""
    real = access._read
    todo: list[Callable[[], None]] = []

    def reading(control: ControlPlane, bearer: str) -> Principal:
        principal = real(control, bearer)
        if todo:
            todo.pop()()
        return principal

    monkeypatch.setattr(access, "_read", reading)
    yield todo.append
    assert not todo, "it was never in between"


def test_what_changes_while_a_principal_is_read_counts_at_once(
    shared: Served, actor: Person, in_between: Callable[[Callable[[], None]], None]
) -> None:
    actor.holds("role:view,resource:users")
    admin = shared.admin
    assert 200 == admin.get("/auth/whoami").status_code

    def take() -> None:
        assert 200 == admin.put("/rbac/for-actor", {"subjects": ["User:actor"], "roleBindings": ["action:logs"]}).status_code

    questions: tuple[Callable[[], tuple[object, ...]], ...] = (
        lambda: ("action:logs", *made(actor.asks("GET", "/auth/whoami"), 200)["bindings"]),
        lambda: (403, actor.asks("GET", "/users/actor").status_code),
        lambda: (False, actor.asks("POST", "/authorize", {"action": "view", "resource": "users"}).json()["allowed"]),
        lambda: ("action:logs", *made(actor.asks("GET", "/mcptokens/introspect"), 200)["bindings"]),
    )
    for asks in questions:
        actor.holds("role:view,resource:users")
        assert 200 == admin.get("/auth/whoami").status_code
        assert actor.name not in [one.user for one in shared.control.principals._by_sha.values()]
        in_between(take)
        expected, *found = asks()
        assert [expected] == found


def test_a_session_that_ends_while_it_is_read_is_not_kept(
    shared: Served, in_between: Callable[[Callable[[], None]], None]
) -> None:
    client = shared.user("ending")
    admin = shared.admin
    assert 200 == admin.get("/auth/whoami").status_code
    in_between(lambda: setup(shared, ("PATCH", "/users/ending", {"disabled": True})))
    assert [401, 401] == [client.get("/auth/whoami").status_code for _ in range(2)]


def test_joining_leaving_and_what_a_group_is_given_count_in_a_members_next_request(shared: Served) -> None:
    """Each time the member is remembered from the request before."""
    client, member = shared.user("joins"), ("/groups/joined/members/joins", None)
    given = {"name": "joined", "subjects": ["Group:joined"], "roleBindings": ["role:view,resource:users"]}
    setup(shared, ("POST", "/groups", {"name": "joined"}))
    changes = [
        (403, ("PUT", *member)),
        (200, ("POST", "/rbac", given)),
        (403, ("PUT", "/rbac/joined", {**given, "roleBindings": ["action:logs"]})),
        (200, ("PUT", "/rbac/joined", given)),
        (403, ("DELETE", *member)),
        (200, ("PUT", *member)),
        (403, ("DELETE", "/groups/joined", None)),
    ]
    for expected, change in changes:
        client.get("/auth/whoami")
        setup(shared, change)
        assert expected == client.get("/users/joins").status_code, change


def slow_post(client: Client, path: str, body: Any, meanwhile: Callable[[], None]) -> httpx2.Response:
    """A request whose body arrives in two parts, with something else done in between."""
    raw = json.dumps(body).encode()

    def parts() -> Iterator[bytes]:
        yield raw[:1]
        time.sleep(0.1)  # the server has read the head and knows who is asking
        meanwhile()
        yield raw[1:]

    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {client.bearer}"}
    with httpx2.Client(base_url=client.http.base_url, timeout=20, trust_env=False) as http:
        return http.post(f"/api/v1{path}", content=parts(), headers=headers)


def test_a_body_that_takes_its_time_is_answered_by_the_policy_of_when_it_is_there(shared: Served, actor: Person) -> None:
    question = {"action": "view", "resource": "users"}
    answer = slow_post(actor.client, "/authorize", question, lambda: void(actor.holds("role:view,resource:users")))
    assert (200, True) == (answer.status_code, answer.json()["allowed"])
    answer = slow_post(actor.client, "/authorize", question, lambda: void(actor.holds("action:logs")))
    assert (200, False) == (answer.status_code, answer.json()["allowed"])
    assert "has changed" not in answer.json()["reason"]
    actor.holds("action:gateway")
    event_body = {"gateway": "gw", "events": []}
    answer = slow_post(actor.client, "/gateway/audit", event_body, lambda: void(actor.holds("action:gateway", "action:logs")))
    assert 202 == answer.status_code
    answer = slow_post(actor.client, "/gateway/audit", event_body, lambda: void(actor.holds()))
    assert 403 == answer.status_code


def test_a_credential_that_ends_while_the_body_is_on_its_way_is_nobody(shared: Served) -> None:
    for number, (path, body) in enumerate(
        [
            ("/authorize", {"action": "view", "resource": "users"}),
            ("/groups", {"name": "late"}),
            ("/gateway/audit", {"gateway": "g", "events": []}),
        ]
    ):
        name = f"slow{number}"
        client = shared.user(name)
        answer = slow_post(client, path, body, lambda name=name: setup(shared, ("PATCH", f"/users/{name}", {"disabled": True})))  # type: ignore[misc]
        assert 401 == answer.status_code


@pytest.mark.parametrize("changes", ["password", "disabled", "deleted"])
def test_a_password_that_was_right_a_moment_ago_opens_nothing(
    changes: str, shared: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"moment-{changes}"
    client = shared.user(name)
    calls: dict[str, tuple[str, str, Any]] = {
        "password": ("PATCH", f"/users/{name}", {"password": "set by an admin"}),
        "disabled": ("PATCH", f"/users/{name}", {"disabled": True}),
        "deleted": ("DELETE", f"/users/{name}", None),
    }
    real, todo = passwords.verify, [calls[changes]]

    def verify(password: str, kept: str | None) -> bool:
        right = real(password, kept)
        if todo:
            setup(shared, todo.pop())
        return right

    monkeypatch.setattr(passwords, "verify", verify)
    refused(shared.nobody.post("/auth/login", {"username": name, "password": PASSWORD}), "wrong_password")
    assert not todo
    if changes == "password":
        client = shared.log_in(name, "set by an admin")
        todo.append(("PATCH", f"/users/{name}", {"password": "set by an admin again"}))
        body = {"password": "my own choice", "oldPassword": "set by an admin"}
        assert 401 == client.patch(f"/users/{name}", body).status_code
        shared.log_in(name, "set by an admin again")


def void(_value: object) -> None:
    """A call for its effect."""


def principal(sha: str, revision: int, *topics: str) -> Principal:
    subject = f"User:{sha}"
    own = Slice(POLICY.model, POLICY.roles, subject, (), ())
    authority = Authority(subject, revision, own, topics=frozenset({subject, *topics}))
    return Principal(authority, sha, sha, sha, 0.0, None)


def test_a_principal_is_kept_until_something_it_was_built_from_changes() -> None:
    cache = PrincipalCache()
    alice, bob = principal("alice", 5, "Group:a"), principal("bob", 5, "Group:b")
    assert (True, True) == (cache.put(alice), cache.put(bob))
    cache.supersede(6, frozenset({"Group:b", "User:other"}))
    assert (alice, None) == (cache.get("alice"), cache.get("bob"))
    assert (False, True) == (alice.authority.superseded, bob.authority.superseded)
    cache.supersede(7, frozenset({"*"}))
    assert cache.get("alice") is None
    assert {} == cache._by_topic


def test_a_principal_read_before_a_change_to_it_is_refused_after_it() -> None:
    cache = PrincipalCache()
    cache.supersede(6, frozenset({"User:alice"}))
    cache.supersede(7, frozenset({"User:other"}))
    late, unconcerned, fresh = principal("alice", 5), principal("bob", 5), principal("alice", 6)
    assert (False, True) == (cache.put(late), late.authority.superseded)
    assert (True, True) == (cache.put(unconcerned), cache.put(fresh))
    assert (fresh, unconcerned) == (cache.get("alice"), cache.get("bob"))
    cache.supersede(8, frozenset({"*"}))
    assert not cache.put(principal("carol", 7))
    assert cache.put(principal("carol", 8))


def test_a_principal_read_longer_ago_than_steps_are_remembered_is_refused() -> None:
    cache = PrincipalCache()
    for number in range(1, PrincipalCache.STEPS + 3):
        cache.supersede(number, frozenset({"User:other"}))
    assert not cache.put(principal("alice", 1))
    assert cache.put(principal("alice", 2))


def test_the_cache_does_not_grow_past_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PrincipalCache, "LARGEST", 3)
    cache = PrincipalCache()
    first, *others = (principal(name, 1) for name in ("a", "b", "c", "d"))
    for one in (first, *others):
        assert cache.put(one)
    assert (None, others) == (cache.get("a"), [cache.get(name) for name in ("b", "c", "d")])
    assert first.authority.superseded, "whoever still holds it, a stream perhaps, reads it again"


def test_guesses_do_not_fill_the_cache(served_on_sqlite: Served) -> None:
    served = served_on_sqlite
    served.control.failed_bearers.wait = lambda *_keys: 0.0  # type: ignore[method-assign]
    before = len(served.control.principals._by_sha)
    for number in range(20):
        refused(served.nobody.as_(f"mcpctl_pat_{number:043d}").get("/users"), "invalid_credential")
    assert before == len(served.control.principals._by_sha)


def call_event(event_id: str, **more: Any) -> dict[str, Any]:
    return {"id": event_id, "at": "2026-01-01T00:00:00Z", "method": "tools/call", "allowed": True, "outcome": "ok", **more}


def test_the_same_events_sent_twice_at_once_are_stored_once(served: Served) -> None:
    """A gateway that got no answer sends its batch again, perhaps while the first is still being written."""
    served.project("p")
    batch = {"gateway": "gw", "events": [call_event(f"e{n}", project="p") for n in range(40)]}
    both = threading.Barrier(2)  # on SQLite there is one writer at a time anyway

    answers: list[int] = []

    def send() -> None:
        with httpx2.Client(base_url=served.address, timeout=20, trust_env=False) as http:
            answers.append(Client(http, served.admin.bearer).post("/gateway/audit", batch).status_code)

    def before(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO audit"):
            with suppress(threading.BrokenBarrierError):
                both.wait(0.5)

    event.listen(served.control.database.engine, "before_cursor_execute", before)
    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    event.remove(served.control.database.engine, "before_cursor_execute", before)
    assert [202, 202] == answers
    assert 40 == sum(row.gateway == "gw" for row in audit_rows(served))
    assert {"accepted": 40} == made(served.admin.post("/gateway/audit", batch), 202)
    assert 40 == sum(row.gateway == "gw" for row in audit_rows(served))


def test_every_step_of_minting_fails_whole(served: Served) -> None:
    """A token, its policy lines, its audit row and the revision are one transaction, at whichever statement the database fails."""
    served.project("p")
    engine, step, counted = served.control.database.engine, 0, 0

    def fail(connection: Any, _cursor: object, statement: str, *_: object) -> None:
        nonlocal counted
        if connection.get_execution_options().get("mcpctl_write"):
            counted += 1
            if counted == step:
                raise OperationalError(statement, {}, Exception("injected"))

    body = {"name": "t", "project": "p", "rbacMode": "clone", "bindings": ["role:run,resource:servers", "action:logs,name:p"]}
    before = dump(served.control.database)
    event.listen(engine, "before_cursor_execute", fail)
    try:
        while True:
            step, counted = step + 1, 0
            answer = served.admin.post("/mcptokens", body)
            if answer.status_code == 201:
                break
            assert (503, "store_unavailable") == (answer.status_code, answer.json()["code"])
            assert before == dump(served.control.database)
    finally:
        event.remove(engine, "before_cursor_execute", fail)
    assert step > 12
    assert 3 == len(served.admin.get("/mcptokens/t?project=p").json()["bindings"])
    assert 1 == sum(row.name == "p/t" for row in audit_rows(served))


def test_the_deciding_line_is_the_same_for_who_remembers_and_who_reads_anew(served: Served) -> None:
    """A definition written again stands behind another one that says the same: nobody names the old order any more."""
    alice = served.user("alice")
    say = {"subjects": ["User:alice"], "roleBindings": ["role:view,resource:users"]}
    for name in ("one", "two"):
        made(served.admin.post("/rbac", {"name": name, **say}))
    question = {"action": "view", "resource": "users"}
    assert "rbac:one" == made(alice.post("/authorize", question), 200)["origin"]
    made(served.admin.put("/rbac/one", {**say, "subjects": ["User:alice", "User:admin"]}), 200)
    remembered = made(alice.post("/authorize", question), 200)["origin"]
    fresh = made(served.log_in("alice", "a long password").post("/authorize", question), 200)["origin"]
    assert "rbac:two" == remembered == fresh
    revision = made(alice.post("/authorize", question), 200)["revision"]
    made(served.admin.put("/rbac/one", {**say, "subjects": ["User:admin", "User:alice"]}), 200)
    assert revision == made(alice.post("/authorize", question), 200)["revision"], "what says the same is not written again"
