"""What a call is about, in the policy's words: the name that its guard asks about."""

from __future__ import annotations

import re
from typing import Final, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session as Db

from mcpctl.api.operations import Call, Naming
from mcpctl.errors import InvalidName, Problem
from mcpctl.policy.names import check_bound_name
from mcpctl.services import tokens
from mcpctl.store.schema import Group, Project, ProxyModel, Secret, Server, Session, User
from mcpctl.wire.shapes import Name, Request, Whole

ID_PATTERN: Final = "(?=.*[A-Z])[0-9A-HJKMNP-TV-Z]{26}"
_ULID = re.compile(ID_PATTERN)
Named = TypeVar("Named", User, Group, Project, ProxyModel, Secret, Server)


class ListQuery(Request):
    """Which page of a list."""

    limit: Whole = 100
    cursor: str | None = None


class TokensQuery(ListQuery):
    """Which page, and of one project only."""

    project: Name | None = None


class ProjectQuery(Request):
    """The project of a token that is called by its name."""

    project: Name | None = None


def every(_db: Db, _call: Call) -> str:
    """All of them."""
    return "*"


def body_name(_db: Db, call: Call) -> str:
    """The name in the body: of what is to be created."""
    name: str = call.body.name
    return name


def body_user(_db: Db, call: Call) -> str:
    """The user in the body."""
    user: str = call.body.user
    return user


def path_name(resource: str, parameter: str = "id") -> Naming:
    """The name in the path, which must be one: ids do not exist for this kind."""

    def name(_db: Db, call: Call) -> str:
        return _checked(resource, call.params[parameter])

    return name


def by_id_or_name(kind: type[Named], resource: str) -> Naming:
    """The name in the path, or the name of what has the id in the path."""

    def name(db: Db, call: Call) -> str | None:
        key = call.params["id"]
        if _ULID.fullmatch(key):
            return db.scalars(select(kind.name).where(kind.id == key)).one_or_none()
        return _checked(resource, key)

    return name


def session_user(db: Db, call: Call) -> str | None:
    """The user whose session the path names."""
    session = db.get(Session, call.params["id"])
    return session.user.name if session is not None else None


def token_in_path(db: Db, call: Call) -> str | None:
    """``<project>/<token>`` of the token in the path, by id or by name and ``?project=``."""
    key = call.params["id"]
    if _ULID.fullmatch(key):
        try:
            return tokens.policy_name(tokens.find(db, key, None))
        except Problem:
            return None
    if call.query.project is None:
        tokens.find(db, key, None)  # says that the project is missing
    return _checked("mcptokens", f"{call.query.project}/{key}")


def new_token(_db: Db, call: Call) -> str:
    """``<project>/<token>`` of the token to be minted."""
    return f"{call.body.project}/{call.body.name}"


def instance_in_path(_db: Db, call: Call) -> str:
    """``<server>/<gateway>``."""
    return _checked("instances", f"{call.params['server']}/{call.params['gateway']}")


def _checked(resource: str, name: str) -> str:
    if name == "*":
        raise InvalidName("'*' is not one name")
    return check_bound_name(resource, name)
