"""Rows for store tests, and everything a database holds, to compare before and after."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from mcpctl.store.database import Database
from mcpctl.store.schema import AuditRow, Base


def audit_row(row_id: str, **more: Any) -> AuditRow:
    """An audit row of this id about nothing in particular."""
    columns: dict[str, Any] = {"at": 0.0, "action": "view", "resource": "servers", "name": "*", "allowed": True}
    columns |= {"outcome": "ok", "revision": 1, "details": {}, **more}
    return AuditRow(id=row_id, **columns)


def dump(database: Database, *, without: frozenset[str] = frozenset()) -> dict[str, list[str]]:
    """Every row of every table, in one order; but when a credential was last used, which is written behind every back."""
    with database.read() as session:
        return {
            table.name: sorted(
                repr(tuple(row)) for row in session.execute(select(*(c for c in table.columns if c.name != "last_used_at")))
            )
            for table in Base.metadata.sorted_tables
            if table.name not in without
        }
