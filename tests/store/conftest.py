"""The database under test, on each kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mcpctl.store.database import Database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated, empty database, as one process sees it."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def other(database_url: str) -> Iterator[Database]:
    """The same database, as another process sees it: no lock in memory is shared."""
    database = Database(database_url)
    yield database
    database.close()
