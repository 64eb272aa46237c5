"""Bringing the database to the present schema, at start, by one process at a time."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from mcpctl.errors import StoreUnavailable
from mcpctl.shipped import shipped
from mcpctl.store.database import Database

_LOCK = 0x6D637063746C  # "mcpctl"; without a lock two of three starting replicas fail


def migrate(database: Database) -> None:
    """Run every migration that has not run yet; others that start meanwhile wait and then find nothing to do.

    Raises:
        StoreUnavailable: the database does not answer, or is none; the sentence names it, without its password.
    """
    config = Config()
    config.set_main_option("script_location", str(shipped("migrations")))
    config.set_main_option("path_separator", "os")
    try:
        with database.engine.connect().execution_options(mcpctl_write=True) as connection, connection.begin():
            if not database.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise StoreUnavailable(f"the database was migrated by a newer version of this program than this one: {error}") from None
    except DBAPIError as error:
        reason = str(error.orig).strip().partition("\n")[0]
        shown = database.url.render_as_string(hide_password=True)
        raise StoreUnavailable(f"the database {shown} cannot be used: {reason}") from None
