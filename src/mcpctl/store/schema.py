"""The tables. Times are UTC seconds since the epoch as float; ids are ULIDs, which no name can be."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeEngine
from ulid import ULID

NAME = 126
SUBJECT = 140
POLICY_NAME = 640
"""``<server>/resource:`` and 512 characters, with room."""


def ascii_text(length: int) -> TypeEngine[str]:
    """Text that holds ASCII only, compared byte by byte on both databases, so order never depends on a locale."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def new_id() -> str:
    """A fresh ULID: 26 upper-case characters, sortable by time."""
    return str(ULID())


class Base(DeclarativeBase):
    """All tables hang on one metadata, so migrations and tests can be held against it."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class PolicyRow(Base):
    """One Casbin line, written by Casbin's adapter and read column by column, never as text.

    Columns are NOT NULL with '' as default: a unique index over NULLs would admit duplicates, and a duplicate would make
    a removal a silent no-op.
    """

    __tablename__ = "casbin_rule"
    __table_args__ = (
        Index("uq_casbin_rule_line", "ptype", "v0", "v1", "v2", "v3", "v4", "v5", unique=True),
        Index("ix_casbin_rule_v0", "v0"),
        Index("ix_casbin_rule_v5", "v5"),
        Index("ix_casbin_rule_v1_v2", "v1", "v2"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    ptype: Mapped[str] = mapped_column(ascii_text(8))
    v0: Mapped[str] = mapped_column(ascii_text(SUBJECT), default="", server_default="")
    v1: Mapped[str] = mapped_column(ascii_text(64), default="", server_default="")
    v2: Mapped[str] = mapped_column(ascii_text(64), default="", server_default="")
    v3: Mapped[str] = mapped_column(ascii_text(POLICY_NAME), default="", server_default="")
    v4: Mapped[str] = mapped_column(ascii_text(8), default="", server_default="")
    v5: Mapped[str] = mapped_column(ascii_text(SUBJECT), default="", server_default="")


class Revision(Base):
    """The one policy revision. Locking its row serializes every write that can change an answer."""

    __tablename__ = "revision"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(Integer)
    files_digest: Mapped[str] = mapped_column(ascii_text(64), default="", server_default="")


class Change(Base):
    """What a revision touched, one topic a row: a subject, ``Project:<name>``, ``Session:<id>``, or ``*`` for everything."""

    __tablename__ = "change"

    revision: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    topic: Mapped[str] = mapped_column(ascii_text(SUBJECT), primary_key=True)


class User(Base):
    """A person, or a service user, which has no password and is given sessions."""

    __tablename__ = "app_user"

    id: Mapped[str] = mapped_column(ascii_text(26), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(ascii_text(NAME), unique=True)
    password_hash: Mapped[str | None] = mapped_column(ascii_text(255))
    service: Mapped[bool] = mapped_column(Boolean, default=False)
    disabled: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[float] = mapped_column(Float)

    @property
    def subject(self) -> str:
        """Its subject in the policy."""
        return f"User:{self.name}"


class Group(Base):
    """A set of users; one level, no groups in groups."""

    __tablename__ = "app_group"

    id: Mapped[str] = mapped_column(ascii_text(26), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(ascii_text(NAME), unique=True)
    created_at: Mapped[float] = mapped_column(Float)

    @property
    def subject(self) -> str:
        """Its subject in the policy."""
        return f"Group:{self.name}"


class Membership(Base):
    """One user in one group. By id, so a re-created name is in no group."""

    __tablename__ = "membership"

    group_id: Mapped[str] = mapped_column(ForeignKey("app_group.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("app_user.id", ondelete="CASCADE"), primary_key=True, index=True)


class Session(Base):
    """A log-in. The raw token is not kept, only its SHA-256."""

    __tablename__ = "session"

    id: Mapped[str] = mapped_column(ascii_text(26), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("app_user.id", ondelete="CASCADE"), index=True)
    sha: Mapped[str] = mapped_column(ascii_text(64), unique=True)
    created_at: Mapped[float] = mapped_column(Float)
    expires_at: Mapped[float | None] = mapped_column(Float)
    last_used_at: Mapped[float | None] = mapped_column(Float)
    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)


class ProxyModel(Base):
    """A pipeline over results: ``stages`` as written, each ``{stage, options}``; ``cache`` is ``{ttlSeconds, tools}`` or null.

    Servers and projects name one. A name is for life and what is in use is not deleted, so the names never dangle.
    """

    __tablename__ = "proxy_model"

    id: Mapped[str] = mapped_column(ascii_text(26), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(ascii_text(NAME), unique=True)
    description: Mapped[str] = mapped_column(Text)
    stages: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    cache: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[float] = mapped_column(Float)
    updated_at: Mapped[float] = mapped_column(Float)


class Server(Base):
    """How to reach one MCP server. Values in ``headers`` and ``env`` are strings or ``{secret, key}``."""

    __tablename__ = "server"

    id: Mapped[str] = mapped_column(ascii_text(26), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(ascii_text(NAME), unique=True)
    transport: Mapped[str] = mapped_column(ascii_text(32))
    url: Mapped[str | None] = mapped_column(Text)
    headers: Mapped[dict[str, Any]] = mapped_column(JSON)
    command: Mapped[str | None] = mapped_column(Text)
    args: Mapped[list[str]] = mapped_column(JSON)
    env: Mapped[dict[str, Any]] = mapped_column(JSON)
    health_check: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    proxy_model: Mapped[str | None] = mapped_column(ForeignKey("proxy_model.name"))
    stateful: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[float] = mapped_column(Float)
    updated_at: Mapped[float] = mapped_column(Float)


class Project(Base):
    """A named set of attached servers: what an agent connects to."""

    __tablename__ = "project"

    id: Mapped[str] = mapped_column(ascii_text(26), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(ascii_text(NAME), unique=True)
    proxy_model: Mapped[str | None] = mapped_column(ForeignKey("proxy_model.name"))
    tool_names: Mapped[str] = mapped_column(ascii_text(16))
    created_at: Mapped[float] = mapped_column(Float)
    updated_at: Mapped[float] = mapped_column(Float)


class Attachment(Base):
    """One server in one project, in its place."""

    __tablename__ = "attachment"

    project_id: Mapped[str] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"), primary_key=True)
    server_id: Mapped[str] = mapped_column(ForeignKey("server.id", ondelete="CASCADE"), primary_key=True, index=True)
    position: Mapped[int] = mapped_column(Integer)


class Token(Base):
    """An ``McpToken``. ``sha`` is that of its first secret and names its subject for life."""

    __tablename__ = "mcp_token"
    __table_args__ = (
        Index(
            "uq_mcp_token_live_name",
            "project_id",
            "name",
            unique=True,
            sqlite_where=text("revoked_at IS NULL"),
            postgresql_where=text("revoked_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(ascii_text(26), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(ascii_text(NAME))
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"), index=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("app_user.id", ondelete="CASCADE"), index=True)
    sha: Mapped[str] = mapped_column(ascii_text(64), unique=True)
    rbac_mode: Mapped[str] = mapped_column(ascii_text(8))
    description: Mapped[str] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(Float)
    expires_at: Mapped[float | None] = mapped_column(Float)
    revoked_at: Mapped[float | None] = mapped_column(Float)
    last_used_at: Mapped[float | None] = mapped_column(Float)
    project: Mapped[Project] = relationship(lazy="joined", innerjoin=True)
    owner: Mapped[User] = relationship(lazy="joined", innerjoin=True)

    @property
    def subject(self) -> str:
        """Its subject in the policy."""
        return f"McpToken:{self.sha}"

    @property
    def origin(self) -> str:
        """The origin of the policy lines it owns."""
        return f"mcptoken:{self.id}"


class TokenSecret(Base):
    """One secret of a token: its SHA-256 and until when it is valid. A rotation adds one and ends the others."""

    __tablename__ = "token_secret"

    sha: Mapped[str] = mapped_column(ascii_text(64), primary_key=True)
    token_id: Mapped[str] = mapped_column(ForeignKey("mcp_token.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[float] = mapped_column(Float)
    valid_until: Mapped[float | None] = mapped_column(Float)
    token: Mapped[Token] = relationship(lazy="joined", innerjoin=True)


class InstanceRow(Base):
    """One server as one gateway last reported it."""

    __tablename__ = "instance"
    __table_args__ = (UniqueConstraint("server_id", "gateway"),)

    id: Mapped[str] = mapped_column(ascii_text(26), primary_key=True, default=new_id)
    server_id: Mapped[str] = mapped_column(ForeignKey("server.id", ondelete="CASCADE"))
    gateway: Mapped[str] = mapped_column(ascii_text(NAME))
    status: Mapped[str] = mapped_column(ascii_text(16))
    detail: Mapped[str] = mapped_column(Text)
    tools: Mapped[int | None] = mapped_column(Integer)
    latency_ms: Mapped[float | None] = mapped_column(Float)
    at: Mapped[float] = mapped_column(Float)
    server: Mapped[Server] = relationship(lazy="joined", innerjoin=True)


class InstanceLine(Base):
    """One line of an instance's log. ``number`` is its time in microseconds since the epoch, made unique by the gateway."""

    __tablename__ = "instance_line"

    instance_id: Mapped[str] = mapped_column(ForeignKey("instance.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    stream: Mapped[str] = mapped_column(ascii_text(16))
    text: Mapped[str] = mapped_column(Text)


class Secret(Base):
    """A named set of values. The values stand apart, encrypted."""

    __tablename__ = "secret"

    id: Mapped[str] = mapped_column(ascii_text(26), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(ascii_text(NAME), unique=True)
    created_at: Mapped[float] = mapped_column(Float)
    updated_at: Mapped[float] = mapped_column(Float)


class SecretValue(Base):
    """One value, AES-256-GCM, bound to this row: moved to another it does not decrypt. ``key_id`` names the key it needs."""

    __tablename__ = "secret_value"

    secret_id: Mapped[str] = mapped_column(ForeignKey("secret.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(ascii_text(128), primary_key=True)
    key_id: Mapped[str] = mapped_column(ascii_text(16))
    nonce: Mapped[bytes] = mapped_column(LargeBinary)
    ciphertext: Mapped[bytes] = mapped_column(LargeBinary)


class AuditRow(Base):
    """Who did what to which resource, by which credential, decided by which rule, from where. Append-only."""

    __tablename__ = "audit"

    id: Mapped[str] = mapped_column(ascii_text(64), primary_key=True, default=new_id)
    at: Mapped[float] = mapped_column(Float, index=True)
    subject: Mapped[str | None] = mapped_column(ascii_text(SUBJECT))
    user: Mapped[str | None] = mapped_column("user_name", ascii_text(NAME), index=True)
    token_name: Mapped[str | None] = mapped_column(ascii_text(NAME * 2), index=True)
    token_sha: Mapped[str | None] = mapped_column(ascii_text(64), index=True)
    action: Mapped[str] = mapped_column(ascii_text(64))
    resource: Mapped[str] = mapped_column(ascii_text(64))
    name: Mapped[str] = mapped_column(Text)
    allowed: Mapped[bool] = mapped_column(Boolean)
    outcome: Mapped[str] = mapped_column(ascii_text(32))
    reason: Mapped[str | None] = mapped_column(Text)
    rule: Mapped[str | None] = mapped_column(Text)
    origin: Mapped[str | None] = mapped_column(ascii_text(SUBJECT * 2))
    revision: Mapped[int] = mapped_column(Integer)
    decision_id: Mapped[str | None] = mapped_column(ascii_text(64))
    project: Mapped[str | None] = mapped_column(ascii_text(NAME), index=True)
    server: Mapped[str | None] = mapped_column(ascii_text(NAME))
    tool: Mapped[str | None] = mapped_column(Text)
    duration_ms: Mapped[float | None] = mapped_column(Float)
    source: Mapped[str | None] = mapped_column(ascii_text(128))
    request_id: Mapped[str | None] = mapped_column(ascii_text(128))
    gateway: Mapped[str | None] = mapped_column(ascii_text(NAME))
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
