"""Building an ``Authority``: reading, in one transaction, everything that decides about one principal."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Final, NamedTuple

from sqlalchemy import bindparam, literal, select, union_all
from sqlalchemy.orm import Session as Db

from mcpctl.errors import NotFound
from mcpctl.policy.bindings import Binding
from mcpctl.policy.decision import Authority
from mcpctl.policy.files import PolicyFiles
from mcpctl.policy.names import parse_subject
from mcpctl.policy.slices import Rule, Slice
from mcpctl.store import policy_rules, revisions
from mcpctl.store.schema import Attachment, Group, Membership, Project, Revision, Server, Token, User

# Put together once: for a statement this small that takes SQLAlchemy longer than the database takes to answer it. One
# statement instead of three, because to PostgreSQL each is a round trip.
_AROUND: Final = union_all(
    select(literal("group"), Group.name, literal(0))
    .join(Membership, Membership.group_id == Group.id)
    .where(Membership.user_id == bindparam("user")),
    select(literal("server"), Server.name, Attachment.position)
    .join(Attachment, Attachment.server_id == Server.id)
    .where(Attachment.project_id == bindparam("project")),
    select(literal("revision"), literal(""), Revision.number).where(Revision.id == 1),
)
_ATTACHED: Final = (
    select(Server.name)
    .join(Attachment, Attachment.server_id == Server.id)
    .where(Attachment.project_id == bindparam("project"))
    .order_by(Attachment.position, Server.name)
)


class _Around(NamedTuple):
    """What an authority is built from besides lines."""

    groups: list[str]
    attached: frozenset[str]
    revision: int


def _around(db: Db, policy: PolicyFiles, user: User, project: Project | None = None) -> _Around:
    rows = db.execute(_AROUND, {"user": user.id, "project": project.id if project is not None else ""}).all()
    stored = sorted(f"Group:{name}" for kind, name, _ in rows if kind == "group")
    return _Around(
        groups=list(dict.fromkeys([*stored, *policy.groups_of(user.subject)])),
        attached=frozenset(name for kind, name, _ in rows if kind == "server"),
        revision=next(number for kind, _, number in rows if kind == "revision"),
    )


def groups_of(db: Db, policy: PolicyFiles, user: User) -> list[str]:
    """The groups of a user, as ``Group:<name>``: those in the database, then those that policy files say."""
    return _around(db, policy, user).groups


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
    around = _around(db, policy, user)
    own = slice_of(db, policy, user.subject, around.groups)
    return Authority(
        subject=user.subject,
        revision=around.revision,
        own=own,
        expires_at=inf if expires_at is None else expires_at,
        topics=frozenset({user.subject, *own.groups, *topics}),
    )


def token_authority(db: Db, policy: PolicyFiles, token: Token, *, expires_at: float | None = None) -> Authority:
    """What a token may do now: its lines, its owner's, within its project. The caller has seen that both are live."""
    around = _around(db, policy, token.owner, token.project)
    owners = [token.owner.subject, *around.groups]
    stored = policy_rules.of_subjects(db, [token.subject, *owners])
    owner = _slice(policy, owners, stored)
    ends = [moment for moment in (token.expires_at, expires_at) if moment is not None]
    return Authority(
        subject=token.subject,
        revision=around.revision,
        own=_slice(policy, [token.subject], stored),
        owner=owner,
        project=token.project.name,
        attached=around.attached,
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
