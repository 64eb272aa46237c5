"""Kubernetes' own escalation check, sixteen cases, asked at three doors of this program (authz d3, d4, d5)."""

# ruff: noqa: E501 - a case is a row
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mcpctl.policy.vocabulary import ACTIONS
from tests import serving
from tests.api.people import Person, setup
from tests.serving import Served

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "data" / "ceiling_k8s.json").read_text())["cases"]
EXACT_ROLES = "".join(f"g2, {action}, {action}\n" for action in ACTIONS)
DOORS = ("role:create,resource:mcptokens,name:k8s", "role:view,resource:projects,name:k8s", "role:create,resource:rbac,name:k8s", "role:edit,resource:rbac,name:edited")  # fmt: skip


def bindings(listed: list[dict[str, Any]]) -> list[str]:
    """The structured bindings of a case, one for each action; ``*`` among actions is the role admin."""
    found = []
    for one in listed:
        if "action_binding" in one:
            found.append(f"action:{one['action_binding']}")
        for action in one.get("actions", ()):
            role = "admin" if action == "*" else action
            name = "" if one["name"] == "*" else f",name:{one['name']}"
            found.append(f"role:{role},resource:{one['resource']}{name}")
    return found


def atoms(uncovered: list[dict[str, str]]) -> list[str]:
    """What a refusal says is missing."""
    return [
        f"{one['action_binding']} operations *"
        if "action_binding" in one
        else f"{'admin' if one['action'] == '*' else one['action']} {one['resource']} {one['name']}"
        for one in uncovered
    ]


def ask(actor: Person, case: dict[str, Any]) -> list[tuple[int, str | None, list[str]]]:
    """What minting, creating and editing say to granting what the case grants."""
    actor.holds(*DOORS, *bindings(case["owner_bindings"]))
    granted = bindings(case["grant_bindings"])
    definition = {"subjects": ["User:grantee"], "roleBindings": granted}
    answers = [
        actor.asks("POST", "/mcptokens", {"name": "k8s", "project": "k8s", "bindings": granted}),
        actor.asks("POST", "/rbac", {"name": "k8s", **definition}),
        actor.asks("PUT", "/rbac/edited", definition),
    ]
    admin = actor.served.admin
    admin.delete("/mcptokens/k8s?project=k8s")
    admin.delete("/rbac/k8s")
    admin.put("/rbac/edited", {"subjects": ["User:grantee"], "roleBindings": ["role:view,resource:sessions,name:grantee"]})
    return [(one.status_code, one.json().get("code"), one.json().get("missing", [])) for one in answers]


def prepared(served: Served) -> Person:
    setup(
        served,
        ("POST", "/users", {"name": "grantee", "service": True}),
        ("POST", "/projects", {"name": "k8s"}),
        ("POST", "/rbac", {"name": "edited", "subjects": ["User:grantee"], "roleBindings": ["role:view,resource:sessions"]}),
    )
    return Person(served, "actor")


def test_there_are_sixteen_cases() -> None:
    assert (16, 11) == (len(CASES), sum(case["covered"] for case in CASES))


def test_with_the_shipped_roles_the_ceiling_agrees_with_kubernetes(served: Served) -> None:
    actor = prepared(served)
    for case in CASES:
        statuses = [(status, code) for status, code, _ in ask(actor, case)]
        granted: list[tuple[int, str | None]] = [(201, None), (201, None), (200, None)]
        wanted = granted if case["covered"] else [(403, "ceiling")] * 3
        assert (case["name"], wanted) == (case["name"], statuses)


def test_where_each_role_is_its_own_action_the_very_same_atoms_are_missing(database_url: str, policy_directory: Path) -> None:
    (policy_directory / "roles.csv").write_text(EXACT_ROLES)
    with serving.serve(database_url, policy_directory) as served:
        actor = prepared(served)
        for case in CASES:
            missing = atoms(case["uncovered"])
            granted: list[tuple[int, str | None, list[str]]] = [(201, None, []), (201, None, []), (200, None, [])]
            wanted = [(403, "ceiling", missing)] * 3 if missing else granted
            assert (case["name"], wanted) == (case["name"], ask(actor, case))


@pytest.mark.parametrize("role", ["view", "create", "edit", "delete", "run", "expose", "admin"])
def test_granting_a_role_needs_each_of_its_actions(role: str, shared: Served, actor: Person) -> None:
    """authz d5: for every role and every action of it, all but that one is not enough."""
    roles = {"view": ["view"], "edit": ["view", "create", "edit", "delete", "expose"], "run": ["view", "run"], "expose": ["view", "expose"]}  # fmt: skip
    contained = roles.get(role, [role])
    if shared.admin.get("/users/roleless").status_code == 404:
        setup(shared, ("POST", "/users", {"name": "roleless", "service": True}))
    body = {"name": f"r-{role}", "subjects": ["User:roleless"], "roleBindings": [f"role:{role},resource:servers"]}
    for lacking in contained:
        # Roles contain one another, so what is lacking is taken away by the one deny that denies nothing else in question.
        held = [f"role:{other},resource:servers" for other in ("view", "create", "edit", "delete", "run", "expose")]
        denies: list[str] = []
        if lacking in ("edit", "run", "expose"):
            held = [one for one in held if one.split(",")[0] not in (f"role:{lacking}", "role:edit")]
            held += ["role:create,resource:servers", "role:delete,resource:servers"]
        elif lacking != "admin":
            denies = [f"role:{lacking},resource:servers,effect:deny"]
        actor.holds("role:create,resource:rbac,name:r-" + role, *dict.fromkeys(held), *denies)
        said = actor.asks("POST", "/rbac", body)
        assert 403 == said.status_code
        assert f"{lacking} servers *" in said.json()["missing"]
    actor.holds("role:create,resource:rbac,name:r-" + role, f"role:{role},resource:servers")
    assert 201 == actor.asks("POST", "/rbac", body).status_code
