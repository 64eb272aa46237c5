"""The policy revision: one number that every write that can change an answer advances, and what each step touched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from mcpctl.store.schema import Change, Revision

CHANNEL: Final = "mcpctl_revision"
"""The PostgreSQL channel that is notified in the writing transaction."""

KEPT: Final = 10_000
"""Revisions whose topics are remembered. Who was away for longer must assume that everything changed."""

EVERYTHING: Final = "*"


_CURRENT: Final = select(Revision.number).where(Revision.id == 1)
_FILES: Final = select(Revision.files_digest).where(Revision.id == 1)


class Step(NamedTuple):
    """How far the revision has come, and what was touched on the way."""

    number: int
    topics: frozenset[str]


def current(session: Session) -> int:
    """The revision in force in this transaction."""
    return session.scalars(_CURRENT).one()


def advance(session: Session, topics: Iterable[str], *, notify: bool) -> int:
    """Make the next revision, touching ``topics``; the caller holds the write lock and commits."""
    number = session.scalars(
        update(Revision).where(Revision.id == 1).values(number=Revision.number + 1).returning(Revision.number)
    ).one()
    session.add_all(Change(revision=number, topic=topic) for topic in sorted(set(topics)))
    session.flush()
    if number % 100 == 0:
        session.execute(delete(Change).where(Change.revision <= number - KEPT))
    if notify:
        session.execute(text("SELECT pg_notify(:channel, :number)"), {"channel": CHANNEL, "number": str(number)})
    return number


def since(session: Session, number: int) -> Step:
    """What happened after revision ``number``. A gap in what is remembered, or a step back, touches everything."""
    now = current(session)
    if now == number:
        return Step(now, frozenset())
    if now < number:
        return Step(now, frozenset({EVERYTHING}))
    rows = session.execute(select(Change.revision, Change.topic).where(Change.revision > number)).all()
    complete = {row.revision for row in rows} == set(range(number + 1, now + 1))
    return Step(now, frozenset(row.topic for row in rows) if complete else frozenset({EVERYTHING}))


def files_digest(session: Session) -> str:
    """The digest of the policy files in force, of whichever replica adopted some last; empty if none ever did."""
    return session.scalars(_FILES).one()


def adopt_files(session: Session, digest: str) -> bool:
    """Record that the policy files of this digest are in force; whether that is news (once for all replicas)."""
    row = session.get_one(Revision, 1)
    if row.files_digest == digest:
        return False
    row.files_digest = digest
    return True
