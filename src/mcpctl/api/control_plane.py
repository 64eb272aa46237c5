"""The parts of a running control plane, put together once and handed to the routes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mcpctl.policy import files
from mcpctl.policy.files import PolicyFiles
from mcpctl.services import bootstrap, secrets
from mcpctl.services.asked_about import AskedAbout
from mcpctl.services.keyring import Keyring
from mcpctl.services.last_used import LastUsed
from mcpctl.services.policy_feed import PolicyFeed
from mcpctl.services.principals import PrincipalCache
from mcpctl.services.throttle import FailureThrottle
from mcpctl.store.database import Database
from mcpctl.store.migrate import migrate


@dataclass
class ControlPlane:
    """What the routes work with. The policy files are published by one assignment to ``policy``."""

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
    draining: bool = False

    def __post_init__(self) -> None:
        self.feed = PolicyFeed(self.database)
        self.last_used = LastUsed(self.database)
        self.feed.subscribe(self.principals.supersede)

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
        return cls(database, policy, keyring), generated

    def start(self) -> None:
        """Begin to follow revisions and to write last uses."""
        self.feed.start()
        self.last_used.start()

    def stop(self) -> None:
        """End both, and close the database."""
        self.feed.stop()
        self.last_used.stop()
        self.database.close()
