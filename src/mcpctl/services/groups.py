"""Groups and who is in them. Joining gives the group's bindings, so it is guarded by the ceiling; so is leaving a deny."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session as Db

from mcpctl.errors import Duplicate, FieldError, InvalidInput, NotFound, ReadOnly
from mcpctl.services import authorities, giving, last_admin, subjects
from mcpctl.services.work import Work
from mcpctl.store.schema import Group, Membership, User
from mcpctl.wire import people as wire


def find(db: Db, key: str) -> Group:
    """The group of this id or name.

    Raises:
        NotFound: there is none.
    """
    group = db.scalars(select(Group).where((Group.id == key) | (Group.name == key))).one_or_none()
    if group is None:
        raise NotFound(f"there is no group {key!r}")
    return group


def shown(db: Db, group: Group) -> wire.Group:
    """The group as it crosses the wire."""
    return wire.Group(
        id=group.id,
        name=group.name,
        members=[user.subject for user in members(db, group)],
        created_at=datetime.fromtimestamp(group.created_at, UTC),
    )


def members(db: Db, group: Group) -> list[User]:
    """The users in a group, by name; those that only policy files put there not included."""
    query = select(User).join(Membership, Membership.user_id == User.id).where(Membership.group_id == group.id)
    return list(db.scalars(query.order_by(User.name)))


def create(work: Work, new: wire.NewGroup) -> Group:
    """Make a group with its first members.

    Raises:
        CeilingExceeded: policy files give that name more than the actor holds (door 10).
        Duplicate, InvalidInput: the name is taken; a member is not a user.
    """
    if work.db.scalars(select(Group.id).where(Group.name == new.name)).first():
        raise Duplicate(f"there is a group {new.name!r} already")
    group = Group(name=new.name, created_at=work.now)
    work.db.add(group)
    work.db.flush()
    given = authorities.allowed_bindings(authorities.slice_of(work.db, work.policy, group.subject))
    work.require_as_much_as(group.subject, given, f"creating {group.subject}, which policy files name,")
    work.touch(group.subject)
    work.record("create", "groups", group.name, members=new.members)
    _join(work, group, _users(work, new.members))
    return group


def set_members(work: Work, group: Group, wanted: list[str]) -> Group:
    """Make ``wanted`` the members.

    Raises:
        CeilingExceeded: the actor does not hold what joining gives, or what leaving gives back.
        LastAdmin: nobody would be left.
    """
    users = {user.id: user for user in _users(work, wanted)}
    present = {user.id: user for user in members(work.db, group)}
    joining = [user for user_id, user in users.items() if user_id not in present]
    leaving = [user for user_id, user in present.items() if user_id not in users]
    _join(work, group, joining)
    _leave(work, group, leaving)
    work.record("edit", "groups", group.name, joined=_names(joining), left=_names(leaving))
    return group


def add_member(work: Work, group: Group, user: User) -> Group:
    """Put one user in.

    Raises:
        CeilingExceeded: the actor does not hold what joining gives.
    """
    if user not in members(work.db, group):
        _join(work, group, [user])
        work.record("edit", "groups", group.name, joined=_names([user]), left=[])
    return group


def remove_member(work: Work, group: Group, user: User) -> Group:
    """Take one user out.

    Raises:
        NotFound: the user is not in it.
        ReadOnly: policy files put it there; the sentence says where.
        CeilingExceeded: the actor does not hold what leaving gives back.
        LastAdmin: nobody would be left.
    """
    if user not in members(work.db, group):
        if origin := work.policy.joined_by(user.subject, group.subject):
            raise ReadOnly(f"policy files put {user.subject} into {group.subject}: take it out of {origin}")
        raise NotFound(f"{user.subject} is not a member of the group {group.name!r}")
    _leave(work, group, [user])
    work.record("edit", "groups", group.name, joined=[], left=_names([user]))
    return group


def remove(work: Work, group: Group) -> None:
    """Delete a group, its memberships and its lines.

    Raises:
        ReadOnly: policy files name it; the sentence says where.
        CeilingExceeded: it carries a deny whose set the actor does not hold.
        LastAdmin: nobody would be left.
    """
    if named := work.policy.naming(group.subject):
        raise ReadOnly(f"policy files name {group.subject}: first take it out of {', '.join(named)}")
    _leave(work, group, members(work.db, group))
    with last_admin.kept(work.db, work.policy):
        subjects.forget(work, group.subject)
        work.db.delete(group)
    work.record("delete", "groups", group.name)


def _join(work: Work, group: Group, users: list[User]) -> None:
    if not users:
        return
    giving.require_joining(work, group, users, f"joining {group.subject}")
    with last_admin.kept(work.db, work.policy):  # the group may carry a deny
        work.db.add_all(Membership(group_id=group.id, user_id=user.id) for user in users)
    work.touch(*(user.subject for user in users))


def _leave(work: Work, group: Group, users: list[User]) -> None:
    if not users:
        return
    giving.require_leaving(work, group, f"leaving {group.subject}")
    with last_admin.kept(work.db, work.policy):
        gone = [user.id for user in users]
        work.db.execute(delete(Membership).where(Membership.group_id == group.id, Membership.user_id.in_(gone)))
    work.touch(*(user.subject for user in users))


def _users(work: Work, names: Iterable[str]) -> list[User]:
    found, errors = [], []
    for index, subject in enumerate(dict.fromkeys(names)):
        user = work.db.scalars(select(User).where(User.name == subject.removeprefix("User:"))).one_or_none()
        if user is None:
            errors.append(FieldError(f"members.{index}", f"there is no {subject}"))
        else:
            found.append(user)
    if errors:
        raise InvalidInput("; ".join(error.message for error in errors), errors=errors)
    return found


def _names(users: list[User]) -> list[str]:
    return [user.subject for user in users]
