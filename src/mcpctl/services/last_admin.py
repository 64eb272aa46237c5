"""The last enabled admin can be neither disabled, deleted, denied nor removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session as Db

from mcpctl.errors import LastAdmin
from mcpctl.policy.decision import decide
from mcpctl.policy.files import PolicyFiles
from mcpctl.policy.vocabulary import ADMIN, ANY
from mcpctl.services.authorities import user_authority
from mcpctl.store import policy_rules
from mcpctl.store.schema import Group, Membership, User

_BEING_KEPT: Final = "an admin is being kept"


@contextmanager
def kept(db: Db, policy: PolicyFiles) -> Iterator[None]:
    """Whatever is done inside must leave an enabled person who is admin without any deny, if there was one before.

    The refusal rolls back what was done. Where nobody is such an admin to begin with (policy files can say so), nothing is
    refused here, or nobody could ever repair anything. Of blocks within one another the outermost looks, so a batch is looked
    at once, and may make one admin of another in any order.

    Raises:
        LastAdmin: nobody would be left.
    """
    if db.info.get(_BEING_KEPT):
        yield
        db.flush()
        return
    before, db.info[_BEING_KEPT] = exists(db, policy), True
    try:
        yield
        db.flush()
        if before and not exists(db, policy):
            raise LastAdmin("somebody enabled must stay admin of everything: make another admin first")
    finally:
        del db.info[_BEING_KEPT]


def exists(db: Db, policy: PolicyFiles) -> bool:
    """Whether an enabled person is admin of everything, without any deny."""
    file_rules = (rule for rule in policy.rules if rule.role == ADMIN and rule.res == ANY)
    givers = {rule.sub for rule in (*file_rules, *policy_rules.with_role(db, ADMIN, ANY)) if not rule.binding.denies}
    return any(_is_admin(db, policy, user) for user in _people(db, policy, givers))


def _people(db: Db, policy: PolicyFiles, subjects: set[str]) -> list[User]:
    """The enabled people behind users and groups. A service user cannot log in, so it does not count."""
    users = {subject.removeprefix("User:") for subject in subjects if subject.startswith("User:")}
    groups = {subject.removeprefix("Group:") for subject in subjects if subject.startswith("Group:")}
    users |= {m.user.removeprefix("User:") for m in policy.memberships if m.group.removeprefix("Group:") in groups}
    members = select(Membership.user_id).join(Group, Group.id == Membership.group_id).where(Group.name.in_(groups))
    query = select(User).where(User.disabled.is_(False), User.service.is_(False))
    return list(db.scalars(query.where(User.name.in_(users) | User.id.in_(members))))


def _is_admin(db: Db, policy: PolicyFiles, user: User) -> bool:
    return bool(decide(user_authority(db, policy, user), ADMIN, ANY, ANY))
