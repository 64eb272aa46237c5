"""The matcher of ``model.conf``, compiled once, and narrowed to the lines that can still matter.

Stock Casbin parses the matcher on every call and walks its syntax tree for every line. Here the very same tree passes an
allow-list of syntax nodes and becomes Python. Nothing of its meaning is known here: what is left of the matcher for one
line, once subject, action and resource are known and only the name is open, is found by running it, twice.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from casbin.effect import Effector

REQUEST_FIELDS: Final = ("sub", "act", "res", "name")
LINE_FIELDS: Final = ("sub", "role", "res", "name", "eft", "origin")
ROLE_DEFINITIONS: Final = ("g", "g2")

Line = Sequence[str]
Link = Callable[[str, str], bool]


class Run(NamedTuple):
    """Lines that stand together and come to the same question: each as its index and the fields that question reads."""

    what: int
    lines: tuple[tuple[int | str, ...], ...]


Narrowed = tuple[Run, ...]
"""The lines that may match a subject, action and resource under some name, in order."""

WHOLE: Final = -1
"""The question where nothing could be settled ahead: the whole matcher. The others are the tests of the name, by number."""


class NotCompilable(Exception):
    """The matcher uses something outside the allow-list; the message names it."""


class Matcher:
    """One compiled matcher. Immutable, and safe under threads."""

    def __init__(self, tree: ast.expr, functions: Mapping[str, Callable[..., Any]]) -> None:
        """Compile ``tree``.

        Raises:
            NotCompilable: it uses something whose meaning in Casbin's evaluator might differ from Python's.
        """
        _Allowed(functions).visit(tree)
        tests = _NameTests()
        probe = tests.visit(ast.parse(ast.unparse(tree), mode="eval").body)
        questions = dict(enumerate(tests.found)) | {WHOLE: tree}
        self._fields = {what: _line_fields(question) for what, question in questions.items()}
        source = _PROBE.format(known=_KNOWN, line=_LINE, probe=ast.unparse(probe)) + _EVALUATE.format(request=_REQUEST)
        for what, question in questions.items():
            fields = "".join(f", p_{LINE_FIELDS[field]}" for field in self._fields[what])
            source += _QUESTION.format(what=what, fields=fields, question=ast.unparse(question))
        source += "    return effects, hits\n"
        scope: dict[str, Any] = {
            **functions,
            "ALLOW": Effector.ALLOW,
            "DENY": Effector.DENY,
            "UNSURE": Effector.INDETERMINATE,
        }
        exec(compile(source, "<model.conf>", "exec"), scope)  # noqa: S102 - only nodes of the allow-list reach this
        self._probe: Callable[..., Any] = scope["probe"]
        self.evaluate: Callable[..., tuple[set[int], list[int]]] = scope["evaluate"]
        """(effector, effects of the lines, what is ``Narrowed``, four request fields, g, g2) -> the effects seen, and the
        indexes of the lines that matched."""

    def fields(self, what: int) -> tuple[int, ...]:
        """Which fields of a line the question of this number reads."""
        return self._fields[what]

    def narrow(self, lines: Iterable[Line], known: tuple[str, str, str], g: Link, g2: Link) -> Narrowed:
        """What is left to ask of ``lines`` once subject, action and resource are ``known``."""
        runs: list[tuple[int, list[tuple[int | str, ...]]]] = []
        for index, line in enumerate(lines):
            what = self._left(line, known, g, g2)
            if what is None:
                continue
            if not runs or runs[-1][0] != what:
                runs.append((what, []))
            runs[-1][1].append((index, *(line[field] for field in self._fields[what])))
        return tuple(Run(what, tuple(found)) for what, found in runs)

    def _left(self, line: Line, known: tuple[str, str, str], g: Link, g2: Link) -> int | None:
        """The number of the one test this line comes to, ``WHOLE``, or ``None`` if it cannot match whatever the name is."""
        reached: set[int] = set()
        for answer in (False, True):
            asked: list[int] = []
            try:
                result = self._probe(_Answer(answer, asked), line, *known, g, g2)
            except Exception:  # a name outside of a test, which is not known yet; or the line's own, met again in its place
                return WHOLE
            if not asked:
                return None if result is False else WHOLE
            reached.update(asked)
            if result is not answer:
                return WHOLE
        return reached.pop() if len(reached) == 1 else WHOLE


class _Answer:
    """Stands for every test of the name: gives one answer, and keeps which of them were asked."""

    def __init__(self, answer: bool, asked: list[int]) -> None:
        self.answer = answer
        self.asked = asked

    def __call__(self, test: int) -> bool:
        self.asked.append(test)
        return self.answer


_REQUEST: Final = ", ".join(f"r_{field}" for field in REQUEST_FIELDS)
_KNOWN: Final = ", ".join(f"r_{field}" for field in REQUEST_FIELDS[:-1])
_LINE: Final = ", ".join(f"p_{field}" for field in LINE_FIELDS)

_PROBE: Final = """
def probe(name_test, line, {known}, g, g2):
    {line} = line
    return {probe}
"""

# To every one of Casbin's effectors "indeterminate" is neutral: it asks whether an allow or a deny is among the effects.
_EVALUATE: Final = """
def evaluate(effector, line_effects, runs, {request}, g, g2):
    effects, hits = {{UNSURE}}, []
    def hit(index, matched):
        if matched is not True:
            raise RuntimeError("the matcher's result is neither true nor false")
        hits.append(index)
        effects.add(line_effects[index])
        return effector.intermediate_effect(effects) != UNSURE
    for what, lines in runs:
"""

_QUESTION: Final = """
        if what == {what}:
            for index{fields}, in lines:
                if (matched := {question}) is not False and hit(index, matched):
                    return effects, hits
            continue
"""


def effect_of(line: Line) -> int:
    """What Casbin takes a line that matches for."""
    effects: dict[str, int] = {"allow": Effector.ALLOW, "deny": Effector.DENY}
    unsure: int = Effector.INDETERMINATE
    return effects.get(line[LINE_FIELDS.index("eft")], unsure)


def _line_fields(question: ast.expr) -> tuple[int, ...]:
    named = {node.id for node in ast.walk(question) if isinstance(node, ast.Name)}
    return tuple(index for index, field in enumerate(LINE_FIELDS) if f"p_{field}" in named)


class _NameTests(ast.NodeTransformer):
    """Replaces each outermost call or comparison that speaks of the asked name by ``name_test(its number)``."""

    def __init__(self) -> None:
        self.found: list[ast.expr] = []
        self.texts: list[str] = []

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return self._test(node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        return self._test(node)

    def _test(self, node: ast.expr) -> ast.AST:
        if not any(isinstance(part, ast.Name) and part.id == "r_name" for part in ast.walk(node)):
            return node
        text = ast.unparse(node)
        if text not in self.texts:
            self.texts.append(text)
            self.found.append(node)
        return ast.Call(ast.Name("name_test", ast.Load()), [ast.Constant(self.texts.index(text))], [])


class _Allowed(ast.NodeVisitor):
    """Lets through the syntax whose meaning in Python and in Casbin's evaluator is the same, and nothing else."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        self.callable_names = {*ROLE_DEFINITIONS, *functions}

    def generic_visit(self, node: ast.AST) -> None:
        raise NotCompilable(f"it uses {type(node).__name__}")

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self._each(node.values)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if not isinstance(node.op, ast.Not):
            raise NotCompilable(f"it uses {type(node.op).__name__}")
        self.visit(node.operand)

    def visit_Compare(self, node: ast.Compare) -> None:
        for operator in node.ops:
            if not isinstance(operator, ast.Eq | ast.NotEq | ast.In | ast.NotIn):
                raise NotCompilable(f"it uses {type(operator).__name__}")
        self._each([node.left, *node.comparators])

    def visit_Call(self, node: ast.Call) -> None:
        if not isinstance(node.func, ast.Name) or node.func.id not in self.callable_names or node.keywords:
            raise NotCompilable(f"it calls {ast.unparse(node.func)} in a way of its own")
        if node.func.id in ROLE_DEFINITIONS and len(node.args) != 2:
            raise NotCompilable(f"it gives {node.func.id} {len(node.args)} arguments")
        self._each(node.args)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in self.callable_names:
            raise NotCompilable(f"it uses the function {node.id} as a value")

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, str | bool):
            raise NotCompilable(f"it uses the constant {node.value!r}")

    def visit_Tuple(self, node: ast.Tuple) -> None:
        self._each(node.elts)

    def visit_List(self, node: ast.List) -> None:
        self._each(node.elts)

    def _each(self, nodes: Sequence[ast.expr]) -> None:
        for node in nodes:
            self.visit(node)
