"""Reading on behalf of a principal: one snapshot, and lists that show what may be viewed and never fail."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import time
from typing import TypeVar

from sqlalchemy.orm import Session as Db

from mcpctl.errors import FieldError, InvalidInput
from mcpctl.policy.decision import could, decide
from mcpctl.policy.files import PolicyFiles
from mcpctl.services.keyring import Keyring
from mcpctl.services.principals import Principal
from mcpctl.wire.shapes import Answer, Page

Row = TypeVar("Row")
Shown = TypeVar("Shown", bound=Answer)


@dataclass(frozen=True)
class Reading:
    """A snapshot of the database, the policy files in force, who looks, and what secrets are encrypted with."""

    db: Db
    policy: PolicyFiles
    actor: Principal
    keyring: Keyring = field(default_factory=Keyring)
    now: float = field(default_factory=time)


def page(
    reading: Reading,
    resource: str,
    rows_after: Callable[[str, int], Sequence[Row]],
    called: Callable[[Row], str],
    show: Callable[[Row], Shown],
    *,
    limit: int,
    cursor: str | None,
) -> Page[Shown]:
    """One page of what the reader may view.

    Args:
        reading: who looks at what.
        resource: what ``view`` is asked about.
        rows_after: the next rows in the order of their names, after this name, at most so many.
        called: what a row is called in the policy, which is also its place in the order.
        show: how it crosses the wire.
        limit: rows on the page.
        cursor: as a page before gave it.

    Raises:
        InvalidInput: the cursor is none that a page gave.
    """
    all_of_them = bool(decide(reading.actor.authority, "view", resource, "*"))
    if not all_of_them and not could(reading.actor.authority, "view", resource):
        name_of(cursor)
        return Page(items=[])
    after, found = name_of(cursor), list[Row]()
    while len(found) <= limit:
        rows = rows_after(after, limit + 1)
        found += [row for row in rows if all_of_them or decide(reading.actor.authority, "view", resource, called(row))]
        if len(rows) <= limit:
            break
        after = called(rows[-1])
    shown = found[:limit]
    more = len(found) > limit
    return Page(items=[show(row) for row in shown], next_cursor=cursor_of(called(shown[-1])) if more else None)


def cursor_of(name: str) -> str:
    """What stands for this place in an answer."""
    return urlsafe_b64encode(name.encode()).decode().rstrip("=")


def name_of(cursor: str | None) -> str:
    """The place after which a page begins; empty for the first.

    Raises:
        InvalidInput: no page gave that cursor.
    """
    if cursor is None:
        return ""
    try:
        name = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError:
        name = "\0"
    if "\0" in name or not name or cursor != cursor_of(name):  # base64 has many spellings of one name; a page gives one
        message = "it is none that a page of this list gave"
        raise InvalidInput(f"cursor: {message}", errors=[FieldError("cursor", message)])
    return name
