"""The authorities of many subjects at once, from a few statements instead of a few for each.

What comes out is what ``authorities.subject_authority`` gives for each of them; ``tests/store/test_who_can.py`` holds the
two together. Disabled users, dead tokens and tokens of disabled owners are nobody, and nobody is given no authority.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from math import inf
from operator import itemgetter
from typing import Final, Literal, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session as Db

from mcpctl.policy import relevance
from mcpctl.policy.decision import Authority
from mcpctl.policy.files import PolicyFiles
from mcpctl.policy.names import parse_subject
from mcpctl.policy.relevance import Could
from mcpctl.policy.slices import Alike, Rule, Slice
from mcpctl.policy.vocabulary import ALLOW
from mcpctl.store import policy_rules, revisions
from mcpctl.store.policy_rules import Placed
from mcpctl.store.schema import Attachment, Group, Membership, Project, Server, Token, User

Kind = Literal["user", "group", "mcptoken"]
KINDS: Final[tuple[Kind, ...]] = ("user", "group", "mcptoken")


class Somebody(NamedTuple):
    """A subject that can be asked about: its kind, its name for people (of a token ``<project>/<token>``), its authority."""

    kind: Kind
    name: str
    owner: str | None
    authority: Authority


@dataclass
class _Lines:
    """The lines of everybody, and of each person the slice, which its tokens share."""

    policy: PolicyFiles
    stored: dict[str, list[Placed]]
    leave_out_empty: bool
    could: Could | None
    shapes: dict[tuple[tuple[str, ...], ...], Slice] = field(default_factory=dict)

    def slice_of(self, everyone: list[str]) -> Slice | None:
        """The slice of the first of ``everyone``, the others are its groups. ``None`` if no line allows anything."""
        filed = [line for one in everyone for line in self.policy.rules_of(one)]
        if self.could is not None:
            filed = [line for line in filed if self.could(line.role, line.res, line.name, line.eft)]
        placed = [line for one in everyone for line in self.stored.get(one, ())]
        placed.sort(key=itemgetter(0))
        rules: list[Rule] = [*filed, *(rule for _, rule in placed)]
        if self.leave_out_empty and not any(rule.eft == ALLOW for rule in rules):
            return None  # no model allows what no line allows (see mcpctl.policy.model)
        if self.could is None:
            return Slice(self.policy.model, self.policy.roles, everyone[0], everyone[1:], rules)
        shape = tuple(rule[1:5] for rule in rules)
        like = self.shapes.get(shape)
        if like is None:
            like = self.shapes[shape] = Slice(self.policy.model, self.policy.roles, everyone[0], everyone[1:], rules)
            return like
        return Alike(like, everyone[0], everyone[1:], rules)


def somebodies(
    db: Db,
    policy: PolicyFiles,
    now: float,
    kinds: Collection[Kind] = KINDS,
    only: Collection[str] | None = None,
    asked: Collection[tuple[str, str, str]] | None = None,
) -> Iterator[Somebody]:
    """Everybody of these kinds, by kind and name.

    Whoever has no allowing line is left out, unless it is looked for: nothing is ever allowed to it.

    Args:
        db: a snapshot.
        policy: the policy files in force.
        now: Unix seconds; a token that has ended by then is nobody.
        kinds: users, groups, tokens.
        only: subjects to look for, and none besides.
        asked: all they will be asked (action, resource, name); lines that cannot speak of any of it are left out then.
    """
    named = None if only is None else _Named.of(only)
    revision = revisions.current(db)
    tokens = _tokens(db, now, named) if "mcptoken" in kinds else []
    users = _users(db, named, {token.owner_id for token in tokens})
    groups = _groups_of_users(db, policy, users, everybody=named is None)
    could = None if asked is None else relevance.relevant(policy.model, policy.roles, asked)
    stored = policy_rules.by_subject(db, None if named is None else named.with_lines(users, groups), could)
    lines = _Lines(policy, stored, named is None, could)
    if "user" in kinds:
        for user in users.values():
            own = None if named is not None and user not in named.users else lines.slice_of([f"User:{user}", *groups[user]])
            if own is not None:
                topics = frozenset({own.subject, *own.groups})
                yield Somebody("user", user, None, Authority(own.subject, revision, own, topics=topics))
    if "group" in kinds:
        for group in _groups(db, named):
            own = lines.slice_of([f"Group:{group}"])
            if own is not None:
                yield Somebody("group", group, None, Authority(own.subject, revision, own, topics=frozenset({own.subject})))
    yield from _of_tokens(db, lines, tokens, users, groups, revision)


class _Named(NamedTuple):
    """Subjects that are looked for, by kind."""

    users: frozenset[str]
    groups: frozenset[str]
    shas: frozenset[str]

    @classmethod
    def of(cls, subjects: Collection[str]) -> _Named:
        parsed = [parse_subject(one) for one in subjects]
        return cls(*(frozenset(one.name for one in parsed if one.kind == kind) for kind in ("User", "Group", "McpToken")))

    def with_lines(self, users: dict[str, str], groups: dict[str, list[str]]) -> list[str]:
        """Whose lines decide about any of them."""
        of_groups = {f"Group:{name}" for name in self.groups} | {group for found in groups.values() for group in found}
        return [*(f"User:{user}" for user in users.values()), *(f"McpToken:{sha}" for sha in self.shas), *sorted(of_groups)]


def _users(db: Db, named: _Named | None, owners: set[str]) -> dict[str, str]:
    query = select(User.id, User.name).where(User.disabled.is_(False)).order_by(User.name)
    if named is not None:
        query = query.where(User.name.in_(named.users) | User.id.in_(owners))
    return {row.id: row.name for row in db.execute(query)}


def _groups(db: Db, named: _Named | None) -> Iterable[str]:
    query = select(Group.name).order_by(Group.name)
    return db.scalars(query if named is None else query.where(Group.name.in_(named.groups)))


def _groups_of_users(db: Db, policy: PolicyFiles, users: dict[str, str], *, everybody: bool) -> dict[str, list[str]]:
    """By user name: the groups of the database by name, then those that files add."""
    found = defaultdict[str, list[str]](list)
    members = select(Membership.user_id, Group.name).join(Group, Group.id == Membership.group_id).order_by(Group.name)
    for user_id, group in db.execute(members if everybody else members.where(Membership.user_id.in_(users))):
        if user_id in users:
            found[users[user_id]].append(f"Group:{group}")
    for user in users.values():
        if filed := policy.groups_of(f"User:{user}"):
            found[user] = list(dict.fromkeys([*found[user], *filed]))
    return found


class _Token(NamedTuple):
    """What is read of a live token."""

    sha: str
    name: str
    expires_at: float | None
    owner_id: str
    project_id: str
    project: str


def _tokens(db: Db, now: float, named: _Named | None) -> list[_Token]:
    live = (
        select(Token.sha, Token.name, Token.expires_at, Token.owner_id, Token.project_id, Project.name)
        .join(Project, Project.id == Token.project_id)
        .where(Token.revoked_at.is_(None), (Token.expires_at.is_(None)) | (Token.expires_at > now))
        .order_by(Project.name, Token.name)
    )
    rows = db.execute(live if named is None else live.where(Token.sha.in_(named.shas)))
    return [_Token(*row) for row in rows]


def _of_tokens(
    db: Db, lines: _Lines, tokens: list[_Token], users: dict[str, str], groups: dict[str, list[str]], revision: int
) -> Iterator[Somebody]:
    attached = defaultdict[str, set[str]](set)
    if tokens:
        for project_id, server in db.execute(
            select(Attachment.project_id, Server.name).join(Server, Server.id == Attachment.server_id)
        ):
            attached[project_id].add(server)
    owners: dict[str, Slice | None] = {}
    for token in tokens:
        user = users.get(token.owner_id)
        if user is None:
            continue
        own = lines.slice_of([f"McpToken:{token.sha}"])
        if user not in owners:
            owners[user] = lines.slice_of([f"User:{user}", *groups[user]])
        owner = owners[user]
        if own is None or owner is None:
            continue
        authority = Authority(
            own.subject,
            revision,
            own,
            owner=owner,
            project=token.project,
            attached=frozenset(attached[token.project_id]),
            expires_at=inf if token.expires_at is None else token.expires_at,
            topics=frozenset({own.subject, owner.subject, *owner.groups, f"Project:{token.project}"}),
        )
        yield Somebody("mcptoken", f"{token.project}/{token.name}", owner.subject, authority)
