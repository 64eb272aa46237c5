"""Who asked about whom stands in the audit: of each credential and subject once in a minute, however often it asks.

A policy enforcement point asks about others all day, so a row for each question would bury the rest; what a reader of the
audit wants to know is whose rights were looked at, by whom, and when it began.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from time import monotonic
from typing import Final

from mcpctl.services import audit
from mcpctl.services.principals import Principal
from mcpctl.store.database import Database

AGAIN_AFTER: Final = 60.0
"""Seconds after which the same credential asking about the same subject is written down again."""

MOST_KEPT: Final = 20_000
"""Pairs kept; past that all are forgotten, and written down once more."""

SHOWN: Final = 100
"""Subjects named in one row; of more, there are more rows."""


class AskedAbout:
    """Remembers who asked about whom, and writes what is new."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = Lock()
        self._at: dict[tuple[str, str], float] = {}

    def record(
        self, database: Database, asker: Principal, subjects: Iterable[str], *, source: str, request_id: str, revision: int
    ) -> None:
        """Write down that ``asker`` was told about ``subjects``, before it is told.

        Raises:
            StoreUnavailable: it cannot be written, and so nothing is told.
        """
        fresh = self._fresh(asker.credential_id, subjects)
        if not fresh:
            return
        try:
            with database.append() as db:
                for start in range(0, len(fresh), SHOWN):
                    about = fresh[start : start + SHOWN]
                    more = f" and {len(about) - 3} more" if len(about) > 3 else ""
                    db.add(
                        audit.row(
                            asker,
                            "impersonate",
                            "operations",
                            "*",
                            allowed=True,
                            outcome="asked",
                            reason="asked about " + ", ".join(about[:3]) + more,
                            revision=revision,
                            source=source,
                            request_id=request_id,
                            details={"about": about, "subjects": len(about)},
                        )
                    )
        except BaseException:
            with self._lock:
                for subject in fresh:
                    self._at.pop((asker.credential_id, subject), None)
            raise

    def _fresh(self, credential: str, subjects: Iterable[str]) -> list[str]:
        now, fresh = monotonic(), list[str]()
        with self._lock:
            if len(self._at) > MOST_KEPT:
                self._at.clear()
            for subject in subjects:
                if now - self._at.get((credential, subject), -AGAIN_AFTER) >= AGAIN_AFTER:
                    self._at[credential, subject] = now
                    fresh.append(subject)
        return fresh
