"""Bindings that no token can ever use: what they give is nothing a token does, or lies outside its project."""

from __future__ import annotations

from collections.abc import Iterable

from mcpctl.policy.bindings import Binding
from mcpctl.policy.decision import TOKEN_AT_MOST
from mcpctl.policy.slices import Roles
from mcpctl.policy.vocabulary import ADMIN, ANY, OPERATIONS_RESOURCE


def unusable(bindings: Iterable[Binding], roles: Roles, project: str) -> list[Binding]:
    """Those of ``bindings`` that a token of ``project`` holds in vain, whoever owns it and whatever is attached later."""
    return [one for one in bindings if not one.denies and (_gives_nothing(one, roles) or _lies_outside(one, project))]


def _gives_nothing(binding: Binding, roles: Roles) -> bool:
    if binding.resource == ANY or binding.resource not in TOKEN_AT_MOST:
        return not roles.actions(binding.role)
    at_most = TOKEN_AT_MOST[binding.resource]
    return not at_most if binding.role == ADMIN else at_most.isdisjoint(roles.actions(binding.role))


def _lies_outside(binding: Binding, project: str) -> bool:
    # Servers may be attached at any time, so none is outside for good.
    return (
        binding.resource in ("projects", "mcptokens", OPERATIONS_RESOURCE)
        and binding.name != ANY
        and binding.name.partition("/")[0] != project
    )
