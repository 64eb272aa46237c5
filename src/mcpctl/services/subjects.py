"""Subjects as lines speak of them: whether they exist, and forgetting them."""

from __future__ import annotations

from sqlalchemy import select

from mcpctl.errors import FieldError, InvalidInput
from mcpctl.policy.names import parse_subject
from mcpctl.services.work import Work
from mcpctl.store import policy_rules
from mcpctl.store.schema import Group, Token, User


def require_known(work: Work, subjects: list[str], field: str) -> None:
    """Go on only if every one of ``subjects`` exists now, so that no line waits for a name to be taken.

    Raises:
        InvalidInput: with one entry of ``errors`` for each that does not.
    """
    errors = []
    for index, subject in enumerate(subjects):
        if not _exists(work, subject):
            errors.append(FieldError(f"{field}.{index}", f"there is no {subject}"))
    if errors:
        raise InvalidInput("; ".join(error.message for error in errors), errors=errors)


def _exists(work: Work, subject: str) -> bool:
    parsed = parse_subject(subject)
    if parsed.kind == "User":
        return work.db.scalars(select(User.id).where(User.name == parsed.name)).first() is not None
    if parsed.kind == "Group":
        return work.db.scalars(select(Group.id).where(Group.name == parsed.name)).first() is not None
    live = select(Token.id).where(Token.sha == parsed.name, Token.revoked_at.is_(None))
    return work.db.scalars(live).first() is not None


def forget(work: Work, subject: str) -> None:
    """Delete every line of ``subject``, whatever its origin. A definition that loses its last subject is gone, and audited."""
    work.touch(subject)
    for origin in policy_rules.remove_subject(work.db, subject):
        if origin.startswith("rbac:"):
            work.record("delete", "rbac", origin.removeprefix("rbac:"), because=f"its last subject {subject} is gone")
