"""Policy lines in the database, written by Casbin's adapter on the caller's own connection.

The adapter commits by itself when it is given an engine; given an open connection it joins the caller's transaction. It is
used for writing only. Reading goes by column: the adapter would join the columns into text and split that again, and a
stored comma, blank or bracket would change its meaning on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

from casbin_sqlalchemy_adapter import Adapter
from sqlalchemy import Select, bindparam, select
from sqlalchemy.orm import Session

from mcpctl.policy.slices import Rule
from mcpctl.policy.vocabulary import ALLOW, DENY, Effect
from mcpctl.store.schema import PolicyRow

ORIGIN_FIELD = 5


def add(session: Session, rules: Iterable[Rule]) -> None:
    """Write ``rules``; the caller has checked every field and that none of them is there yet."""
    rows = [list(rule) for rule in rules]
    if any(not field for row in rows for field in row):
        raise ValueError("a policy line has an empty field")
    if rows:
        _adapter(session).add_policies("p", "p", rows)
        session.expire_all()


def remove_origin(session: Session, origin: str) -> None:
    """Delete every line of one origin."""
    _remove(session, ORIGIN_FIELD, origin)


def remove_subject(session: Session, subject: str) -> list[str]:
    """Delete every line whose subject this is, whatever its origin; the origins that have no line left."""
    origins = session.scalars(select(PolicyRow.v5).where(PolicyRow.v0 == subject).distinct()).all()
    _remove(session, 0, subject)
    left = set(session.scalars(select(PolicyRow.v5).where(PolicyRow.v5.in_(origins)).distinct()))
    return [origin for origin in origins if origin not in left]


def of_subjects(session: Session, subjects: Sequence[str]) -> list[Rule]:
    """The lines of any of ``subjects``, by index, in the order they were written."""
    return _rules(session, _OF_SUBJECTS, {"subjects": list(subjects)})


Placed = tuple[int, Rule]
"""A line and its place: lines are read in the order of these, which is that of their writing."""


def by_subject(
    session: Session, subjects: Sequence[str] | None = None, could: Callable[[str, str, str, str], bool] | None = None
) -> dict[str, list[Placed]]:
    """The lines of ``subjects``, or all there are, by subject, each subject's in the order they were written.

    Args:
        session: a snapshot.
        subjects: whose lines; ``None`` is everybody's.
        could: told role, resource, name and effect of a line, whether it is wanted.
    """
    found: dict[str, list[Placed]] = {}
    query = select(PolicyRow.id, *_COLUMNS).where(PolicyRow.ptype == "p")
    rows = session.execute(query if subjects is None else query.where(PolicyRow.v0.in_(subjects)))
    for number, sub, role, res, name, eft, origin in rows:
        if (could is None or could(role, res, name, eft)) and (rule := _rule(sub, role, res, name, eft, origin)):
            found.setdefault(sub, []).append((number, rule))
    for lines in found.values():
        lines.sort()
    return found


def of_origin(session: Session, origin: str) -> list[Rule]:
    """The lines of one RBAC definition or token, in the order they were written."""
    return _rules(session, _LINES.where(PolicyRow.v5 == origin))


def with_role(session: Session, role: str, resource: str) -> list[Rule]:
    """The lines that give or deny this role on this resource, by index."""
    return _rules(session, _LINES.where(PolicyRow.v1 == role, PolicyRow.v2 == resource))


def with_other_roles(session: Session, known: Collection[str], limit: int) -> list[tuple[str, str]]:
    """Where lines name a role that is not ``known``: role and origin, each pair once."""
    query = select(PolicyRow.v1, PolicyRow.v5).where(PolicyRow.v1.not_in(known)).distinct()
    return [(role, origin) for role, origin in session.execute(query.order_by(PolicyRow.v5).limit(limit))]


def origins(session: Session, prefix: str, after: str, limit: int) -> Sequence[str]:
    """The origins that begin with ``prefix``, sorted, after the one given."""
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    query = select(PolicyRow.v5).where(PolicyRow.v5 > (after or prefix), PolicyRow.v5 < end, PolicyRow.ptype == "p")
    return session.scalars(query.distinct().order_by(PolicyRow.v5).limit(limit)).all()


_COLUMNS = (PolicyRow.v0, PolicyRow.v1, PolicyRow.v2, PolicyRow.v3, PolicyRow.v4, PolicyRow.v5)
_LINES: Final = select(*_COLUMNS).where(PolicyRow.ptype == "p").order_by(PolicyRow.id)
# Part of every first decision: putting a statement together takes SQLAlchemy longer than SQLite takes to answer it.
_OF_SUBJECTS: Final = _LINES.where(PolicyRow.v0.in_(bindparam("subjects", expanding=True)))


def _rules(session: Session, query: Select[str, str, str, str, str, str], values: dict[str, Any] | None = None) -> list[Rule]:
    return [rule for row in session.execute(query, values).all() if (rule := _rule(*row))]


_EFFECTS: Final[dict[str, Effect]] = {ALLOW: ALLOW, DENY: DENY}


def _rule(sub: str, role: str, res: str, name: str, eft: str, origin: str) -> Rule | None:
    # A row this program cannot have written gives nothing; a deny is kept whatever else is odd about it.
    if eft in _EFFECTS and (eft == DENY or (sub and role and res and name and origin)):
        return Rule(sub, role, res, name, _EFFECTS[eft], origin)
    return None


def _remove(session: Session, field: int, value: str) -> None:
    if not value:
        raise ValueError("an empty value would remove every line")  # to Casbin '' is a wildcard
    session.flush()
    _adapter(session).remove_filtered_policy("p", "p", field, value)
    session.expire_all()


def _adapter(session: Session) -> Adapter:
    session.flush()
    return Adapter(session.connection(), db_class=PolicyRow, create_all_models=False)
