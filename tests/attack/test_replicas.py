"""What replicas on one database tell each other, and what happens when they cannot: lost notifications, lost connections."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from anyio.from_thread import start_blocking_portal
from psycopg import sql

from mcpctl.api import caught_up
from mcpctl.policy import files
from mcpctl.services import bootstrap
from mcpctl.services.policy_feed import PolicyFeed
from mcpctl.services.throttle import CHANNEL, FailureThrottle
from mcpctl.store import revisions
from mcpctl.store.database import Database
from tests.attack import replicas
from tests.attack.replicas import Pair, Replica

PASSWORD = "correct horse battery staple"


@contextmanager
def pair_on(url: str, policies: Path) -> Iterator[Pair]:
    database = Database(url)
    bootstrap.first_start(database, PASSWORD)
    database.close()
    with start_blocking_portal() as portal, replicas.two(url, files.read(policies), portal) as both:
        yield Pair(*both, PASSWORD)


@pytest.fixture
def deaf(tmp_path: Path, sqlite_template: Path, policy_directory: Path) -> Iterator[Pair]:
    """Two replicas that look at the revision only when told."""
    url = replicas.copied(sqlite_template, tmp_path / "mcpctl.db")
    with replicas.looking_only_when_told(), pair_on(url, policy_directory) as both:
        yield both


@pytest.fixture
def pair(postgres: Any, policy_directory: Path) -> Iterator[Pair]:
    """Two replicas on PostgreSQL."""
    with postgres.fresh() as url, pair_on(url, policy_directory) as both:
        yield both


def ask(replica: Replica, bearer: str, min_revision: str | None = None, path: str = "/users") -> httpx2.Response:
    headers = {"Authorization": f"Bearer {bearer}"} | ({"Mcpctl-Min-Revision": min_revision} if min_revision else {})
    return replica._portal.call(partial(replica._http.request, "GET", path, headers=headers))


def soon(check: Any, seconds: float = 1.0) -> bool:
    until = time.monotonic() + seconds
    while not check() and time.monotonic() < until:
        time.sleep(0.01)
    return bool(check())


def test_who_presents_a_revision_is_answered_by_no_replica_that_has_not_heard_of_it(
    deaf: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = deaf.somebody("alice", "role:view,resource:users")
    deaf.other.catch_up()
    assert 200 == ask(deaf.other, alice).status_code, "it remembers her from now on"
    answer = deaf.one.call("DELETE", "/rbac/for-alice", deaf.admin)
    made = answer.headers["mcpctl-revision"]
    assert int(made) == deaf.one.control.feed.revision
    deaf.other.control.feed._looked_at = time.monotonic() + 3600  # it believes that it is fresh, and hears nothing
    assert 200 == ask(deaf.other, alice, path="/users/admin").status_code, "this is what is to be avoided"
    monkeypatch.setattr(caught_up, "LONGEST_WAIT", 0.2)
    refused = ask(deaf.other, alice, made)
    assert (503, "not_caught_up", "1") == (refused.status_code, refused.json()["code"], refused.headers["retry-after"])
    monkeypatch.setattr(caught_up, "LONGEST_WAIT", 20.0)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask, deaf.other, alice, made, "/users/admin")
        time.sleep(0.1)
        assert not asking.done()
        deaf.other.catch_up()
        assert 403 == asking.result(10).status_code
    monkeypatch.setattr(caught_up, "LONGEST_WAIT", 0.2)
    assert 200 == ask(deaf.one, alice, made).status_code, "who made it need not wait"


def test_what_is_no_revision_is_refused_and_no_wait(deaf: Pair) -> None:
    for given in ("-1", "1.5", "x", "0x10", "٣", "9" * 19, "1 2", ",", "NaN", "", "1, 2", ("1", "2"), ("1", "1")):
        values = given if isinstance(given, tuple) else (given,)
        headers = [(b"authorization", f"Bearer {deaf.admin}".encode())]
        headers += [(b"mcpctl-min-revision", value.encode()) for value in values]
        refused = deaf.one._portal.call(partial(deaf.one._http.request, "GET", "/users", headers=headers))
        assert (422, "Mcpctl-Min-Revision") == (refused.status_code, refused.json()["errors"][0]["field"])


def test_every_write_tells_its_revision_and_no_read_one(deaf: Pair) -> None:
    before = deaf.one.control.feed.revision
    for number, (method, path, body) in enumerate(
        [
            ("POST", "/users", {"name": "u", "service": True}),
            ("PATCH", "/users/u", {"disabled": True}),
            ("POST", "/groups", {"name": "g"}),
            ("DELETE", "/users/u", None),
        ]
    ):
        answer = deaf.one.call(method, path, deaf.admin, body)
        assert str(before + number + 1) == answer.headers["mcpctl-revision"]
    assert "mcpctl-revision" not in deaf.one.call("GET", "/users", deaf.admin).headers
    assert "mcpctl-revision" not in deaf.one.call("POST", "/users", deaf.admin, {"name": "?"}).headers


def listening(pair: Pair) -> list[int]:
    """The processes of the database that listen for revisions."""
    with pair.one.control.database.engine.connect() as connection:
        others = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' AND pid <> pg_backend_pid()"
        found = connection.exec_driver_sql(others)
        return [row.pid for row in found]


def test_the_connection_that_listens_may_be_killed_at_any_time(pair: Pair) -> None:
    for number in range(3):
        bearer = pair.somebody(f"u{number}", "role:view,resource:users")
        assert soon(lambda bearer=bearer: ask(pair.other, bearer).status_code == 200)
        killed = listening(pair)
        assert 2 == len(killed)
        with pair.one.control.database.engine.connect() as connection:
            for pid in killed:
                connection.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")
        assert 200 == pair.one.call("PATCH", f"/users/u{number}", pair.admin, {"disabled": True}).status_code
        assert soon(lambda bearer=bearer: ask(pair.other, bearer).status_code == 401), "by looking"
        assert soon(lambda killed=killed: len(set(listening(pair)) - set(killed)) == 2, 5), "and it listens again"


def test_without_any_notification_a_revision_is_found_by_looking(
    postgres: Any, policy_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hear_nothing(feed: PolicyFeed) -> psycopg.Connection:
        plain = feed._database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = psycopg.connect(plain, autocommit=True)
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier("nothing_is_said_here")))
        return connection

    monkeypatch.setattr(PolicyFeed, "_listen", hear_nothing)
    with postgres.fresh() as url, pair_on(url, policy_directory) as pair:
        for number in range(3):
            bearer = pair.somebody(f"u{number}", "role:view,resource:users")
            assert soon(lambda bearer=bearer: ask(pair.other, bearer).status_code == 200)
            assert 200 == pair.one.call("PATCH", f"/users/u{number}", pair.admin, {"disabled": True}).status_code
            assert soon(lambda bearer=bearer: ask(pair.other, bearer).status_code == 401)
        made = pair.one.call("POST", "/groups", pair.admin, {"name": "g"}).headers["mcpctl-revision"]
        assert 200 == ask(pair.other, pair.admin, made).status_code, "who presents it waits for the look"


def test_guesses_at_one_replica_slow_down_those_at_another(pair: Pair) -> None:
    pair.somebody("guessed")
    for replica in pair.both:
        replica.control.failed_logins = FailureThrottle("login")
    for number in range(8):
        replica = pair.both[number % 2]
        body = {"username": "guessed", "password": f"guess {number}"}
        assert 401 == replica.call("POST", "/auth/login", None, body).status_code
    for replica in pair.both:
        assert soon(lambda replica=replica: replica.control.failed_logins.wait("account:guessed") == 1.0)
        assert 0.0 == replica.control.failed_logins.wait("account:another")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the last line says so
def test_nothing_that_is_said_on_the_channels_ends_the_following_of_revisions(pair: Pair) -> None:
    def fail(said: str) -> None:
        raise ValueError(said)

    pair.other.control.feed.hear(CHANNEL, fail)  # what nobody has thought of
    for said in ("", " ", "x", "x y", "x " + "y " * 2000):
        for channel in (revisions.CHANNEL, CHANNEL):
            pair.one.control.database.tell_others(channel, said)
    bearer = pair.somebody("heard")
    assert soon(lambda: ask(pair.other, bearer, path="/auth/whoami").status_code == 200)
    pair.one.call("PATCH", "/users/heard", pair.admin, {"disabled": True})
    assert soon(lambda: ask(pair.other, bearer, path="/auth/whoami").status_code == 401)
    following = pair.other.control.feed._thread
    assert following is not None
    assert following.is_alive()


def test_what_is_told_of_a_failure_does_not_show_what_was_typed() -> None:
    throttle = FailureThrottle("login")
    assert "my password" not in throttle.telling("account:my password", "source:10.0.0.1")
    assert "10.0.0.1" not in throttle.telling("account:my password", "source:10.0.0.1")
    for _ in range(10):
        throttle.heard(throttle.telling("account:x"))
    assert 0.0 == throttle.wait("account:x"), "its own it has counted already"
