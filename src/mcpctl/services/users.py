"""Users: making, changing, deleting."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

from sqlalchemy import delete, select
from sqlalchemy.orm import Session as Db

from mcpctl.errors import Duplicate, FieldError, Forbidden, InvalidInput, NotFound, ReadOnly, WrongPassword
from mcpctl.policy.files import PolicyFiles
from mcpctl.services import authorities, giving, last_admin, passwords, subjects
from mcpctl.services.work import Work
from mcpctl.store.schema import Membership, Session, Token, User
from mcpctl.wire import people as wire


def find(db: Db, key: str) -> User:
    """The user of this id or name.

    Raises:
        NotFound: there is none.
    """
    user = db.scalars(select(User).where((User.id == key) | (User.name == key))).one_or_none()
    if user is None:
        raise NotFound(f"there is no user {key!r}")
    return user


def shown(db: Db, policy: PolicyFiles, user: User) -> wire.User:
    """The user as it crosses the wire."""
    return wire.User(
        id=user.id,
        name=user.name,
        service=user.service,
        disabled=user.disabled,
        groups=authorities.groups_of(db, policy, user),
        created_at=datetime.fromtimestamp(user.created_at, UTC),
    )


def create(work: Work, new: wire.NewUser, hashed: str | None = None) -> User:
    """Make a user, who is given nothing but what policy files already say of that name.

    Args:
        work: whose, and in which transaction.
        new: what to make.
        hashed: the hash of its password if that was made before, when nobody was waiting.

    Raises:
        CeilingExceeded: files give that name more than the actor holds (door 10).
        Duplicate, InvalidInput: the name is taken; the password is missing or not wanted.
    """
    if new.service and new.password is not None:
        _refuse("password", "a service user has no password: leave it out, and open sessions for it")
    if not new.service and new.password is None:
        _refuse("password", "a person needs one; for a program set service to true")
    if work.db.scalars(select(User.id).where(User.name == new.name)).first():
        raise Duplicate(f"there is a user {new.name!r} already")
    user = User(name=new.name, service=new.service, disabled=False, created_at=work.now)
    if new.password is not None:
        user.password_hash = hashed or passwords.hash_password(new.password)
    work.db.add(user)
    work.db.flush()
    # A database line for that name would be a leftover, and there are none: deleting a subject deletes its lines.
    given = authorities.allowed_bindings(authorities.user_slice(work.db, work.policy, user))
    work.require_as_much_as(user.subject, given, f"creating {user.subject}, whom policy files name,")
    work.touch(user.subject)
    work.record("create", "users", user.name, service=new.service)
    return user


@dataclass(frozen=True)
class PreparedPassword:
    """What takes long about setting a password: the new hash, and the kept hash that the old password was found to match."""

    hashed: str
    matched: str | None = None


def change(work: Work, user: User, patch: wire.UserPatch, prepared: PreparedPassword | None = None) -> User:
    """Disable, enable, or set a password.

    Raises:
        WrongPassword: one's own password needs the old one.
        Forbidden, CeilingExceeded: somebody else's needs ``edit`` and all that the other may do (door 5).
        LastAdmin: nobody would be left.
    """
    own = not work.actor.is_token and work.actor.user == user.name
    if patch.disabled is None and patch.password is None:
        _refuse("disabled", "nothing to change: give disabled or password")
    if patch.old_password is not None and patch.password is None:
        _refuse("oldPassword", "it goes together with password")
    if patch.password is not None:
        _set_password(work, user, patch, prepared, own=own)
    if patch.disabled is not None and patch.disabled != user.disabled:
        work.require("edit", "users", user.name)
        if not patch.disabled:
            giving.require_all_of_user(work, user, f"enabling {user.subject}")
        with last_admin.kept(work.db, work.policy):
            user.disabled = patch.disabled
        work.touch(user.subject)
        work.record("disable" if patch.disabled else "enable", "users", user.name)
    return user


def _set_password(work: Work, user: User, patch: wire.UserPatch, prepared: PreparedPassword | None, *, own: bool) -> None:
    if user.service:
        _refuse("password", "a service user has no password")
    if work.actor.is_token:
        raise Forbidden("a token never sets a password")
    if own:
        if patch.old_password is None:
            _refuse("oldPassword", "changing your own password needs the old one")
        if prepared is not None and prepared.matched is not None:
            right = prepared.matched == user.password_hash
        else:
            right = passwords.verify(patch.old_password, user.password_hash)
        if not right:
            raise WrongPassword("the old password is wrong")
    else:
        work.require("edit", "users", user.name)
        giving.require_all_of_user(work, user, f"setting the password of {user.subject}")
    assert patch.password is not None  # noqa: S101 - the caller has looked
    user.password_hash = prepared.hashed if prepared is not None else passwords.hash_password(patch.password)
    end_sessions(work, user)
    work.record("set-password", "users", user.name, own=own)


def end_sessions(work: Work, user: User) -> None:
    """End every session of a user."""
    ids = list(work.db.scalars(select(Session.id).where(Session.user_id == user.id)))
    work.db.execute(delete(Session).where(Session.user_id == user.id))
    work.touch(*(f"Session:{session_id}" for session_id in ids))


def remove(work: Work, user: User) -> None:
    """Delete a user and everything that hangs on it: sessions, memberships, tokens, and every policy line of all of these.

    Raises:
        ReadOnly: policy files name it; the sentence says where.
        LastAdmin: nobody would be left.
    """
    if named := work.policy.naming(user.subject):
        raise ReadOnly(f"policy files name {user.subject}: first take it out of {', '.join(named)}")
    with last_admin.kept(work.db, work.policy):
        tokens = list(work.db.scalars(select(Token).where(Token.owner_id == user.id)))
        for token in tokens:
            subjects.forget(work, token.subject)
            work.touch(f"Project:{token.project.name}")
        end_sessions(work, user)
        subjects.forget(work, user.subject)
        for token in tokens:
            work.db.delete(token)
        work.db.execute(delete(Membership).where(Membership.user_id == user.id))
        work.db.delete(user)
    work.record("delete", "users", user.name, tokens=[token.name for token in tokens])


def _refuse(field: str, message: str) -> NoReturn:
    raise InvalidInput(f"{field}: {message}", errors=[FieldError(field, message)])
