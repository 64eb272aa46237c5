"""Answering questions about rights: the decision API."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from typing import Final, Literal

from sqlalchemy.orm import Session as Db

from mcpctl.errors import FieldError, InvalidInput, NotFound
from mcpctl.policy import names, vocabulary
from mcpctl.policy.decision import Authority, Decision, decide
from mcpctl.policy.files import PolicyFiles
from mcpctl.policy.vocabulary import OPERATIONS_RESOURCE
from mcpctl.services import authorities, metrics
from mcpctl.services.everybody import somebodies
from mcpctl.services.principals import Principal
from mcpctl.services.work import require
from mcpctl.store import revisions
from mcpctl.wire import decisions as wire

Until = Literal["all", "until_deny", "until_permit"]

ONE_BY_ONE: Final = 3
"""Subjects up to which each is read by itself; more are read together."""


FEW_WORDS: Final = 8
"""Questions up to which only the lines that speak of one of them are read."""


def checked(question: wire.Question | wire.WhoCanQuery) -> tuple[str, str, str]:
    """The action, resource and name asked about, in the vocabulary's words.

    Raises:
        InvalidInput: one of them is no such word; an empty name is one.
    """
    return checked_words(question.action, question.resource, question.name)


@lru_cache(maxsize=4096)
def checked_words(action: str, resource: str, name: str) -> tuple[str, str, str]:
    """As ``checked``, of the words alone."""
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


def own_verdicts(
    asker: Principal, questions: Iterable[wire.Question], revision: int, until: Until = "all"
) -> list[wire.Verdict]:
    """The answers to questions about the asker itself, as of ``revision``; needs no database.

    Raises:
        InvalidInput: a word of one is not of the vocabulary.
    """
    asked = [checked(question) for question in questions]
    return [verdict(one, revision) for one in until_one(until, (decide(asker.authority, *words) for words in asked))]


def own_verdict(asker: Principal, question: wire.Question, revision: int) -> bytes:
    """The answer about the asker itself as of ``revision``, as JSON. Written once for each and each remembered decision.

    Raises:
        InvalidInput: a word of it is not of the vocabulary.
    """
    decision = decide(asker.authority, *checked(question))
    metrics.count_decision(decision)
    written: tuple[int, bytes] | None = decision.__dict__.get("written")
    if written is None or written[0] != revision:
        text = verdict(decision, revision).model_dump_json(by_alias=True).encode()
        written = decision.__dict__["written"] = (revision, text)
    return written[1]


def until_one(until: Until, answers: Iterable[Decision]) -> Iterator[Decision]:
    """All of ``answers``, or those up to and with the first no, or the first yes."""
    for answer in answers:
        metrics.count_decision(answer)
        yield answer
        if until != "all" and answer.allowed is (until == "until_permit"):
            return


def require_asking(asker: Principal, subjects: Iterable[str]) -> list[str]:
    """The subjects that are not the asker itself, for each of whom it must be allowed to ask. It only lets one ask.

    Raises:
        Forbidden: it needs ``action:impersonate``.
    """
    others = [subject for subject in dict.fromkeys(subjects) if subject != asker.subject]
    if others:
        require(asker.authority, "impersonate", OPERATIONS_RESOURCE)
    return others


class Known:
    """Whom questions of one request are about: each subject is read once, in one snapshot, and may be nobody."""

    def __init__(
        self,
        db: Db,
        policy: PolicyFiles,
        asker: Principal,
        others: list[str],
        now: float,
        words: Collection[tuple[str, str, str]] | None = None,
    ) -> None:
        """Read the ``others``; the asker is known. ``words`` are all that will be asked, if that is known already."""
        self.revision = revisions.current(db)
        self._authorities: dict[str, Authority | None] = dict.fromkeys(others)
        self._words: frozenset[tuple[str, str, str]] | None = None
        if len(others) <= ONE_BY_ONE:
            self._authorities.update((subject, _authority(db, policy, subject, now)) for subject in others)
        else:
            few = words is not None and len(words) <= FEW_WORDS
            self._words = frozenset(words) if few and words is not None else None
            found = somebodies(db, policy, now, only=others, asked=self._words)
            self._authorities.update((one.authority.subject, one.authority) for one in found)
        self._authorities[asker.subject] = asker.authority

    @classmethod
    def only(cls, asker: Principal, revision: int) -> Known:
        """The asker alone, as of ``revision``, which takes no database."""
        known = cls.__new__(cls)
        known.revision, known._authorities = max(revision, asker.authority.revision), {asker.subject: asker.authority}
        known._words = None
        return known

    def decide(self, subject: str, action: str, resource: str, name: str) -> Decision:
        """The answer about one of them. Nobody may do anything."""
        authority = self._authorities[subject]
        if self._words is not None and (action, resource, name) not in self._words:
            raise ValueError("only the lines that speak of what was to be asked have been read")
        if authority is None:
            return Decision(False, subject, action, resource, name, revision=self.revision)
        return decide(authority, action, resource, name)

    def authority(self, subject: str) -> Authority | None:
        """What is known of one of them."""
        return self._authorities[subject]


def verdicts(known: Known, asker: Principal, questions: list[wire.Question], until: Until = "all") -> list[wire.Verdict]:
    """The answers, in order.

    Raises:
        InvalidInput: a word of a question is not of the vocabulary.
    """
    asked = [(question.subject or asker.subject, *checked(question)) for question in questions]
    return [verdict(one, known.revision) for one in until_one(until, (known.decide(*words) for words in asked))]


def _authority(db: Db, policy: PolicyFiles, subject: str, now: float) -> Authority | None:
    try:
        return authorities.subject_authority(db, policy, subject, now)
    except NotFound:
        return None


def verdict(decision: Decision, revision: int) -> wire.Verdict:
    """A decision as it crosses the wire, as of ``revision``: what it was made from has not changed since it was made."""
    return wire.Verdict(
        allowed=decision.allowed,
        reason=decision.reason,
        rule=str(decision.rule) if decision.rule else None,
        origin=decision.origin,
        via=decision.via,
        missing=[] if decision.allowed else [decision.question],
        revision=max(revision, decision.revision),
        id=decision.id,
    )
