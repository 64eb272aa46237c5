"""Learning of new revisions: at once from this process and from PostgreSQL's notifications, and by looking as a safety net.

On SQLite another process's revision is found by looking, five times a second. Whoever cannot look for a second no longer
counts as fresh, and nothing remembered is served meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Final

import psycopg
from psycopg import sql

from mcpctl.errors import StoreUnavailable
from mcpctl.store import revisions
from mcpctl.store.database import Database

logger = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.2
"""Seconds between looks at the revision."""

FRESH_FOR: Final = 1.0
"""Seconds without a successful look after which this process no longer trusts what it remembers."""

Listener = Callable[[int, frozenset[str]], None]


class PolicyFeed:
    """Tells listeners of every revision once and in order: (number, topics touched since the one before)."""

    def __init__(self, database: Database) -> None:
        """Prepare; ``start`` begins to look."""
        self._database = database
        self._listeners: list[Listener] = []
        self._channels: dict[str, Callable[[str], None]] = {}
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._looked_at = 0.0
        self.revision = 0

    @property
    def fresh(self) -> bool:
        """Whether the revision was seen within the last second."""
        return self.age < FRESH_FOR

    @property
    def age(self) -> float:
        """Seconds since the revision was last seen."""
        return monotonic() - self._looked_at

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` for every revision from now on, in the thread that learned of it; returns how to stop."""
        with self._lock:
            self._listeners = [*self._listeners, listener]
        return lambda: self._unsubscribe(listener)

    def _unsubscribe(self, listener: Listener) -> None:
        with self._lock:
            self._listeners = [one for one in self._listeners if one is not listener]

    def hear(self, channel: str, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with what is said on a channel of PostgreSQL, this process's own included. Before ``start``."""
        self._channels[channel] = listener

    def start(self) -> None:
        """Look once, then keep looking in a thread of its own.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        begun = monotonic()
        with self._database.read() as db:
            self.revision = revisions.current(db)
        self._looked_at = begun
        self._database.on_commit(self._committed)
        self._thread = threading.Thread(target=self._keep_looking, name="policy-feed", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _committed(self, number: int, topics: frozenset[str]) -> None:
        with self._lock:
            if number == self.revision + 1:
                self._publish(number, topics)
            elif number > self.revision:  # another process came in between
                try:
                    self._look()
                except Exception:
                    self._looked_at = 0.0  # nothing remembered is trusted until a look succeeds
                    raise

    def _look(self) -> None:
        with self._lock:
            begun = monotonic()  # a look that took long saw what was so when it began
            with self._database.read() as db:
                step = revisions.since(db, self.revision)
            self._looked_at = begun
            if step.topics:
                self._publish(step.number, step.topics)

    def _publish(self, number: int, topics: frozenset[str]) -> None:
        for listener in self._listeners:
            try:
                listener(number, topics)
            except Exception:  # one that is gone must not keep the others from hearing
                logger.exception("a listener did not take revision %s", number)
        # Last: whoever reads it takes what is remembered for true of it, so what is old must have been forgotten.
        self.revision = number

    def _keep_looking(self) -> None:
        connection: psycopg.Connection | None = None
        while not self._stop.is_set():
            try:
                if not self._database.is_sqlite and (connection is None or connection.closed):
                    connection = self._listen()
                self._look()
                if connection is None:
                    self._stop.wait(LOOK_EVERY)
                else:
                    for said in connection.notifies(timeout=LOOK_EVERY, stop_after=1):
                        self._pass_on(said)
            except (StoreUnavailable, psycopg.Error) as error:
                logger.warning("the revision cannot be read: %s", error)
                if connection is not None:
                    with suppress(psycopg.Error):
                        connection.close()
                    connection = None
                self._stop.wait(LOOK_EVERY)
        if connection is not None:
            connection.close()

    def _pass_on(self, said: psycopg.Notify) -> None:
        if said.channel in self._channels:
            try:
                self._channels[said.channel](said.payload)
            except Exception:  # whoever may speak on the channel must not end the following of revisions
                logger.exception("what was said on %s could not be taken", said.channel)

    def _listen(self) -> psycopg.Connection:
        plain = self._database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = psycopg.connect(plain, autocommit=True, connect_timeout=2)
        for channel in (revisions.CHANNEL, *self._channels):
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        return connection
