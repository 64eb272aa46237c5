"""People who hold exactly what a test says, what they are refused, and that a refusal changed nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx2
from sqlalchemy import select

from mcpctl.store.schema import AuditRow
from tests.serving import Client, Served, made
from tests.store.rows import dump

PASSWORD = "a long password"


class Person:
    """A person of one session whose bindings change from test to test."""

    def __init__(self, served: Served, name: str) -> None:
        self.served = served
        self.name = name
        self.subject = f"User:{name}"
        self.client: Client = served.user(name)
        self._bound = False

    def holds(self, *bindings: str) -> Person:
        """From now on this person holds exactly these."""
        path = f"/rbac/for-{self.name}"
        if bindings:
            body = {"name": f"for-{self.name}", "subjects": [self.subject], "roleBindings": list(bindings)}
            answer = self.served.admin.put(path, body) if self._bound else self.served.admin.post("/rbac", body)
            assert answer.status_code in (200, 201), answer.text
        elif self._bound:
            assert self.served.admin.delete(path).status_code == 204
        self._bound = bool(bindings)
        return self

    def asks(self, method: str, path: str, body: Any = None) -> httpx2.Response:
        """One request of this person."""
        return self.client.call(method, path, body)


def setup(served: Served, *calls: tuple[str, str, Any]) -> None:
    """What an admin does first; all of it must be done."""
    for method, path, body in calls:
        answer = served.admin.call(method, path, body)
        assert answer.status_code in (200, 201, 204), (method, path, answer.text)


def bind(served: Served, subject: str, *bindings: str) -> None:
    """An admin gives ``subject`` these by a definition of its own."""
    name = "of-" + subject.partition(":")[2][:50]
    made(served.admin.post("/rbac", {"name": name, "subjects": [subject], "roleBindings": list(bindings)}))


def refused(answer: httpx2.Response, code: str, missing: Sequence[str] | None = None) -> dict[str, Any]:
    """The problem of an answer that must be this refusal, with exactly these missing."""
    assert answer.status_code >= 400, answer.text
    body: dict[str, Any] = answer.json()
    assert code == body["code"], body
    if missing is not None:
        assert list(missing) == body.get("missing", []), body
    return body


def audit_rows(served: Served) -> list[AuditRow]:
    """Every audit row, oldest first."""
    with served.control.database.read() as session:
        rows = list(session.scalars(select(AuditRow).order_by(AuditRow.at, AuditRow.id)))
        session.expunge_all()
        return rows


def allowed(client: Client, questions: list[dict[str, str]]) -> list[bool]:
    """The answers to all of these, in order."""
    answer = client.post("/authorize", questions)
    assert answer.status_code == 200, answer.text
    return [one["allowed"] for one in answer.json()]


@contextmanager
def nothing_changes(served: Served, *, refusals: int) -> Iterator[list[AuditRow]]:
    """No table is changed but the audit, which gets so many refusals; they are yielded once the block has ended."""
    before = dump(served.control.database, without=frozenset({"audit"}))
    known = {row.id for row in audit_rows(served)}
    added: list[AuditRow] = []
    yield added
    assert before == dump(served.control.database, without=frozenset({"audit"}))
    added += [row for row in audit_rows(served) if row.id not in known]
    assert [False] * refusals == [row.allowed for row in added]
