"""Bringing the database to the present schema, at start, by one process at a time."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from mcpctl.shipped import shipped
from mcpctl.store.database import Database

_LOCK = 0x6D637063746C  # "mcpctl"; without a lock two of three starting replicas fail


def migrate(database: Database) -> None:
    """Run every migration that has not run yet; others that start meanwhile wait and then find nothing to do."""
    config = Config()
    config.set_main_option("script_location", str(shipped("migrations")))
    config.set_main_option("path_separator", "os")
    with database.engine.connect().execution_options(mcpctl_write=True) as connection, connection.begin():
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
