"""The watch stream, and that what is revoked is revoked everywhere: in this process, in another one, in open streams."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests import serving
from tests.api.people import Person, setup
from tests.serving import Client, Served, made


class Stream:
    """An open watch stream: every event with the moment it came, and whether it has ended."""

    def __init__(self, address: str, bearer: str) -> None:
        self.events: list[tuple[float, dict[str, Any]]] = []
        self.ended = threading.Event()
        self._http = httpx2.Client(base_url=address, timeout=20, trust_env=False)
        self._thread = threading.Thread(target=self._read, args=(bearer,), daemon=True)
        self._thread.start()

    def _read(self, bearer: str) -> None:
        try:
            with self._http.stream("GET", "/api/v1/watch", headers={"Authorization": f"Bearer {bearer}"}) as answer:
                assert 200 == answer.status_code
                assert "text/event-stream" in answer.headers["content-type"]
                for line in answer.iter_lines():
                    if line.startswith("data: "):
                        self.events.append((time.monotonic(), json.loads(line.removeprefix("data: "))))
                    else:
                        assert line in ("event: revision", "")
        except httpx2.TransportError:
            pass
        finally:
            self.ended.set()

    def subjects(self) -> set[str]:
        """Every topic heard of so far."""
        return {topic for _, event in list(self.events) for topic in event.get("subjects", ())}

    def close(self) -> None:
        """Go away."""
        self._http.close()
        self._thread.join(5)


@contextmanager
def watching(served: Served, client: Client) -> Iterator[Stream]:
    stream = Stream(served.address, client.bearer or "")
    assert soon(lambda: bool(stream.events))
    try:
        yield stream
    finally:
        stream.close()


def soon(check: Callable[[], bool], within: float = 1.0) -> bool:
    """Whether it becomes true in time."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.005)
    return check()


def revision(served: Served) -> int:
    return int(served.admin.get("/auth/whoami").json()["revision"])


def test_a_heartbeat_comes_every_quarter_of_a_second_with_the_bare_revision(shared: Served, actor: Person) -> None:
    with watching(shared, actor.client) as stream:
        time.sleep(1.3)
        events = list(stream.events)
    assert len(events) >= 4
    assert max(after - before for (before, _), (after, _) in pairwise(events)) < 0.9
    assert [{"revision": shared.control.feed.revision}] * len(events) == [event for _, event in events]


def test_a_change_is_told_at_once_and_to_a_gateway_with_what_it_touched(shared: Served, actor: Person) -> None:
    gateway = Person(shared, "gateway").holds("action:gateway")
    with watching(shared, gateway.client) as told, watching(shared, actor.client) as bare:
        setup(shared, ("POST", "/groups", {"name": "told", "members": ["User:actor"]}))
        assert soon(lambda: {"Group:told", "User:actor"} <= told.subjects())
        wanted = shared.control.feed.revision
        assert soon(lambda: bare.events[-1][1] == {"revision": wanted})
        quiet = {"revision": wanted, "subjects": []}
        assert soon(lambda: told.events[-1][1] | {"elapsedMs": 0} == quiet | {"elapsedMs": 0}), "nothing is told twice"
        written = [event["elapsedMs"] for _, event in told.events if "elapsedMs" in event]
        assert written == sorted(written)
        with shared.control.database.write() as transaction:
            transaction.touch("*")
        assert soon(lambda: "*" in told.subjects())
    assert all("subjects" not in event for _, event in bare.events)


def test_a_gateway_of_one_project_hears_of_revisions_and_not_of_other_peoples_names(shared: Served, actor: Person) -> None:
    actor.holds("action:gateway,name:some-project")
    with watching(shared, actor.client) as stream:
        setup(shared, ("POST", "/groups", {"name": "unheard"}))
        wanted = shared.control.feed.revision
        assert soon(lambda: stream.events[-1][1] == {"revision": wanted})


def test_who_is_a_gateway_no_more_hears_no_more_names(shared: Served, actor: Person) -> None:
    actor.holds("action:gateway")
    with watching(shared, actor.client) as stream:
        setup(shared, ("POST", "/groups", {"name": "heard"}))
        assert soon(lambda: "Group:heard" in stream.subjects())
        actor.holds()
        setup(shared, ("POST", "/groups", {"name": "not-heard"}))
        wanted = shared.control.feed.revision
        assert soon(lambda: stream.events[-1][1] == {"revision": wanted})
        assert "Group:not-heard" not in stream.subjects()


@pytest.mark.parametrize("ends_by", ["logout", "password", "disable", "delete", "session", "expiry", "token"])
def test_a_stream_ends_with_the_credential_it_was_opened_with(ends_by: str, shared: Served) -> None:
    """authz d34: open streams included, within a second."""
    name = f"ends-{ends_by}"
    if ends_by in ("session", "expiry"):
        setup(shared, ("POST", "/users", {"name": name, "service": True}))
        session = made(shared.admin.post("/sessions", {"user": name, "ttl": "1.5s" if ends_by == "expiry" else "1h"}))
        client = shared.nobody.as_(session["token"])
    elif ends_by == "token":
        shared.project(name)
        client = shared.nobody.as_(made(shared.admin.post("/mcptokens", {"name": name, "project": name}))["token"])
    else:
        client = shared.user(name)
    with watching(shared, client) as stream:
        assert not stream.ended.wait(0.4)
        if ends_by == "logout":
            assert 204 == client.post("/auth/logout").status_code
        elif ends_by == "expiry":
            time.sleep(1.0)
        else:
            setup(
                shared,
                {
                    "password": ("PATCH", f"/users/{name}", {"password": "another password"}),
                    "disable": ("PATCH", f"/users/{name}", {"disabled": True}),
                    "delete": ("DELETE", f"/users/{name}", None),
                    "session": ("DELETE", f"/sessions/{session['id']}" if ends_by == "session" else "", None),
                    "token": ("POST", f"/mcptokens/{name}/revoke?project={name}", None),
                }[ends_by],
            )
        assert stream.ended.wait(1.0)


def test_a_stream_goes_on_while_its_principal_changes(shared: Served, actor: Person) -> None:
    with watching(shared, actor.client) as stream:
        for binding in ("role:view,resource:users", "action:gateway", "role:admin,resource:*"):
            actor.holds(binding)
        wanted = shared.control.feed.revision
        assert soon(lambda: stream.events[-1][1]["revision"] == wanted)
        assert not stream.ended.is_set()


def test_streams_end_when_the_server_drains(served_on_sqlite: Served) -> None:
    with watching(served_on_sqlite, served_on_sqlite.admin) as stream:
        served_on_sqlite.control.draining = True
        assert stream.ended.wait(1.0)


@pytest.fixture
def two(served: Served, database_url: str, policy_directory: Path) -> Iterator[tuple[Served, Served]]:
    """Two control planes on one database, as two processes would be: they share nothing in memory."""
    with serving.serve(database_url, policy_directory, log_in=False) as second:
        second.admin = second.nobody.as_(served.admin.bearer)
        yield served, second


def test_what_is_revoked_in_one_process_is_revoked_in_the_other_within_a_second(two: tuple[Served, Served]) -> None:
    """authz d2, d34."""
    first, second = two
    first.project("p", "s")
    token = made(first.admin.post("/mcptokens", {"name": "t", "project": "p", "bindings": ["role:view,resource:servers"]}))
    person = first.user("alice", "role:view,resource:servers")
    there, token_there = second.nobody.as_(person.bearer), second.nobody.as_(token["token"])

    def revokes(call: tuple[str, str, Any], check: Callable[[], bool]) -> float:
        began = time.monotonic()
        setup(first, call)
        assert soon(check)
        return time.monotonic() - began

    for client in (there, token_there):
        assert soon(lambda client=client: client.get("/servers/s").status_code == 200)  # type: ignore[misc]
    # Else what it hears of being bound and what of being revoked come in one, and neither shows by itself.
    assert soon(lambda: second.control.feed.revision == first.control.feed.revision)
    with watching(second, there) as stream, watching(second, second.admin) as gateway:
        taken = [
            revokes(("DELETE", "/rbac/for-alice", None), lambda: there.get("/servers/s").status_code == 403),
            revokes(("POST", "/mcptokens/t/revoke?project=p", None), lambda: token_there.get("/servers/s").status_code == 401),
            revokes(("PATCH", "/users/alice", {"disabled": True}), stream.ended.is_set),
        ]
        assert soon(lambda: {"User:alice", f"McpToken:{token['tokenSha']}"} <= gateway.subjects())
    assert max(taken) < 1.0
    for path in ("/servers/s", "/users", "/projects"):
        assert [401, 401] == [client.get(path).status_code for client in (there, token_there)]


def test_a_process_that_has_not_heard_yet_grants_nothing_it_should_not(two: tuple[Served, Served]) -> None:
    """authz d2: the write reads the policy in its own transaction, so here not even a moment is allowed."""
    first, second = two
    held = ["role:view,resource:servers", "role:create,resource:rbac"]
    alice = first.user("alice", *held)
    there = second.nobody.as_(alice.bearer)
    second.control.feed.stop()
    second.control.feed._looked_at = time.monotonic() + 3600  # it believes that it is fresh, and hears nothing
    assert 200 == there.get("/auth/whoami").status_code
    setup(first, ("PUT", "/rbac/for-alice", {"subjects": ["User:alice"], "roleBindings": held[1:]}))
    body = {"name": "late", "subjects": ["User:alice"], "roleBindings": held[:1]}
    answer = there.post("/rbac", body)
    assert (403, ["view servers *"]) == (answer.status_code, answer.json()["missing"])


def test_a_process_that_cannot_see_the_revision_remembers_nobody(served: Served) -> None:
    """After a second without a look it asks the database for each request, and says no heartbeat."""
    alice = served.user("alice", "role:view,resource:users")
    assert 200 == alice.get("/users/alice").status_code
    with watching(served, alice) as stream:
        served.control.feed.stop()
        assert soon(lambda: not served.control.feed.fresh, 3)
        silent = len(stream.events)
        time.sleep(0.6)
        assert silent == len(stream.events)
        served.control.feed._database._listeners.clear()  # nor does it hear of what it writes itself
        setup(served, ("DELETE", "/rbac/for-alice", None))
        assert 403 == alice.get("/users/alice").status_code
        served.control.draining = True  # a silent stream hears nothing of its reader's going away


def test_two_processes_that_add_the_same_make_it_once_and_one_removal_takes_it(two: tuple[Served, Served]) -> None:
    """authz d33."""
    first, second = two
    first.user("alice")
    for round_number in range(4):
        body = {"name": f"same{round_number}", "subjects": ["User:alice"], "roleBindings": ["role:view,resource:servers"]}
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda one, body=body: one.admin.post("/rbac", body).status_code, two))
        assert [201, 409] == sorted(answers)
        setup(second, ("DELETE", f"/rbac/same{round_number}", None))
        asked = {"subject": "User:alice", "action": "view", "resource": "servers"}
        assert soon(lambda asked=asked: first.admin.post("/authorize", asked).json()["allowed"] is False)  # type: ignore[misc]


def test_no_request_that_began_after_the_answer_to_a_revocation_passes(served: Served) -> None:
    """authz d34: a hundred parallel calls around it."""
    served.project("p", "s")
    token = made(served.admin.post("/mcptokens", {"name": "t", "project": "p", "bindings": ["role:view,resource:servers"]}))
    served.control.failed_bearers.wait = lambda *_keys: 0.0  # type: ignore[method-assign]  # this is not about guessing
    answered = threading.Event()
    outcomes: list[tuple[bool, int]] = []

    def call(_number: int) -> None:
        with httpx2.Client(base_url=served.address, timeout=20, trust_env=False) as http:
            client = Client(http, token["token"])
            late = 0
            while late < 8:
                after = answered.is_set()
                late += after
                outcomes.append((after, client.get("/servers/s").status_code))

    with ThreadPoolExecutor(9) as pool:
        running = [pool.submit(call, number) for number in range(8)]
        assert soon(lambda: len(outcomes) > 50, 10)
        setup(served, ("POST", "/mcptokens/t/revoke?project=p", None))
        answered.set()
        for one in running:
            one.result()
    assert len(outcomes) > 100
    assert {200} == {status for after, status in outcomes if not after} - {401}
    assert {401} == {status for after, status in outcomes if after}


def test_a_database_put_back_to_an_earlier_state_is_followed(served: Served) -> None:
    """What was touched by revisions that are undone is not waited for."""
    served.user("alice")
    body = {"name": "more", "subjects": ["User:admin"], "roleBindings": ["role:view,resource:users"]}
    made(served.admin.post("/rbac", body))
    assert 200 == served.admin.get("/auth/whoami").status_code
    with served.control.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE revision SET number = number - 1")
    served.control.feed._look()
    assert 200 == served.admin.get("/auth/whoami").status_code
