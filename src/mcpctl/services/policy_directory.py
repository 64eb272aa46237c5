"""Following a policy directory: what people edit comes into force by itself, whole, and only if nothing is wrong with it.

Editors write in several steps, and a mounted ConfigMap changes by a link that is turned to another directory. So a change is
only where a look begins: it is waited for until nothing moves any more, read strictly, and handed over in one piece. A
directory with findings changes nothing: the last good one stays in force, and its owner is told why.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any, Final, NamedTuple

import watchfiles

from mcpctl.errors import InvalidPolicy, Problem
from mcpctl.policy import files
from mcpctl.policy.files import PolicyFiles

logger = logging.getLogger(__name__)

LOOK_EVERY: Final = 1.0
"""Seconds after which it is looked even if nothing was heard: over a network file system nothing ever is."""

SETTLED_AFTER: Final = 0.15
"""Seconds during which nothing may move before what is there is read."""

SURE_AFTER: Final = 1.0
"""The same where lines are gone: half of a file that is still being written reads like a file with fewer lines, and a deny
may be in the other half. Who writes slower than that is told to write another file and rename it (docs/policies.md)."""


LONGEST_UNREST: Final = 1.5
"""Seconds that are waited for rest: who touches a file without end must not keep an edit of another from being read."""


LONGEST_DOUBT: Final = 4.0
"""The same where lines are gone."""


class Wording(NamedTuple):
    """How the log speaks of a directory."""

    adopted: str
    refused: str
    good_again: str


IN_FORCE: Final = Wording(
    "the policy files of %s have changed and are in force",
    "the policy files of %s have changed and are not in force, the last good ones are: %s",
    "the policy files of %s are as they are in force again",
)
CANDIDATE: Final = Wording(
    "the candidate policy files of %s are asked beside those in force; nothing of them is enforced",
    "the candidate policy files of %s have findings, and the last good ones are asked, if there were any: %s",
    "the candidate policy files of %s are as they are asked again",
)

AGAIN_AFTER: Final = 5.0
"""Seconds after which files are tried again that the database stood in the way of: reading very many of them takes a while."""

Fingerprint = tuple[tuple[str, int, int, int], ...]


class PolicyDirectory:
    """One directory, looked at in a thread of its own."""

    def __init__(
        self,
        path: Path,
        in_force: PolicyFiles | None,
        adopt: Callable[[PolicyFiles], None],
        refuse: Callable[[InvalidPolicy], None],
        wording: Wording = IN_FORCE,
    ) -> None:
        """Prepare; ``start`` begins to look.

        Args:
            path: the directory.
            in_force: what was read there and is in force; ``None`` if nothing is yet.
            adopt: takes what has changed and is good. What it raises is logged, and it is tried again at the next look.
            refuse: takes, once for each content, why what has changed is not.
            wording: for the log.
        """
        self.path = path
        self._in_force = in_force
        self._adopt = adopt
        self._refuse = refuse
        self._wording = wording
        self._seen: Fingerprint | None = None
        self._not_adopted: Fingerprint | None = None
        self._again_at = 0.0
        self._unsure_since: float | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.findings: InvalidPolicy | None = None
        """Why what stands in the directory is not in force; ``None`` if it is."""

    def start(self) -> None:
        """Begin."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._keep_looking, name=f"policy directory {self.path}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def look(self) -> None:
        """Look now: hand over what has changed, or why it cannot be."""
        seen = self._fingerprint()
        if seen == self._seen or (seen == self._not_adopted and monotonic() < self._again_at):
            return
        try:
            policy = files.read(self.path)
        except InvalidPolicy as findings:
            self._seen = seen
            self._settle(findings)
            return
        if self._fingerprint() != seen or not self._is_sure_of(policy, seen):
            return  # it moved while it was being read: the next look begins anew
        if self._in_force is None or policy.digest != self._in_force.digest:
            try:
                self._adopt(policy)
            except InvalidPolicy as findings:
                # It is because of what stands in the database, and that may change: look again, but not all the time.
                self._not_adopted, self._again_at = seen, monotonic() + AGAIN_AFTER
                self._settle(findings)
                return
            self._in_force = policy
            logger.info(self._wording.adopted, self.path)
        elif self.findings is not None:
            logger.info(self._wording.good_again, self.path)
        self._seen = seen
        self._settle(None)

    def _settle(self, findings: InvalidPolicy | None) -> None:
        before, self.findings = self.findings, findings
        if findings is not None and (before is None or before.detail != findings.detail):
            logger.error(self._wording.refused, self.path, findings.detail)
            self._refuse(findings)

    def _is_sure_of(self, policy: PolicyFiles, seen: Fingerprint) -> bool:
        """Whether lines that are gone have been gone for long enough, or it has been waited for rest for long enough."""
        before = self._in_force
        if before is None or _said(before) <= _said(policy):
            self._unsure_since = None
            return True
        since = self._unsure_since = self._unsure_since or monotonic()
        if not self._stays(seen) and monotonic() - since < LONGEST_DOUBT:
            return False
        self._unsure_since = None
        return True

    def _stays(self, seen: Fingerprint) -> bool:
        """Whether nothing moves for as long as it takes to be sure."""
        until = monotonic() + SURE_AFTER
        while monotonic() < until:
            if self._stop.wait(SETTLED_AFTER) or self._fingerprint() != seen:
                return False
        return True

    def _keep_looking(self) -> None:
        while not self._stop.is_set():
            try:
                heard = watchfiles.watch(
                    self.path, stop_event=self._stop, rust_timeout=int(LOOK_EVERY * 1000), yield_on_timeout=True, debounce=50
                )
                for _ in heard:
                    self._wait_until_settled()
                    self._look_and_go_on()
            except (OSError, RuntimeError):  # the directory is not there, or no more of them can be watched
                self._look_and_go_on()
                self._stop.wait(LOOK_EVERY)

    def _wait_until_settled(self) -> None:
        before, until = self._fingerprint(), monotonic() + LONGEST_UNREST
        while before != self._seen and monotonic() < until and not self._stop.wait(SETTLED_AFTER):
            now = self._fingerprint()
            if now == before:
                return
            before = now

    def _look_and_go_on(self) -> None:
        try:
            self.look()
        except Problem as problem:
            logger.warning("the policy files have changed and could not be put in force yet: %s", problem.detail)
        except Exception:
            logger.exception("looking at the policy files failed")

    def _fingerprint(self) -> Fingerprint:
        """What tells one content from another without reading it: links are followed, so a turned link is a change."""
        found = []
        try:
            paths = sorted(path for path in self.path.iterdir() if path.suffix == ".csv" or path.name == files.MODEL_FILE)
        except OSError:
            return ()
        for path in paths:
            try:
                about = path.stat()
            except OSError:
                found.append((path.name, 0, 0, 0))
            else:
                # ctime: it moves with the rights, and when somebody puts mtime back.
                found.append((path.name, about.st_ctime_ns, about.st_size, about.st_ino))
        return tuple(found)


def _said(policy: PolicyFiles) -> set[Any]:
    """Everything that the lines say, wherever they stand."""
    return {*policy.role_lines, *(rule[:-1] for rule in policy.rules), *((one.user, one.group) for one in policy.memberships)}
