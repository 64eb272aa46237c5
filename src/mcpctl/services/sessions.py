"""Sessions: log-ins of people, and credentials opened for service users."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session as Db

from mcpctl.errors import FieldError, InvalidInput, NotFound, WrongPassword
from mcpctl.services import giving, lifetimes, passwords
from mcpctl.services.token_secret import generate_session, hash_token
from mcpctl.services.work import Work
from mcpctl.store.database import WriteTransaction
from mcpctl.store.schema import Session, User
from mcpctl.wire import people as wire


def password_hash_of(db: Db, username: str) -> str | None:
    """The kept hash of somebody who may log in, or ``None``; whether it exists is nobody's business."""
    user = db.scalars(select(User).where(User.name == username)).one_or_none()
    return user.password_hash if user is not None and not user.disabled and not user.service else None


def open_for_login(transaction: WriteTransaction, username: str, kept_hash: str, now: float, ttl: float) -> wire.LoggedIn:
    """A session of ``ttl`` seconds for somebody whose password was just found right.

    Raises:
        WrongPassword: meanwhile the password changed, or the user was disabled or deleted.
    """
    db = transaction.session
    user = db.scalars(select(User).where(User.name == username)).one_or_none()
    if user is None or user.disabled or user.password_hash != kept_hash:
        raise WrongPassword("the user name or the password is wrong")
    db.execute(delete(Session).where(Session.user_id == user.id, Session.expires_at <= now))
    return _open(db, user, now, now + ttl)


def open_for_service(work: Work, new: wire.NewSession) -> wire.LoggedIn:
    """A session for a service user, its raw token once (door 9: the actor must hold all that the user may do).

    Raises:
        InvalidInput: there is no such user, it is a person, or ``ttl`` cannot be read.
        CeilingExceeded: the user may do what the actor may not.
    """
    user = work.db.scalars(select(User).where(User.name == new.user)).one_or_none()
    if user is None:
        raise InvalidInput(f"there is no user {new.user!r}", errors=[FieldError("user", f"there is no user {new.user!r}")])
    if not user.service:
        raise InvalidInput(
            f"{user.name} is a person and logs in with a password",
            errors=[FieldError("user", "sessions are opened for service users only")],
        )
    giving.require_all_of_user(work, user, f"opening a session for {user.subject}")
    opened = _open(work.db, user, work.now, lifetimes.expiry(new.ttl, work.now))
    work.record("create", "sessions", user.name, session=opened.id)
    return opened


def find(db: Db, key: str) -> Session:
    """The session of this id.

    Raises:
        NotFound: there is none.
    """
    session = db.get(Session, key)
    if session is None:
        raise NotFound(f"there is no session {key!r}")
    return session


def remove(work: Work, session: Session) -> None:
    """End a session now, everywhere."""
    work.touch(f"Session:{session.id}")
    work.record("delete", "sessions", session.user.name, session=session.id)
    work.db.delete(session)


def shown(session: Session) -> wire.Session:
    """The session as it crosses the wire; never its token."""
    return wire.Session(
        id=session.id,
        user=session.user.name,
        created_at=datetime.fromtimestamp(session.created_at, UTC),
        expires_at=_time(session.expires_at),
        last_used_at=_time(session.last_used_at),
    )


def _open(db: Db, user: User, now: float, expires_at: float | None) -> wire.LoggedIn:
    raw = generate_session()
    session = Session(user_id=user.id, sha=hash_token(raw), created_at=now, expires_at=expires_at)
    db.add(session)
    db.flush()
    return wire.LoggedIn(token=raw, id=session.id, user=user.name, expires_at=_time(expires_at))


def verify(password: str, kept_hash: str | None) -> None:
    """Go on only if the password is right; takes the same time whether or not there is such a user.

    Raises:
        WrongPassword: it is not.
    """
    if not passwords.verify(password, kept_hash):
        raise WrongPassword("the user name or the password is wrong")


def _time(moment: float | None) -> datetime | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC)
