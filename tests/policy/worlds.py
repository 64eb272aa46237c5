"""Small worlds to ask in: the shipped policy, roles of one's own, and subjects that hold what a test gives them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from math import inf
from pathlib import Path
from typing import Any

from mcpctl.policy import bindings, files
from mcpctl.policy.bindings import Binding
from mcpctl.policy.decision import Authority
from mcpctl.policy.model import PolicyModel
from mcpctl.policy.slices import Roles, Rule, Slice

ROOT = Path(__file__).parents[2]
POLICIES = ROOT / "policies"
SHIPPED = files.read(POLICIES)
MODEL_TEXT = SHIPPED.model.text
SHA = "ab" * 32
TOKEN = f"McpToken:{SHA}"


def data(name: str) -> Any:
    """A file of ``tests/data`` as JSON."""
    return json.loads((ROOT / "tests" / "data" / name).read_text("utf-8"))


def bound(text: str, roles: Roles = SHIPPED.roles) -> Binding:
    """The binding ``text`` says."""
    return bindings.parse(text, roles.names)


def roles(**actions: str) -> Roles:
    """Roles of one's own: ``roles(editor="view edit")``."""
    return Roles((role, action) for role, listed in actions.items() for action in listed.split())


def rules(subject: str, texts: Iterable[str | Binding], known: Roles = SHIPPED.roles) -> list[Rule]:
    """The lines that give ``subject`` these bindings; the origin counts them: ``rbac:1``, ``rbac:2``."""
    given = [bound(text, known) if isinstance(text, str) else text for text in texts]
    return [Rule(subject, b.role, b.resource, b.name, b.effect, f"rbac:{n}") for n, b in enumerate(given, start=1)]


def piece(
    subject: str,
    *texts: str | Binding,
    groups: Mapping[str, Iterable[str]] | None = None,
    known: Roles = SHIPPED.roles,
    model: PolicyModel = SHIPPED.model,
) -> Slice:
    """The slice of ``subject`` with these bindings, and those of its groups."""
    lines = rules(subject, texts, known)
    for group, listed in (groups or {}).items():
        lines += [rule._replace(origin=f"{group}:{rule.origin}") for rule in rules(group, listed, known)]
    return Slice(model, known, subject, groups or (), lines)


def person(
    *texts: str | Binding,
    subject: str = "User:alice",
    groups: Mapping[str, Iterable[str]] | None = None,
    known: Roles = SHIPPED.roles,
    model: PolicyModel = SHIPPED.model,
    expires_at: float = inf,
) -> Authority:
    """Somebody who holds these bindings, and those of the groups it is in."""
    own = piece(subject, *texts, groups=groups, known=known, model=model)
    return Authority(subject, 7, own, expires_at=expires_at)


def token(
    *texts: str | Binding, owner: Iterable[str | Binding] = ("role:admin,resource:*",), attached: str = "github time"
) -> Authority:
    """A token of the project ``demo`` that holds these bindings; its owner is an admin unless said otherwise."""
    return Authority(
        TOKEN,
        7,
        piece(TOKEN, *texts),
        owner=piece("User:alice", *owner),
        project="demo",
        attached=frozenset(attached.split()),
    )
