"""Routes: log-in, users, groups, sessions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from time import time
from typing import ParamSpec, TypeVar

import anyio
from anyio import to_thread
from sqlalchemy import select, tuple_
from starlette.requests import Request as HttpRequest

from mcpctl.api import naming
from mcpctl.api.control_plane import ControlPlane
from mcpctl.api.naming import ListQuery
from mcpctl.api.operations import Call, Decided, Filtered, Guarded, Operation, Unguarded
from mcpctl.errors import Forbidden, StoreUnavailable, WrongPassword
from mcpctl.policy.decision import decide
from mcpctl.services import audit, groups, passwords, sessions, users
from mcpctl.services.principals import Principal
from mcpctl.services.reading import Reading, page
from mcpctl.services.throttle import CHANNEL
from mcpctl.services.work import Work
from mcpctl.store.schema import Group, Session, User
from mcpctl.wire import people as wire
from mcpctl.wire.shapes import Page

Args = ParamSpec("Args")
Answer = TypeVar("Answer")


async def log_in(control: ControlPlane, _request: HttpRequest, call: Call) -> wire.LoggedIn:
    """A session for whoever knows the password; failures are slowed by source and account, and counted."""
    return await _slowed(control, call.source, call.body.username, _log_in, control, call)


async def _slowed(
    control: ControlPlane, source: str, username: str, check: Callable[Args, Answer], *args: Args.args, **_: Args.kwargs
) -> Answer:
    """What ``check`` gives, which looks at a password: the later, the more it failed for this source or account."""
    keys = (f"source:{source}", f"account:{username}")
    control.failed_logins.begin_waiting(source)
    try:
        await anyio.sleep(control.failed_logins.wait(*keys))
        return await to_thread.run_sync(partial(check, *args))
    except WrongPassword:
        control.failed_logins.failed(*keys)
        with suppress(StoreUnavailable):  # it is counted here in any case
            await to_thread.run_sync(control.database.tell_others, CHANNEL, control.failed_logins.telling(*keys))
        raise
    finally:
        control.failed_logins.end_waiting(source)


def _log_in(control: ControlPlane, call: Call) -> wire.LoggedIn:
    username = call.body.username
    with control.database.read() as db:
        kept = sessions.password_hash_of(db, username)
    sessions.verify(call.body.password, kept)
    assert kept is not None  # noqa: S101 - verify refuses without a hash
    with control.database.write() as transaction:
        opened = sessions.open_for_login(transaction, username, kept, time(), control.session_seconds)
        row = audit.row(
            None, "login", "sessions", username, allowed=True, source=call.source, request_id=call.request_id,
            revision=transaction.revision, details={"session": opened.id},
        )  # fmt: skip
        row.subject, row.user = f"User:{username}", username
        transaction.session.add(row)
        return opened


def log_out(work: Work, _call: Call) -> None:
    """End the session this was called with."""
    if work.actor.is_token:
        raise Forbidden("a token is revoked, not logged out: mcpctl revoke mcptoken NAME")
    sessions.remove(work, sessions.find(work.db, work.actor.credential_id))


def who_am_i(principal: Principal, _call: Call) -> wire.WhoAmI:
    """The principal behind the bearer."""
    authority = principal.authority
    person = authority.owner or authority.own
    return wire.WhoAmI(
        subject=principal.subject,
        kind="mcptoken" if principal.is_token else "session",
        user=principal.user,
        groups=sorted(person.groups),
        project=principal.project,
        token_name=principal.token_name,
        token_sha=principal.token_sha,
        bindings=[str(binding) for binding in dict.fromkeys(rule.binding for rule in authority.own.rules)],
        expires_at=None if principal.expires_at is None else datetime.fromtimestamp(principal.expires_at, UTC),
        revision=authority.revision,
    )


def list_users(reading: Reading, call: Call) -> Page[wire.User]:
    """The users the asker may view."""
    return page(
        reading,
        "users",
        lambda after, limit: reading.db.scalars(select(User).where(User.name > after).order_by(User.name).limit(limit)).all(),
        lambda user: user.name,
        lambda user: users.shown(reading.db, reading.policy, user),
        limit=call.query.limit,
        cursor=call.query.cursor,
    )


def list_groups(reading: Reading, call: Call) -> Page[wire.Group]:
    """The groups the asker may view."""
    return page(
        reading,
        "groups",
        lambda after, limit: reading.db.scalars(
            select(Group).where(Group.name > after).order_by(Group.name).limit(limit)
        ).all(),
        lambda group: group.name,
        lambda group: groups.shown(reading.db, group),
        limit=call.query.limit,
        cursor=call.query.cursor,
    )


def list_sessions(reading: Reading, call: Call) -> Page[wire.Session]:
    """The sessions of the users whose sessions the asker may view, by user."""
    live = select(Session).join(User).where((Session.expires_at.is_(None)) | (Session.expires_at > reading.now))

    def after(name: str, limit: int) -> list[Session]:
        user, _, session_id = name.partition("/")
        rows = live.where(tuple_(User.name, Session.id) > (user, session_id)).order_by(User.name, Session.id)
        return list(reading.db.scalars(rows.limit(limit)))

    return page(
        reading,
        "sessions",
        after,
        lambda row: f"{row.user.name}/{row.id}",
        sessions.shown,
        limit=call.query.limit,
        cursor=call.query.cursor,
    )


async def hash_new_password(_control: ControlPlane, principal: Principal, call: Call) -> str | None:
    """Hashing takes long, so it is done before the transaction, for whoever may then create the user."""
    if call.body.password is None or not decide(principal.authority, "create", "users", call.body.name):
        return None
    return await to_thread.run_sync(passwords.hash_password, call.body.password)


def create_user(work: Work, call: Call) -> wire.User:
    return users.shown(work.db, work.policy, users.create(work, call.body, call.prepared))


async def prepare_password(control: ControlPlane, principal: Principal, call: Call) -> users.PreparedPassword | None:
    """Check the old password and hash the new one before the transaction. Guesses are slowed as at the log-in."""
    body: wire.UserPatch = call.body
    name = await to_thread.run_sync(_user_in_path, control, call)
    own = not principal.is_token and name == principal.user
    if body.password is None or name is None or not (own or decide(principal.authority, "edit", "users", name)):
        return None
    if not own:
        return users.PreparedPassword(await to_thread.run_sync(passwords.hash_password, body.password))
    if body.old_password is None:
        return None
    matched = await _slowed(control, call.source, name, _matching_hash, control, name, body.old_password)
    return users.PreparedPassword(await to_thread.run_sync(passwords.hash_password, body.password), matched)


def _user_in_path(control: ControlPlane, call: Call) -> str | None:
    with control.database.read() as db:
        return _user(db, call)


def _matching_hash(control: ControlPlane, username: str, password: str) -> str | None:
    with control.database.read() as db:
        kept = sessions.password_hash_of(db, username)
    if not passwords.verify(password, kept):
        raise WrongPassword("the old password is wrong")
    return kept


def change_user(work: Work, call: Call) -> wire.User:
    name = _user(work.db, call)
    if work.actor.is_token or work.actor.user != name:
        work.require("edit", "users", name or "*")
    user = users.find(work.db, call.params["id"])
    return users.shown(work.db, work.policy, users.change(work, user, call.body, call.prepared))


def create_group(work: Work, call: Call) -> wire.Group:
    return groups.shown(work.db, groups.create(work, call.body))


def set_members(work: Work, call: Call) -> wire.Group:
    return groups.shown(work.db, groups.set_members(work, groups.find(work.db, call.params["id"]), call.body.members))


def add_member(work: Work, call: Call) -> wire.Group:
    group, user = groups.find(work.db, call.params["id"]), users.find(work.db, call.params["user"])
    return groups.shown(work.db, groups.add_member(work, group, user))


def remove_member(work: Work, call: Call) -> wire.Group:
    group, user = groups.find(work.db, call.params["id"]), users.find(work.db, call.params["user"])
    return groups.shown(work.db, groups.remove_member(work, group, user))


_user = naming.by_id_or_name(User, "users")
_group = naming.by_id_or_name(Group, "groups")
_V = "/api/v1"

OPERATIONS = (
    Operation(
        "POST", f"{_V}/auth/login", Unguarded("whoever logs in is not known yet"), "raw", log_in,
        "Log in", wire.LoggedIn, body=wire.Login, tags=("sessions",), errors=(401, 429),
    ),
    Operation(
        "GET", f"{_V}/auth/whoami", Decided("everybody may know who they are"), "memory", who_am_i,
        "Who is asking", wire.WhoAmI, tags=("sessions",),
    ),
    Operation(
        "POST", f"{_V}/auth/logout", Decided("everybody may end their own session"), "write", log_out,
        "End this session", status=204, tags=("sessions",),
    ),
    Operation("GET", f"{_V}/users", Filtered("users"), "read", list_users, "List users", Page[wire.User], query=ListQuery, tags=("users",)),
    Operation(
        "POST", f"{_V}/users", Guarded("create", "users", naming.body_name), "write", create_user,
        "Create a user", wire.User, body=wire.NewUser, status=201, tags=("users",), errors=(409,), prepare=hash_new_password,
    ),
    Operation(
        "GET", f"{_V}/users/{{id}}", Guarded("view", "users", _user), "read",
        lambda reading, call: users.shown(reading.db, reading.policy, users.find(reading.db, call.params["id"])),
        "Describe a user", wire.User, tags=("users",),
    ),
    Operation(
        "PATCH", f"{_V}/users/{{id}}", Decided("one's own password needs the old one, all else edit on users"), "write", change_user,
        "Disable, enable, or set a password", wire.User, body=wire.UserPatch, tags=("users",), errors=(409,),
        prepare=prepare_password,
    ),
    Operation(
        "DELETE", f"{_V}/users/{{id}}", Guarded("delete", "users", _user), "write",
        lambda work, call: users.remove(work, users.find(work.db, call.params["id"])),
        "Delete a user and all that hangs on it", status=204, tags=("users",), errors=(409,),
    ),
    Operation("GET", f"{_V}/groups", Filtered("groups"), "read", list_groups, "List groups", Page[wire.Group], query=ListQuery, tags=("groups",)),
    Operation(
        "POST", f"{_V}/groups", Guarded("create", "groups", naming.body_name), "write", create_group,
        "Create a group", wire.Group, body=wire.NewGroup, status=201, tags=("groups",), errors=(409,),
    ),
    Operation(
        "GET", f"{_V}/groups/{{id}}", Guarded("view", "groups", _group), "read",
        lambda reading, call: groups.shown(reading.db, groups.find(reading.db, call.params["id"])),
        "Describe a group", wire.Group, tags=("groups",),
    ),
    Operation(
        "PUT", f"{_V}/groups/{{id}}", Guarded("edit", "groups", _group), "write", set_members,
        "Say who is in the group", wire.Group, body=wire.GroupMembers, tags=("groups",), errors=(409,),
    ),
    Operation(
        "DELETE", f"{_V}/groups/{{id}}", Guarded("delete", "groups", _group), "write",
        lambda work, call: groups.remove(work, groups.find(work.db, call.params["id"])),
        "Delete a group", status=204, tags=("groups",), errors=(409,),
    ),
    Operation(
        "PUT", f"{_V}/groups/{{id}}/members/{{user}}", Guarded("edit", "groups", _group), "write", add_member,
        "Put a user into the group", wire.Group, tags=("groups",), errors=(409,),
    ),
    Operation(
        "DELETE", f"{_V}/groups/{{id}}/members/{{user}}", Guarded("edit", "groups", _group), "write", remove_member,
        "Take a user out of the group", wire.Group, tags=("groups",), errors=(409,),
    ),
    Operation(
        "GET", f"{_V}/sessions", Filtered("sessions"), "read", list_sessions,
        "List sessions", Page[wire.Session], query=ListQuery, tags=("sessions",),
    ),
    Operation(
        "POST", f"{_V}/sessions", Guarded("create", "sessions", naming.body_user), "write",
        lambda work, call: sessions.open_for_service(work, call.body),
        "Open a session for a service user", wire.LoggedIn, body=wire.NewSession, status=201, tags=("sessions",),
    ),
    Operation(
        "DELETE", f"{_V}/sessions/{{id}}", Guarded("delete", "sessions", naming.session_user), "write",
        lambda work, call: sessions.remove(work, sessions.find(work.db, call.params["id"])),
        "End a session", status=204, tags=("sessions",),
    ),
)  # fmt: skip
"""Everything about people."""
