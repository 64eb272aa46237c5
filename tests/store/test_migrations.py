"""Migrations make the very schema the program uses, once, however many processes start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from mcpctl.shipped import shipped
from mcpctl.store.database import Database
from mcpctl.store.migrate import migrate
from mcpctl.store.schema import Base
from tests.store.processes import three_at_once
from tests.store.rows import dump

IMPORTS = "from mcpctl.store.database import Database; from mcpctl.store.migrate import migrate"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of each kind in which nothing stands."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    with request.getfixturevalue("postgres").fresh() as url:
        database = Database(url)
        with database.engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        database.close()
        yield url


def test_three_processes_that_start_at_once_migrate_once(empty_url: str) -> None:
    three_at_once(IMPORTS, "migrate(Database(sys.argv[1]))", empty_url)
    database = Database(empty_url)
    found = dump(database)
    with database.engine.connect() as connection:
        assert 1 == connection.execute(text("SELECT count(*) FROM alembic_version")).scalar_one()
    database.close()
    assert ["(1, 1, '')"] == found.pop("revision")
    assert {()} == {tuple(rows) for rows in found.values()}


def test_the_migrations_make_the_schema_the_program_uses(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": not database.is_sqlite})
        assert [] == compare_metadata(context, Base.metadata)


def test_every_foreign_key_takes_its_rows_along_but_what_keeps_a_proxy_model_in_use(database: Database) -> None:
    """Services delete dependents themselves; the cascade is the net below."""
    inspector = inspect(database.engine)
    keys = [(table, key) for table in inspector.get_table_names() for key in inspector.get_foreign_keys(table)]
    assert len(keys) == 13
    refusing = {(table, key["referred_table"]) for table, key in keys if key["options"].get("ondelete") != "CASCADE"}
    assert {("project", "proxy_model"), ("server", "proxy_model")} == refusing


def test_what_was_kept_before_proxy_models_is_kept_with_them(empty_url: str) -> None:
    """SQLite is given the new column by dropping the old, empty one: what refers to these tables must not go with it."""
    database = Database(empty_url)
    config = Config()
    config.set_main_option("script_location", str(shipped("migrations")))
    config.set_main_option("path_separator", "os")
    rows = [
        "INSERT INTO server (id, name, transport, headers, args, env, stateful, created_at, updated_at) "
        "VALUES ('S', 's', 'stdio', '{}', '[]', '{}', false, 1, 2)",
        "INSERT INTO project (id, name, tool_names, created_at, updated_at) VALUES ('P', 'p', 'plain', 1, 2)",
        "INSERT INTO attachment (project_id, server_id, position) VALUES ('P', 'S', 0)",
    ]
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        for row in rows:
            connection.execute(text(row))
    migrate(database)
    with database.engine.connect() as connection:
        joined = "SELECT p.name, p.proxy_model, s.name, s.proxy_model FROM attachment a JOIN project p ON p.id = a.project_id "
        found = connection.execute(text(joined + "JOIN server s ON s.id = a.server_id")).all()
    database.close()
    assert [("p", None, "s", None)] == [tuple(row) for row in found]


def test_migrating_again_changes_nothing(database: Database) -> None:
    before = dump(database)
    migrate(database)
    assert before == dump(database)
