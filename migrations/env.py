"""Alembic's environment: migrates on the connection it is handed, which holds the lock (see ``mcpctl.store.migrate``)."""

from alembic import context

from mcpctl.store.schema import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
