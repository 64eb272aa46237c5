"""What may stand in an argument: each type says in its error which rule was broken and what comes nearest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import rich_click as click

from mcpctl.client.address import check_address
from mcpctl.errors import FieldError, InvalidBinding, InvalidInput, nearest
from mcpctl.policy import bindings, names, vocabulary

_ROLE = re.compile(r"(?:^|,)\s*role\s*:\s*([^,\s]+)")
_SECRET = re.compile(r"secret:([^/]+)/([A-Za-z0-9._-]{1,128})")
_NEW_FORM = re.compile(r"is the old form; write '([^']+)'$")

Pair = tuple[str, str | dict[str, str]]


class Ruled(click.ParamType[str]):
    """Text one function accepts or refuses with a sentence."""

    def __init__(self, name: str, check: Callable[[str], object]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """``value`` as the function gives it back, if the rule allows it."""
        try:
            found = self._check(value)
        except InvalidBinding as error:
            # As the control plane's own refusal of a binding reads, which may come next.
            where = param.opts[0] if param is not None else "binding"
            raise InvalidBinding(error.detail, errors=[FieldError(where, error.detail)]) from None
        except InvalidInput as error:
            self.fail(error.detail, param, ctx)
        return found if isinstance(found, str) else str(value)


class OneOf(click.Choice[str]):
    """One of a few words; another is answered with the nearest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """``value``, if it is one of them."""
        words = [str(word) for word in self.choices]
        if value in words:
            return str(value)
        close = nearest(str(value), words)
        hint = f"; did you mean {close!r}?" if close else ""
        return self.fail(f"{value!r} is not one of {', '.join(words)}{hint}", param, ctx)


class WholeNumber(click.ParamType[int]):
    """A whole number between two others."""

    name = "N"

    def __init__(self, least: int, most: int | None = None) -> None:
        self._least, self._most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number the text says."""
        try:
            found = int(value)
        except ValueError:
            self.fail(f"{value!r} is not a whole number", param, ctx)
        if found < self._least or (self._most is not None and found > self._most):
            rule = f"at least {self._least}" if self._most is None else f"from {self._least} to {self._most}"
            self.fail(f"it is {found}; it must be {rule}", param, ctx)
        return found


class KeyValue(click.ParamType[Pair]):
    """``KEY=VALUE``, or ``KEY=secret:NAME/KEY`` for a value that stands in a secret."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Pair:
        """The key, and the value or the reference to it."""
        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).partition("=")
        if not key or not equals:
            self.fail(f"{value!r} has no '=': write KEY=VALUE, or KEY=secret:NAME/KEY", param, ctx)
        if not text.startswith("secret:"):
            return key, text
        found = _SECRET.fullmatch(text)
        if not found:
            self.fail(f"{text!r} names no secret: write {key}=secret:NAME/KEY", param, ctx)
        try:
            return key, {"secret": names.check_name(found[1], "secret name"), "key": found[2]}
        except InvalidInput as error:
            self.fail(error.detail, param, ctx)


class JsonObject(click.ParamType[dict[str, Any]]):
    """An object, as JSON."""

    name = "JSON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """What the text says."""
        try:
            found = value if isinstance(value, dict) else json.loads(value)
        except ValueError as error:
            self.fail(f"it is not JSON: {error}", param, ctx)
        if not isinstance(found, dict):
            self.fail('it is not a JSON object: write {"name": "value"}', param, ctx)
        return found


def check_binding(text: str) -> str:
    """``text`` if it is a binding in every respect that does not depend on the server's roles.

    Raises:
        InvalidBinding: it is none; an old form comes back as the new one.
    """
    role = _ROLE.search(text)
    bindings.parse(text, (*bindings.BUILT_IN_ROLES, *([role[1]] if role else [])))
    return text


def from_old_form(text: str) -> str:
    """What the binding that was written ``ROLE:RESOURCE[:NAME]`` or ``OPERATION[:PROJECT]`` is called now.

    Raises:
        InvalidBinding: it is no binding in any form; the sentence shows the column and the nearest valid word.
    """
    said = text.strip()
    if said in vocabulary.OPERATIONS:
        return f"action:{said}"
    # A role that only the server knows has an old form, too.
    first = {said.partition(":")[0].strip()} - {"role", "resource", "name", "effect", "action"}
    try:
        return str(bindings.parse(said, (*bindings.BUILT_IN_ROLES, *first)))
    except InvalidBinding as error:
        if found := _NEW_FORM.search(error.detail):
            return found[1]
        raise


NAME: Final = Ruled("NAME", names.check_name)
USER: Final = Ruled("USER", names.check_user_name)
SERVER: Final = Ruled("SERVER", names.check_server_name)
PROJECT: Final = Ruled("PROJECT", lambda text: names.check_name(text, "project name"))
CONTEXT: Final = Ruled("CONTEXT", lambda text: names.check_name(text, "context name"))
SUBJECT: Final = Ruled("SUBJECT", names.parse_subject)
BINDING: Final = Ruled("BINDING", check_binding)
ADDRESS: Final = Ruled("URL", check_address)
KEY_VALUE: Final = KeyValue()
JSON_OBJECT: Final = JsonObject()


def pairs(found: Sequence[Pair]) -> dict[str, str | dict[str, str]]:
    """The pairs as one object; the last of two with the same key counts, as in a shell's environment."""
    return dict(found)
