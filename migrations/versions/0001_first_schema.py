"""The first schema

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "app_group",
        sa.Column("id", sa.String(length=26).with_variant(sa.String(length=26, collation="C"), "postgresql"), nullable=False),
        sa.Column(
            "name", sa.String(length=126).with_variant(sa.String(length=126, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app_group")),
        sa.UniqueConstraint("name", name=op.f("uq_app_group_name")),
    )
    op.create_table(
        "app_user",
        sa.Column("id", sa.String(length=26).with_variant(sa.String(length=26, collation="C"), "postgresql"), nullable=False),
        sa.Column(
            "name", sa.String(length=126).with_variant(sa.String(length=126, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column(
            "password_hash",
            sa.String(length=255).with_variant(sa.String(length=255, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.Column("service", sa.Boolean(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app_user")),
        sa.UniqueConstraint("name", name=op.f("uq_app_user_name")),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column(
            "subject", sa.String(length=140).with_variant(sa.String(length=140, collation="C"), "postgresql"), nullable=True
        ),
        sa.Column(
            "user_name", sa.String(length=126).with_variant(sa.String(length=126, collation="C"), "postgresql"), nullable=True
        ),
        sa.Column(
            "token_name", sa.String(length=252).with_variant(sa.String(length=252, collation="C"), "postgresql"), nullable=True
        ),
        sa.Column(
            "token_sha", sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"), nullable=True
        ),
        sa.Column(
            "action", sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column(
            "resource", sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("allowed", sa.Boolean(), nullable=False),
        sa.Column(
            "outcome", sa.String(length=32).with_variant(sa.String(length=32, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column(
            "origin", sa.String(length=280).with_variant(sa.String(length=280, collation="C"), "postgresql"), nullable=True
        ),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column(
            "decision_id", sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"), nullable=True
        ),
        sa.Column(
            "project", sa.String(length=126).with_variant(sa.String(length=126, collation="C"), "postgresql"), nullable=True
        ),
        sa.Column(
            "server", sa.String(length=126).with_variant(sa.String(length=126, collation="C"), "postgresql"), nullable=True
        ),
        sa.Column("tool", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.Float(), nullable=True),
        sa.Column(
            "source", sa.String(length=128).with_variant(sa.String(length=128, collation="C"), "postgresql"), nullable=True
        ),
        sa.Column(
            "request_id", sa.String(length=128).with_variant(sa.String(length=128, collation="C"), "postgresql"), nullable=True
        ),
        sa.Column(
            "gateway", sa.String(length=126).with_variant(sa.String(length=126, collation="C"), "postgresql"), nullable=True
        ),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_at"), ["at"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_project"), ["project"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_token_name"), ["token_name"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_token_sha"), ["token_sha"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_user_name"), ["user_name"], unique=False)

    op.create_table(
        "casbin_rule",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ptype", sa.String(length=8).with_variant(sa.String(length=8, collation="C"), "postgresql"), nullable=False),
        sa.Column(
            "v0",
            sa.String(length=140).with_variant(sa.String(length=140, collation="C"), "postgresql"),
            server_default="",
            nullable=False,
        ),
        sa.Column(
            "v1",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            server_default="",
            nullable=False,
        ),
        sa.Column(
            "v2",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            server_default="",
            nullable=False,
        ),
        sa.Column(
            "v3",
            sa.String(length=640).with_variant(sa.String(length=640, collation="C"), "postgresql"),
            server_default="",
            nullable=False,
        ),
        sa.Column(
            "v4",
            sa.String(length=8).with_variant(sa.String(length=8, collation="C"), "postgresql"),
            server_default="",
            nullable=False,
        ),
        sa.Column(
            "v5",
            sa.String(length=140).with_variant(sa.String(length=140, collation="C"), "postgresql"),
            server_default="",
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_casbin_rule")),
    )
    with op.batch_alter_table("casbin_rule", schema=None) as batch_op:
        batch_op.create_index("ix_casbin_rule_v0", ["v0"], unique=False)
        batch_op.create_index("ix_casbin_rule_v1_v2", ["v1", "v2"], unique=False)
        batch_op.create_index("ix_casbin_rule_v5", ["v5"], unique=False)
        batch_op.create_index("uq_casbin_rule_line", ["ptype", "v0", "v1", "v2", "v3", "v4", "v5"], unique=True)

    op.create_table(
        "change",
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "topic", sa.String(length=140).with_variant(sa.String(length=140, collation="C"), "postgresql"), nullable=False
        ),
        sa.PrimaryKeyConstraint("revision", "topic", name=op.f("pk_change")),
    )
    op.create_table(
        "project",
        sa.Column("id", sa.String(length=26).with_variant(sa.String(length=26, collation="C"), "postgresql"), nullable=False),
        sa.Column(
            "name", sa.String(length=126).with_variant(sa.String(length=126, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column(
            "proxy_model", sa.String(length=126).with_variant(sa.String(length=126, collation="C"), "postgresql"), nullable=True
        ),
        sa.Column(
            "tool_names", sa.String(length=16).with_variant(sa.String(length=16, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
        sa.UniqueConstraint("name", name=op.f("uq_project_name")),
    )
    op.create_table(
        "revision",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column(
            "files_digest",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            server_default="",
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revision")),
    )
    op.create_table(
        "server",
        sa.Column("id", sa.String(length=26).with_variant(sa.String(length=26, collation="C"), "postgresql"), nullable=False),
        sa.Column(
            "name", sa.String(length=126).with_variant(sa.String(length=126, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column(
            "transport", sa.String(length=32).with_variant(sa.String(length=32, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("command", sa.Text(), nullable=True),
        sa.Column("args", sa.JSON(), nullable=False),
        sa.Column("env", sa.JSON(), nullable=False),
        sa.Column("health_check", sa.JSON(none_as_null=True), nullable=True),
        sa.Column(
            "proxy_model", sa.String(length=126).with_variant(sa.String(length=126, collation="C"), "postgresql"), nullable=True
        ),
        sa.Column("stateful", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_server")),
        sa.UniqueConstraint("name", name=op.f("uq_server_name")),
    )
    op.create_table(
        "attachment",
        sa.Column(
            "project_id", sa.String(length=26).with_variant(sa.String(length=26, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column(
            "server_id", sa.String(length=26).with_variant(sa.String(length=26, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_attachment_project_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_attachment_server_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("project_id", "server_id", name=op.f("pk_attachment")),
    )
    with op.batch_alter_table("attachment", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_attachment_server_id"), ["server_id"], unique=False)

    op.create_table(
        "instance",
        sa.Column("id", sa.String(length=26).with_variant(sa.String(length=26, collation="C"), "postgresql"), nullable=False),
        sa.Column(
            "server_id", sa.String(length=26).with_variant(sa.String(length=26, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column(
            "gateway", sa.String(length=126).with_variant(sa.String(length=126, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column(
            "status", sa.String(length=16).with_variant(sa.String(length=16, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("tools", sa.Integer(), nullable=True),
        sa.Column("latency_ms", sa.Float(), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_instance_server_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance")),
        sa.UniqueConstraint("server_id", "gateway", name=op.f("uq_instance_server_id_gateway")),
    )
    op.create_table(
        "mcp_token",
        sa.Column("id", sa.String(length=26).with_variant(sa.String(length=26, collation="C"), "postgresql"), nullable=False),
        sa.Column(
            "name", sa.String(length=126).with_variant(sa.String(length=126, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column(
            "project_id", sa.String(length=26).with_variant(sa.String(length=26, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column(
            "owner_id", sa.String(length=26).with_variant(sa.String(length=26, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column("sha", sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"), nullable=False),
        sa.Column(
            "rbac_mode", sa.String(length=8).with_variant(sa.String(length=8, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=True),
        sa.Column("revoked_at", sa.Float(), nullable=True),
        sa.Column("last_used_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["owner_id"], ["app_user.id"], name=op.f("fk_mcp_token_owner_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_mcp_token_project_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mcp_token")),
        sa.UniqueConstraint("sha", name=op.f("uq_mcp_token_sha")),
    )
    with op.batch_alter_table("mcp_token", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_mcp_token_owner_id"), ["owner_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_mcp_token_project_id"), ["project_id"], unique=False)
        batch_op.create_index(
            "uq_mcp_token_live_name",
            ["project_id", "name"],
            unique=True,
            sqlite_where=sa.text("revoked_at IS NULL"),
            postgresql_where=sa.text("revoked_at IS NULL"),
        )

    op.create_table(
        "membership",
        sa.Column(
            "group_id", sa.String(length=26).with_variant(sa.String(length=26, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column(
            "user_id", sa.String(length=26).with_variant(sa.String(length=26, collation="C"), "postgresql"), nullable=False
        ),
        sa.ForeignKeyConstraint(["group_id"], ["app_group.id"], name=op.f("fk_membership_group_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["app_user.id"], name=op.f("fk_membership_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("group_id", "user_id", name=op.f("pk_membership")),
    )
    with op.batch_alter_table("membership", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_membership_user_id"), ["user_id"], unique=False)

    op.create_table(
        "session",
        sa.Column("id", sa.String(length=26).with_variant(sa.String(length=26, collation="C"), "postgresql"), nullable=False),
        sa.Column(
            "user_id", sa.String(length=26).with_variant(sa.String(length=26, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column("sha", sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=True),
        sa.Column("last_used_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["app_user.id"], name=op.f("fk_session_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session")),
        sa.UniqueConstraint("sha", name=op.f("uq_session_sha")),
    )
    with op.batch_alter_table("session", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_session_user_id"), ["user_id"], unique=False)

    op.create_table(
        "token_secret",
        sa.Column("sha", sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"), nullable=False),
        sa.Column(
            "token_id", sa.String(length=26).with_variant(sa.String(length=26, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("valid_until", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["token_id"], ["mcp_token.id"], name=op.f("fk_token_secret_token_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sha", name=op.f("pk_token_secret")),
    )
    with op.batch_alter_table("token_secret", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_token_secret_token_id"), ["token_id"], unique=False)

    op.execute("INSERT INTO revision (id, number, files_digest) VALUES (1, 1, '')")
