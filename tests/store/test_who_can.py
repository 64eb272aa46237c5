"""Who can, can I, and what is enforced are one answer: for everybody, about everything, in worlds made at random.

A world has people (some disabled), groups filled by the database and by files, tokens that are live, revoked, expired, of a
disabled owner or of another project, and allows and denies of both homes on any of them. It is put into the tables as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert
from sqlalchemy.orm import Session as Db

from mcpctl.policy.decision import could, decide
from mcpctl.policy.files import Membership as FiledMembership
from mcpctl.policy.files import PolicyFiles
from mcpctl.policy.slices import Rule
from mcpctl.services import answers, authorities, everybody
from mcpctl.services.principals import NotAuthenticated, authenticate
from mcpctl.services.questions import Known
from mcpctl.services.token_secret import SESSION_PREFIX, TOKEN_PREFIX
from mcpctl.store import schema
from mcpctl.store.database import Database
from tests.policy.worlds import SHIPPED

NOW = 1_000_000.0
USERS = ["ann", "ben", "cat"]
GROUPS = ["ops", "dev"]
PROJECTS = {"lab": ["time", "docs"], "web": ["docs"]}
SERVERS = ["time", "docs", "mail"]
TOKENS = ["t1", "t2"]
ROLES = ["view", "run", "edit", "delete", "admin"]
LINES = [
    *(("servers", name) for name in ("time", "time/now", "time/n*", "*", "docs")),
    *(("projects", "lab"), ("mcptokens", "lab"), ("*", "*"), ("operations", "*")),
]
ATOMS = [
    *product(["view", "run", "delete"], ["servers"], ["time", "time/now", "time/other", "docs", "mail", "*", "time/*"]),
    *product(["view", "edit"], ["projects"], ["lab", "web", "*"]),
    *product(["view", "create"], ["mcptokens"], ["lab/t1", "web/t9"]),
    *product(["logs", "impersonate"], ["operations"], ["*"]),
    ("view", "secrets", "keys"),
    ("view", "users", "ann"),
]


def sha_of(bearer: str) -> str:
    return sha256(bearer.encode()).hexdigest()


def session(user: str) -> str:
    return SESSION_PREFIX + user.ljust(43, "0")


def secret(token: str) -> str:
    return TOKEN_PREFIX + token.ljust(43, "0")


EVERYBODY = [f"User:{u}" for u in USERS] + [f"Group:{g}" for g in GROUPS] + [f"McpToken:{sha_of(secret(t))}" for t in TOKENS]
BEARERS = {f"User:{u}": session(u) for u in USERS} | {f"McpToken:{sha_of(secret(t))}": secret(t) for t in TOKENS}


@dataclass(frozen=True)
class World:
    """What one example holds."""

    disabled: frozenset[str]
    members: frozenset[tuple[str, str]]
    filed_members: frozenset[tuple[str, str]]
    tokens: tuple[dict[str, Any], ...]
    stored: tuple[Rule, ...]
    filed: tuple[Rule, ...]

    @property
    def policy(self) -> PolicyFiles:
        filed = [FiledMembership(f"User:{u}", f"Group:{g}", "people.csv:1") for u, g in sorted(self.filed_members)]
        return PolicyFiles.of(SHIPPED.model, SHIPPED.roles, list(self.filed), filed, "digest")

    def put(self, db: Db) -> None:
        """Make the tables say exactly this."""
        for table in reversed(schema.Base.metadata.sorted_tables):
            if table.name not in ("revision", "change", "alembic_version"):
                db.execute(delete(table))
        at = {"created_at": 0.0}
        put(db, schema.User, [{"id": u, "name": u, "service": True, "disabled": u in self.disabled, **at} for u in USERS])
        put(db, schema.Session, [{"id": f"S{u}", "user_id": u, "sha": sha_of(session(u)), **at} for u in USERS])
        put(db, schema.Group, [{"id": g, "name": g, **at} for g in GROUPS])
        put(db, schema.Membership, [{"group_id": g, "user_id": u} for u, g in sorted(self.members)])
        shape = {"transport": "stdio", "headers": {}, "args": [], "env": {}, "stateful": False, "updated_at": 0.0, **at}
        put(db, schema.Server, [{"id": s, "name": s, **shape} for s in SERVERS])
        put(db, schema.Project, [{"id": p, "name": p, "tool_names": "prefixed", "updated_at": 0.0, **at} for p in PROJECTS])
        attached = [{"project_id": p, "server_id": s, "position": 0} for p, servers in PROJECTS.items() for s in servers]
        put(db, schema.Attachment, attached)
        put(db, schema.Token, list(self.tokens))
        secrets = [{"sha": token["sha"], "token_id": token["id"], **at} for token in self.tokens]
        put(db, schema.TokenSecret, secrets)
        columns = [dict(zip(("v0", "v1", "v2", "v3", "v4", "v5"), rule, strict=True)) | {"ptype": "p"} for rule in self.stored]
        put(db, schema.PolicyRow, columns)


def put(db: Db, table: type[schema.Base], rows: list[dict[str, Any]]) -> None:
    if rows:
        db.execute(insert(table), rows)


def lines(origin: str) -> st.SearchStrategy[tuple[Rule, ...]]:
    one = st.builds(
        lambda who, role, where, effect, number: Rule(who, role, where[0], where[1], effect, f"{origin}{number}"),
        st.sampled_from(EVERYBODY),
        st.sampled_from(ROLES),
        st.sampled_from(LINES),
        st.sampled_from(["allow", "allow", "allow", "deny"]),
        st.integers(1, 3),
    )
    return st.lists(one, max_size=12, unique=True).map(tuple)


def tokens() -> st.SearchStrategy[tuple[dict[str, Any], ...]]:
    def token(name: str) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries(
            {
                "id": st.just(f"T{name}"),
                "name": st.just(name),
                "sha": st.just(sha_of(secret(name))),
                "rbac_mode": st.just("empty"),
                "description": st.just(""),
                "created_at": st.just(0.0),
                "owner_id": st.sampled_from(USERS),
                "project_id": st.sampled_from(sorted(PROJECTS)),
                "expires_at": st.sampled_from([None, None, NOW - 1, 9e9]),
                "revoked_at": st.sampled_from([None, None, None, 1.0]),
            }
        )

    return st.tuples(*(token(name) for name in TOKENS))


PAIRS = st.frozensets(st.tuples(st.sampled_from(USERS), st.sampled_from(GROUPS)), max_size=4)
NOT_ALL = st.frozensets(st.sampled_from(USERS), max_size=1)
WORLDS = st.builds(World, NOT_ALL, PAIRS, PAIRS, tokens(), lines("rbac:r"), lines("a.csv:"))
FEWER = settings(max_examples=settings().max_examples // 10, suppress_health_check=list(HealthCheck), deadline=None)
"""Each example fills a database and asks about everybody and everything."""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = Database(database_url)
    yield found
    found.close()


def enforced(db: Db, policy: PolicyFiles, subject: str, atom: tuple[str, str, str]) -> bool:
    """What happens to whoever comes with the bearer of ``subject`` and does this."""
    try:
        return bool(decide(authenticate(db, policy, BEARERS[subject]).authority, *atom))
    except NotAuthenticated:
        return False


@FEWER
@given(world=WORLDS)
def test_who_can_and_can_i_and_what_is_enforced_are_one_answer(world: World, database: Database) -> None:
    policy = world.policy
    with database.write() as transaction:
        db = transaction.session
        world.put(db)
        asker = authenticate_somebody(db, policy, world)
        known = Known(db, policy, asker, [one for one in EVERYBODY if one != asker.subject], NOW)
        for atom in ATOMS:
            can_i = {subject: known.decide(subject, *atom) for subject in EVERYBODY}
            able = {one.decision.subject: one.decision for one in answers.who_can(db, policy, atom, NOW)}
            assert {subject for subject, decision in can_i.items() if decision} == set(able), atom
            assert all(can_i[subject].rule == decision.rule for subject, decision in able.items()), atom
            acting = {subject for subject in BEARERS if enforced(db, policy, subject, atom)}
            assert acting == {subject for subject in able if subject in BEARERS}, atom
        db.rollback()


def authenticate_somebody(db: Db, policy: PolicyFiles, world: World) -> Any:
    somebody = next(user for user in USERS if user not in world.disabled)
    return authenticate(db, policy, session(somebody))


@FEWER
@given(world=WORLDS)
def test_read_together_everybody_is_what_they_are_read_alone(world: World, database: Database) -> None:
    policy = world.policy
    with database.write() as transaction:
        db = transaction.session
        world.put(db)
        together = {one.authority.subject: one.authority for one in everybody.somebodies(db, policy, NOW, only=EVERYBODY)}
        for subject in EVERYBODY:
            try:
                alone = authorities.subject_authority(db, policy, subject, NOW)
            except Exception:
                assert subject not in together
                continue
            same = together[subject]
            assert alone.own.rules == same.own.rules
            assert alone.own.groups == same.own.groups
            assert (alone.owner and alone.owner.rules) == (same.owner and same.owner.rules)
            assert (alone.project, alone.attached, alone.expires_at) == (same.project, same.attached, same.expires_at)
            assert (alone.revision, alone.topics) == (same.revision, same.topics)
            for action, resource, name in ATOMS:
                decision = decide(alone, action, resource, name)
                assert could(alone, action, resource) or not decision
                spoken = alone.own.matching(action, resource, name)
                first = next((leg.rule for leg in decision.legs if leg.kind in ("user", "token")), None)
                assert first is None or first in spoken
        db.rollback()
