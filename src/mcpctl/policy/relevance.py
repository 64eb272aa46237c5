"""Which lines could speak of a question at all, whoever asks: so that of a whole policy only these need be looked at.

The matcher itself is asked, about each different line once, with the membership that is not known yet taken for true and for
false. Where it looks at who asks in any other way than by that one membership, nothing can be said ahead.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Final

from casbin.effect import AllowOverrideEffector, Effector

from mcpctl.policy.matcher import LINE_FIELDS, WHOLE, Run
from mcpctl.policy.model import PolicyModel
from mcpctl.policy.slices import Roles

Could = Callable[[str, str, str, str], bool]
"""(role, resource, name, effect) of a line: whether it could match. A no is certain."""

_EFFECTOR: Final = AllowOverrideEffector()
_SOMEBODY: Final = "User:somebody"


def relevant(model: PolicyModel, roles: Roles, asked: Iterable[tuple[str, str, str]]) -> Could | None:
    """What tells the lines that could speak of any of these (action, resource, name) from those that cannot.

    ``None`` where every line could.
    """
    matcher = model.compiled
    ordered_by_subject = "subjectPriority" in model.casbin["e"]["e"].value
    if matcher is None or ordered_by_subject or not _asks_only_for_membership(model.tree):
        return None
    questions, fields, g2 = tuple(asked), matcher.fields(WHOLE), roles.role_manager.has_link
    remembered: dict[tuple[str, str, str, str], bool] = {}

    def matches(line: tuple[str, ...], words: tuple[str, str, str], member: bool) -> bool:
        run = Run(WHOLE, ((0, *(line[field] for field in fields)),))
        unsure = (Effector.INDETERMINATE,)
        try:
            hits = matcher.evaluate(_EFFECTOR, unsure, (run,), _SOMEBODY, *words, lambda *_: member, g2)[1]
        except Exception:  # whoever asks about it will be told
            return True
        return bool(hits)

    def could(role: str, res: str, of: str, eft: str) -> bool:
        known = (role, res, of, eft)
        found = remembered.get(known)
        if found is None:
            line = (_SOMEBODY, role, res, of, eft, "")
            each = ((words, member) for words in questions for member in (True, False))
            found = remembered[known] = any(matches(line, words, member) for words, member in each)
        return found

    return could


def _asks_only_for_membership(tree: ast.expr) -> bool:
    """Whether who asks, whom a line names and where it stands are looked at by one and the same ``g(…)``, and nowhere else."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "g"]
    inside = {id(part) for call in calls for part in ast.walk(call)}
    elsewhere = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id in ("r_sub", "p_sub", "p_origin") and id(node) not in inside
    ]
    of_other_things = [part for call in calls for part in ast.walk(call) if getattr(part, "id", "") in _OTHERS]
    return len({ast.unparse(call) for call in calls}) <= 1 and not elsewhere and not of_other_things


_OTHERS: Final = frozenset({"r_act", "r_res", "r_name", *(f"p_{field}" for field in LINE_FIELDS if field != "sub")})
