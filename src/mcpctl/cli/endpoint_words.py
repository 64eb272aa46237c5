"""What may stand on the command line of ``mcpctl test mcp``, and in its file: one rule for both."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

import rich_click as click

from mcpctl.client.address import check_address
from mcpctl.errors import FieldError, InvalidInput

DEEPEST: Final = 50
"""Levels in the arguments of a call."""
SHORTEST_TIMEOUT, LONGEST_TIMEOUT = 0.1, 600.0


def endpoint_address(text: str) -> str:
    """``text`` as it is, if it may be an endpoint's address; unlike a control plane's it may have a query.

    Raises:
        InvalidSetting: it is none.
    """
    before, mark, query = text.partition("?")
    check_address(before, "endpoint")
    if mark and ("#" in query or not query.isascii() or not query.isprintable() or " " in query):
        # It may hold a key, and is not repeated here.
        raise wrong("url", "the query of the endpoint must be ASCII, without blanks and '#'")
    return text


def query_secrets(url: str) -> tuple[str, ...]:
    """What in the query of ``url`` no report may show: often a key."""
    query = urlsplit(url).query
    return (query, *(pair.partition("=")[2] for pair in query.split("&"))) if query else ()


def arguments_of_call(tool: str, given: Any) -> dict[str, Any]:
    """The arguments of a call, if they are JSON that any server can read.

    Raises:
        InvalidInput: they are none.
    """
    if not isinstance(given, dict):
        raise wrong("call", f'{tool!r:.60} names no tool with its arguments: write NAME={{"argument": "value"}}')
    try:
        text = json.dumps(given, ensure_ascii=False, allow_nan=False)
        text.encode()
        found: dict[str, Any] = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise wrong("call", f"the arguments of {tool!r:.60} are not JSON: {str(error)[:100]}") from None
    level: list[Any] = [found]
    for _ in range(DEEPEST):
        level = [below for one in level if isinstance(one, dict | list) for below in _inside(one)]
    if level:
        raise wrong("call", f"the arguments of {tool!r:.60} are nested deeper than {DEEPEST} levels")
    return found


def _inside(holder: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return holder.values() if isinstance(holder, dict) else holder


def load_of(text: str) -> tuple[int, int]:
    """How many requests, and how many at once.

    Raises:
        InvalidInput: ``text`` does not say.
    """
    requests, _, at_once = text.partition(",")
    try:
        found = int(requests), int(at_once or 1)
    except ValueError:
        raise wrong("load", f"{text!r:.60} is not N,C: how many requests, and how many at once, such as 200,4") from None
    if not (1 <= found[1] <= 32 and found[1] <= found[0] <= 100_000):
        raise wrong("load", "up to 100000 requests, at least as many as at once, and up to 32 at once")
    return found


def timeout_of(seconds: float) -> float:
    """Seconds for one answer.

    Raises:
        InvalidInput: too few, too many, or no number.
    """
    if not SHORTEST_TIMEOUT <= seconds <= LONGEST_TIMEOUT:
        raise wrong(
            "timeout", f"timeout is {seconds!r:.40}, and should be from {SHORTEST_TIMEOUT} to {LONGEST_TIMEOUT:.0f} seconds"
        )
    return float(seconds)


def texts(given: Any, member: str) -> tuple[str, ...]:
    """A list of texts.

    Raises:
        InvalidInput: one is none.
    """
    for one in given:
        if not isinstance(one, str) or not one:
            raise wrong(member, f"{member} holds {one!r:.40}, and should hold texts only")
    return tuple(given)


def wrong(field: str, message: str) -> InvalidInput:
    """The refusal of one thing that was given."""
    return InvalidInput(message, errors=[FieldError(field, message)])


class Call(click.ParamType[tuple[str, dict[str, Any]]]):
    """``NAME=JSON``."""

    name = "NAME=JSON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, dict[str, Any]]:
        """The tool, and the arguments of the call."""
        if isinstance(value, tuple):
            return value
        tool, _, text = str(value).partition("=")
        try:
            arguments = json.loads(text or "{}")
        except (ValueError, RecursionError) as error:
            self.fail(f"the arguments of {tool!r} are not JSON: {error}", param, ctx)
        if not tool:
            self.fail(f'{value!r} names no tool with its arguments: write NAME={{"argument": "value"}}', param, ctx)
        try:
            return tool, arguments_of_call(tool, arguments)
        except InvalidInput as error:
            self.fail(error.detail, param, ctx)


class LoadWords(click.ParamType[tuple[int, int]]):
    """``N,C``."""

    name = "N,C"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """How many requests, and how many at once."""
        if isinstance(value, tuple):
            return value
        try:
            return load_of(str(value))
        except InvalidInput as error:
            self.fail(error.detail, param, ctx)
