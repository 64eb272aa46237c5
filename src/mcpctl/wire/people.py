"""Users, groups, sessions, and who is asking."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from mcpctl.wire.shapes import Answer, Lifetime, MemberName, Name, Password, Request, Time, UserName

AnyPassword = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class Login(Request):
    """``POST /api/v1/auth/login``."""

    username: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    password: AnyPassword


class LoggedIn(Answer):
    """A session, its raw token shown this once."""

    token: str
    id: str
    user: str
    expires_at: Time | None


class WhoAmI(Answer):
    """The principal behind the bearer of this request."""

    subject: str
    kind: Literal["session", "mcptoken"]
    user: str = Field(description="the person, or the owner of the token")
    groups: list[str] = Field(description="as Group:<name>; of the person or of the token's owner")
    project: str | None = Field(description="of a token, the project it belongs to")
    token_name: str | None
    token_sha: str | None
    bindings: list[str] = Field(description="the effective policy lines of the subject itself and its groups")
    expires_at: Time | None
    revision: int


class NewUser(Request):
    """A person, or with ``service`` somebody without a password who is given sessions."""

    name: UserName
    password: Password | None = None
    service: bool = False


class UserPatch(Request):
    """What to change. One's own password needs ``oldPassword``; any password change ends that user's sessions."""

    disabled: bool | None = None
    password: Password | None = None
    old_password: AnyPassword | None = None


class User(Answer):
    """A user as it is listed."""

    id: str
    name: str
    service: bool
    disabled: bool
    groups: list[str] = Field(description="as Group:<name>, those that policy files say included")
    created_at: Time


class NewGroup(Request):
    """A group and who is in it from the start."""

    name: Name
    members: list[MemberName] = Field(default=[], description="users, as User:<name>", max_length=10_000)


class GroupMembers(Request):
    """Who is in the group from now on."""

    members: list[MemberName] = Field(description="users, as User:<name>", max_length=10_000)


class Group(Answer):
    """A group as it is listed."""

    id: str
    name: str
    members: list[str]
    created_at: Time


class NewSession(Request):
    """A session for a service user."""

    user: UserName
    ttl: Lifetime = "30d"


class Session(Answer):
    """A session as it is listed; never its token."""

    id: str
    user: str
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None
