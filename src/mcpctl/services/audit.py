"""The audit: who did what to which resource, by which credential, decided by which rule, from where."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from math import isfinite, nan
from time import time
from typing import Any, Final

from sqlalchemy import insert, or_, select
from sqlalchemy.orm import Session as Db

from mcpctl.errors import FieldError, InvalidInput
from mcpctl.policy.decision import Decision, decide
from mcpctl.policy.vocabulary import OPERATIONS_RESOURCE, is_sha
from mcpctl.services import lifetimes, metrics
from mcpctl.services.principals import Principal
from mcpctl.services.token_secret import without_bearers
from mcpctl.store.schema import NAME, SUBJECT, AuditRow, User
from mcpctl.wire import audit as wire
from mcpctl.wire import gateway as gateway_wire
from mcpctl.wire.shapes import Page

SHADOW: Final = "shadow"
"""The outcome of what a candidate policy would say otherwise."""

AT_ONCE: Final = 500

# Into the table and not the class: what the mapper does for each row costs more than the database does.
_INSERT: Final = insert(AuditRow.metadata.tables[AuditRow.__tablename__])


def row(
    principal: Principal | None,
    action: str,
    resource: str,
    name: str,
    *,
    allowed: bool,
    outcome: str = "ok",
    reason: str | None = None,
    decision: Decision | None = None,
    revision: int = 0,
    project: str | None = None,
    source: str | None = None,
    request_id: str | None = None,
    details: dict[str, Any] | None = None,
) -> AuditRow:
    """One row about something the control plane did or refused. Never a raw token, password or secret value."""
    return AuditRow(
        at=time(),
        subject=principal.subject if principal else None,
        user=principal.user if principal else None,
        token_name=principal.token_name if principal else None,
        token_sha=principal.token_sha if principal else None,
        action=action,
        resource=resource,
        name=without_bearers(name)[:1000],
        allowed=allowed,
        outcome=outcome,
        reason=without_bearers(reason or (decision.reason if decision else "")) or None,
        rule=str(decision.rule) if decision and decision.rule else None,
        origin=decision.origin if decision else None,
        revision=revision or (decision.revision if decision else 0),
        decision_id=decision.id if decision else None,
        project=project or (principal.project if principal else None),
        source=source,
        request_id=request_id,
        details=_covered(details or {}),
    )


def add_calls(db: Db, batch: gateway_wire.CallEvents, projects: frozenset[str] | None) -> int:
    """Store what a gateway saw, each event once however often it is sent; how many were taken.

    Args:
        db: an append transaction.
        batch: the events.
        projects: whose calls this gateway may report; ``None`` is every project's.
    """
    wanted = [event for event in batch.events if projects is None or event.project in projects]
    known = set(db.scalars(select(AuditRow.id).where(AuditRow.id.in_([event.id for event in wanted]))))
    fresh = {event.id: event for event in wanted if event.id not in known}
    moments = _moments(batch)
    # As one statement for all of them: an object each, made and flushed, costs five times as much.
    rows = [
        {
            "id": event.id,
            "at": moments[event.id],
            "subject": _cut(event.subject, SUBJECT),
            "user_name": _cut(event.user, NAME),
            "token_name": event.token_name,
            "token_sha": event.token_sha,
            "action": event.method[:64],
            "resource": "servers",
            "name": without_bearers(f"{event.server or '-'}/{event.tool}" if event.tool else (event.server or "-")),
            "allowed": event.allowed,
            "outcome": event.outcome,
            "reason": _covered(event.reason),
            "rule": event.rule,
            "origin": _cut(event.origin, SUBJECT * 2),
            "revision": event.revision,
            "decision_id": event.decision_id,
            "project": event.project,
            "server": event.server,
            "tool": _covered(event.tool),
            "duration_ms": event.duration_ms,
            "source": event.source,
            "request_id": event.request_id,
            "gateway": batch.gateway,
            "details": {
                key: value
                for key, value in (
                    ("requestBytes", event.request_bytes),
                    ("responseBytes", event.response_bytes),
                    ("cache", event.cache),
                )
                if value is not None
            },
        }
        for event in fresh.values()
    ]
    if rows:
        db.execute(_INSERT, rows)
        metrics.note_audit_rows(db, len(rows))
    return len(wanted)


def _covered(value: Any) -> Any:
    """``value`` with every bearer in any text of it covered: a raw one may have been typed where a name belongs."""
    if isinstance(value, str):
        return without_bearers(value)
    if isinstance(value, dict):
        return {key: _covered(one) for key, one in value.items()}
    return [_covered(one) for one in value] if isinstance(value, list | tuple) else value


def _moments(batch: gateway_wire.CallEvents) -> dict[str, float]:
    """When each event of a batch was, by its id: as the gateway says, but not before 1970 nor after now.

    A clock that is wrong by millennia would else leave a row that no answer can show.

    Raises:
        InvalidInput: with one entry of ``errors`` for each time that cannot be read.
    """
    found: dict[str, float] = {}
    errors: list[FieldError] = []
    for index, event in enumerate(batch.events):
        try:
            found[event.id] = min(max(_moment(event.at, f"events.{index}.at"), 0.0), time())
        except InvalidInput as error:
            errors += error.errors
    if errors:
        raise InvalidInput("; ".join(f"{error.field}: {error.message}" for error in errors), errors=errors)
    return found


def _cut(text: str | None, longest: int) -> str | None:
    return None if text is None else text[:longest]


def search(db: Db, reader: Principal, query: wire.AuditQuery) -> Page[wire.AuditRow]:
    """The rows ``reader`` may see, newest first.

    ``action:audit`` on ``*`` sees all; on a project, that project's rows. Whoever has neither sees its own.
    """
    statement = select(AuditRow).order_by(AuditRow.at.desc(), AuditRow.id.desc())
    if query.token is not None:
        statement = statement.where(_token_is(query.token))
    if query.user is not None:
        statement = statement.where(AuditRow.user == query.user.removeprefix("User:"))
    if query.project is not None:
        statement = statement.where(AuditRow.project == query.project)
    if query.since is not None:
        statement = statement.where(AuditRow.at >= _moment(query.since, "since"))
    if query.until is not None:
        statement = statement.where(AuditRow.at <= _moment(query.until, "until"))
    if query.decision is not None:
        statement = statement.where(AuditRow.allowed == (query.decision == "allowed"))
    if query.cursor is not None:
        at, _, row_id = query.cursor.partition("_")
        try:
            moment = float(at)
        except ValueError:
            moment = nan
        if not (isfinite(moment) and repr(moment) == at and row_id and "\0" not in row_id):
            message = "it is none that a page of this list gave"
            raise InvalidInput(f"cursor: {message}", errors=[FieldError("cursor", message)])
        statement = statement.where(or_(AuditRow.at < moment, (AuditRow.at == moment) & (AuditRow.id < row_id)))
    # Somebody of this name before the reader is somebody else.
    since = db.scalars(select(User.created_at).where(User.name == reader.user)).one_or_none() or 0.0
    found: list[AuditRow] = []
    with closing(db.scalars(statement.execution_options(yield_per=AT_ONCE))) as candidates:  # a cursor on the server
        for candidate in candidates:
            if _may_see(reader, candidate, since):
                found.append(candidate)
            if len(found) > query.limit:
                break
    page = found[: query.limit]
    more = len(found) > query.limit
    return Page(items=[_shown(one) for one in page], next_cursor=f"{page[-1].at!r}_{page[-1].id}" if more else None)


def _may_see(reader: Principal, candidate: AuditRow, since: float) -> bool:
    if decide(reader.authority, "audit", OPERATIONS_RESOURCE, "*"):
        return True
    if candidate.project and decide(reader.authority, "audit", OPERATIONS_RESOURCE, candidate.project):
        return True
    # What a candidate policy would say of somebody is for those who try it, not for those it is tried on.
    return candidate.subject == reader.subject and candidate.at >= since and candidate.outcome != SHADOW


def _token_is(text: str) -> Any:
    if is_sha(text):
        return AuditRow.token_sha == text
    project, slash, name = text.partition("/")
    if slash:
        return (AuditRow.token_name == name) & (AuditRow.project == project)
    return AuditRow.token_name == text


def _moment(text: str, field: str) -> float:
    """Unix seconds of an ISO time with zone, or of a duration back from now."""
    if text[:4].isdigit() and text[4:5] == "-":
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            message = f"{text!r} is not an ISO date and time with zone such as 2030-01-31T12:00:00Z"
            raise InvalidInput(f"{field}: {message}", errors=[FieldError(field, message)])
        return moment.timestamp()
    if not text[:1].isdigit():
        message = f"{text!r} is neither a duration back from now such as 1h or 7d, nor an ISO date and time with zone"
        raise InvalidInput(f"{field}: {message}", errors=[FieldError(field, message)])
    return time() - lifetimes.duration(text, field).total_seconds()


def _shown(kept: AuditRow) -> wire.AuditRow:
    columns: Sequence[str] = [name for name in wire.AuditRow.model_fields if name != "at"]
    return wire.AuditRow(at=datetime.fromtimestamp(kept.at, UTC), **{name: getattr(kept, name) for name in columns})
