"""One unit of work: what a principal does inside one transaction.

Services take it as their first argument. The principal's authority in it was read in that very transaction, never from a
cache, so a check and the write it guards see the same policy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from time import time
from typing import Any

from sqlalchemy.orm import Session as Db

from mcpctl.errors import CeilingExceeded, Forbidden, NotFound
from mcpctl.policy import ceiling
from mcpctl.policy.bindings import Binding
from mcpctl.policy.decision import Authority, Decision, decide
from mcpctl.policy.files import PolicyFiles
from mcpctl.policy.vocabulary import ANY, OPERATIONS_RESOURCE
from mcpctl.services import audit, metrics
from mcpctl.services.keyring import Keyring
from mcpctl.services.principals import Principal
from mcpctl.store.database import WriteTransaction


@dataclass
class Work:
    """A transaction, the principal it is for, and what it must obey.

    Attributes:
        transaction: open, holding the write lock.
        policy: the policy files in force.
        actor: who does it.
        keyring: what secrets are encrypted with.
        source: the client's address; ``request_id`` joins log, audit and answer.
        now: Unix seconds; one moment for the whole unit.
    """

    transaction: WriteTransaction
    policy: PolicyFiles
    actor: Principal
    keyring: Keyring = field(default_factory=Keyring)
    source: str | None = None
    request_id: str | None = None
    now: float = field(default_factory=time)
    decision: Decision | None = None

    @property
    def db(self) -> Db:
        """The session of the transaction."""
        return self.transaction.session

    @property
    def authority(self) -> Authority:
        """What the actor may do, read in this transaction."""
        return self.actor.authority

    def touch(self, *topics: str) -> None:
        """Say that whatever was built from these topics is old once this commits."""
        self.transaction.touch(*topics)

    def require(self, action: str, resource: str, name: str = "*") -> Decision:
        """Go on only if the actor may do this; the first answer is kept for the audit.

        Raises:
            Forbidden, NotFound: as ``require``.
        """
        decision = require(self.authority, action, resource, name)
        self.decision = self.decision or decision
        return decision

    def require_holding(self, bindings: Iterable[Binding], doing: str) -> None:
        """Go on only if the actor holds everything ``bindings`` give: the creator ceiling.

        Raises:
            CeilingExceeded: with one line per missing right.
        """
        ceiling.require(self.authority, bindings, self.policy.roles, doing)

    def require_as_much_as(self, whose: str, bindings: Iterable[Binding], doing: str) -> None:
        """``require_holding`` where ``bindings`` are not what was asked for, but what somebody else holds.

        Who that is was said; what they hold was not. So of what is missing a line names only what the actor may view, unless
        it may view every definition, or ask about others, and so knows anyway.

        Raises:
            CeilingExceeded: with one line per missing right, as far as it may be told.
        """
        lacking = ceiling.missing(self.authority, bindings, self.policy.roles)
        if not lacking:
            return
        told = [str(one) for one in lacking if self._may_be_told(one)]
        said = list(told)
        if len(told) < len(lacking):
            said.append(f"{len(lacking) - len(told)} that you may not see")
        why = f"{doing} needs all that goes with {whose}, and {self.actor.subject} does not hold"
        raise CeilingExceeded(f"{why}: {'; '.join(said)}", missing=told)

    def _may_be_told(self, lacking: ceiling.Missing) -> bool:
        if decide(self.authority, "view", "rbac") or decide(self.authority, "impersonate", OPERATIONS_RESOURCE):
            return True
        return lacking.name == ANY or bool(decide(self.authority, "view", lacking.resource, lacking.name))

    def require_all(self, asked: Iterable[tuple[str, str, str]], doing: str) -> None:
        """Go on only if the actor may do all of ``asked``, each an action, a resource and a name.

        Raises:
            CeilingExceeded: with one line for each that is missing.
            NotFound: a token asks for something outside its project.
        """
        lacking = [decision for decision in (decide(self.authority, *each) for each in asked) if not decision]
        for decision in lacking:
            _outside_does_not_exist(decision)
        if lacking:
            missing = [decision.question for decision in lacking]
            raise CeilingExceeded(
                f"{doing} needs what {self.actor.subject} does not hold: " + "; ".join(missing), missing=missing
            )

    def record(self, action: str, resource: str, name: str, *, project: str | None = None, **details: Any) -> None:
        """Add the audit row of what is being done; it commits or vanishes with it."""
        self.db.add(
            audit.row(
                self.actor,
                action,
                resource,
                name,
                allowed=True,
                decision=self.decision,
                revision=self.transaction.revision,
                project=project,
                source=self.source,
                request_id=self.request_id,
                details=details,
            )
        )


def require(authority: Authority, action: str, resource: str, name: str = "*") -> Decision:
    """The decision, if it is yes.

    Raises:
        NotFound: a token asks for something outside its project, which does not exist for it.
        Forbidden: the answer is no. An existing and a missing thing answer the same.
    """
    decision = decide(authority, action, resource, name)
    metrics.count_decision(decision)
    if decision:
        return decision
    _outside_does_not_exist(decision)
    raise Forbidden(decision.reason, missing=[decision.question])


def _outside_does_not_exist(refusal: Decision) -> None:
    outside = refusal.leg is not None and refusal.leg.kind == "project"
    if outside and refusal.name != "*" and refusal.action != "create":
        raise NotFound(f"there is no {refusal.resource.removesuffix('s')} {refusal.name!r}")
