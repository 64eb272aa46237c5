"""Building an ``Authority``: reading, in one transaction, everything that decides about one principal."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session as Db

from mcpctl.errors import NotFound
from mcpctl.policy.bindings import Binding
from mcpctl.policy.decision import Authority
from mcpctl.policy.files import PolicyFiles
from mcpctl.policy.names import parse_subject
from mcpctl.policy.slices import Rule, Slice
from mcpctl.store import policy_rules, revisions
from mcpctl.store.schema import Attachment, Group, Membership, Project, Server, Token, User

# Put together once: for a statement this small that takes SQLAlchemy longer than the database takes to answer it.
_GROUPS: Final = (
    select(Group.name)
    .join(Membership, Membership.group_id == Group.id)
    .where(Membership.user_id == bindparam("user"))
    .order_by(Group.name)
)
_ATTACHED: Final = (
    select(Server.name)
    .join(Attachment, Attachment.server_id == Server.id)
    .where(Attachment.project_id == bindparam("project"))
    .order_by(Attachment.position, Server.name)
)


def groups_of(db: Db, policy: PolicyFiles, user: User) -> list[str]:
    """The groups of a user, as ``Group:<name>``: those in the database, then those that policy files say."""
    stored = [f"Group:{name}" for name in db.scalars(_GROUPS, {"user": user.id})]
    return list(dict.fromkeys([*stored, *policy.groups_of(user.subject)]))


def slice_of(db: Db, policy: PolicyFiles, subject: str, groups: Iterable[str] = ()) -> Slice:
    """The lines of ``subject`` and ``groups``, of files and database, as one slice."""
    everyone = [subject, *groups]
    return _slice(policy, everyone, policy_rules.of_subjects(db, everyone))


def _slice(policy: PolicyFiles, everyone: list[str], stored: Iterable[Rule]) -> Slice:
    """The slice of the first of ``everyone``; the others are its groups, and ``stored`` may hold lines of more."""
    lines = [line for one in everyone for line in policy.rules_of(one)]
    lines += [line for line in stored if line.sub in everyone]
    return Slice(policy.model, policy.roles, everyone[0], everyone[1:], lines)


def user_slice(db: Db, policy: PolicyFiles, user: User) -> Slice:
    """What a user may do, groups included."""
    return slice_of(db, policy, user.subject, groups_of(db, policy, user))


def user_authority(
    db: Db, policy: PolicyFiles, user: User, *, expires_at: float | None = None, topics: Iterable[str] = ()
) -> Authority:
    """What a person may do now. The caller has seen that the user is enabled."""
    own = user_slice(db, policy, user)
    return Authority(
        subject=user.subject,
        revision=revisions.current(db),
        own=own,
        expires_at=inf if expires_at is None else expires_at,
        topics=frozenset({user.subject, *own.groups, *topics}),
    )


def token_authority(db: Db, policy: PolicyFiles, token: Token, *, expires_at: float | None = None) -> Authority:
    """What a token may do now: its lines, its owner's, within its project. The caller has seen that both are live."""
    owners = [token.owner.subject, *groups_of(db, policy, token.owner)]
    stored = policy_rules.of_subjects(db, [token.subject, *owners])
    owner = _slice(policy, owners, stored)
    ends = [moment for moment in (token.expires_at, expires_at) if moment is not None]
    return Authority(
        subject=token.subject,
        revision=revisions.current(db),
        own=_slice(policy, [token.subject], stored),
        owner=owner,
        project=token.project.name,
        attached=frozenset(attached_servers(db, token.project)),
        expires_at=min(ends, default=inf),
        topics=frozenset({token.subject, owner.subject, *owner.groups, f"Project:{token.project.name}"}),
    )


def subject_authority(db: Db, policy: PolicyFiles, subject: str, now: float) -> Authority:
    """What any subject may do now, a group's own lines included.

    Raises:
        NotFound: nobody enabled, unexpired and unrevoked is called that; an unknown subject never reaches Casbin.
    """
    parsed = parse_subject(subject)
    if parsed.kind == "User":
        user = db.scalars(select(User).where(User.name == parsed.name)).one_or_none()
        if user is not None and not user.disabled:
            return user_authority(db, policy, user)
    elif parsed.kind == "Group":
        group = db.scalars(select(Group).where(Group.name == parsed.name)).one_or_none()
        if group is not None:
            own = slice_of(db, policy, subject)
            return Authority(subject, revisions.current(db), own, topics=frozenset({subject}))
    else:
        token = db.scalars(select(Token).where(Token.sha == parsed.name)).one_or_none()
        if token is not None and is_live(token, now):
            return token_authority(db, policy, token)
    raise NotFound(f"{subject} is not known or not enabled")


def is_live(token: Token, now: float) -> bool:
    """Whether a token can authenticate at all: not revoked, not expired, its owner enabled."""
    return token.revoked_at is None and (token.expires_at is None or token.expires_at > now) and not token.owner.disabled


def attached_servers(db: Db, project: Project) -> list[str]:
    """The names of the servers attached to a project, in order."""
    return list(db.scalars(_ATTACHED, {"project": project.id}))


def allowed_bindings(part: Slice) -> list[Binding]:
    """What a slice's lines give."""
    return list(dict.fromkeys(rule.binding for rule in part.rules if not rule.binding.denies))


def denied_bindings(part: Slice) -> list[Binding]:
    """What a slice's lines deny."""
    return list(dict.fromkeys(rule.binding for rule in part.rules if rule.binding.denies))
