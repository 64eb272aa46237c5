"""Rows that need two server processes: real ones, on one database, started at the same moment."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.api.people import allowed
from tests.attack import server_processes
from tests.attack.server_processes import Process
from tests.conftest import BACKENDS, POLICIES
from tests.serving import Client, made

VIEW = "role:view,resource:servers"


@pytest.fixture(scope="module", params=BACKENDS)
def processes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, Process]]:
    directory = tmp_path_factory.mktemp("processes")
    policies = directory / "policies"
    shutil.copytree(POLICIES, policies)
    if request.param == "sqlite":
        with server_processes.two(f"sqlite:///{directory / 'mcpctl.db'}", policies, directory) as both:
            yield both
    else:
        with request.getfixturevalue("postgres").fresh() as url, server_processes.two(url, policies, directory) as both:
            yield both


def rbac(name: str, subject: str, *bindings: str) -> dict[str, Any]:
    return {"name": name, "subjects": [subject], "roleBindings": list(bindings)}


def person(one: Process, other: Process, name: str, *bindings: str) -> tuple[Client, Client]:
    """Somebody new, seen on both."""
    made(one.admin.post("/users", {"name": name, "service": True}))
    if bindings:
        made(one.admin.post("/rbac", rbac(f"for-{name}", f"User:{name}", *bindings)))
    bearer = made(one.admin.post("/sessions", {"user": name}))["token"]
    return one.nobody.as_(bearer), other.nobody.as_(bearer)


def at_once(*does: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(does)) as pool:
        return [running.result(30) for running in [pool.submit(each) for each in does]]


def within_a_second(check: Callable[[], bool]) -> bool:
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.01)
    return check()


def test_two_first_starts_make_one_admin_and_the_door_is_closed(processes: tuple[Process, Process]) -> None:
    """authz d23: both processes began on the empty database at the same moment."""
    for one in processes:
        assert ["admin"] == [user["name"] for user in one.admin.get("/users").json()["items"] if not user["service"]]
        assert ["User:admin"] == one.admin.get("/groups/admins").json()["members"]
    first = [row for row in processes[0].admin.get("/audit?limit=1000").json()["items"] if row["reason"] == "first start"]
    assert 1 == len(first)
    answers = [one.admin.delete("/users/admin") for one in processes]
    assert ["last_admin"] * 2 == [answer.json()["code"] for answer in answers]
    for path in ("/bootstrap", "/setup", "/install", "/auth/register"):
        assert 404 == processes[0].nobody.post(path, {"name": "root", "password": "a long password"}).status_code


def test_what_was_revoked_on_one_cannot_be_given_on_the_other(processes: tuple[Process, Process]) -> None:
    """authz d2: the moment the first has answered, not a second later."""
    one, other = processes
    made(one.admin.post("/projects", {"name": "d2", "servers": []}))
    mints = ("role:create,resource:rbac", "role:create,resource:mcptokens", "role:view,resource:projects")
    _, there = person(one, other, "d2", *mints, VIEW)
    assert within_a_second(lambda: there.get("/auth/whoami").status_code == 200)
    for number in range(5):
        made(one.admin.put("/rbac/for-d2", rbac("for-d2", "User:d2", *mints, VIEW)), 200)
        made(there.post("/rbac", rbac(f"d2-{number}", "User:d2", VIEW)))
        assert 204 == one.admin.delete(f"/rbac/d2-{number}").status_code
        made(one.admin.put("/rbac/for-d2", rbac("for-d2", "User:d2", *mints)), 200)
        for path, body in (
            ("/rbac", rbac("late", "User:d2", VIEW)),
            ("/mcptokens", {"name": "late", "project": "d2", "bindings": [VIEW]}),
        ):
            answer = there.post(path, body)
            assert ("ceiling", ["view servers *"]) == (answer.json()["code"], answer.json()["missing"])


def test_what_both_add_at_once_is_gone_when_it_is_taken_away_once(processes: tuple[Process, Process]) -> None:
    """authz d33, incident 13."""
    one, other = processes
    here, there = person(one, other, "d33")
    asked = {"action": "view", "resource": "servers"}
    for number in range(5):
        body = rbac(f"d33-{number}", "User:d33", VIEW)
        answers = at_once(*(partial(each.admin.post, "/rbac", body) for each in processes))
        assert [201, 409] == sorted(answer.status_code for answer in answers)
        assert 204 == other.admin.delete(f"/rbac/d33-{number}").status_code
        assert there.post("/authorize", asked).json()["allowed"] is False
        assert within_a_second(lambda: here.post("/authorize", asked).json()["allowed"] is False)


def test_a_revocation_on_one_is_one_on_the_other_within_a_second(processes: tuple[Process, Process]) -> None:
    """authz d34: bearers that the other process remembers, and its open streams."""
    one, other = processes
    made(one.admin.post("/projects", {"name": "d34", "servers": []}))
    token = made(one.admin.post("/mcptokens", {"name": "d34", "project": "d34"}))
    agent = other.nobody.as_(token["token"])
    _, session = person(one, other, "d34", VIEW)
    for client in (agent, session):
        assert within_a_second(lambda client=client: client.get("/auth/whoami").status_code == 200)  # type: ignore[misc]
    headers = {"Authorization": f"Bearer {token['token']}"}
    with other.nobody.http.stream("GET", "/api/v1/watch", headers=headers) as stream:
        lines = stream.iter_lines()
        assert next(lines)
        began = time.monotonic()
        made(one.admin.post("/mcptokens/d34/revoke?project=d34"), 200)
        for _ in lines:
            assert time.monotonic() - began < 5
        assert time.monotonic() - began < 2, "a second, and what a busy machine takes"
    assert 401 == agent.get("/auth/whoami").status_code
    made(one.admin.patch("/users/d34", {"disabled": True}), 200)
    assert within_a_second(lambda: session.get("/auth/whoami").status_code == 401)


def test_a_process_that_is_killed_takes_nothing_with_it_and_leaves_nothing_open(processes: tuple[Process, Process]) -> None:
    """authz d40, incident 29: the other one goes on deciding, and a write that was cut off is not there. Stands last."""
    one, other = processes
    _, there = person(one, other, "d40", VIEW, "role:view,resource:servers,name:denied,effect:deny")
    running = ThreadPoolExecutor(1).submit(
        lambda: [one.admin.post("/rbac", rbac(f"d40-{n}", "User:d40", "role:admin,resource:users", VIEW)) for n in range(200)]
    )
    time.sleep(0.1)
    one.process.kill()
    assert running.exception(30) is not None
    for definition in other.admin.get("/rbac?limit=1000").json()["items"]:
        if definition["name"].startswith("d40-"):
            assert 2 == len(definition["roleBindings"]), "whole or not at all"
            assert 204 == other.admin.delete(f"/rbac/{definition['name']}").status_code
    questions = [{"action": "view", "resource": "servers", "name": name} for name in ("allowed", "denied")]
    assert [True, False] == allowed(there, questions)
    assert made(other.admin.post("/rbac", rbac("after", "User:d40", VIEW)))["subjects"] == ["User:d40"]
