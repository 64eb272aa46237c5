"""The ceiling at the doors through which rights are given other than by a binding of one's own choice.

Joining a group gives the group's bindings; resetting a password, opening a session or rotating a token gives all that the
other may do; losing a deny gives what it denied. Each is put as bindings here, and ``Work`` asks.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select

from mcpctl.policy.bindings import Binding
from mcpctl.policy.slices import Slice
from mcpctl.services import authorities
from mcpctl.services.authorities import allowed_bindings, denied_bindings
from mcpctl.services.work import Work
from mcpctl.store.schema import Group, Membership, Token, User


def require_all_of_user(work: Work, user: User, doing: str) -> None:
    """Go on only if the actor holds everything ``user`` may do (doors 5 and 9).

    Raises:
        CeilingExceeded: it does not.
    """
    work.require_as_much_as(user.subject, allowed_bindings(authorities.user_slice(work.db, work.policy, user)), doing)


def require_joining(work: Work, group: Group, users: Iterable[User], doing: str) -> None:
    """Go on only if the actor may put ``users`` into ``group`` (door 3).

    Raises:
        CeilingExceeded: it does not hold what the group gives, or what the group denies, or somebody the group's denies
            would hit holds more than the actor.
    """
    own = authorities.slice_of(work.db, work.policy, group.subject)
    work.require_as_much_as(group.subject, allowed_bindings(own), doing)
    if denied := denied_bindings(own):
        work.require_as_much_as(group.subject, denied, doing)
        _require_stronger_than(work, (authorities.user_slice(work.db, work.policy, user) for user in users), doing)


def require_leaving(work: Work, group: Group, doing: str) -> None:
    """Go on only if the actor holds what the group denies: leaving it gives that back (door 4).

    Raises:
        CeilingExceeded: it does not.
    """
    denied = denied_bindings(authorities.slice_of(work.db, work.policy, group.subject))
    work.require_as_much_as(group.subject, denied, doing)


def require_denying(work: Work, denies: list[Binding], hit: Iterable[Slice], doing: str) -> None:
    """Go on only if the actor holds the denied set and everything that those the denies hit hold (door 4).

    Raises:
        CeilingExceeded: it does not; nobody binds somebody stronger.
    """
    if denies:
        work.require_holding(denies, doing)
        _require_stronger_than(work, hit, doing)


def _require_stronger_than(work: Work, hit: Iterable[Slice], doing: str) -> None:
    for each in hit:
        work.require_as_much_as(each.subject, allowed_bindings(each), f"{doing}, which denies {each.subject} something,")


def slices_hit_by(work: Work, subject: str) -> list[Slice]:
    """Everybody that a deny on ``subject`` hits: itself, and the members of a group."""
    kind, _, name = subject.partition(":")
    if kind == "User":
        user = work.db.scalars(select(User).where(User.name == name)).one()
        return [authorities.user_slice(work.db, work.policy, user)]
    if kind == "McpToken":
        token = work.db.scalars(select(Token).where(Token.sha == name)).one()
        return [authorities.slice_of(work.db, work.policy, token.subject)]
    members = (
        select(User)
        .join(Membership, Membership.user_id == User.id)
        .join(Group, Group.id == Membership.group_id)
        .where(Group.name == name)
    )
    by_file = [m.user.removeprefix("User:") for m in work.policy.memberships if m.group == subject]
    users = [*work.db.scalars(members), *work.db.scalars(select(User).where(User.name.in_(by_file)))]
    return [
        authorities.slice_of(work.db, work.policy, subject),
        *(authorities.user_slice(work.db, work.policy, user) for user in users),
    ]
