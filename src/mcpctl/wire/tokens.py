"""Tokens (``McpToken``)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mcpctl.wire.shapes import Answer, BindingText, Lifetime, Name, Request, Text, Time


class NewToken(Request):
    """What to mint."""

    name: Name
    project: Name
    rbac_mode: Literal["empty", "clone"] = Field(
        default="empty", description="'clone' copies everything the creator holds now, denies included"
    )
    bindings: list[BindingText] = Field(default=[], max_length=200, description="allows only")
    ttl: Lifetime | None = None
    description: Text = ""


class Token(Answer):
    """A token as it is listed and described; never its secret."""

    id: str
    name: str
    project: str
    owner: str = Field(description="as User:<name>; the token can do what its owner may do now, and no more")
    token_sha: str = Field(description="SHA-256 of its first secret: the name of its subject for life")
    rbac_mode: Literal["empty", "clone"]
    bindings: list[str]
    description: str
    status: Literal["active", "expired", "revoked", "owner_disabled"]
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None


class MintedToken(Token):
    """A token with its raw secret, in this answer only."""

    token: str = Field(description="mcpctl_pat_ and 43 characters; shown this once")
    never: list[str] = Field(description="what the token will not do, whatever its bindings say")
    unusable: list[str] = Field(description="those of its bindings that give nothing, for that reason or as another project's")


class Rotation(Request):
    """How long the old secret stays valid beside the new one."""

    grace: Lifetime | None = Field(default=None, description="a duration such as 1h; none means the old one ends now")


class Introspection(Answer):
    """What the presented bearer is (RFC 7662 members, and ours in camelCase)."""

    active: bool
    reason: Literal["unknown", "malformed", "revoked", "expired", "owner_disabled"] | None = None
    sub: str | None = None
    token_type: Literal["mcptoken", "session"] | None = Field(default=None, alias="token_type")
    username: str | None = None
    exp: int | None = Field(default=None, description="Unix seconds")
    iat: int | None = Field(default=None, description="Unix seconds")
    project: str | None = None
    token_name: str | None = None
    token_sha: str | None = None
    token_id: str | None = None
    owner: str | None = None
    bindings: list[str] = Field(default=[])
    topics: list[str] = Field(default=[], description="a change to any of these in the watch stream makes this answer old")
    revision: int = 0


class ClientIntrospection(Answer):
    """What a resource server is told of a bearer it was handed (RFC 7662 section 2.2, and ours in camelCase)."""

    active: bool
    sub: str | None = None
    client_id: str | None = Field(default=None, alias="client_id", description="the subject, for verifiers that want a client")
    token_type: Literal["mcptoken", "session"] | None = Field(default=None, alias="token_type")
    username: str | None = None
    scope: str | None = Field(
        default=None, description="what it may do now, as <action>:<resource>/<name>, separated by blanks"
    )
    aud: list[str] | None = Field(default=None, description="of a token: the servers attached to its project")
    exp: int | None = Field(default=None, description="Unix seconds")
    iat: int | None = Field(default=None, description="Unix seconds")
    project: str | None = None
    token_name: str | None = None
    token_sha: str | None = None
    token_id: str | None = None
    owner: str | None = None
    bindings: list[str] | None = None
    revision: int | None = None
