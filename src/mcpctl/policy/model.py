"""``model.conf`` read by Casbin and compiled once.

Stock Casbin parses the matcher on every call and walks its syntax tree for every line. Here the very same expression,
as Casbin's own reader hands it over, passes an allow-list of syntax nodes and becomes one Python function over a list of
lines. What the allow-list does not know stays with the stock method, and a warning says so. Editing the model changes
every decision either way.
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import Any, Final

import casbin
from casbin.core_enforcer import CoreEnforcer
from casbin.effect import Effector, get_effector
from casbin.model import FunctionMap, Model
from casbin.util import has_eval

from mcpctl.errors import InvalidPolicy
from mcpctl.policy.patterns import covers, overlaps

logger = logging.getLogger(__name__)

REQUEST_FIELDS: Final = ("sub", "act", "res", "name")
LINE_FIELDS: Final = ("sub", "role", "res", "name", "eft", "origin")
FUNCTIONS: Final[Mapping[str, Callable[..., bool]]] = {"covers": covers, "overlaps": overlaps}
"""What ``model.conf`` may call besides Casbin's built-in functions and its role definitions."""

Evaluator = Callable[..., "tuple[set[int], list[int]]"]
"""(effector, lines, request, role links) -> the effects seen, and the indexes of the lines that matched."""


class PolicyModel:
    """One ``model.conf``: the Casbin model, its effect, and its matcher compiled if it can be. Immutable."""

    def __init__(self, text: str) -> None:
        """Read ``text``.

        Raises:
            InvalidPolicy: Casbin cannot read it, or it asks or states other things than this program does.
        """
        self.text = text
        self.digest = sha256(text.encode()).hexdigest()
        try:
            self.casbin: Model = casbin.Enforcer.new_model(text=text)
            self.effector: Effector = get_effector(self.casbin["e"]["e"].value)
            request, line = self.casbin["r"]["r"].tokens, self.casbin["p"]["p"].tokens
            matcher: str = self.casbin["m"]["m"].value
            role_links = tuple(self.casbin["g"])
        except Exception as error:  # Casbin raises whatever its reader trips over
            raise InvalidPolicy(f"model.conf cannot be read as a Casbin model: {error or type(error).__name__}") from None
        if tuple(request) != tuple(f"r_{field}" for field in REQUEST_FIELDS):
            raise InvalidPolicy(f"model.conf must ask 'r = {', '.join(REQUEST_FIELDS)}'")
        if tuple(line) != tuple(f"p_{field}" for field in LINE_FIELDS):
            raise InvalidPolicy(f"model.conf must state 'p = {', '.join(LINE_FIELDS)}'")
        if set(role_links) != {"g", "g2"}:
            raise InvalidPolicy("model.conf must define the two role definitions 'g = _, _' and 'g2 = _, _'")
        self.matcher = matcher
        self.uncompiled_because: str | None = None
        if has_eval(matcher):
            raise InvalidPolicy("the matcher of model.conf calls eval(), which would run the text of policy lines")
        try:
            self._check_evaluable()
        except (SyntaxError, ValueError) as error:
            raise InvalidPolicy(f"the matcher of model.conf is not an expression: {error}") from None

    @cached_property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """What a matcher may call: Casbin's built-ins and ``FUNCTIONS``, without the role definitions."""
        return {**FunctionMap.load_function_map().get_functions(), **FUNCTIONS}

    @cached_property
    def tree(self) -> ast.expr:
        """The matcher's syntax tree, as stock Casbin would parse it."""
        expression = CoreEnforcer._get_expression(self.matcher, self.functions)
        tree: ast.expr = expression.ast_parsed_value
        return tree

    @cached_property
    def evaluate(self) -> Evaluator | None:
        """The matcher as one function, or ``None`` (with ``uncompiled_because`` set) where only stock Casbin can do it."""
        try:
            _Allowed(self.functions).visit(self.tree)
        except _NotCompilable as reason:
            self.uncompiled_because = str(reason)
            logger.warning("the matcher of model.conf is not compiled, decisions are slow: %s", reason)
            return None
        source = _EVALUATOR.replace("MATCHES", ast.unparse(self.tree))
        scope: dict[str, Any] = {
            **self.functions,
            "ALLOW": Effector.ALLOW,
            "DENY": Effector.DENY,
            "UNSURE": Effector.INDETERMINATE,
        }
        exec(compile(source, "<model.conf>", "exec"), scope)  # noqa: S102 - only nodes of the allow-list reach this
        evaluator: Evaluator = scope["evaluate"]
        return evaluator

    def _check_evaluable(self) -> None:
        """Find names no request, line or function defines, which stock Casbin would only meet while deciding."""
        known = {f"r_{f}" for f in REQUEST_FIELDS} | {f"p_{f}" for f in LINE_FIELDS} | {"g", "g2", "True", "False"}
        known |= self.functions.keys()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name) and node.id not in known:
                name = re.sub(r"^([rp])_", r"\1.", node.id)
                raise ValueError(f"nothing is called {name!r}")


_EVALUATOR: Final = """
def evaluate(effector, lines, r_sub, r_act, r_res, r_name, g, g2):
    effects, hits = set(), []
    for index, (p_sub, p_role, p_res, p_name, p_eft, p_origin) in enumerate(lines):
        matched = MATCHES
        if matched is False or matched == 0.0 and isinstance(matched, float):
            effects.add(UNSURE)
            continue
        if matched is not True and not isinstance(matched, float):
            raise RuntimeError("matcher result should be bool, int or float")
        hits.append(index)
        effects.add(ALLOW if p_eft == "allow" else DENY if p_eft == "deny" else UNSURE)
        if effector.intermediate_effect(effects) != UNSURE:
            break
    return effects, hits
"""


class _NotCompilable(Exception):
    """The matcher uses something outside the allow-list; the message names it."""


class _Allowed(ast.NodeVisitor):
    """Lets through the syntax whose meaning in Python and in Casbin's evaluator is the same, and nothing else."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        self.callable_names = {"g", "g2", *functions}

    def generic_visit(self, node: ast.AST) -> None:
        raise _NotCompilable(f"it uses {type(node).__name__}")

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self._each(node.values)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if not isinstance(node.op, ast.Not):
            raise _NotCompilable(f"it uses {type(node.op).__name__}")
        self.visit(node.operand)

    def visit_Compare(self, node: ast.Compare) -> None:
        for operator in node.ops:
            if not isinstance(operator, ast.Eq | ast.NotEq | ast.In | ast.NotIn):
                raise _NotCompilable(f"it uses {type(operator).__name__}")
        self._each([node.left, *node.comparators])

    def visit_Call(self, node: ast.Call) -> None:
        if not isinstance(node.func, ast.Name) or node.func.id not in self.callable_names or node.keywords:
            raise _NotCompilable(f"it calls {ast.unparse(node.func)}")
        self._each(node.args)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in self.callable_names:
            raise _NotCompilable(f"it uses the function {node.id} as a value")

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, str | bool):
            raise _NotCompilable(f"it uses the constant {node.value!r}")

    def visit_Tuple(self, node: ast.Tuple) -> None:
        self._each(node.elts)

    def visit_List(self, node: ast.List) -> None:
        self._each(node.elts)

    def _each(self, nodes: Sequence[ast.expr]) -> None:
        for node in nodes:
            self.visit(node)
