"""The revision: every step is known, and what is not known counts as everything."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, select, update

from mcpctl.store import revisions
from mcpctl.store.database import Database
from mcpctl.store.revisions import EVERYTHING, Step
from mcpctl.store.schema import Change, Revision


def touch(database: Database, *topics: str) -> None:
    with database.write() as transaction:
        transaction.touch(*topics)


def since(database: Database, number: int) -> Step:
    with database.read() as session:
        return revisions.since(session, number)


def test_what_was_touched_since_a_revision_is_all_of_it_and_nothing_before(database: Database) -> None:
    touch(database, "User:alice")
    touch(database, "User:bob", "Project:demo")
    touch(database, "User:bob")
    assert Step(4, frozenset({"User:alice", "User:bob", "Project:demo"})) == since(database, 1)
    assert Step(4, frozenset({"User:bob", "Project:demo"})) == since(database, 2)
    assert Step(4, frozenset({"User:bob"})) == since(database, 3)
    assert Step(4, frozenset()) == since(database, 4)


def test_a_gap_touches_everything(database: Database) -> None:
    for topic in ("a", "b", "c"):
        touch(database, topic)
    with database.append() as session:
        session.execute(delete(Change).where(Change.revision == 3))
    assert Step(4, frozenset({EVERYTHING})) == since(database, 1)
    assert Step(4, frozenset({EVERYTHING})) == since(database, 2)
    assert Step(4, frozenset({"c"})) == since(database, 3)


def test_a_step_back_touches_everything(database: Database) -> None:
    """A restored database: what was built from a later revision is of another history."""
    touch(database, "a")
    assert Step(2, frozenset({EVERYTHING})) == since(database, 7)


def test_who_was_away_for_longer_than_is_remembered_hears_that_everything_changed(database: Database) -> None:
    with database.append() as session:
        session.execute(update(Revision).values(number=revisions.KEPT + 198))
        session.add(Change(revision=5, topic="old"))
        session.add(Change(revision=revisions.KEPT + 198, topic="new"))
    touch(database, "newer")
    touch(database, "newest")
    with database.read() as session:
        kept = list(session.scalars(select(Change.topic).order_by(Change.revision)))
    assert ["new", "newer", "newest"] == kept
    assert Step(revisions.KEPT + 200, frozenset({EVERYTHING})) == since(database, 4)
    assert Step(revisions.KEPT + 200, frozenset({"newer", "newest"})) == since(database, revisions.KEPT + 198)


def test_a_topic_touched_twice_in_one_write_is_one_row(database: Database) -> None:
    touch(database, "a", "a", "b")
    with database.read() as session:
        assert [(2, "a"), (2, "b")] == [tuple(row) for row in session.execute(select(Change.revision, Change.topic))]


def test_policy_files_are_adopted_once_for_all_replicas(database: Database, other: Database) -> None:
    news = []
    for replica in (database, other, database):
        with replica.write() as transaction:
            news.append(revisions.adopt_files(transaction.session, "d" * 64))
    assert [True, False, False] == news


@pytest.mark.parametrize("topic", ["User:" + "a" * 126, "McpToken:" + "0" * 64, "Project:" + "a" * 63, "Server:" + "a" * 63])
def test_the_longest_topic_there_can_be_fits(database: Database, topic: str) -> None:
    touch(database, topic)
    assert Step(2, frozenset({topic})) == since(database, 1)
