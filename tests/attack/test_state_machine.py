"""Anybody calls anything, on either of two replicas, in any order: nobody ever gets more than the callers could give.

**The invariant.** Let ``could(s)`` be everything a user or token ``s`` could do (``World.could``). For every accepted call,
made by ``c``, and every ``s``: what ``could(s)`` gains by it lies within what ``could(c)`` was before; and if the call hands
``c`` a credential of ``s`` (a session, a token, a password), all of ``could(s)`` does. By induction over the calls, after no
sequence of them may anyone do what none of the callers could when it began: whoever gives something held it, so at the
beginning either it or an earlier giver did. An admin could do everything, so what admins give is no exception to it.

Beyond the invariant everything is held against the oracle of ``world``, which counts instead of asking:

- a call is accepted exactly when the oracle says so, also on a replica that has not yet heard of the latest revision;
- a refused call changes nothing, in any table but the audit; after an accepted one the policy lines are the oracle's;
- every credential may do, at once on the replica that took the call, and on the other when it has looked, exactly what the
  oracle says; an ended one, or one of somebody disabled, is 401; lists show exactly what may be viewed;
- both replicas give the same answers for the same reasons.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sqlalchemy import select

from mcpctl.policy import files
from mcpctl.policy.files import PolicyFiles
from mcpctl.services import bootstrap
from mcpctl.store.database import Database
from mcpctl.store.schema import Base, PolicyRow
from tests.attack import replicas
from tests.attack.replicas import Replica
from tests.attack.world import (
    ACTIONS,
    DEFINITIONS,
    GROUPS,
    MODELS,
    NAMED,
    OPERATIONS,
    PROJECTS,
    SECRETS,
    SERVERS,
    TOKENS,
    USERS,
    Actor,
    Batch,
    Binding,
    Expected,
    Line,
    World,
)
from tests.serving import Postgres

SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
STEPS = 50 if SOAK else 30
PARTS = 4
"""For as many processes as there may be."""
LONGEST = 3600 if SOAK else 900
"""Seconds. Finding something is quick; making the example small takes five minutes at most."""

FILE = """
p, User:observer, impersonate, operations, *, allow
p, User:fay, run, servers, s1, allow
p, Group:filed, run, servers, s2, allow
p, Group:filed, view, secrets, a, deny
g, User:gus, Group:filed
"""

BINDINGS = [
    *(Binding("admin", res) for res in ("*", "servers", "secrets", "operations")),
    *(Binding("edit", res) for res in ("rbac", "groups", "users", "mcptokens", "projects", "servers", "secrets", "sessions")),
    *(Binding(action, "proxymodels", name) for action in ("edit", "view") for name in ("*", "x")),
    *(Binding("view", res) for res in ("*", "servers", "projects", "users", "rbac", "mcptokens")),
    *(Binding("run", "servers", name) for name in ("*", "s1", "s1/t", "s1/t*", "s1/*", "s2")),
    *(Binding("run", "secrets", name) for name in ("*", "a", "b")),
    Binding("create", "rbac"),
    Binding("delete", "rbac"),
    Binding("delete", "mcptokens", "p1/k0"),
    Binding("edit", "rbac", "d1"),
    Binding("edit", "groups", "team"),
    Binding("edit", "users", "bob"),
    Binding("edit", "mcptokens", "p1"),
    Binding("create", "mcptokens", "p1/k0"),
    Binding("expose", "projects", "p1"),
    Binding("create", "sessions", "svc"),
    Binding("logs", "operations"),
    Binding("logs", "operations", "p1"),
    Binding("audit", "operations", "p2"),
    Binding("impersonate", "operations"),
    Binding("gateway", "operations", "p1"),
]
DOORS = [
    [Binding("edit", "rbac")],
    [Binding("edit", "groups")],
    [Binding("edit", "users"), Binding("create", "sessions")],
    [Binding("edit", "mcptokens"), Binding("view", "projects")],
    [Binding("edit", "projects"), Binding("edit", "servers")],
    [Binding("admin", "*"), Binding("view", "secrets", "a", "deny")],
    [Binding("edit", "proxymodels")],
    [Binding("edit", "proxymodels"), Binding("edit", "servers"), Binding("expose", "projects", "p1")],
]
"""What lets somebody try a door at all."""

QUESTIONS = [
    (action, res, name)
    for res, names in NAMED.items()
    if res not in ("operations", "gizmos")
    for name in (*names, "zz", "*", *(("s1/q", "s1/t/q", "s1/*", "s1/t*") if res == "servers" else ()))
    for action in ACTIONS
]
QUESTIONS += [(operation, "operations", "*") for operation in OPERATIONS]
QUESTIONS += [(operation, "operations", name) for operation in ("logs", "audit", "gateway") for name in (*PROJECTS, "zz")]
AT_A_TIME = 8 if SOAK else 24
"""Questions after each call. In a soak there are so many calls that all of them are asked anyway."""


class Turn(NamedTuple):
    """Who calls, on which replica, and whether the other one hears of it before the next call."""

    who: int
    replica: int
    lags: bool


TURN = st.builds(Turn, st.integers(0, 99), st.integers(0, 1), st.booleans())
USER, SERVER = map(st.sampled_from, (USERS, SERVERS))
PASSWORD = st.integers(1, 3)
PICK = st.integers(0, 199)
"""A choice out of what there is when it is used."""
PICKS = st.lists(PICK, max_size=2, unique=True)
LIKELY = st.sampled_from([True] * 7 + [False])


def password(number: int | None) -> str | None:
    return None if number is None else f"the password {number}"


class Arena:
    """What the examples of one test share: the policy files, and a database in which the first people exist."""

    def __init__(self, policy: PolicyFiles, fresh: Callable[[], AbstractContextManager[str]], portal: BlockingPortal) -> None:
        self.policy, self.portal, self.fresh = policy, portal, fresh
        self.world = World()
        self.bearers: list[str] = []
        self.ids: list[str] = []


class Attack(RuleBasedStateMachine):
    """The calls, and what is held against the oracle after each."""

    arena: Arena

    def __init__(self) -> None:
        super().__init__()
        arena = self.arena
        self.stack = ExitStack()
        url = self.stack.enter_context(arena.fresh())
        self.replicas = self.stack.enter_context(replicas.two(url, arena.policy, arena.portal))
        self.world = arena.world.after(lambda world: None)
        self.bearers, self.ids = [*arena.bearers], [*arena.ids]
        self.token_ids: dict[str, str] = {}
        self.token_shas: dict[str, str] = {}
        self.token_places: dict[str, str] = {}
        self.turns = 0
        self.behind = False
        self.failed = False
        self.database = self.replicas[0].control.database
        self.kept = self._dump()

    def teardown(self) -> None:
        try:
            if not self.failed:
                self._compare_everything()
        finally:
            self.stack.close()

    @initialize(
        doors=st.lists(st.sampled_from(DOORS), min_size=6, max_size=6),
        more=st.lists(st.tuples(st.integers(0, 3), PICK), max_size=9),
    )
    def give(self, doors: list[list[Binding]], more: list[tuple[int, int]]) -> None:
        """The admin lets three people try two doors each, gives all something to try it with, and there are two tokens."""
        for number, user in enumerate(("ann", "bob", "cid", "svc")):
            given = [binding for door in doors[2 * number : 2 * number + 2] for binding in door]
            given += [BINDINGS[pick % len(BINDINGS)] for whose, pick in more if whose == number]
            given = list(dict.fromkeys(given)) or [Binding("run", "servers")]
            self._write_definition(Turn(0, 0, True), f"d{number}", [f"User:{user}"], given, create=True)
        for number, who in enumerate((0, 50)):
            self.mint(Turn(who, 0, True), 1, TOKENS[number], [72], clone=bool(number))

    # The calls

    @rule(turn=TURN, pick=PICK, number=st.none() | PASSWORD)
    def create_user(self, turn: Turn, pick: int, number: int | None) -> None:
        name = self._one(pick, USERS, self.world.users, there=False)
        body: dict[str, Any] = (
            {"name": name, "service": True} if number is None else {"name": name, "password": password(number)}
        )
        self._call(turn, ("create", "users", name), "POST", "/users", body, lambda a: self.world.create_user(a, name, number))

    @rule(turn=TURN, pick=PICK, disabled=st.booleans())
    def set_disabled(self, turn: Turn, pick: int, disabled: bool) -> None:
        name = self._one(pick, USERS, [name for name, user in self.world.users.items() if user.disabled is not disabled])

        def expected(actor: Actor) -> Expected:
            return self.world.set_disabled(actor, name, disabled=disabled)

        self._call(turn, ("edit", "users", name), "PATCH", f"/users/{name}", {"disabled": disabled}, expected)

    @rule(turn=TURN, pick=PICK, number=PASSWORD, old=st.none() | st.integers(0, 3), own=st.booleans())
    def set_password(self, turn: Turn, pick: int, number: int, old: int | None, own: bool) -> None:
        name = self._one(pick, USERS, self.world.users)
        needs = ("edit", "users", name)
        caller = self._caller(turn.who, needs)
        if own and self.world.credentials[caller].subject.startswith("User:"):
            name = self.world.credentials[caller].subject.removeprefix("User:")
            user = self.world.users.get(name)
            old = user.password if user and turn.who % 3 else old
        body: dict[str, Any] = {"password": password(number)} | ({} if old is None else {"oldPassword": password(old)})
        path = f"/users/{name}"
        self._call(turn, needs, "PATCH", path, body, lambda a: self.world.set_password(a, name, number, old), caller)

    @rule(turn=TURN, pick=PICK, picks=PICKS)
    def create_group(self, turn: Turn, pick: int, picks: list[int]) -> None:
        name = self._one(pick, GROUPS, self.world.groups, there=False)
        members = self._some_users(picks)
        body = {"name": name, "members": [f"User:{user}" for user in members]}
        self._call(
            turn, ("create", "groups", name), "POST", "/groups", body, lambda a: self.world.create_group(a, name, members)
        )

    @rule(turn=TURN, pick=PICK, picks=PICKS)
    def set_members(self, turn: Turn, pick: int, picks: list[int]) -> None:
        name = self._one(pick, GROUPS, self.world.groups)
        members = self._some_users(picks)
        body = {"members": [f"User:{user}" for user in members]}
        path = f"/groups/{name}"
        self._call(turn, ("edit", "groups", name), "PUT", path, body, lambda a: self.world.set_members(a, name, members))

    @rule(turn=TURN, pick=PICK, whom=PICK, joins=st.booleans())
    def change_membership(self, turn: Turn, pick: int, whom: int, joins: bool) -> None:
        name = self._one(pick, GROUPS, self.world.groups)
        user = self._one(whom, USERS, self.world.users if joins else self.world.groups.get(name, frozenset()))

        def expected(actor: Actor) -> Expected:
            present = self.world.groups.get(name, frozenset())
            if guarded := self.world.guard(actor, "edit", "groups", name):
                return Expected(guarded, lambda world: None)
            if name not in self.world.groups or user not in self.world.users or not (joins or user in present):
                return Expected({404}, lambda world: None)
            return self.world.set_members(actor, name, [*(present | {user} if joins else present - {user})])

        path = f"/groups/{name}/members/{user}"
        self._call(turn, ("edit", "groups", name), "PUT" if joins else "DELETE", path, None, expected)

    @rule(turn=TURN, name=st.sampled_from(["svc", "svc", *USERS]))
    def open_session(self, turn: Turn, name: str) -> None:
        body = {"user": name, "ttl": "1h"}
        self._call(turn, ("create", "sessions", name), "POST", "/sessions", body, lambda a: self.world.open_session(a, name))

    @rule(turn=TURN, name=USER, number=st.integers(0, 3))
    def log_in(self, turn: Turn, name: str, number: int) -> None:
        body = {"username": name, "password": password(number)}
        self._call(turn, None, "POST", "/auth/login", body, lambda a: self.world.log_in(name, number))

    @rule(turn=TURN, pick=PICK, own=st.booleans())
    def end_session(self, turn: Turn, pick: int, own: bool) -> None:
        sessions = [n for n, one in enumerate(self.world.credentials) if one.subject.startswith("User:") and n > 1]
        number = sessions[pick % len(sessions)]
        if own:
            self._call(turn, None, "POST", "/auth/logout", None, lambda a: self.world.log_out(a, number), number)
            return
        needs = ("delete", "sessions", self.world.credentials[number].subject.removeprefix("User:"))
        path = f"/sessions/{self.ids[number]}"
        self._call(turn, needs, "DELETE", path, None, lambda a: self.world.end_session(a, number))

    @rule(
        turn=TURN,
        name=st.sampled_from(DEFINITIONS),
        subjects=st.lists(PICK, min_size=1, max_size=2, unique=True),
        picks=st.lists(PICK, min_size=1, max_size=2, unique=True),
        likely=LIKELY,
    )
    def write_definition(self, turn: Turn, name: str, subjects: list[int], picks: list[int], likely: bool) -> None:
        if name in self._definitions() and likely:
            self.edit_definition(turn, subjects[0], subjects[-1], picks[0])
            return
        create = (name not in self._definitions()) is likely
        whom = list(dict.fromkeys(self._subject(pick) for pick in subjects))
        self._write_definition(turn, name, whom, picks, create=create)

    @rule(turn=TURN, pick=PICK, subject=PICK, what=PICK, also=st.booleans())
    def deny(self, turn: Turn, pick: int, subject: int, what: int, also: bool) -> None:
        """A definition that denies something the caller holds, and perhaps gives something too."""
        name = self._one(pick, DEFINITIONS, self._definitions(), there=False)
        denied = self._bindings(self._caller(turn.who, ("create", "rbac", name)), [what])[0]._replace(eft="deny")
        self._write_definition(turn, name, [self._subject(subject)], [denied, what][: 1 + also], create=True)

    @rule(turn=TURN, which=PICK, pick=PICK, more=PICK)
    def edit_definition(self, turn: Turn, which: int, pick: int, more: int) -> None:
        """What stands there, with one subject or binding more or less."""
        name = self._one(which, DEFINITIONS, self._definitions())
        lines = sorted(line for line in self.world.lines if line.origin == f"rbac:{name}")
        subjects, bindings = [*dict.fromkeys(line.subject for line in lines)], [*dict.fromkeys(line.binding for line in lines)]
        picks: list[Binding | int] = [*bindings]
        if pick % 4 == 0:
            subjects = list(dict.fromkeys([*subjects, self._subject(more)]))
        elif pick % 4 == 1:
            picks.append(more)
        elif pick % 4 == 2:
            subjects = [s for s in subjects if s != subjects[more % len(subjects)]]
        else:
            picks = [b for b in picks if b != picks[more % len(picks)]]
        if subjects and picks:
            self._write_definition(turn, name, subjects, picks, create=False)

    @rule(
        turn=TURN,
        groups=st.lists(st.tuples(PICK, PICKS), max_size=1),
        projects=st.lists(st.tuples(PICK, PICKS), max_size=1),
        definitions=st.lists(st.tuples(st.sampled_from(DEFINITIONS), PICK, PICKS), min_size=1, max_size=2),
        prunes=LIKELY.map(lambda likely: not likely),
        dry_run=LIKELY.map(lambda likely: not likely),
    )
    def apply(
        self,
        turn: Turn,
        groups: list[tuple[int, list[int]]],
        projects: list[tuple[int, list[int]]],
        definitions: list[tuple[str, int, list[int]]],
        prunes: bool,
        dry_run: bool,
    ) -> None:
        """Several things at once: what one item gives must be of no use to the next."""
        caller = self._caller(turn.who, ("edit", "rbac", definitions[0][0]))
        joined = {self._one(pick, GROUPS, self.world.groups): self._some_users(picks) for pick, picks in groups}
        attached = {
            self._one(pick, PROJECTS, self.world.projects): [*dict.fromkeys(SERVERS[one % len(SERVERS)] for one in picks)]
            for pick, picks in projects
        }
        written = {
            name: (self._subject(subject), self._bindings(caller, [*picks]) or [Binding("run", "servers", "s1")])
            for name, subject, picks in definitions
        }
        items: list[dict[str, Any]] = [
            {"kind": "group", "name": name, "members": [f"User:{user}" for user in users]} for name, users in joined.items()
        ]
        items += [{"kind": "project", "name": name, "servers": servers} for name, servers in attached.items()]
        items += [
            {"kind": "rbac", "name": name, "subjects": [self._real(whom)], "roleBindings": [one.text for one in bindings]}
            for name, (whom, bindings) in written.items()
        ]
        lines = {
            name: frozenset(Line(whom, binding, f"rbac:{name}") for binding in bindings)
            for name, (whom, bindings) in written.items()
        }
        batch = Batch(joined, attached, lines, prunes)

        def expected(actor: Actor) -> Expected:
            return self.world.apply(actor, batch, dry_run=dry_run)

        body = {"items": items, "prune": ["rbac"] if prunes else [], "dryRun": dry_run}
        self._call(turn, None, "POST", "/apply", body, expected, caller)

    @rule(turn=TURN, pick=PICK, name=st.sampled_from(TOKENS), picks=PICKS, clone=st.booleans())
    def mint(self, turn: Turn, pick: int, name: str, picks: list[int], clone: bool) -> None:
        project = self._one(pick, PROJECTS, self.world.projects)
        needs = ("create", "mcptokens", f"{project}/{name}")
        caller = self._caller(turn.who, needs)
        bindings = self._bindings(caller, [*picks])
        if turn.who % 7:
            bindings = [binding._replace(eft="allow") for binding in bindings]
        body = {
            "name": name,
            "project": project,
            "rbacMode": "clone" if clone else "empty",
            "bindings": [b.text for b in bindings],
        }

        def expected(actor: Actor) -> Expected:
            return self.world.mint(actor, project, name, bindings, clone=clone)

        subject = f"McpToken:{self.world.minted}"
        if (answer := self._call(turn, needs, "POST", "/mcptokens", body, expected, caller, subject)) is not None:
            self.token_places[subject] = f"{project}/{name}"
            assert answer["tokenSha"] == self.token_shas[subject]

    @rule(turn=TURN, pick=PICK, delete=st.booleans())
    def revoke(self, turn: Turn, pick: int, delete: bool) -> None:
        if self.token_ids:
            subject = [*self.token_ids][pick % len(self.token_ids)]
            place, path = self.token_places[subject], f"/mcptokens/{self.token_ids[subject]}"

            def expected(actor: Actor) -> Expected:
                return self.world.revoke(actor, subject, place, delete=delete)

            needs = ("delete", "mcptokens", place)
            self._call(turn, needs, "DELETE" if delete else "POST", path if delete else f"{path}/revoke", None, expected)

    @rule(turn=TURN, pick=PICK, grace=st.booleans())
    def rotate(self, turn: Turn, pick: int, grace: bool) -> None:
        if self.token_ids:
            subject = [*self.token_ids][pick % len(self.token_ids)]
            place, path = self.token_places[subject], f"/mcptokens/{self.token_ids[subject]}/rotate"

            def expected(actor: Actor) -> Expected:
                return self.world.rotate(actor, subject, place, grace=grace)

            body = {"grace": "1h"} if grace else None
            answer = self._call(turn, ("edit", "mcptokens", place), "POST", path, body, expected)
            assert answer is None or answer["tokenSha"] == self.token_shas[subject]

    @rule(turn=TURN, name=SERVER, picks=PICKS, likely=LIKELY)
    def write_server(self, turn: Turn, name: str, picks: list[int], likely: bool) -> None:
        secrets = [*dict.fromkeys(self._one(pick, SECRETS, self.world.secrets) for pick in picks)]
        create = (name not in self.world.servers) is likely
        headers = {f"X-{secret}": {"secret": secret, "key": "k"} for secret in secrets}
        model = self._one(sum(picks), MODELS, self.world.models) if sum(picks) % 3 else None
        body = {"transport": "streamable-http", "url": "http://127.0.0.1:9/mcp", "headers": headers, "proxyModel": model}
        body |= {"name": name} if create else {}

        def expected(actor: Actor) -> Expected:
            return self.world.write_server(actor, name, secrets, model, create=create)

        needs = ("create" if create else "edit", "servers", name)
        self._call(turn, needs, "POST" if create else "PUT", "/servers" if create else f"/servers/{name}", body, expected)

    @rule(turn=TURN, pick=PICK, does=st.sampled_from(["POST", "PUT", "DELETE"]))
    def change_secret(self, turn: Turn, pick: int, does: str) -> None:
        name = self._one(pick, SECRETS, self.world.secrets, there=does != "POST")

        def expected(actor: Actor) -> Expected:
            if does == "DELETE":
                return self.world.delete_secret(actor, name)
            return self.world.write_secret(actor, name, create=does == "POST")

        body = {"POST": {"name": name, "values": {"k": "v"}}, "PUT": {"values": {"k": "w"}}, "DELETE": None}[does]
        action = {"POST": "create", "PUT": "edit", "DELETE": "delete"}[does]
        self._call(turn, (action, "secrets", name), does, "/secrets" if does == "POST" else f"/secrets/{name}", body, expected)

    @rule(turn=TURN, pick=PICK, does=st.sampled_from(["POST", "PUT", "PUT", "DELETE"]))
    def change_model(self, turn: Turn, pick: int, does: str) -> None:
        name = self._one(pick, MODELS, self.world.models, there=does != "POST")

        def expected(actor: Actor) -> Expected:
            if does == "DELETE":
                return self.world.delete_model(actor, name)
            return self.world.write_model(actor, name, create=does == "POST")

        stages = [{"stage": "truncate", "options": {"maxChars": 1 + pick}}]
        body = {"POST": {"name": name, "stages": stages}, "PUT": {"stages": stages}, "DELETE": None}[does]
        action = {"POST": "create", "PUT": "edit", "DELETE": "delete"}[does]
        path = "/proxymodels" if does == "POST" else f"/proxymodels/{name}"
        self._call(turn, (action, "proxymodels", name), does, path, body, expected)

    @rule(turn=TURN, name=st.sampled_from(PROJECTS), pick=PICK)
    def select_model(self, turn: Turn, name: str, pick: int) -> None:
        model = self._one(pick, MODELS, self.world.models) if pick % 4 else None

        def expected(actor: Actor) -> Expected:
            return self.world.select_model(actor, name, model)

        self._call(turn, ("edit", "projects", name), "PUT", f"/projects/{name}", {"proxyModel": model}, expected)

    @rule(turn=TURN, name=st.sampled_from(PROJECTS), picks=PICKS, likely=LIKELY)
    def write_project(self, turn: Turn, name: str, picks: list[int], likely: bool) -> None:
        servers = [*dict.fromkeys(self._one(pick, SERVERS, self.world.servers) for pick in picks)]
        create = (name not in self.world.projects) is likely

        def expected(actor: Actor) -> Expected:
            return (self.world.create_project if create else self.world.set_servers)(actor, name, servers)

        body = {"servers": servers} | ({"name": name} if create else {})
        needs = ("create" if create else "edit", "projects", name)
        self._call(turn, needs, "POST" if create else "PUT", "/projects" if create else f"/projects/{name}", body, expected)

    @rule(turn=TURN, pick=PICK, which=PICK, attach=st.booleans())
    def change_attachment(self, turn: Turn, pick: int, which: int, attach: bool) -> None:
        name = self._one(pick, PROJECTS, self.world.projects)
        server = self._one(which, SERVERS, self.world.servers if attach else self.world.projects.get(name, ()))

        def expected(actor: Actor) -> Expected:
            return (self.world.attach if attach else self.world.detach)(actor, name, server)

        path = f"/projects/{name}/servers/{server}"
        self._call(turn, ("expose", "projects", name), "PUT" if attach else "DELETE", path, None, expected)

    @rule(turn=TURN, kind=st.sampled_from(["users", "groups", "rbac", "rbac", "servers", "projects"]), pick=PICK)
    def delete(self, turn: Turn, kind: str, pick: int) -> None:
        kinds: dict[str, tuple[list[str], Container[str], Callable[[Actor, str], Expected]]] = {
            "users": (USERS, self.world.users, self.world.delete_user),
            "groups": (GROUPS, self.world.groups, self.world.delete_group),
            "rbac": (DEFINITIONS, self._definitions(), self.world.delete_definition),
            "servers": (SERVERS, self.world.servers, self.world.delete_server),
            "projects": (PROJECTS, self.world.projects, self.world.delete_project),
        }
        names, existing, expected = kinds[kind]
        name = self._one(pick, names, existing)
        self._call(turn, ("delete", kind, name), "DELETE", f"/{kind}/{name}", None, lambda a: expected(a, name))

    # Choosing

    def _caller(self, who: int, needs: tuple[str, str, str] | None) -> int:
        """The number of a credential: an admin's, one of somebody else who gets past the guard, or any, ended ones too."""
        everyone = range(len(self.world.credentials))
        able = [n for n in everyone if (actor := self.world.actor(n)) and (not needs or self.world.may(actor.subject, *needs))]
        admins = [n for n in able if self.world.is_admin(self.world.credentials[n].subject)]
        others = [n for n in able if n not in admins]
        pool = admins if who < 18 and admins else others if who < 90 and others else everyone
        return pool[who % len(pool)]

    def _one(self, pick: int, names: list[str], existing: Container[str], *, there: bool = True) -> str:
        """One of ``names``, most often one that exists, or that does not if it is to be made."""
        fitting = [name for name in names if (name in existing) is there] if pick % 8 else names
        return (fitting or names)[pick // 8 % len(fitting or names)]

    def _some_users(self, picks: list[int]) -> list[str]:
        return [*dict.fromkeys(self._one(pick, USERS, self.world.users) for pick in picks)]

    def _definitions(self) -> set[str]:
        return {line.origin.removeprefix("rbac:") for line in self.world.lines if line.origin.startswith("rbac:")}

    def _subject(self, pick: int) -> str:
        known = [f"User:{name}" for name in self.world.users if name != "observer"]
        known += [f"Group:{name}" for name in self.world.groups if name != "gateways"]
        known += [token.subject for token in self.world.tokens if not token.revoked] * 2
        return "User:fay" if pick % 17 == 16 else known[pick % len(known)]

    def _bindings(self, caller: int, picks: list[Binding | int]) -> list[Binding]:
        """What was picked: as it stands, or of what the caller holds, or of all; some of it as a deny."""
        actor = self.world.actor(caller)
        own = [one for one in self.world.lines_of_user(actor.user) if one.eft == "allow"] if actor else []
        found = []
        for pick in picks:
            if isinstance(pick, int):
                among = own if own and pick % 4 else BINDINGS
                binding = among[pick // 4 % len(among)]
                found.append(binding._replace(eft="deny") if pick % 5 == 4 else binding)
            else:
                found.append(pick)
        return list(dict.fromkeys(found))

    def _write_definition(self, turn: Turn, name: str, subjects: list[str], picks: list[Any], *, create: bool) -> None:
        needs = ("create" if create else "edit", "rbac", name)
        caller = self._caller(turn.who, needs)
        bindings = self._bindings(caller, picks)
        body: dict[str, Any] = {
            "subjects": [self._real(one) for one in subjects],
            "roleBindings": [one.text for one in bindings],
        }
        body |= {"name": name} if create else {}

        def expected(actor: Actor) -> Expected:
            return self.world.write_definition(actor, name, subjects, bindings, create=create)

        self._call(turn, needs, "POST" if create else "PUT", "/rbac" if create else f"/rbac/{name}", body, expected, caller)

    def _real(self, subject: str) -> str:
        return f"McpToken:{self.token_shas[subject]}" if subject.startswith("McpToken:") else subject

    # Calling, and holding it against the oracle

    def _call(
        self,
        turn: Turn,
        needs: tuple[str, str, str] | None,
        method: str,
        path: str,
        body: Any,
        expected: Callable[[Actor], Expected],
        caller: int | None = None,
        mints: str | None = None,
    ) -> dict[str, Any] | None:
        self.failed = True
        caller = self._caller(turn.who, needs) if caller is None else caller
        before, actor, replica, kept = self.world, self.world.actor(caller), self.replicas[turn.replica], self.kept
        due = expected(actor) if actor else self.world.log_in("nobody", 0)
        if path == "/auth/login":
            due = expected(Actor("", ""))
        answer = replica.call(method, path, self.bearers[caller], body)
        said = (self.world.credentials[caller], method, path, body, answer.status_code, answer.text)
        if answer.status_code >= 300:
            explained = due.refusals | ({409} if due.or_conflict else set()) | ({403, 404, 409, 422} if due.either else set())
            assert answer.status_code in explained, (*said, due.refusals)
            assert self.kept == self._dump(), said
            given = None
        else:
            assert not due.refusals, (*said, due.refusals)
            given = answer.json() if answer.content else {}
            self.world = before.after(due.effect)
            if len(self.world.credentials) > len(before.credentials):
                self.bearers.append(given["token"])
                self.ids.append(given["id"])
            if mints is not None:
                self.token_ids[mints], self.token_shas[mints] = given["id"], given["tokenSha"]
            if actor is not None and path != "/auth/login":
                self._nobody_got_more_than_the_caller_could_give(before, actor, due, said)
            self.kept = self._dump()
            self._policy_lines_are_the_worlds(said)
        self._compare(turn, replica, changed=self.kept["revision"] != kept["revision"])
        self.failed = False
        return given

    def _nobody_got_more_than_the_caller_could_give(self, before: World, actor: Actor, due: Expected, said: object) -> None:
        could, can = before.could(), self.world.could()
        beyond = {s: atoms & ~could.get(s, 0) & ~could[actor.subject] for s, atoms in can.items()}
        assert dict.fromkeys(can, 0) == beyond, said
        assert due.hands is None or not can[due.hands] & ~could[actor.subject], said

    def _dump(self) -> dict[str, list[str]]:
        """Everything but the audit."""
        tables = [table.name for table in Base.metadata.sorted_tables if table.name != "audit"]
        with self.database.engine.connect() as connection:
            rows = {table: connection.exec_driver_sql(f"SELECT * FROM {table}") for table in tables}
            return {table: sorted(map(repr, found)) for table, found in rows.items()}

    def _policy_lines_are_the_worlds(self, said: object) -> None:
        columns = (PolicyRow.v0, PolicyRow.v1, PolicyRow.v2, PolicyRow.v3, PolicyRow.v4, PolicyRow.v5)
        with self.database.read() as session:
            kept = sorted(tuple(row) for row in session.execute(select(*columns)))
        origins = {f"mcptoken:{subject}": f"mcptoken:{token_id}" for subject, token_id in self.token_ids.items()}
        wanted = [(self._real(s), *binding, origins.get(origin, origin)) for s, binding, origin in self.world.lines]
        assert sorted(wanted) == kept, said

    def _compare(self, turn: Turn, replica: Replica, *, changed: bool) -> None:
        """A few credentials and subjects at a time, in turns, so that in the end all of them were asked about much."""
        self.turns += 1
        # Whoever took the call has published what it changed, before it answered. What changed nothing was published to nobody.
        if not changed:
            replica.catch_up()
        first = self.turns * AT_A_TIME
        asked = [QUESTIONS[(first + n) % len(QUESTIONS)] for n in range(AT_A_TIME)]
        newest, some = len(self.world.credentials) - 1, self.turns % len(self.world.credentials)
        told = [self._ask_as(replica, number, asked) for number in dict.fromkeys([newest, some])]
        if self.turns % 3 == 0:
            self._list_as(replica, some)
        if turn.lags:
            return
        other = self.replicas[1 - turn.replica]
        other.catch_up()
        assert told == [self._ask_as(other, number, asked) for number in dict.fromkeys([newest, some])]
        subjects = [f"{kind}:{name}" for kind, names in (("User", USERS), ("Group", GROUPS)) for name in names]
        subjects += self.token_shas
        self._ask_about(other, [subjects[(self.turns + n) % len(subjects)] for n in range(2)], asked)

    def _compare_everything(self) -> None:
        for replica in self.replicas:
            replica.catch_up()
        for number in range(len(self.world.credentials)):
            # In a soak a part of them each time; there are so many worlds that all of them are asked anyway.
            asked = QUESTIONS[(self.turns + number) % 4 :: 4] if SOAK else QUESTIONS
            self._ask_as(self.replicas[number % 2], number, asked)

    def _ask_as(self, replica: Replica, number: int, asked: list[tuple[str, str, str]]) -> Any:
        """What a credential is told about itself."""
        body = [{"action": action, "resource": res, "name": name} for action, res, name in asked]
        answer = replica.call("POST", "/authorize", self.bearers[number], body)
        actor, subject = self.world.actor(number), self.world.credentials[number].subject
        if actor is None:
            assert 401 == answer.status_code, (self.world.credentials[number], answer.text)
            return None
        assert 200 == answer.status_code, (actor, answer.text)
        verdicts = answer.json()
        self._agree(subject, asked, verdicts)
        return [(one["allowed"], one["rule"], one["origin"], one["reason"]) for one in verdicts]

    def _ask_about(self, replica: Replica, subjects: list[str], asked: list[tuple[str, str, str]]) -> None:
        known = [subject for subject in subjects if not subject.startswith("McpToken:") or subject in self.token_shas]
        body = [
            {"subject": self._real(subject), "action": action, "resource": res, "name": name}
            for subject in known
            for action, res, name in asked
        ]
        verdicts = replica.call("POST", "/authorize", self.bearers[OBSERVER], body).json()
        for n, subject in enumerate(known):
            self._agree(subject, asked, verdicts[n * len(asked) : (n + 1) * len(asked)])

    def _agree(self, subject: str, asked: list[tuple[str, str, str]], verdicts: list[dict[str, Any]]) -> None:
        wrong = [
            (subject, question, verdict)
            for question, verdict in zip(asked, verdicts, strict=True)
            if self.world.may(subject, *question) is not verdict["allowed"]
        ]
        assert [] == wrong, sorted(self.world.lines)

    def _list_as(self, replica: Replica, number: int) -> None:
        if (actor := self.world.actor(number)) is None:
            return
        existing: dict[str, list[str]] = {
            "users": [*self.world.users],
            "groups": [*self.world.groups],
            "servers": [*self.world.servers],
            "projects": [*self.world.projects],
            "secrets": [*self.world.secrets],
            "proxymodels": [*self.world.models],
            "rbac": [*self._definitions()],
            "mcptokens": [f"{token.project}/{token.name}" for token in self.world.tokens],
        }
        res = [*existing][self.turns // 3 % len(existing)]
        answer = replica.call("GET", f"/{res}", self.bearers[number])
        shown = [one["name"] if res != "mcptokens" else f"{one['project']}/{one['name']}" for one in answer.json()["items"]]
        names = existing[res] if res == "mcptokens" else {*existing[res]}
        unlisted = {"observer": "zz", "gateways": "zz"}
        assert sorted(n for n in names if self.world.may(actor.subject, "view", res, unlisted.get(n, n))) == sorted(shown)


ADMIN, OBSERVER = 0, 1
"""The numbers of their first sessions."""


def found(arena: Arena, url: str) -> None:
    """The world before the first call: three people, a service user, empty groups, two servers, two projects, a proxy model."""
    database = Database(url)
    bootstrap.first_start(database, password(0))
    database.close()
    with replicas.two(url, arena.policy, arena.portal) as (replica, _):

        def must(method: str, path: str, body: Any, bearer: str | None) -> dict[str, Any]:
            answer = replica.call(method, path, bearer, body)
            assert answer.status_code < 300, answer.text
            given: dict[str, Any] = answer.json()
            return given

        def hand(given: dict[str, Any]) -> None:
            arena.bearers.append(given["token"])
            arena.ids.append(given["id"])
            arena.world._hand(f"User:{given['user']}")

        arena.world, arena.bearers, arena.ids = World(), [], []
        world = arena.world
        hand(must("POST", "/auth/login", {"username": "admin", "password": password(0)}, None))
        admin, actor = arena.bearers[ADMIN], Actor("User:admin", "admin")
        must("POST", "/users", {"name": "observer", "service": True}, admin)
        hand(must("POST", "/sessions", {"user": "observer", "ttl": "1h"}, admin))
        for name in ("ann", "bob", "cid"):
            must("POST", "/users", {"name": name, "password": password(1)}, admin)
            world.create_user(actor, name, 1).effect(world)
            hand(must("POST", "/auth/login", {"username": name, "password": password(1)}, None))
        must("POST", "/users", {"name": "svc", "service": True}, admin)
        world.create_user(actor, "svc", None).effect(world)
        for name in ("team", "crew"):
            must("POST", "/groups", {"name": name, "members": []}, admin)
            world.create_group(actor, name, []).effect(world)
        must("POST", "/secrets", {"name": "a", "values": {"k": "v"}}, admin)
        world.write_secret(actor, "a", create=True).effect(world)
        for name in SERVERS:
            must("POST", "/servers", {"name": name, "transport": "streamable-http", "url": "http://127.0.0.1:9/mcp"}, admin)
            world.write_server(actor, name, [], None, create=True).effect(world)
        for name, servers in (("p1", ["s1"]), ("p2", [])):
            must("POST", "/projects", {"name": name, "servers": servers}, admin)
            world.create_project(actor, name, servers).effect(world)
        must("POST", "/proxymodels", {"name": "x", "stages": [{"stage": "truncate"}]}, admin)
        world.write_model(actor, "x", create=True).effect(world)
        must("PUT", "/projects/p1", {"proxyModel": "x"}, admin)
        world.select_model(actor, "p1", "x").effect(world)


@pytest.fixture
def arena(tmp_path: Path, policy_directory: Path) -> Iterator[Arena]:
    (policy_directory / "attack.csv").write_text(FILE)
    with start_blocking_portal() as portal:
        yield Arena(files.read(policy_directory), lambda: pytest.fail("no database"), portal)


def attack(arena: Arena, examples: int) -> None:
    limits = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(type("Attack", (Attack,), {"arena": arena}), settings=limits)


@pytest.mark.property
@pytest.mark.timeout(LONGEST)
@pytest.mark.parametrize("part", range(PARTS))
def test_nobody_ever_gets_more_than_the_callers_could_give(
    arena: Arena, part: int, sqlite_template: Path, tmp_path: Path
) -> None:
    start, numbers = tmp_path / "start.db", count()

    @contextmanager
    def fresh() -> Iterator[str]:
        path = tmp_path / f"{next(numbers)}.db"
        yield replicas.copied(start, path)
        for leftover in tmp_path.glob(f"{path.name}*"):
            leftover.unlink()

    found(arena, replicas.copied(sqlite_template, start))
    arena.fresh = fresh
    with replicas.looking_only_when_told():
        attack(arena, 1800 // PARTS if SOAK else 52 // PARTS)


@pytest.mark.property
@pytest.mark.timeout(LONGEST)
def test_nobody_ever_gets_more_than_the_callers_could_give_on_postgresql(arena: Arena, postgres: Postgres) -> None:
    @contextmanager
    def fresh() -> Iterator[str]:
        with postgres.fresh() as url:
            found(arena, url)
            yield url

    arena.fresh = fresh
    attack(arena, 200 if SOAK else 5)
