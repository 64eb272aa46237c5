"""What a route is: one value that says its path, its guard, its shapes and the function that does it.

The tables of ``…_routes`` are made of these; the Starlette routes, the OpenAPI document and the tests that every route is
guarded come from the same tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter
from sqlalchemy.orm import Session as Db

from mcpctl.services.shadow import Asked
from mcpctl.wire.shapes import Request


@dataclass(frozen=True)
class Call:
    """One request, read and checked."""

    params: dict[str, str]
    query: Any
    body: Any
    source: str
    request_id: str
    prepared: Any = None


Naming = Callable[[Db, Call], "str | None"]
"""The policy name a call is about; ``None`` when what it names by id does not exist."""


@dataclass(frozen=True)
class Guarded:
    """The principal must be allowed ``action`` on ``resource`` of the name that ``name`` finds."""

    action: str
    resource: str
    name: Naming

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"


@dataclass(frozen=True)
class Filtered:
    """Anybody who is somebody may ask; rows are shown by ``view`` on ``resource`` and a list never fails."""

    resource: str

    def __str__(self) -> str:
        return f"rows by view on {self.resource}"


@dataclass(frozen=True)
class Decided:
    """The service asks the policy itself, for the reason given: what is needed depends on what is found or asked."""

    why: str

    def __str__(self) -> str:
        return f"decided inside: {self.why}"


@dataclass(frozen=True)
class Unguarded:
    """Anybody at all may ask, for the reason given."""

    why: str

    def __str__(self) -> str:
        return f"open: {self.why}"


Guard = Guarded | Filtered | Decided | Unguarded


@dataclass(frozen=True)
class Operation:
    """One method on one path.

    Attributes:
        kind: ``write`` runs in a write transaction, ``append`` in one that only adds, ``read`` in a snapshot, ``memory``
            without the database where the bearer is known, ``raw`` is a coroutine that gets the connection itself.
        prepare: a coroutine ``(control, principal, call)`` for what takes long and must not be done while others wait to
            write; what it gives is ``call.prepared``.
        decided: for a report of what was decided elsewhere, those decisions: a candidate policy is asked about them too.
        standard: whose rules a request obeys that are not ours. ``authzen`` (Authorization API 1.0, section 10): what breaks
            a rule is 400, and the request's own id comes back whatever it is. ``oauth`` (RFC 7662; RFC 6749 section 2.3.1):
            the caller may show its bearer as a client's secret, too.
        do: ``(work | reading | (session, principal) | principal, call)`` by kind, giving the answer.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    guard: Guard
    kind: Literal["write", "append", "read", "memory", "raw"]
    do: Callable[..., Any]
    summary: str
    answer: Any = None
    body: Any = None
    query: type[Request] | None = None
    status: int = 200
    tags: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()
    prepare: Callable[..., Any] | None = None
    decided: Callable[[Call], Iterable[Asked]] | None = None
    standard: Literal["ours", "authzen", "oauth"] = "ours"
    answer_adapter: TypeAdapter[Any] | None = field(init=False, default=None)
    body_adapter: TypeAdapter[Any] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.answer is not None:
            object.__setattr__(self, "answer_adapter", TypeAdapter(self.answer))
        if self.body is not None:
            object.__setattr__(self, "body_adapter", TypeAdapter(self.body))

    @property
    def operation_id(self) -> str:
        """A stable name for generated clients: the method and the path."""
        words = [word.strip("{}") for word in self.path.removeprefix("/api/v1").split("/") if word]
        return "_".join([self.method.lower(), *words]).replace("-", "_").replace(".", "_")
