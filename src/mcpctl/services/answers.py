"""Answers that are longer than yes or no: why, who else, and all that somebody holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from sqlalchemy.orm import Session as Db

from mcpctl.errors import NotFound
from mcpctl.policy.decision import TOKEN_NEVER_IN_WORDS, Authority, Decision, Leg, decide
from mcpctl.policy.files import PolicyFiles
from mcpctl.policy.slices import Rule, Slice
from mcpctl.services import questions
from mcpctl.services.everybody import KINDS, Kind, somebodies
from mcpctl.services.questions import Known
from mcpctl.wire import decisions as wire


class Able(NamedTuple):
    """Somebody who may do it, and the decision that says so."""

    kind: Kind
    name: str
    owner: str | None
    decision: Decision


def who_can(
    db: Db, policy: PolicyFiles, asked: tuple[str, str, str], now: float, kinds: Collection[Kind] = KINDS
) -> Iterator[Able]:
    """Everybody to whom ``decide`` says yes, by kind and name: no other question is asked than of each of them alone.

    Raises:
        PolicyUnavailable: the model cannot be evaluated.
    """
    for one in somebodies(db, policy, now, kinds, asked=[asked]):
        if decision := decide(one.authority, *asked):
            yield Able(one.kind, one.name, one.owner, decision)


def holder(able: Able) -> wire.Holder:
    """As it crosses the wire."""
    decision = able.decision
    rule = str(decision.rule) if decision.rule else None
    return wire.Holder(
        subject=decision.subject, name=able.name, owner=able.owner, rule=rule, origin=decision.origin, via=decision.via
    )


def explain(known: Known, subject: str, asked: tuple[str, str, str]) -> wire.Explanation:
    """The answer, what each leg says and every line that speaks of it.

    Raises:
        PolicyUnavailable: the model cannot be evaluated.
    """
    decision, authority = known.decide(subject, *asked), known.authority(subject)
    return wire.Explanation(
        **questions.verdict(decision, known.revision).model_dump(),
        subject=decision.subject,
        action=decision.action,
        resource=decision.resource,
        name=decision.name,
        legs=[] if authority is None else [_leg(decision, leg, authority) for leg in decision.legs],
    )


def _leg(decision: Decision, leg: Leg, authority: Authority) -> wire.LegSays:
    part = {"user": authority.own, "token": authority.own, "owner": authority.owner}.get(leg.kind)
    lines = part.matching(decision.action, decision.resource, decision.name) if part else ()
    return wire.LegSays(
        kind=leg.kind,
        subject=leg.subject,
        allowed=leg.allowed,
        reason=leg.sentence(decision.question),
        groups=sorted(part.groups) if part else [],
        lines=[_line(rule) for rule in lines],
    )


def _line(rule: Rule) -> wire.Line:
    return wire.Line(effect=rule.eft, binding=str(rule.binding), subject=rule.sub, origin=rule.origin)


def rights(known: Known, subject: str) -> wire.Rights:
    """All the lines that decide about somebody.

    Raises:
        NotFound: nobody enabled, unexpired and unrevoked is called that.
    """
    authority = known.authority(subject)
    if authority is None:
        raise NotFound(f"{subject} is not known or not enabled")
    owner = authority.owner
    return wire.Rights(
        subject=subject,
        revision=known.revision,
        groups=sorted(authority.own.groups),
        rights=_rights(authority.own),
        owner=owner.subject if owner else None,
        owner_groups=sorted(owner.groups) if owner else [],
        owner_rights=_rights(owner) if owner else [],
        project=authority.project,
        attached=sorted(authority.attached),
        never=list(TOKEN_NEVER_IN_WORDS) if owner else [],
    )


def _rights(part: Slice) -> list[wire.Right]:
    return [
        wire.Right(**_line(rule).model_dump(), actions=sorted(part.roles.actions(rule.role)))
        for rule in sorted(part.rules, key=lambda rule: (rule.res, rule.name, rule.eft, rule.role))
    ]
