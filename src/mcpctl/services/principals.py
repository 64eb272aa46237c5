"""From a bearer to a principal: who is asking, and with what authority."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from threading import Lock
from time import time
from typing import Final, Literal

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session as Db

from mcpctl.errors import InvalidCredential
from mcpctl.policy.decision import Authority
from mcpctl.policy.files import PolicyFiles
from mcpctl.services import authorities
from mcpctl.services.token_secret import hash_token, is_mcp_token, is_session
from mcpctl.store.schema import Session, TokenSecret

_SECRET: Final = select(TokenSecret).where(TokenSecret.sha == bindparam("sha"))
_SESSION: Final = select(Session).where(Session.sha == bindparam("sha"))

Why = Literal["unknown", "malformed", "revoked", "expired", "owner_disabled"]


@dataclass(frozen=True)
class Principal:
    """Somebody who presented a good bearer.

    Attributes:
        authority: what it may do, read at one revision.
        user: the person, or the owner of the token.
        credential_id: of the session or token row; ``secret_sha`` of the bearer itself.
        introspection: its last answer to introspection as JSON, by the revision it was given at.
    """

    authority: Authority
    user: str
    credential_id: str
    secret_sha: str
    issued_at: float
    expires_at: float | None
    token_name: str | None = None
    token_sha: str | None = None
    project: str | None = None
    introspection: dict[int, bytes] = field(default_factory=dict, compare=False, repr=False)

    @property
    def subject(self) -> str:
        """Its subject in the policy."""
        return self.authority.subject

    @property
    def is_token(self) -> bool:
        """Whether it is a token and not a person's session."""
        return self.token_sha is not None


class NotAuthenticated(InvalidCredential):
    """A bearer that is no good, and why. The reason is told to nobody but whoever introspects that very bearer."""

    def __init__(self, why: Why) -> None:
        super().__init__("the bearer is not valid: log in again, or use another token")
        self.why: Why = why


def authenticate(db: Db, policy: PolicyFiles, bearer: str) -> Principal:
    """The principal behind a raw bearer, read in this transaction.

    Raises:
        NotAuthenticated: it is malformed, unknown, revoked or expired, or its owner is disabled.
    """
    now = time()
    if is_mcp_token(bearer):
        return _token(db, policy, hash_token(bearer), now)
    if is_session(bearer):
        return _session(db, policy, hash_token(bearer), now)
    raise NotAuthenticated("malformed")


def _token(db: Db, policy: PolicyFiles, sha: str, now: float) -> Principal:
    # The SHA-256 is looked up whole, by unique index: a prefix never authenticates, and what timing could tell of an
    # index walk are bits of the hash of a guess.
    secret = db.scalars(_SECRET, {"sha": sha}).one_or_none()
    if secret is None:
        raise NotAuthenticated("unknown")
    token = secret.token
    if token.revoked_at is not None:
        raise NotAuthenticated("revoked")
    ends = [moment for moment in (token.expires_at, secret.valid_until) if moment is not None]
    if min(ends, default=now + 1) <= now:
        raise NotAuthenticated("expired")
    if token.owner.disabled:
        raise NotAuthenticated("owner_disabled")
    return Principal(
        authority=authorities.token_authority(db, policy, token, expires_at=secret.valid_until),
        user=token.owner.name,
        credential_id=token.id,
        secret_sha=sha,
        issued_at=token.created_at,
        expires_at=min(ends, default=None),
        token_name=token.name,
        token_sha=token.sha,
        project=token.project.name,
    )


def _session(db: Db, policy: PolicyFiles, sha: str, now: float) -> Principal:
    session = db.scalars(_SESSION, {"sha": sha}).one_or_none()
    if session is None:
        raise NotAuthenticated("unknown")
    if session.expires_at is not None and session.expires_at <= now:
        raise NotAuthenticated("expired")
    if session.user.disabled:
        raise NotAuthenticated("owner_disabled")
    topics = [f"Session:{session.id}"]
    return Principal(
        authority=authorities.user_authority(db, policy, session.user, expires_at=session.expires_at, topics=topics),
        user=session.user.name,
        credential_id=session.id,
        secret_sha=sha,
        issued_at=session.created_at,
        expires_at=session.expires_at,
    )


class PrincipalCache:
    """Principals by the SHA-256 of their bearer, dropped as soon as anything they were built from changes.

    Keyed by the whole hash: nothing shorter or derived can collide into somebody else. Only good bearers are kept, so
    guessing cannot fill it.
    """

    LARGEST: Final = 10_000

    STEPS: Final = 1000

    def __init__(self) -> None:
        """Begin empty."""
        self._lock = Lock()
        self._revision = 0
        self._steps: deque[tuple[int, frozenset[str]]] = deque()
        self._forgotten = 0
        self._by_sha: OrderedDict[str, Principal] = OrderedDict()
        self._by_topic: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._by_sha)

    def get(self, sha: str) -> Principal | None:
        """The principal of this bearer if it is known, current and not expired."""
        principal = self._by_sha.get(sha)
        if principal is None or principal.authority.superseded or time() >= principal.authority.expires_at:
            return None
        return principal

    def put(self, principal: Principal) -> bool:
        """Keep a principal, unless anything it was built from changed since it was read; then it must be read again."""
        with self._lock:
            if self._changed_since(principal.authority):
                principal.authority.superseded = True
                return False
            self._drop(principal.secret_sha)
            self._by_sha[principal.secret_sha] = principal
            for topic in principal.authority.topics:
                self._by_topic.setdefault(topic, set()).add(principal.secret_sha)
            while len(self._by_sha) > self.LARGEST:
                self._drop(next(iter(self._by_sha)))
            return True

    def _changed_since(self, authority: Authority) -> bool:
        if authority.revision >= self._revision:
            return False
        if authority.revision < self._forgotten:
            return True
        later = (topics for number, topics in self._steps if number > authority.revision)
        return any("*" in topics or not topics.isdisjoint(authority.topics) for topics in later)

    def supersede(self, revision: int, topics: frozenset[str]) -> None:
        """A revision came into force: what was built from these topics is old. ``*`` is everything."""
        with self._lock:
            if revision < self._revision:  # the database was put back to an earlier state: what came after never happened
                self._steps.clear()
                self._forgotten = 0
            self._revision = revision
            self._steps.append((revision, topics))
            if len(self._steps) > self.STEPS:
                self._forgotten = self._steps.popleft()[0]
            shas = set(self._by_sha)
            if "*" not in topics:
                shas = {sha for topic in topics for sha in self._by_topic.get(topic, ())}
            for sha in shas:
                self._drop(sha)

    def _drop(self, sha: str) -> None:
        principal = self._by_sha.pop(sha, None)
        if principal is None:
            return
        principal.authority.superseded = True
        for topic in principal.authority.topics:
            if shas := self._by_topic.get(topic):
                shas.discard(sha)
                if not shas:
                    del self._by_topic[topic]
