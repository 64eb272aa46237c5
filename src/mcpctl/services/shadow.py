"""Shadow mode: a candidate policy directory is asked the questions that were really asked, beside the one in force.

Nothing it says is enforced, and nobody waits for it: questions are put into a bounded queue, and a thread answers them from
the same database under the candidate's files. Each difference is counted, and stands in the audit once for each question.
"""

from __future__ import annotations

import logging
import queue
import threading
from time import time
from typing import Final, NamedTuple

from mcpctl.errors import NotFound, Problem
from mcpctl.policy.decision import Decision, decide
from mcpctl.policy.files import PolicyFiles
from mcpctl.services import audit, authorities, metrics
from mcpctl.store.database import Database

logger = logging.getLogger(__name__)

WAITING: Final = 10_000
"""Questions that may wait; past that they are dropped, since nobody may wait for a shadow."""

REMEMBERED: Final = 50_000
"""Questions whose difference stands in the audit already."""


class Asked(NamedTuple):
    """One question as it was answered by the policy in force."""

    subject: str
    action: str
    resource: str
    name: str
    allowed: bool


class Shadow:
    """Asks ``candidate`` what was asked of the policy in force."""

    def __init__(self, database: Database) -> None:
        """Prepare; ``start`` begins to answer. ``candidate`` is set by one assignment; until it is, nothing is asked."""
        self.candidate: PolicyFiles | None = None
        self._database = database
        self._asked: queue.Queue[Asked | None] = queue.Queue(WAITING)
        self._noted: set[tuple[str, Asked]] = set()
        self._thread = threading.Thread(target=self._keep_answering, name="shadow policy", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Answer what is waiting, and end."""
        self._asked.put(None)
        self._thread.join(timeout=5)

    def note(self, asked: Asked) -> None:
        """Take a question that was just answered. Never waits."""
        try:
            self._asked.put_nowait(asked)
        except queue.Full:
            metrics.SHADOW_DECISIONS.add("dropped")

    def _keep_answering(self) -> None:
        while (asked := self._asked.get()) is not None:
            try:
                self._answer(asked)
            except Problem as problem:
                logger.warning("the shadow policy could not be asked: %s", problem.detail)
            except Exception:
                logger.exception("asking the shadow policy failed")

    def _answer(self, asked: Asked) -> None:
        candidate = self.candidate
        if candidate is None:
            return
        with self._database.read() as db:
            try:
                authority = authorities.subject_authority(db, candidate, asked.subject, time())
            except NotFound:
                return  # gone since
            answer = decide(authority, asked.action, asked.resource, asked.name)
        if answer.allowed == asked.allowed:
            metrics.SHADOW_DECISIONS.add("same")
            return
        metrics.SHADOW_DECISIONS.add("gained" if answer else "lost")
        if (candidate.digest, asked) not in self._noted:
            if len(self._noted) >= REMEMBERED:
                self._noted.clear()
            self._noted.add((candidate.digest, asked))
            self._record(candidate, asked, answer)

    def _record(self, candidate: PolicyFiles, asked: Asked, answer: Decision) -> None:
        change = "allow" if answer else "refuse"
        details = {"candidate": candidate.digest, "subject": asked.subject, "allowedByCandidate": answer.allowed}
        with self._database.append() as db:
            row = audit.row(
                None,
                asked.action,
                asked.resource,
                asked.name,
                allowed=asked.allowed,
                outcome=audit.SHADOW,
                reason=f"the candidate policy would {change} this: {answer.reason}",
                decision=answer,
                details=details,
            )
            row.subject = asked.subject
            row.user = asked.subject.removeprefix("User:") if asked.subject.startswith("User:") else None
            db.add(row)
