"""The database and its three kinds of transaction: ``read``, ``write`` and ``append``.

SQLite's defaults lose updates silently (a transaction that reads and then writes begins as a reader), so there every
``write`` begins ``IMMEDIATE``. On PostgreSQL a ``write`` first locks the revision row. Either way writes that can change an
answer happen one after another, and what a write has read is still true when it commits.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from mcpctl.errors import InvalidSetting, StoreUnavailable
from mcpctl.store import revisions
from mcpctl.store.schema import Revision

logger = logging.getLogger(__name__)

BUSY_SECONDS: Final = 30
"""How long a writer waits for another one."""

PING_AFTER: Final = 5.0
"""Seconds of idleness after which a connection to PostgreSQL is asked whether it lives before it is used."""

Published = Callable[[int, frozenset[str]], None]


class WriteTransaction:
    """A transaction that can change an answer. ``touch`` names what it changes; committing then makes a new revision."""

    def __init__(self, session: Session, revision: int) -> None:
        """Begin on a session that holds the write lock; ``revision`` is the one in force, and once committed the one made."""
        self.session = session
        self.revision = revision
        self.topics: set[str] = set()

    def touch(self, *topics: str) -> None:
        """Say that whatever was built from these topics is old once this commits."""
        self.topics.update(topics)


class Database:
    """One database, SQLite or PostgreSQL, by its SQLAlchemy URL."""

    def __init__(self, url: str) -> None:
        """Connect lazily.

        Raises:
            InvalidSetting: the URL is not one of these two databases.
        """
        try:
            parsed = make_url(url)
        except Exception:
            raise InvalidSetting("MCPCTL_DATABASE_URL is not a database URL such as sqlite:///mcpctl.db") from None
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if not self.is_sqlite and parsed.get_backend_name() != "postgresql":
            raise InvalidSetting("MCPCTL_DATABASE_URL must begin sqlite:///… or postgresql://…")
        if not self.is_sqlite:
            parsed = parsed.set(drivername="postgresql+psycopg")
        if self.is_sqlite and parsed.database in (None, "", ":memory:"):
            raise InvalidSetting("MCPCTL_DATABASE_URL must name a file: sqlite:////var/lib/mcpctl/mcpctl.db")
        self.url = parsed
        # Parameters are what people sent, and may be hashes of secrets: they stand in no log and in no traceback.
        self.engine: Engine = _sqlite_engine(parsed) if self.is_sqlite else _postgresql_engine(parsed)
        self._turn = threading.Lock()
        self._listeners: list[Published] = []

    @property
    def path(self) -> Path | None:
        """The file, for SQLite."""
        return Path(self.url.database) if self.is_sqlite and self.url.database else None

    def on_commit(self, listener: Published) -> None:
        """Call ``listener(revision, topics)`` in the writing thread after each commit that made a revision."""
        self._listeners.append(listener)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One snapshot: everything read inside is of one revision.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        options: dict[str, Any] = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with _translated(), self.engine.connect().execution_options(**options) as connection, Session(connection) as session:
            yield session
            session.rollback()

    @contextmanager
    def write(self) -> Iterator[WriteTransaction]:
        """One transaction that may change answers, after all others and before all others.

        Raises:
            StoreUnavailable: the database does not answer, or another writer held it too long.
        """
        # In one process writers queue here, in order; SQLite's own waiting is polling and not fair.
        with _translated(), self._turn, self._connection(write=True) as connection, Session(connection) as session:
            locked = select(Revision.number).where(Revision.id == 1)
            number = session.scalars(locked if self.is_sqlite else locked.with_for_update()).one()
            transaction = WriteTransaction(session, number)
            yield transaction
            session.flush()
            if transaction.topics:
                number = revisions.advance(session, transaction.topics, notify=not self.is_sqlite)
            _commit(session, connection)
            transaction.revision = number
            # Published before the next writer may begin, so listeners hear of revisions in order.
            if transaction.topics:
                self._publish(number, frozenset(transaction.topics))

    @contextmanager
    def append(self) -> Iterator[Session]:
        """A transaction that only adds rows no answer depends on (audit, reports); it takes no policy lock.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        with _translated(), self._connection(write=True) as connection, Session(connection) as session:
            yield session
            session.flush()
            _commit(session, connection)

    def tell_others(self, channel: str, message: str) -> None:
        """Say something to every process that listens on ``channel``: on PostgreSQL, where there may be others.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        if self.is_sqlite:
            return
        with _translated(), self.engine.begin() as connection:
            connection.execute(text("SELECT pg_notify(:channel, :message)"), {"channel": channel, "message": message})

    def _publish(self, number: int, topics: frozenset[str]) -> None:
        for listener in self._listeners:
            try:
                listener(number, topics)
            except Exception:  # what is committed stays committed: the writer must not be told that it failed
                logger.exception("a listener did not take revision %s", number)

    @contextmanager
    def _connection(self, *, write: bool) -> Iterator[Connection]:
        with self.engine.connect().execution_options(mcpctl_write=write) as connection:
            yield connection


def _postgresql_engine(url: Any) -> Engine:
    """A pool that asks a connection whether it still lives only if it has been idle: to ask each time is a round trip more."""
    engine = create_engine(url, pool_size=10, hide_parameters=True)

    @event.listens_for(engine, "checkin")
    def _note(_connection: Any, record: Any) -> None:
        record.info["idle since"] = monotonic()

    @event.listens_for(engine, "checkout")
    def _ask(connection: Any, record: Any, _proxy: Any) -> None:
        if monotonic() - record.info.get("idle since", monotonic()) > PING_AFTER:
            try:
                lives = engine.dialect.do_ping(connection)
            except psycopg.Error:
                lives = False
            if not lives:
                raise DisconnectionError("the connection was lost while nobody used it")  # the pool takes another one

    return engine


def _sqlite_engine(url: Any) -> Engine:
    engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver's own transactions begin too late; ours are explicit below
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("mcpctl_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _commit(session: Session, connection: Connection) -> None:
    try:
        session.commit()
        connection.commit()
    except DBAPIError as error:
        # The driver may still be inside the transaction, and the pool would hand that to the next request.
        connection.invalidate()
        raise StoreUnavailable("the database failed while committing: look whether it took effect before repeating") from error


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, PoolTimeout) as error:
        raise StoreUnavailable("the database does not answer; the request changed nothing and may be repeated") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise StoreUnavailable("the connection to the database was lost; ask again") from error
        raise


def ping(database: Database) -> None:
    """Ask the database for nothing.

    Raises:
        StoreUnavailable: it does not answer.
    """
    with database.read() as session:
        session.execute(text("SELECT 1"))
