"""The parts of a running control plane, put together once and handed to the routes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sqlalchemy.orm import Session as Db

from mcpctl.errors import InvalidPolicy, PolicyUnavailable, Problem
from mcpctl.policy import files
from mcpctl.policy.files import PolicyFiles
from mcpctl.services import bootstrap, metrics, secrets
from mcpctl.services.asked_about import AskedAbout
from mcpctl.services.keyring import Keyring
from mcpctl.services.last_used import LastUsed
from mcpctl.services.policy_directory import CANDIDATE, PolicyDirectory
from mcpctl.services.policy_feed import PolicyFeed
from mcpctl.services.principals import PrincipalCache
from mcpctl.services.shadow import Shadow
from mcpctl.services.throttle import CHANNEL, FailureThrottle
from mcpctl.store import revisions
from mcpctl.store.database import Database
from mcpctl.store.migrate import migrate

logger = logging.getLogger(__name__)

Told = TypeVar("Told")


@dataclass
class ControlPlane:
    """What the routes work with. The policy files are published by one assignment to ``policy``.

    Attributes:
        leaving: this process is about to end: it is not ready for more, and still serves what comes.
        draining: streams without an end are to end now.
        watchers: open streams of ``/api/v1/watch``.
    """

    database: Database
    policy: PolicyFiles
    keyring: Keyring = field(default_factory=Keyring)
    session_seconds: float = 12 * 3600
    max_body_bytes: int = 1_048_576
    allowed_hosts: frozenset[str] = frozenset()
    trusted_proxies: tuple[str, ...] = ()
    feed: PolicyFeed = field(init=False)
    last_used: LastUsed = field(init=False)
    principals: PrincipalCache = field(default_factory=PrincipalCache)
    failed_logins: FailureThrottle = field(default_factory=lambda: FailureThrottle("login"))
    failed_bearers: FailureThrottle = field(default_factory=lambda: FailureThrottle("bearer", free=30))
    asked_about: AskedAbout = field(default_factory=AskedAbout)
    leaving: bool = False
    draining: bool = False
    watchers: int = 0
    directory: PolicyDirectory | None = None
    shadow: Shadow | None = None
    shadow_directory: PolicyDirectory | None = None
    behind: bool = False

    def __post_init__(self) -> None:
        self.feed = PolicyFeed(self.database)
        self.last_used = LastUsed(self.database)
        self.feed.subscribe(self.principals.supersede)
        self.feed.subscribe(self._compare_files)
        self.feed.hear(CHANNEL, lambda said: self.failed_logins.heard(said))

    @classmethod
    def prepare(
        cls, database: Database, policy_directory: Path, admin_password: str | None = None, keyring: Keyring | None = None
    ) -> tuple[ControlPlane, str | None]:
        """Migrate, make the first admin, adopt the policy files and the keys; the admin's password if one was generated.

        Raises:
            InvalidPolicy: the policy directory has findings.
            InvalidSetting: secrets are kept that ``keyring`` cannot read.
            StoreUnavailable: the database does not answer.
        """
        policy = files.read(policy_directory)
        keyring = keyring or Keyring()
        migrate(database)
        with database.write() as transaction:
            secrets.adopt_key(transaction, keyring)
        generated = bootstrap.first_start(database, admin_password)
        bootstrap.adopt_policy(database, policy)
        control = cls(database, policy, keyring)
        control.directory = PolicyDirectory(policy_directory, policy, control.exchange, control.refuse)
        return control, generated

    def ask_beside(self, candidate_directory: Path) -> None:
        """Shadow mode: ask the policy of this directory too, and enforce nothing of it.

        One that has findings, now or later, holds nobody up: nothing is asked of it until it has none.
        """
        shadow = self.shadow = Shadow(self.database)

        def follow(policy: PolicyFiles) -> None:
            shadow.candidate = policy

        self.shadow_directory = PolicyDirectory(candidate_directory, None, follow, lambda _: None, CANDIDATE)
        self.shadow_directory.look()

    def read(self, tell: Callable[[Db, PolicyFiles], Told]) -> Told:
        """What ``tell`` makes of one snapshot and of the policy files that belong to it.

        Were the files exchanged meanwhile, the snapshot may be of the revision after and the files of the one before: then
        ``tell`` is called again, whatever it said or raised.
        """
        while True:
            policy = self.policy
            try:
                with self.database.read() as db:
                    told = tell(db, policy)
            except Problem:
                if self.policy is policy:
                    raise
            else:
                if self.policy is policy:
                    return told

    def exchange(self, policy: PolicyFiles) -> None:
        """Put changed policy files in force, whole.

        Raises:
            InvalidPolicy: with what stands in the database they cannot be; then, too, the files before stay in force.
            StoreUnavailable: the database does not answer; then the files before stay in force.
        """
        before = self.policy

        def publish() -> None:
            self.policy = policy

        try:
            bootstrap.exchange_policy(self.database, before, policy, publish)
        except BaseException:
            self.policy = before
            raise
        metrics.POLICY_RELOADS.add("adopted")

    def refuse(self, findings: InvalidPolicy) -> None:
        """Say that changed policy files are not in force."""
        metrics.POLICY_RELOADS.add("refused")
        bootstrap.refuse_policy(self.database, findings)

    @property
    def seems_ready(self) -> bool:
        """Whether requests can be served, as far as that is known without asking the database."""
        return self.feed.fresh and not self.leaving and not self.draining and not self.behind

    def require_current_files(self, in_force: str | None = None) -> None:
        """Go on only if this process decides by the policy files that are in force.

        Args:
            in_force: the digest read in the transaction at hand; left out, what the feed last said counts.

        Raises:
            PolicyUnavailable: another replica has put other files in force, and this one has not seen them yet. Whatever it
                answered could be by a line that is gone, and kept by a gateway as if it were of today.
        """
        behind = self.behind if in_force is None else in_force not in ("", self.policy.digest)
        if behind:
            raise PolicyUnavailable(
                "other policy files are in force than those of this process: give it the same ones, or wait until it sees them"
            )

    def _compare_files(self, _revision: int, topics: frozenset[str]) -> None:
        if revisions.EVERYTHING not in topics:
            return
        with self.database.read() as db:
            in_force = revisions.files_digest(db)
        behind = in_force not in ("", self.policy.digest)
        if behind and not self.behind:
            logger.error("another process has put other policy files in force: nothing is answered until this one has them too")
        self.behind = behind

    def start(self) -> None:
        """Begin to follow revisions and policy files, and to write last uses."""
        self.feed.start()
        self.last_used.start()
        for follower in (self.shadow, self.shadow_directory, self.directory):
            if follower is not None:
                follower.start()

    def stop(self) -> None:
        """End all of it, and close the database."""
        for follower in (self.directory, self.shadow_directory, self.shadow):
            if follower is not None:
                follower.stop()
        self.feed.stop()
        self.last_used.stop()
        self.database.close()
