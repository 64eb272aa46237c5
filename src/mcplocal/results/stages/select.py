"""``select``: keeps of a JSON result what a JMESPath expression finds.

An expression can make much of little: ``[@,@]|[@,@]|…`` doubles what it is given each time. So steps, lengths, what functions
and comparisons are given, and what comes of it are counted, and past a limit it is given up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from time import monotonic
from typing import Any, Final

import jmespath
from jmespath.visitor import TreeInterpreter

from mcplocal.results.stage import Block, StageFailed, ToolResult

LARGEST: Final = 8 << 20
"""Characters of JSON that are read as a whole: a tenth of a second."""
MOST_STEPS: Final = 2_000_000
LONGEST_LIST: Final = 200_000
MOST_VALUES: Final = 1_000_000
MOST_LOOKED_AT: Final = 5_000_000
"""Values that all functions and comparisons together may be given, each as often as it stands there."""
_LOOKS_BELOW: Final = frozenset(
    ("to_string", "contains", "join", "sort", "sort_by", "max", "max_by", "min", "min_by", "reverse")
)
"""Functions that take in one step as long as what they are given is large, however little memory that takes."""


class _Bounded(TreeInterpreter):  # type: ignore[misc]
    """JMESPath's own interpreter, counting."""

    def __init__(self, until: float) -> None:
        super().__init__()
        self._until = until
        self._steps = 0
        self._left = MOST_LOOKED_AT

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self._steps += 1
        if self._steps > MOST_STEPS or (self._steps % 256 == 0 and monotonic() > self._until):
            raise StageFailed("the expression takes too long on this result")
        found = super().visit(node, *args, **kwargs)
        if isinstance(found, list | str) and len(found) > (LONGEST_LIST if isinstance(found, list) else LARGEST):
            raise StageFailed("the expression makes too much of this result")
        return found

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        given = [self.visit(child, value) for child in node["children"]]
        if node["value"] in _LOOKS_BELOW:
            self._look_at(given)
        return self._functions.call_function(node["value"], given)

    def visit_comparator(self, node: Any, value: Any) -> Any:
        if node["value"] in self._EQUALITY_OPS:
            given = [self.visit(child, value) for child in node["children"]]
            self._look_at(given)
            return self.COMPARATOR_FUNC[node["value"]](*given)
        return super().visit_comparator(node, value)

    def _look_at(self, given: list[Any]) -> None:
        self._left -= _values_in(given)
        if self._left < 0:
            raise StageFailed("the expression takes too long on this result")

    def visit_flatten(self, node: Any, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        if sum(len(one) if isinstance(one, list) else 1 for one in base) > LONGEST_LIST:
            raise StageFailed("the expression makes too much of this result")
        return [inner for one in base for inner in (one if isinstance(one, list) else (one,))]


def selected(result: ToolResult, options: Mapping[str, Any], until: float) -> ToolResult:
    """What the expression finds in the structured content, or in text that is JSON; where there is none, ``result``.

    Raises:
        StageFailed: it cannot be found, or is too much.
    """
    source = result.structured
    if source is None or result.repeated is not None:
        texts = result.texts
        source = texts[0] if len(texts) == 1 and texts[0].lstrip()[:1] in ("{", "[") else None
    if source is None:
        return result
    if len(source) > LARGEST:
        raise StageFailed(f"the result is larger than {LARGEST >> 20} MiB")
    try:
        value = json.loads(source)
    except (ValueError, RecursionError):
        return result
    found = _found(str(options["expression"]), value, until)
    text = found if isinstance(found, str) else _written(found)
    first = next((block for block in result.content if block.text is not None), None)
    chosen = Block.of_text(text) if first is None else first.with_text(text)
    kept: list[Block] = [
        chosen if block is first else block for block in result.content if block is first or block.text is None
    ]
    return result.with_content(
        kept if first is not None else [chosen, *kept], _written(found) if isinstance(found, dict) else None
    )


def _found(expression: str, value: Any, until: float) -> Any:
    try:
        return _Bounded(until).visit(jmespath.compile(expression).parsed, value)
    except jmespath.exceptions.JMESPathError as error:
        raise StageFailed(f"the expression does not fit this result: {' '.join(str(error).split())[:300]}") from None
    except RecursionError:
        raise StageFailed("it is nested too deeply") from None


def _written(value: Any) -> str:
    """JSON of ``value``, in which the same list may stand many times."""
    _values_in(value)
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        raise StageFailed("what the expression finds cannot be written as JSON") from None


def _values_in(value: Any) -> int:
    """How many values there are, each counted as often as it stands there.

    Raises:
        StageFailed: too many, or too long.
    """
    left, size, open_values = MOST_VALUES, 0, [value]
    while open_values:
        one = open_values.pop()
        left -= 1
        if isinstance(one, str):
            size += len(one)
        elif isinstance(one, list):
            open_values += one
        elif isinstance(one, dict):
            size += sum(map(len, one))
            open_values += one.values()
        if left < 0 or size > LARGEST or len(open_values) > MOST_VALUES:
            raise StageFailed("the expression makes too much of this result")
    return MOST_VALUES - left
