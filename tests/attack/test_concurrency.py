"""Two replicas, many threads: whatever comes between what, nothing is given that is no longer held, and what ended stays ended.

The order in which things happened is not guessed from clocks: writes that can change an answer come one after another, and
every audit row says after which revision its write began.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count, cycle
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from sqlalchemy import select

from mcpctl.policy import files
from mcpctl.services import bootstrap
from mcpctl.services.policy_feed import PolicyFeed
from mcpctl.store import revisions
from mcpctl.store.database import Database
from mcpctl.store.schema import AuditRow, Group, Membership, PolicyRow, Token, User
from tests.attack import replicas
from tests.attack.replicas import Pair, Replica, at_once

SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
ROUNDS = 100 if SOAK else 8
TAKEN = 150 if SOAK else 30
"""How often something is taken away and given back while others try to pass it on."""
FRESH = 1.0
"""Seconds after which no replica answers by what was so before."""

pytestmark = [pytest.mark.property, pytest.mark.timeout(3600 if SOAK else 300)]
Call = tuple[str, str, Any]
PASSWORD = "correct horse battery staple"


@pytest.fixture
def pair(database_url: str, policy_directory: Path) -> Iterator[Pair]:
    database = Database(database_url)
    bootstrap.first_start(database, PASSWORD)
    database.close()
    with start_blocking_portal() as portal, replicas.two(database_url, files.read(policy_directory), portal) as both:
        yield Pair(*both, PASSWORD)


def rows(pair: Pair, *columns: Any) -> list[Any]:
    with pair.one.control.database.read() as session:
        return list(session.execute(select(*columns)))


def lines_of_nobody(pair: Pair) -> list[str]:
    """Subjects of policy lines that do not exist."""
    known = {f"User:{row.name}" for row in rows(pair, User.name)} | {f"Group:{row.name}" for row in rows(pair, Group.name)}
    known |= {f"McpToken:{row.sha}" for row in rows(pair, Token.sha, Token.revoked_at) if row.revoked_at is None}
    return sorted({row.v0 for row in rows(pair, PolicyRow.v0)} - known)


HARMLESS = {"subjects": ["Group:givers"], "roleBindings": ["role:view,resource:groups"]}
WHOLE = {"subjects": ["Group:givers"], "roleBindings": ["role:view,resource:servers"]}
DENY = {"name": "deny", "subjects": ["User:giver"], "roleBindings": ["role:view,resource:servers,name:s,effect:deny"]}
MEMBER = "/groups/givers/members/giver"
TAKINGS: dict[str, tuple[Call, Call, tuple[str, str]]] = {
    "narrowing": (("PUT", "/rbac/gives", HARMLESS), ("PUT", "/rbac/gives", WHOLE), ("rbac", "gives")),
    "a deny": (("POST", "/rbac", DENY), ("DELETE", "/rbac/deny", None), ("rbac", "deny")),
    "leaving a group": (("DELETE", MEMBER, None), ("PUT", MEMBER, None), ("groups", "givers")),
    "disabling": (
        ("PATCH", "/users/giver", {"disabled": True}),
        ("PATCH", "/users/giver", {"disabled": False}),
        ("users", "giver"),
    ),
}
"""How something is taken away, how it is given back, and what both are called in the audit."""


@pytest.mark.parametrize("how", TAKINGS)
def test_nothing_is_passed_on_after_it_was_taken_away(pair: Pair, how: str) -> None:
    """authz d1, d2: the check reads what the write commits on, also on a replica that has not heard yet."""
    take, give_back, audited = TAKINGS[how]
    giver = pair.somebody("giver", "role:create,resource:rbac", "role:create,resource:mcptokens", "role:view,resource:projects")
    pair.somebody("taker")
    pair.made("POST", "/projects", {"name": "p", "servers": []})
    pair.made("POST", "/groups", {"name": "givers", "members": ["User:giver"]})
    pair.made("POST", "/rbac", {"name": "gives", **WHOLE})
    begun = revisions_now(pair)
    done, names = threading.Event(), count()

    def take_and_give_back() -> None:
        for n in range(TAKEN):
            for method, path, body in (take, give_back):
                answer = pair.one.call(method, path, pair.admin, body)
                assert answer.status_code < 300, answer.text
            sleep(0.01 * (n % 3))
        done.set()

    def pass_on(replica: Replica) -> list[int]:
        said = []
        while not done.is_set():
            n = next(names)
            definition = {"name": f"d{n}", "subjects": ["User:taker"], "roleBindings": WHOLE["roleBindings"]}
            said.append(replica.call("POST", "/rbac", giver, definition).status_code)
            token = {"name": f"t{n}", "project": "p", "bindings": ["role:view,resource:servers,name:s"]}
            said.append(replica.call("POST", "/mcptokens", giver, token).status_code)
        return said

    with ThreadPoolExecutor(3) as pool:
        passing = [pool.submit(pass_on, replica) for replica in pair.both]
        pool.submit(take_and_give_back).result(300)
        said = {status for each in passing for status in each.result(60)}
    assert said == {201, 401 if how == "disabling" else 403}
    columns = (AuditRow.revision, AuditRow.subject, AuditRow.action, AuditRow.resource, AuditRow.name, AuditRow.allowed)
    held, wrong, passed_on = True, [], 0
    for row in sorted(row for row in rows(pair, *columns) if row.allowed and row.revision >= begun):
        if (row.resource, row.name) == audited:
            held = not held
        elif row.subject == "User:giver" and row.action == "create":
            passed_on += 1
            wrong += [] if held else [row]
    assert [] == wrong
    assert passed_on > TAKEN // 10


def revisions_now(pair: Pair) -> int:
    with pair.one.control.database.read() as session:
        return revisions.current(session)


def test_what_two_replicas_make_at_once_is_there_once_and_is_gone_when_it_is_taken_away_once(pair: Pair) -> None:
    """authz d33: no duplicate keeps a right alive."""
    who = pair.somebody("who")
    pair.made("POST", "/groups", {"name": "crew", "members": []})
    pair.made("POST", "/rbac", {"name": "crew", "subjects": ["Group:crew"], "roleBindings": ["role:view,resource:groups"]})
    pair.made("POST", "/projects", {"name": "p", "servers": []})
    for n in range(ROUNDS):
        body = {"name": f"d{n}", "subjects": ["User:who"], "roleBindings": ["role:view,resource:users"]}
        makes: list[tuple[Call, set[int], list[Call]]] = [
            (("POST", "/rbac", body), {201, 409}, [("DELETE", f"/rbac/d{n}", None)]),
            (("PUT", "/groups/crew/members/who", None), {200}, [("DELETE", "/groups/crew/members/who", None)]),
            (
                ("POST", "/mcptokens", {"name": "t", "project": "p", "bindings": ["role:view,resource:users"]}),
                {201, 409},
                [("POST", "/mcptokens/t/revoke?project=p", None)],
            ),
        ]
        for (method, path, given), statuses, undoing in makes:
            answers = at_once(*(partial(replica.call, method, path, pair.admin, given) for replica in pair.both))
            assert statuses == {answer.status_code for answer in answers}, [answer.text for answer in answers]
            for undo in undoing:
                pair.made(*undo)
        questions = [{"action": "view", "resource": resource} for resource in ("users", "groups")]
        assert [False, False] == [verdict["allowed"] for verdict in pair.one.call("POST", "/authorize", who, questions).json()]
    assert [] == [row for row in rows(pair, PolicyRow.v0) if row.v0.startswith(("User:who", "McpToken:"))]
    assert 1 == len(rows(pair, Membership.user_id))


def test_no_call_that_begins_after_a_revocation_was_answered_passes(pair: Pair) -> None:
    """authz d34. On the replica that answered none at all; on the other none that begins a second later."""
    pair.server("s")
    pair.made("POST", "/projects", {"name": "p", "servers": ["s"]})
    view = "role:view,resource:servers"
    owner = pair.somebody("owner", view, "role:create,resource:mcptokens", "role:view,resource:projects")
    bearers: dict[str, str] = {}
    endings: dict[str, Call] = {}
    for name in ("revoked", "deleted", "rotated", "denied"):
        token = pair.made("POST", "/mcptokens", {"name": name, "project": "p", "bindings": [view]}, bearer=owner)
        bearers[name], path = token["token"], f"/mcptokens/{token['id']}"
        denial = {"name": "deny", "subjects": [f"McpToken:{token['tokenSha']}"], "roleBindings": [f"{view},effect:deny"]}
        endings[name] = {
            "revoked": ("POST", f"{path}/revoke", None),
            "deleted": ("DELETE", path, None),
            "rotated": ("POST", f"{path}/rotate", None),
            "denied": ("POST", "/rbac", denial),
        }[name]
    for name in ("disabled", "narrowed", "left", "removed", "loggedout"):
        bearers[name] = pair.somebody(name, *([] if name == "left" else [view]))
    pair.made("POST", "/groups", {"name": "viewers", "members": ["User:left"]})
    pair.made("POST", "/rbac", {"name": "viewers", "subjects": ["Group:viewers"], "roleBindings": [view]})
    endings["disabled"] = ("PATCH", "/users/disabled", {"disabled": True})
    endings["narrowed"] = ("PUT", "/rbac/for-narrowed", {"subjects": ["User:narrowed"], "roleBindings": [f"{view},name:other"]})
    endings["left"] = ("DELETE", "/groups/viewers/members/left", None)
    endings["removed"] = ("DELETE", "/users/removed", None)
    endings["loggedout"] = ("POST", "/auth/logout", None)
    done, heard = threading.Event(), set[str]()

    def keep_calling(replica: Replica) -> list[tuple[str, float, float, int]]:
        said = []
        for name in cycle(bearers):
            begun = monotonic()
            status = replica.call("GET", "/servers/s", bearers[name]).status_code
            said.append((name, begun, monotonic(), status))
            heard.add(name)
            if done.is_set():
                return said
        return said

    asked, answered = {}, {}
    with ThreadPoolExecutor(8) as pool:
        calling = [(replica is pair.one, pool.submit(keep_calling, replica)) for replica in [*pair.both] * 4]
        while heard < bearers.keys():  # each has been used before it ends
            sleep(0.05)
        for name, ending in endings.items():
            asked[name] = monotonic()
            pair.made(*ending, bearer=bearers[name] if name == "loggedout" else None)
            answered[name] = monotonic()
        sleep(FRESH + 0.5)
        done.set()
        said = [(same, *each) for same, future in calling for each in future.result(60)]
    assert len(said) > 100
    for name in bearers:
        of_this = [(same, begun, ended, status) for same, of, begun, ended, status in said if of == name]
        assert {200} == {status for _, _, ended, status in of_this if ended < asked[name]}, name
        late = [status for same, begun, _, status in of_this if begun > answered[name] + (0 if same else FRESH)]
        assert late, name
        assert 200 not in late, (name, [(same, begun - answered[name], status) for same, begun, _, status in of_this])


def test_a_look_that_takes_long_is_as_old_as_its_beginning(database_url: str) -> None:
    """Else a replica under load would answer by what was so more than a second ago."""
    database = Database(database_url)
    feed = PolicyFeed(database)
    feed._look()
    said = [feed.fresh]

    @contextmanager
    def slowly() -> Iterator[Any]:
        with Database.read(database) as session:
            yield session
            sleep(FRESH)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "read", slowly)
        feed._look()
    assert [True, False] == [*said, feed.fresh]
    database.close()


def test_a_token_minted_while_its_owner_or_project_is_deleted_is_deleted_with_it(pair: Pair) -> None:
    """authz d11: nothing of a deleted subject is left behind, whichever came first."""
    for n in range(ROUNDS):
        name, deletes = f"owner{n}", ("DELETE", f"/users/owner{n}") if n % 2 else ("DELETE", f"/projects/p{n}")
        bearer = pair.somebody(
            name, "role:create,resource:mcptokens", "role:view,resource:projects", "role:run,resource:servers"
        )
        pair.made("POST", "/projects", {"name": f"p{n}", "servers": []})
        begun, gone = threading.Event(), threading.Event()

        def mint(bearer: str = bearer, n: int = n, begun: threading.Event = begun, gone: threading.Event = gone) -> list[Any]:
            minted = []
            for k in count():
                last = gone.is_set()  # before the call: one that began earlier may have come first
                body = {
                    "name": f"t{k}",
                    "project": f"p{n}",
                    "rbacMode": "clone",
                    "bindings": ["role:run,resource:servers,name:s"],
                }
                minted.append(pair.other.call("POST", "/mcptokens", bearer, body))
                begun.set()
                if last:
                    return minted
            return minted

        with ThreadPoolExecutor(1) as pool:
            minting = pool.submit(mint)
            begun.wait(10)
            sleep(0.005 * (n % 5))
            pair.made(*deletes)
            gone.set()
            minted = minting.result(30)
        assert 201 == minted[0].status_code
        assert minted[-1].status_code in (401, 404), minted[-1].text
        tokens = [answer.json()["token"] for answer in minted if answer.status_code == 201]
        assert {401} == {pair.one.call("GET", "/auth/whoami", token).status_code for token in tokens}
    assert [] == rows(pair, Token.id)
    assert [] == lines_of_nobody(pair)


def test_what_is_bound_or_joined_while_it_is_deleted_leaves_nothing_behind(pair: Pair) -> None:
    """authz d11: a group or user re-created under the same name inherits nothing."""
    for n in range(ROUNDS):
        kind = "users" if n % 2 else "groups"
        subject = f"{'User' if n % 2 else 'Group'}:x"
        pair.somebody("y")
        pair.made("POST", f"/{kind}", {"name": "x", "service": True} if n % 2 else {"name": "x", "members": []})
        pair.made("POST", "/groups", {"name": "g", "members": []})
        body = {"name": "d", "subjects": [subject], "roleBindings": ["role:admin,resource:*"]}
        joins = "/groups/g/members/x" if n % 2 else "/groups/x/members/y"
        calls: list[Callable[[], Any]] = [
            partial(pair.other.call, "POST", "/rbac", pair.admin, body),
            partial(pair.other.call, "PUT", joins, pair.admin),
            partial(pair.one.call, "DELETE", f"/{kind}/x", pair.admin),
        ]
        bound, joined, deleted = at_once(*calls)
        assert ([bound.status_code in (201, 422), joined.status_code in (200, 404)], 204) == ([True, True], deleted.status_code)
        assert [] == lines_of_nobody(pair)
        made = pair.made("POST", f"/{kind}", {"name": "x", "service": True} if n % 2 else {"name": "x", "members": []})
        asked = {"subject": subject, "action": "view", "resource": "servers"}
        assert pair.one.call("POST", "/authorize", pair.admin, asked).json()["allowed"] is False
        assert [] == made["groups" if n % 2 else "members"]
        for path in (f"/{kind}/x", "/groups/g", "/users/y"):
            pair.made("DELETE", path)


def denied(name: str) -> Call:
    bindings = ["role:view,resource:secrets,effect:deny"]
    return "POST", "/rbac", {"name": name, "subjects": [f"User:{name}"], "roleBindings": bindings}


ENDINGS: dict[str, Callable[[str], Call]] = {
    "disabling": lambda name: ("PATCH", f"/users/{name}", {"disabled": True}),
    "deleting": lambda name: ("DELETE", f"/users/{name}", None),
    "removing": lambda name: ("DELETE", f"/groups/admins/members/{name}", None),
    "denying": denied,
}


@pytest.mark.parametrize("how", ENDINGS)
def test_of_two_last_admins_one_stays_whatever_they_do_to_each_other(pair: Pair, how: str) -> None:
    """The last enabled admin can be neither disabled, deleted, denied nor removed."""
    person = {"password": PASSWORD}
    survivor, bearer = "admin", pair.admin
    for n in range(ROUNDS):
        rival = f"admin{n}"
        pair.admin = bearer
        pair.made("POST", "/users", {"name": rival, **person})
        pair.made("PUT", f"/groups/admins/members/{rival}")
        by_rival = pair.made("POST", "/auth/login", {"username": rival, **person}, bearer="")["token"]
        both = [(pair.one, bearer, ENDINGS[how](rival)), (pair.other, by_rival, ENDINGS[how](survivor))]
        answers = at_once(*(partial(replica.call, method, path, who, body) for replica, who, (method, path, body) in both))
        statuses = [answer.status_code for answer in answers]
        assert 1 == sum(status < 300 for status in statuses), [answer.text for answer in answers]
        assert {*statuses} <= {200, 201, 204, 401, 403, 409}, statuses
        survivor, bearer = (survivor, bearer) if statuses[0] < 300 else (rival, by_rival)
        asked = {"action": "delete", "resource": "secrets"}
        assert {True} == {replica.call("POST", "/authorize", bearer, asked).json()["allowed"] for replica in pair.both}


def test_of_two_last_admins_others_can_end_one_only(pair: Pair) -> None:
    pair.made("POST", "/users", {"name": "second", "password": PASSWORD})
    pair.made("PUT", "/groups/admins/members/second")
    helpers = [pair.somebody(name, "role:edit,resource:users") for name in ("one", "other")]
    for _ in range(ROUNDS):
        calls = zip(pair.both, helpers, ("admin", "second"), strict=True)
        answers = at_once(
            *(partial(r.call, *ENDINGS["disabling"](name)[:2], bearer, {"disabled": True}) for r, bearer, name in calls)
        )
        assert [200, 409] == sorted(answer.status_code for answer in answers), [answer.text for answer in answers]
        assert "last_admin" == next(answer.json()["code"] for answer in answers if answer.status_code == 409)
        left = "second" if answers[0].status_code == 200 else "admin"
        login = {"username": left, "password": PASSWORD}
        by_left = pair.made("POST", "/auth/login", login, bearer="")["token"]
        pair.made("PATCH", f"/users/{'admin' if left == 'second' else 'second'}", {"disabled": False}, bearer=by_left)


def test_a_rotation_beside_a_revocation_hands_out_nothing_that_lives_on(pair: Pair) -> None:
    """authz d34, d35: every secret ever given of a revoked token is dead, and no line speaks of it."""
    pair.made("POST", "/projects", {"name": "p", "servers": []})
    for n in range(ROUNDS):
        body = {"name": "t", "project": "p", "bindings": ["role:view,resource:projects"]}
        token = pair.made("POST", "/mcptokens", body)
        path = f"/mcptokens/{token['id']}"
        ends: Call = ("DELETE", path, None) if n % 2 else ("POST", f"{path}/revoke", None)

        def rotate(path: str = path) -> list[Any]:
            return [pair.other.call("POST", f"{path}/rotate", pair.admin, {"grace": "1h"}) for _ in range(6)]

        def end(ends: Call = ends, n: int = n) -> list[Any]:
            sleep(0.01 * (n % 4))
            return [pair.one.call(ends[0], ends[1], pair.admin, ends[2])]

        rotated, ended = at_once(rotate, end)
        assert ended[0].status_code in (200, 204)
        assert {answer.status_code for answer in rotated} <= {200, 404, 409}
        secrets = [token["token"], *(answer.json()["token"] for answer in rotated if answer.status_code == 200)]
        assert {401} == {pair.one.call("GET", "/auth/whoami", secret).status_code for secret in secrets}
        assert [] == lines_of_nobody(pair)
