"""Proxy models, and that servers and projects name one that exists

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _ascii(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "proxy_model",
        sa.Column("id", _ascii(26), nullable=False),
        sa.Column("name", _ascii(126), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("stages", sa.JSON(), nullable=False),
        sa.Column("cache", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proxy_model")),
        sa.UniqueConstraint("name", name=op.f("uq_proxy_model_name")),
    )
    # Until now every name of a proxy model was refused, so these columns hold nothing.
    for table in ("server", "project"):
        if op.get_bind().dialect.name == "sqlite":
            # SQLite adds no constraint to a column, and rebuilding the table would take along all that refers to it.
            op.drop_column(table, "proxy_model")
            key = f"CONSTRAINT fk_{table}_proxy_model REFERENCES proxy_model (name)"
            op.execute(sa.text(f"ALTER TABLE {table} ADD COLUMN proxy_model VARCHAR(126) {key}"))
        else:
            op.create_foreign_key(op.f(f"fk_{table}_proxy_model"), table, "proxy_model", ["proxy_model"], ["name"])
