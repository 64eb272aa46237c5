"""``model.conf``, read strictly by Casbin's own reader, and its matcher compiled once.

Casbin's reader lets a model lose half its matcher without a word: to a comment or blank line between continued lines, a
``#`` behind a clause, a second ``m =``, a second statement. Each of these is an error here. Editing the model changes every
decision; what ``matcher`` cannot compile stays with the stock method, and a warning says so.
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from hashlib import sha256
from io import StringIO
from threading import Lock
from typing import Final

import casbin
from casbin.config import Config
from casbin.core_enforcer import CoreEnforcer
from casbin.effect import Effector, get_effector
from casbin.model import FunctionMap, Model
from casbin.util import has_eval

from mcpctl.errors import InvalidPolicy, nearest
from mcpctl.policy.matcher import LINE_FIELDS, REQUEST_FIELDS, ROLE_DEFINITIONS, Matcher, NotCompilable
from mcpctl.policy.patterns import covers, overlaps

logger = logging.getLogger(__name__)

FUNCTIONS: Final[Mapping[str, Callable[..., bool]]] = {"covers": covers, "overlaps": overlaps}
"""What ``model.conf`` may call besides Casbin's built-in functions and its role definitions."""

CLOCK: Final = "timeMatch"
"""Casbin's only function whose answer changes by itself; what is remembered would outlive it."""

SECTIONS: Final = {
    "request_definition": ("r",),
    "policy_definition": ("p",),
    "role_definition": ROLE_DEFINITIONS,
    "policy_effect": ("e",),
    "matchers": ("m",),
}

_parsing = Lock()
"""CPython 3.11's parser fails at random when two threads are in it."""


class InvalidModel(InvalidPolicy):
    """``model.conf`` cannot be put in force; ``line`` is where, 0 for the file as a whole."""

    def __init__(self, detail: str, line: int = 0) -> None:
        super().__init__(detail)
        self.line = line


class PolicyModel:
    """One ``model.conf``: the Casbin model, its effect, and its matcher compiled if it can be. Immutable."""

    def __init__(self, text: str) -> None:
        """Read ``text``.

        Raises:
            InvalidPolicy: Casbin cannot read it, or it asks or states other things than this program does.
        """
        self.text = text
        self.digest = sha256(text.encode(errors="surrogatepass")).hexdigest()
        _check_definitions(text)
        try:
            self.casbin: Model = casbin.Enforcer.new_model(text=text)
            request, line = self.casbin["r"]["r"].tokens, self.casbin["p"]["p"].tokens
            self.matcher: str = self.casbin["m"]["m"].value
            roles = {name: (len(one.tokens), len(one.params_tokens)) for name, one in self.casbin["g"].items()}
            effect: str = self.casbin["e"]["e"].value
        except Exception as error:  # Casbin raises whatever its reader trips over
            raise InvalidModel(f"model.conf cannot be read as a Casbin model: {error or type(error).__name__}") from None
        if tuple(request) != tuple(f"r_{field}" for field in REQUEST_FIELDS):
            raise InvalidModel(f"model.conf must ask 'r = {', '.join(REQUEST_FIELDS)}'", _line_of(text, "r"))
        if tuple(line) != tuple(f"p_{field}" for field in LINE_FIELDS):
            raise InvalidModel(f"model.conf must state 'p = {', '.join(LINE_FIELDS)}'", _line_of(text, "p"))
        if roles != dict.fromkeys(ROLE_DEFINITIONS, (2, 0)):
            raise InvalidModel(
                "model.conf must define the two role definitions 'g = _, _' and 'g2 = _, _'", _line_of(text, "g", "g2")
            )
        try:
            self.effector: Effector = get_effector(effect)
        except RuntimeError:
            raise InvalidModel(f"Casbin knows no such policy effect: {effect}", _line_of(text, "e")) from None
        if self.effector.final_effect({Effector.INDETERMINATE}) == Effector.ALLOW:
            shown = effect.replace("p_", "p.")
            why = f"the policy effect {shown!r} allows what no line allows; it must ask for 'some(where (p.eft == allow))'"
            raise InvalidModel(why, _line_of(text, "e"))
        self.functions = {**FunctionMap.load_function_map().get_functions(), **FUNCTIONS}
        """What a matcher may call: Casbin's built-ins and ``FUNCTIONS``, without the role definitions and the clock."""
        del self.functions[CLOCK]
        try:
            self.tree = self._parse()
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            why = f"the matcher of model.conf is not an expression: {error}"
            raise InvalidModel(why, _line_of(text, "m")) from None
        self.uncompiled_because: str | None = None

    @property
    def line_of_matcher(self) -> int:
        """Where the matcher begins."""
        return _line_of(self.text, "m")

    @cached_property
    def compiled(self) -> Matcher | None:
        """The matcher as Python, or ``None`` (with ``uncompiled_because`` set) where only stock Casbin can do it."""
        try:
            with _parsing:
                return Matcher(self.tree, self.functions)
        except NotCompilable as reason:
            self.uncompiled_because = str(reason)
            logger.warning("the matcher of model.conf is not compiled, decisions are slow: %s", reason)
            return None

    def _parse(self) -> ast.expr:
        """The matcher's syntax tree, as stock Casbin would parse it, if it is one expression over known names."""
        if has_eval(self.matcher):
            raise ValueError("it calls eval(), which would run the text of policy lines")
        with _parsing:
            expression = CoreEnforcer._get_expression(self.matcher, dict(self.functions))
            tree: ast.expr = expression.ast_parsed_value
            alone = ast.parse(expression.expr.strip(), mode="eval")  # Casbin takes the first statement and drops the rest
        known = {f"r_{f}" for f in REQUEST_FIELDS} | {f"p_{f}" for f in LINE_FIELDS}
        callable_names = {*ROLE_DEFINITIONS, *self.functions}
        for node in ast.walk(alone):
            if isinstance(node, ast.Name) and node.id not in known | callable_names:
                if node.id == CLOCK:
                    raise ValueError(f"it asks the clock ({CLOCK}), and answers are remembered")
                name = re.sub(r"^([rp])_", r"\1.", node.id)
                raise ValueError(f"nothing is called {name!r}")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in known:
                raise ValueError(f"{node.func.id!r} is not a function")
        return tree


class _Definitions(Config):  # type: ignore[misc]
    """Casbin's reader of ``model.conf``, which no longer overwrites what stands twice nor keeps what nobody reads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self._parse_buffer(StringIO(text))

    def add_config(self, section: str, option: str, value: str) -> None:
        if not section:
            raise InvalidModel(f"{option[:80]!r} stands before any section of model.conf", _line_of(self.text, option))
        if section not in SECTIONS:
            close = nearest(section[:80], list(SECTIONS))
            hint = f"; did you mean {close!r}?" if close else ""
            raise InvalidModel(f"model.conf has no section {section[:80]!r}{hint}", _line_of(self.text, f"[{section}]"))
        if option not in SECTIONS[section]:
            raise InvalidModel(
                f"nothing reads {option[:80]!r} in [{section}]; a matcher on several lines has '\\' at the end of each but the "
                "last, and no comment or blank line between them",
                _line_of(self.text, option),
            )
        if option in self._data.get(section, {}):
            raise InvalidModel(f"{option!r} stands twice in model.conf", _line_of(self.text, option, last=True))
        if "#" in value:
            why = f"a comment stands behind {option!r}: Casbin would drop all that follows it"
            raise InvalidModel(why, _line_of(self.text, option))
        super().add_config(section, option, value)


def _check_definitions(text: str) -> None:
    try:
        definitions = _Definitions(text)
    except RuntimeError as error:
        raise InvalidModel(f"model.conf cannot be read as a Casbin model: {error}") from None
    for section, options in SECTIONS.items():
        for option in options:
            if not definitions.get(f"{section}::{option}"):
                raise InvalidModel(f"model.conf does not define {option!r} in [{section}]", _line_of(text, f"[{section}]"))


def _line_of(text: str, *options: str, last: bool = False) -> int:
    """The line on which one of ``options`` or sections stands, the first or the last such line; 0 if there is none."""
    lines = [line.partition("=")[0].strip() for line in text.split("\n")]
    found = [number for number, line in enumerate(lines, start=1) if line in options]
    return found[-1 if last else 0] if found else 0
