"""The same lines in stock Casbin and in cedarpy."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from typing import Any

import casbin
from casbin_sqlalchemy_adapter import Adapter
from casbin_sqlalchemy_adapter.adapter import Filter
from sqlalchemy import Engine

from benchmarks.decision.policies import Household, Question
from mcpctl.policy.files import PolicyFiles
from mcpctl.policy.model import FUNCTIONS
from mcpctl.policy.slices import Rule

Ask = Callable[[Question], bool]


def stock(policy: PolicyFiles, rules: Iterable[Rule], members: Iterable[tuple[str, str]]) -> casbin.Enforcer:
    """``casbin.Enforcer`` as it comes, with the product's model and these lines."""
    logging.getLogger("casbin").setLevel(logging.ERROR)  # it logs every refusal, which is not what is compared
    enforcer = casbin.Enforcer(casbin.Enforcer.new_model(text=policy.model.text))
    # As Casbin's own adapters put them in; ``add_policy`` would compare each with all the others.
    enforcer.get_model()["p"]["p"].policy.extend(list(rule) for rule in rules)
    _link(policy, enforcer, members)
    return enforcer


def filtered(policy: PolicyFiles, engine: Engine, home: Household) -> casbin.Enforcer:
    """The same, loaded by Casbin's own adapter from ``casbin_rule``: only the lines that can decide about this token."""
    adapter = Adapter(engine, create_all_models=False, filtered=True)
    enforcer = casbin.Enforcer(casbin.Enforcer.new_model(text=policy.model.text), adapter)
    wanted = Filter()
    wanted.ptype, wanted.v0 = ["p"], list(home.everyone)
    enforcer.load_filtered_policy(wanted)
    _link(policy, enforcer, ((home.owner, f"Group:{group}") for group in home.groups))
    return enforcer


def _link(policy: PolicyFiles, enforcer: casbin.Enforcer, members: Iterable[tuple[str, str]]) -> None:
    for name, function in FUNCTIONS.items():
        enforcer.add_function(name, function)
    model = enforcer.get_model()
    for role, action in policy.roles.links:
        model.add_policy("g", "g2", [role, action])
    for user, group in members:
        model.add_policy("g", "g", [user, group])
    enforcer.build_role_links()


def cedar(rules: Iterable[Rule], subject: str) -> Ask | None:
    """Cedar on one subject's lines, policies and entities parsed ahead; ``None`` where cedarpy is not installed.

    The lines are said in Cedar's own words: one ``permit`` or ``forbid`` each, the name by ``like``.
    """
    try:
        import cedarpy
    except ImportError:
        return None
    policies = cedarpy.PolicySet.from_str("\n".join(_in_cedar(rule) for rule in rules))
    entities = cedarpy.Entities.from_json_str("[]")
    principal = {"type": "Subject", "id": subject}

    def ask(question: Question) -> bool:
        action, resource, name = question
        request: dict[str, Any] = {
            "principal": principal,
            "action": {"type": "Action", "id": action},
            "resource": {"type": "Resource", "id": resource},
            "context": {"name": name},
        }
        return bool(cedarpy.is_authorized(request, policies, entities).allowed)

    return ask


def _in_cedar(rule: Rule) -> str:
    verb = "permit" if rule.eft == "allow" else "forbid"
    where = f"resource == Resource::{json.dumps(rule.res)}"
    return (
        f"{verb} (principal == Subject::{json.dumps(rule.sub)}, action == Action::{json.dumps(rule.role)}, {where}) "
        f"when {{ context.name like {json.dumps(rule.name)} }};"
    )
