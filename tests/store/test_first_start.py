"""The first start makes one admin, and that door is closed afterwards for good."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import delete, select

from mcpctl.policy import files
from mcpctl.services import bootstrap, passwords
from mcpctl.shipped import shipped
from mcpctl.store import revisions
from mcpctl.store.database import Database
from mcpctl.store.schema import AuditRow, Group, Membership, User
from tests.store.processes import three_at_once
from tests.store.rows import dump

IMPORTS = """
from pathlib import Path
from mcpctl.api.control_plane import ControlPlane
from mcpctl.store.database import Database
"""


def test_of_three_processes_that_start_at_once_one_makes_the_admin(database: Database, database_url: str) -> None:
    """authz d23: concurrent first starts make one admin, and one password."""
    start = "print(ControlPlane.prepare(Database(sys.argv[1]), Path(sys.argv[2]))[1] or '')"
    generated = [said for said in three_at_once(IMPORTS, start, database_url, str(shipped("policies"))) if said]
    assert 1 == len(generated)
    with database.read() as session:
        name, kept = session.execute(select(User.name, User.password_hash)).one()
        groups = sorted(session.scalars(select(Group.name)))
        members = session.scalars(select(Group.name).join(Membership, Membership.group_id == Group.id)).all()
        audited = sorted(session.scalars(select(AuditRow.resource)))
    assert passwords.verify(generated[0], kept)
    assert ("admin", ["admins", "gateways"], ["admins"], ["policy", "users"]) == (name, groups, members, audited)


def test_once_anybody_was_made_the_first_start_makes_nobody(database: Database) -> None:
    """authz d23: not even after every user was deleted by hand."""
    assert "a password" != bootstrap.first_start(database, None) is not None
    assert bootstrap.first_start(database, None) is None
    with database.append() as session:
        session.execute(delete(Membership))
        session.execute(delete(User))
    before = dump(database)
    assert bootstrap.first_start(database, "a chosen password") is None
    assert before == dump(database)


def test_a_chosen_password_is_the_one_and_is_not_given_back(database: Database) -> None:
    assert bootstrap.first_start(database, "a chosen password") is None
    with database.read() as session:
        assert passwords.verify("a chosen password", session.scalars(select(User.password_hash)).one())
    assert "a chosen password" not in str(dump(database))


def test_adopting_the_same_files_twice_makes_one_revision(database: Database, other: Database) -> None:
    policy = files.read(Path(shipped("policies")))
    for replica in (database, other, database):
        bootstrap.adopt_policy(replica, policy)
    with database.read() as session:
        assert revisions.Step(2, frozenset({revisions.EVERYTHING})) == revisions.since(session, 1)
