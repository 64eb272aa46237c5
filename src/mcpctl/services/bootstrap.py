"""First start: the user ``admin`` in the group ``admins``, and nothing more; and policy files that come into force."""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import Final, NoReturn

from sqlalchemy import func, select
from sqlalchemy.orm import Session as Db

from mcpctl.errors import FieldError, InvalidPolicy
from mcpctl.policy.files import PolicyFiles
from mcpctl.policy.vocabulary import OPERATIONS
from mcpctl.services import audit, last_admin, passwords
from mcpctl.store import policy_rules, revisions
from mcpctl.store.database import Database, WriteTransaction
from mcpctl.store.schema import Group, Membership, User

ADMIN_NAME: Final = "admin"
GROUPS: Final = ("admins", "gateways")

MOST_FINDINGS: Final = 20
"""Findings of one edit that stand in the audit."""


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
    """At start: make a revision if the policy files differ from those in force before; once for all replicas.

    Raises:
        InvalidPolicy: lines in the database name roles that the files no longer define.
    """
    with database.write() as transaction:
        if revisions.adopt_files(transaction.session, policy.digest):
            _require_roles(transaction.session, policy)
            _put_in_force(transaction, policy)


def exchange_policy(database: Database, before: PolicyFiles, policy: PolicyFiles, publish: Callable[[], None]) -> None:
    """Put changed policy files in force while everybody is being served, in place of those ``before``.

    ``publish`` makes this process decide by them. It is called before the commit: once others can see the new revision, nobody
    here may build anything from the old files under it. There is a revision even if another replica has adopted the same
    files before: until now this one decided by older ones, and whoever asked it must ask again.

    Raises:
        InvalidPolicy: lines in the database name roles that the files no longer define, or by the files nobody would be left
            who is admin, which no call can bring about either.
    """
    with database.write() as transaction:
        db = transaction.session
        _require_roles(db, policy)
        if last_admin.exists(db, before) and not last_admin.exists(db, policy):
            _refuse("bindings", ["nobody enabled would be admin of everything: keep a line that makes somebody so"])
        revisions.adopt_files(transaction.session, policy.digest)
        _put_in_force(transaction, policy)
        transaction.session.flush()
        publish()


def _require_roles(db: Db, policy: PolicyFiles) -> None:
    """Go on only if every line in the database still means something: a role without actions is a deny without effect."""
    found = policy_rules.with_other_roles(db, {*policy.roles.names, *OPERATIONS}, MOST_FINDINGS)
    if found:
        said = "which no line defines: define it, or change that"
        _refuse("roles", [f"{origin} names the role {role!r}, {said}" for role, origin in found])


def _refuse(where: str, found: list[str]) -> NoReturn:
    raise InvalidPolicy("\n".join(found), errors=[FieldError(where, message) for message in found])


def _put_in_force(transaction: WriteTransaction, policy: PolicyFiles) -> None:
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


def refuse_policy(database: Database, findings: InvalidPolicy) -> None:
    """Write into the audit that changed policy files are not in force, and why."""
    with database.append() as db:
        shown = [f"{error.field}: {error.message}" for error in findings.errors[:MOST_FINDINGS]]
        row = audit.row(None, "edit", "policy", "files", allowed=False, outcome=findings.code, details={"findings": shown})
        row.reason = "the policy files have findings; the last good ones stay in force"
        db.add(row)
