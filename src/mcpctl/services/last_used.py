"""When a credential was last used, kept without a write per request: noted in memory, written every half minute."""

from __future__ import annotations

import logging
import threading
from time import time
from typing import Final

from sqlalchemy import select, update

from mcpctl.errors import Problem
from mcpctl.services.principals import Principal
from mcpctl.store.database import Database
from mcpctl.store.schema import Session, Token

logger = logging.getLogger(__name__)

WRITE_EVERY: Final = 30.0
"""Seconds. What was noted and not written when the process dies is lost; nothing is decided by it."""

AT_ONCE: Final = 500
"""Credentials written in one transaction."""


class LastUsed:
    """Notes and, in a thread of its own, writes."""

    def __init__(self, database: Database) -> None:
        """Prepare; ``start`` begins to write."""
        self._database = database
        self._noted: dict[tuple[type[Token] | type[Session], str], float] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, principal: Principal) -> None:
        """The credential of ``principal`` was used just now."""
        self._noted[(Token if principal.is_token else Session, principal.credential_id)] = time()

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._keep_writing, name="last-used", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what is noted and end."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def write(self) -> None:
        """Write what was noted since the last time."""
        noted, self._noted = self._noted, {}
        for kind in (Token, Session):
            ids = [credential_id for of, credential_id in list(noted) if of is kind]  # a note may still arrive in it
            for start in range(0, len(ids), AT_ONCE):
                self._write(kind, ids[start : start + AT_ONCE], noted)

    def _write(
        self, kind: type[Token] | type[Session], ids: list[str], noted: dict[tuple[type[Token] | type[Session], str], float]
    ) -> None:
        with self._database.append() as db:
            # Whoever is changing one of them is not waited for, or each could wait for the other.
            free = db.scalars(select(kind.id).where(kind.id.in_(ids)).with_for_update(skip_locked=True)).all()
            for credential_id in free:
                db.execute(update(kind).where(kind.id == credential_id).values(last_used_at=noted[kind, credential_id]))

    def _keep_writing(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(WRITE_EVERY)
            try:
                self.write()
            except Problem as error:
                logger.warning("last use was not written: %s", error.detail)
