"""Kubernetes' own escalation check, case by case. The vectors hold no deny; ``test_one_allow_one_deny`` has those."""

from __future__ import annotations

from typing import Any

import pytest

from mcpctl.policy import ceiling
from mcpctl.policy.slices import Roles
from mcpctl.policy.vocabulary import ACTIONS
from tests.policy.worlds import SHIPPED, bound, data, person

CASES: list[dict[str, Any]] = data("ceiling_k8s.json")["cases"]
EXACT = Roles((action, action) for action in ACTIONS)
"""Each role is exactly the action it is called after, as the vectors' text form assumes."""


def missing(case: dict[str, Any], roles: Roles) -> set[tuple[str, str, str]]:
    held, given = (
        [bound(text.replace("role:*", "role:admin"), roles) for text in case[key]] for key in ("owner_text", "grant_text")
    )
    owner = person(*held, known=roles)
    return {(one.action, one.resource, one.name) for one in ceiling.missing(owner, given, roles)}


def uncovered(case: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {
        (atom["action_binding"], "operations", "*")
        if "action_binding" in atom
        else ("admin" if atom["action"] == "*" else atom["action"], atom["resource"], atom["name"])
        for atom in case["uncovered"]
    }


def test_there_are_sixteen_cases() -> None:
    assert 16 == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_with_the_shipped_roles_the_same_is_covered(case: dict[str, Any]) -> None:
    """authz d, rows 3 and 4: an enumeration covers neither every action, nor every resource, nor every name."""
    assert case["covered"] is not bool(missing(case, SHIPPED.roles))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_with_roles_of_one_action_each_the_very_same_rights_are_missing(case: dict[str, Any]) -> None:
    assert uncovered(case) == missing(case, EXACT)
