"""YAML as people and programs write it down: what hides something or grows is refused where it stands, before it is expanded.

An anchor repeated a few times stands for more than fits into memory, or holds itself; a merge key copies; a tag makes a thing
of another kind. Nothing that this program prints uses any of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent
from ruamel.yaml.nodes import MappingNode, SequenceNode
from ruamel.yaml.parser import Parser

DEEPEST: Final = 100
"""Lists and maps within each other."""

LINES_BELOW: Final = 2
"""How far down lines are told."""

UNREADABLE: Final = (YAMLError, ValueError, TypeError, OverflowError, RecursionError)
"""What reading raises: of numbers, dates and escapes that are none, ruamel lets Python's own errors through."""


class NotPlain(MarkedYAMLError):
    """It is YAML, and more than is read here. It is said as ruamel's own errors are, with a mark."""


class _PlainParser(Parser):
    """The parser of events, which refuses the first that is not plain."""

    def __init__(self, loader: Any) -> None:
        super().__init__(loader)
        self._depth = 0

    def get_event(self) -> Any:
        """The next event."""
        event = super().get_event()
        if isinstance(event, CollectionStartEvent):
            self._depth += 1
        elif isinstance(event, CollectionEndEvent):
            self._depth -= 1
        if refused := self._refused(event):
            raise NotPlain(problem=refused, problem_mark=event.start_mark)
        return event

    def _refused(self, event: Any) -> str | None:
        if isinstance(event, AliasEvent):
            return f"the alias *{event.anchor} is not read: write out what it stands for"
        if getattr(event, "anchor", None) is not None:
            return f"the anchor &{event.anchor} is not read: leave it out, and write out what stands for it elsewhere"
        if getattr(event, "tag", None) is not None:
            return f"the tag {event.tag} is not read: leave it out, and put text in quotes"
        if isinstance(event, ScalarEvent) and event.value == "<<" and event.implicit[0]:
            return "the merge key << is not read: write out what it adds"
        return f"it is nested more than {DEEPEST} deep" if self._depth > DEEPEST else None


def _reader() -> YAML:
    reader = YAML(typ="safe", pure=True)
    reader.Parser = _PlainParser
    return reader


def nodes(text: str) -> Iterator[Any]:
    """The documents of ``text`` as nodes, which know their lines.

    Raises:
        UNREADABLE: it cannot be read; ``cause`` says so in words.
    """
    yield from _reader().compose_all(text)


def values(text: str) -> Iterator[Any]:
    """The documents of ``text`` as dicts, lists and words.

    Raises:
        UNREADABLE: as ``nodes``.
    """
    yield from _reader().load_all(text)


def lines(node: Any, *above: str | int) -> dict[tuple[str | int, ...], int]:
    """The line of each member of a document, and of what is in it: ``{("items",): 2, ("items", 0): 3}``, and so on below."""
    found: dict[tuple[str | int, ...], int] = {}
    inside: Iterable[tuple[str | int, Any, Any]] = ()
    if isinstance(node, MappingNode):
        inside = ((str(key.value), key, value) for key, value in node.value)
    elif isinstance(node, SequenceNode):
        inside = ((number, value, value) for number, value in enumerate(node.value))
    for name, begins, value in inside:
        found[*above, name] = begins.start_mark.line + 1
        if len(above) < LINES_BELOW:
            found |= lines(value, *above, name)
    return found


def cause(error: BaseException) -> tuple[int, str]:
    """The line on which it went wrong (0 if that is not known), and why it cannot be read."""
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    line = mark.line + 1 if mark else 0
    if isinstance(error, NotPlain):
        return line, str(error.problem)
    if isinstance(error, MarkedYAMLError):
        return line, f"it is not YAML: {str(error.problem or error.context).splitlines()[0]}"
    return line, f"it cannot be read: {next(iter(str(error).splitlines()), 'it is no YAML')}"
