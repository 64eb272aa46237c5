"""Answering questions about rights: the decision API."""

from __future__ import annotations

from functools import lru_cache

from sqlalchemy.orm import Session as Db

from mcpctl.errors import FieldError, InvalidInput, NotFound
from mcpctl.policy import names, vocabulary
from mcpctl.policy.decision import Authority, Decision, decide
from mcpctl.policy.files import PolicyFiles
from mcpctl.policy.vocabulary import OPERATIONS_RESOURCE
from mcpctl.services import authorities
from mcpctl.services.principals import Principal
from mcpctl.services.work import require
from mcpctl.store import revisions
from mcpctl.wire import decisions as wire


def checked(question: wire.Question) -> tuple[str, str, str]:
    """The action, resource and name asked about, in the vocabulary's words.

    Raises:
        InvalidInput: one of them is no such word; an empty name is one.
    """
    return _checked(question.action, question.resource, question.name)


@lru_cache(maxsize=4096)
def _checked(action: str, resource: str, name: str) -> tuple[str, str, str]:
    try:
        resource = vocabulary.resource(resource)
    except InvalidInput as error:
        raise InvalidInput(error.detail, errors=[FieldError("resource", error.detail)]) from None
    try:
        action = vocabulary.action(action, resource)
    except InvalidInput as error:
        raise InvalidInput(error.detail, errors=[FieldError("action", error.detail)]) from None
    try:
        name = names.check_bound_name(resource, name, action)
    except InvalidInput as error:
        raise InvalidInput(error.detail, errors=[FieldError("name", error.detail)]) from None
    return action, resource, name


def own_verdict(asker: Principal, question: wire.Question) -> wire.Verdict:
    """The answer to a question about the asker itself; needs no database.

    Raises:
        InvalidInput: a word of it is not of the vocabulary.
    """
    return verdict(decide(asker.authority, *checked(question)))


def verdicts(db: Db, policy: PolicyFiles, asker: Principal, questions: list[wire.Question], now: float) -> list[wire.Verdict]:
    """The answers, in order. About another subject the asker needs ``action:impersonate``; it only lets one ask.

    Raises:
        Forbidden: the asker may not ask about others.
        InvalidInput: a word of a question is not of the vocabulary.
    """
    answers = []
    known: dict[str, Authority | None] = {asker.subject: asker.authority}
    for question in questions:
        asked = checked(question)
        subject = question.subject or asker.subject
        if subject != asker.subject:
            require(asker.authority, "impersonate", OPERATIONS_RESOURCE)
        if subject not in known:
            known[subject] = _authority(db, policy, subject, now)
        authority = known[subject]
        if authority is None:
            answers.append(verdict(Decision(False, subject, *asked, revision=revisions.current(db))))
        else:
            answers.append(verdict(decide(authority, *asked)))
    return answers


def _authority(db: Db, policy: PolicyFiles, subject: str, now: float) -> Authority | None:
    try:
        return authorities.subject_authority(db, policy, subject, now)
    except NotFound:
        return None


def verdict(decision: Decision) -> wire.Verdict:
    """A decision as it crosses the wire."""
    return wire.Verdict(
        allowed=decision.allowed,
        reason=decision.reason,
        rule=str(decision.rule) if decision.rule else None,
        origin=decision.origin,
        revision=decision.revision,
        id=decision.id,
    )
