"""Secrets

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _ascii(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "secret",
        sa.Column("id", _ascii(26), nullable=False),
        sa.Column("name", _ascii(126), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_secret")),
        sa.UniqueConstraint("name", name=op.f("uq_secret_name")),
    )
    op.create_table(
        "secret_value",
        sa.Column("secret_id", _ascii(26), nullable=False),
        sa.Column("key", _ascii(128), nullable=False),
        sa.Column("key_id", _ascii(16), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["secret_id"], ["secret.id"], name=op.f("fk_secret_value_secret_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("secret_id", "key", name=op.f("pk_secret_value")),
    )
