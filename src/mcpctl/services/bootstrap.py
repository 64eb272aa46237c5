"""First start: the user ``admin`` in the group ``admins``, and nothing more; policy files say what these may do."""

from __future__ import annotations

from time import time
from typing import Final

from sqlalchemy import func, select

from mcpctl.policy.files import PolicyFiles
from mcpctl.services import audit, passwords
from mcpctl.store import revisions
from mcpctl.store.database import Database
from mcpctl.store.schema import Group, Membership, User

ADMIN_NAME: Final = "admin"
GROUPS: Final = ("admins", "gateways")


def first_start(database: Database, password: str | None) -> str | None:
    """Make the first admin if there is no user at all; the password if one was generated for it.

    Of several processes that start at once exactly one makes it. Once any user exists this door is closed for good.

    Args:
        database: migrated.
        password: to be used instead of a generated one.
    """
    with database.write() as transaction:
        db = transaction.session
        if db.scalars(select(func.count()).select_from(User)).one() or transaction.revision > 1:
            return None
        chosen = password or passwords.generate()
        now = time()
        admin = User(
            name=ADMIN_NAME, password_hash=passwords.hash_password(chosen), service=False, disabled=False, created_at=now
        )
        groups = [Group(name=name, created_at=now) for name in GROUPS]
        db.add_all([admin, *groups])
        db.flush()
        db.add(Membership(group_id=groups[0].id, user_id=admin.id))
        db.add(audit.row(None, "create", "users", ADMIN_NAME, allowed=True, reason="first start", revision=1))
        transaction.touch(admin.subject, *(group.subject for group in groups))
    return None if password else chosen


def adopt_policy(database: Database, policy: PolicyFiles) -> None:
    """Make a revision if the policy files differ from those in force before; once for all replicas."""
    with database.write() as transaction:
        if revisions.adopt_files(transaction.session, policy.digest):
            transaction.touch(revisions.EVERYTHING)
            transaction.session.add(
                audit.row(
                    None,
                    "edit",
                    "policy",
                    "files",
                    allowed=True,
                    revision=transaction.revision,
                    details={"digest": policy.digest},
                )
            )
