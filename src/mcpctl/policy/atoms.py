"""All questions there are, cut into the finitely many kinds that a set of lines can tell apart.

There are more names than can be counted, but lines tell them apart only at the edges of their patterns. So one name stands
for all that lie between the same edges, one action for all that the same roles contain, one resource for all that no line
names, those not yet invented among them. Asking about every atom is asking about everything.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Final, NamedTuple

from mcpctl.policy.model import PolicyModel
from mcpctl.policy.slices import Roles, Rule
from mcpctl.policy.vocabulary import ACTIONS, ADMIN, ANY, OPERATIONS, RESOURCES

NOT_YET_INVENTED: Final = "NOT_YET_INVENTED"
"""An action, or a resource, that nobody has thought of: no role and no line can be called so."""

EVERY_ACTION: Final = (*ACTIONS, *OPERATIONS, NOT_YET_INVENTED)

_LETTERS_BELOW: Final = ascii_lowercase + digits + ascii_uppercase + "._:/-"
_LETTERS: Final = ascii_lowercase + digits


class Side(NamedTuple):
    """Lines, and what decides by them."""

    model: PolicyModel
    roles: Roles
    rules: Sequence[Rule]


@dataclass(eq=False, slots=True)
class Names:
    """The names within one pattern of a line, those within narrower patterns apart.

    ``own`` stands for all that are in it and in none of ``below``; ``None`` if there is no such name.
    """

    pattern: str
    own: str | None
    below: list[Names] = field(default_factory=list)

    def all(self) -> Iterator[Names]:
        """This and everything below, the widest first."""
        waiting = [self]
        while waiting:
            one = waiting.pop()
            yield one
            waiting += reversed(one.below)


class Atom(NamedTuple):
    """One kind of question: a class of actions, a resource that is told apart, a node of its names."""

    actions: tuple[str, ...]
    resource: str
    names: Names

    @property
    def question(self) -> tuple[str, str, str]:
        """What is asked for all of it."""
        return self.actions[0], self.resource, self.names.own or ""


class Atoms(NamedTuple):
    """What can be told apart.

    Attributes:
        actions: classes of actions; the first of each stands for the rest of it.
        names: for each resource that is told apart the tree of its names; ``NOT_YET_INVENTED`` stands for all others.
        as_a_whole: for each of these and for ``*`` the patterns that can be asked about as a whole, as the ceiling does.
    """

    actions: tuple[tuple[str, ...], ...]
    names: Mapping[str, Names]
    as_a_whole: Mapping[str, tuple[str, ...]]

    def each(self) -> Iterator[Atom]:
        """Every atom: what can be asked about one thing."""
        for resource, root in self.names.items():
            nodes = [node for node in root.all() if node.own is not None]
            for actions in self.actions:
                for node in nodes:
                    yield Atom(actions, resource, node)

    def wholes(self) -> Iterator[tuple[str, str, str]]:
        """Every question that is about more than one thing: of a pattern, of every resource, of the action ``admin``."""
        actions = [listed[0] for listed in self.actions]
        for resource, stems in self.as_a_whole.items():
            for stem in stems:
                yield from ((action, resource, stem) for action in (*actions, ADMIN))
        for resource, root in self.names.items():
            yield from ((ADMIN, resource, node.own) for node in root.all() if node.own is not None)


def told_apart(*sides: Side) -> Atoms:
    """The atoms of all questions about the one subject that the lines of ``sides`` are about."""
    tests = [_Tests(side.model) for side in sides]
    rules = [rule for side in sides for rule in side.rules]
    literals = {what: {word for one in tests for word in one.literals[what]} for what in ("act", "res", "name")}
    resources = {rule.res for rule in rules} | literals["res"]
    if any("res" in one.beyond for one in tests):
        resources |= set(RESOURCES)
    patterns = {resource: set(literals["name"]) for resource in [*sorted(resources - {ANY}), NOT_YET_INVENTED]}
    for rule in rules:
        for resource in patterns if rule.res == ANY else [rule.res]:
            patterns[resource].add(rule.name)
    names = {resource: tree_of(found) for resource, found in patterns.items()}
    whole = {resource: stems_of(found) for resource, found in patterns.items()}
    return Atoms(_classes(sides, tests, literals["act"]), names, whole | {ANY: (ANY,)})


def _classes(sides: Sequence[Side], tests: Sequence[_Tests], literals: set[str]) -> tuple[tuple[str, ...], ...]:
    """The actions by which roles of the lines contain them, on every side."""
    if any("act" in one.beyond for one in tests):
        return tuple((action,) for action in EVERY_ACTION)
    named = [(side.roles, sorted({rule.role for rule in side.rules} | literals)) for side in sides]
    found: dict[object, list[str]] = {}
    for action in EVERY_ACTION:
        like = tuple((roles.contains(role, action), role == action) for roles, used in named for role in used)
        found.setdefault(like, []).append(action)
    return tuple(tuple(one) for one in found.values())


def tree_of(patterns: Iterable[str]) -> Names:
    """The tree of the names that ``patterns``, with or without a trailing star, tell apart. Its root is ``*``."""
    exact = {one for one in patterns if one and not one.endswith(ANY)}
    begins = {"", *(f"{name}/" for name in exact), *(one[:-1] for one in patterns if one.endswith(ANY))}
    # A slash sorts first, so that what is below a name follows it at once; a pattern with star comes before the bare name.
    found = sorted([(begin, True) for begin in begins] + [(name, False) for name in exact], key=_in_order)
    root = Names(ANY, None)
    open_: list[tuple[str, Names]] = []
    for text, is_begin in found:
        node = Names(text + ANY, _unlike(text, exact, begins)) if is_begin else Names(text, text)
        if not open_:
            root = node
        while open_ and not text.startswith(open_[-1][0]):
            open_.pop()
        if open_:
            open_[-1][1].below.append(node)
        # Of what has no star, only its like and what is below it are part.
        open_.append((text if is_begin else f"{text}/", node))
    return root


def _in_order(item: tuple[str, bool]) -> tuple[str, bool]:
    return item[0].replace("/", "\0"), not item[1]


def _unlike(begin: str, exact: set[str], begins: set[str]) -> str | None:
    """A name that begins so, is not among ``exact``, and begins with nothing longer of ``begins``; or ``None``."""
    waiting = [begin]
    for stem in waiting:
        letters = _LETTERS_BELOW if "/" in stem else _LETTERS
        for letter in letters:
            if (name := stem + letter) not in begins and name not in exact and letter != "/":
                return name
        waiting += [stem + letter for letter in letters if stem + letter not in begins]
    return None


def stems_of(patterns: Iterable[str]) -> tuple[str, ...]:
    """The patterns with star that lines of ``patterns`` tell apart when they are asked about as a whole.

    Two patterns differ if another set of lines covers them, or another set of lines is within them; so beside the edges of the
    lines those places count where lines part. ``*`` is one of them. At the top no other pattern can be asked about.
    """
    patterns = set(patterns) - {""}
    exact = {one for one in patterns if not one.endswith(ANY)}
    edges = sorted(exact | {one[:-1] for one in patterns - exact})
    stems = {*edges, *(f"{one}/" for one in exact), *(_shared(one, other) for one, other in pairwise(edges))}
    return tuple(stem + ANY for stem in sorted({"", *(stem for stem in stems if "/" in stem)}))


def _shared(one: str, other: str) -> str:
    for length, (letter, letter_too) in enumerate(zip(one, other, strict=False)):
        if letter != letter_too:
            return one[:length]
    return min(one, other, key=len)


def inexact(model: PolicyModel) -> str | None:
    """Why no finite number of questions tells all of this model's answers, or ``None``: they do."""
    tests = _Tests(model)
    return next(iter(tests.beyond.values()), None)


class _Tests:
    """What the matcher of a model compares the asked action, resource and name with.

    ``literals`` are the words that stand in it; ``beyond`` the tests whose edges are not those of the lines, in words.
    """

    LINE_FIELD: Final = {"act": "p_role", "res": "p_res", "name": "p_name"}

    def __init__(self, model: PolicyModel) -> None:
        self.literals: dict[str, set[str]] = {what: set() for what in self.LINE_FIELD}
        self.beyond: dict[str, str] = {}
        waiting: list[ast.AST] = [model.tree]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.BoolOp | ast.UnaryOp):
                waiting += ast.iter_child_nodes(node)
                continue
            for what in self.LINE_FIELD:
                if any(isinstance(part, ast.Name) and part.id == f"r_{what}" for part in ast.walk(node)):
                    self._test(what, node)

    def _test(self, what: str, node: ast.AST) -> None:
        against = self._compared_with(what, node)
        if against is None:
            text = ast.unparse(node).replace("p_", "p.").replace("r_", "r.")
            self.beyond.setdefault(what, f"the matcher of model.conf asks {text!r}")
            return
        self.literals[what] |= {word for one in against if (word := _word(one)) and word != ADMIN}

    def _compared_with(self, what: str, node: ast.AST) -> list[ast.expr] | None:
        """What the asked word is compared with, if it is by a test whose edges are known."""
        asked = f"r_{what}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 2:
            known = ("g2",) if what == "act" else ("covers", "overlaps")
            found = [node.args[0]] if node.func.id in known and _is(node.args[1], asked) else None
        elif isinstance(node, ast.Compare) and len(node.ops) == 1:
            left, right = node.left, node.comparators[0]
            if isinstance(node.ops[0], ast.In | ast.NotIn):
                found = right.elts if _is(left, asked) and isinstance(right, ast.Tuple | ast.List) else None
            elif isinstance(node.ops[0], ast.Eq | ast.NotEq) and _is(left, asked) is not _is(right, asked):
                found = [right if _is(left, asked) else left]
            else:
                found = None
        else:
            found = None
        if found is None or not all(_is(one, self.LINE_FIELD[what]) or _word(one) is not None for one in found):
            return None
        return found


def _is(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _word(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
