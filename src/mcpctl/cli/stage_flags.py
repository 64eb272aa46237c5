"""A stage of a proxy model as a flag: ``truncate``, ``truncate:maxChars=8000,keep=tail`` or ``select:{"expression": "…"}``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import rich_click as click

from mcpctl.client.http import Json
from mcpctl.errors import InvalidInput
from mcpctl.proxy_models.stages import LONGEST_TTL, StageDescription, check_cache_tool, check_stages, known_stages

FORM: Final = "STAGE[:OPTION=VALUE,...]"

_DURATION: Final = re.compile("(?=.)" + "".join(f"(?:([0-9]{{1,9}}){unit})?" for unit in "wdhms"))
_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}


def parsed(text: str) -> Json:
    """The stage that ``text`` is, as the wire takes it.

    Values are read as the types that the stage's options have. Of a stage that is not installed here, and may be where the
    control plane runs, each is JSON if it can be, else text.

    Raises:
        InvalidInput: it cannot be read, or breaks a rule of the stage.
    """
    name, _, rest = text.partition(":")
    described = next((one for one in known_stages() if one.name == name), None)
    stage: Json = {"stage": name, "options": _json(name, rest) if rest.lstrip().startswith("{") else _pairs(described, rest)}
    wrong = check_stages([stage]) if described is not None else []
    if wrong:
        said = [f"{path.removeprefix('0.').removeprefix('options.')}: {message}" for path, message in wrong]
        raise InvalidInput(f"{name}: {'; '.join(said)}")
    return stage


def as_flag(stage: Json) -> str:
    """The shortest text that ``parsed`` makes this stage of."""
    name, options = str(stage.get("stage")), stage.get("options") or {}
    if not options:
        return name
    short = f"{name}:" + ",".join(f"{key}={_plain(value)}" for key, value in options.items())
    try:
        if parsed(short) == {"stage": name, "options": options}:
            return short
    except InvalidInput:
        pass
    return f"{name}:{json.dumps(options, ensure_ascii=False)}"


def _json(name: str, text: str) -> Json:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{name}: its options are not JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidInput(f"{name}: its options are no JSON object")
    return found


def _pairs(described: StageDescription | None, text: str) -> Json:
    """Options written ``a=1,b=2``. A comma ends a value only where the name of an option and ``=`` follow it."""
    if not text:
        return {}
    options: Mapping[str, Mapping[str, Any]] = described.options if described is not None else {}
    follows = "|".join(map(re.escape, options)) or r"[A-Za-z0-9_-]+"
    found: Json = {}
    for part in re.split(rf",(?=(?:{follows})=)", text):
        key, equals, value = part.partition("=")
        if not equals:
            needed = list(described.options_schema.get("required", ())) if described is not None else []
            form = f"{described.name}:{needed[0]}={part}" if described and len(needed) == 1 else "STAGE:OPTION=VALUE"
            raise InvalidInput(f"{part!r} names no option: write {form}, or STAGE:{{JSON}}")
        if key in found:
            raise InvalidInput(f"{key} stands there twice")
        found[key] = _typed(options.get(key), value)
    return found


def _typed(schema: Mapping[str, Any] | None, text: str) -> Any:
    """``text`` as a value of the schema's type; as it is where it cannot be one, and its check says so."""
    kind = schema.get("type") if schema is not None else None
    if kind == "string" or (schema is not None and "enum" in schema):
        return text
    if kind == "array" and not text.lstrip().startswith("["):
        return [one for one in text.split(",") if one]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return ",".join(value)
    return json.dumps(value, ensure_ascii=False)


def seconds(text: str) -> str:
    """``5m``, ``1h30m`` or ``300`` as whole seconds, in digits.

    Raises:
        InvalidInput: it is none, or not between a second and a week.
    """
    found = _DURATION.fullmatch(text)
    if found is None and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidInput(f"{text!r} is not a duration such as 30s, 5m or 1h30m")
    total = (
        sum(int(number or 0) * size for number, size in zip(found.groups(), _UNITS.values(), strict=True))
        if found is not None
        else int(text)
    )
    if not 1 <= total <= LONGEST_TTL:
        raise InvalidInput(f"it is {total} seconds; it must be from one second to a week")
    return str(total)


def in_words(total: int) -> str:
    """Seconds as ``seconds`` reads them: ``5m``."""
    said = ""
    for unit, size in _UNITS.items():
        number, total = divmod(total, size)
        said += f"{number}{unit}" if number else ""
    return said or "0s"


class StageFlag(click.ParamType[Json]):
    """A stage, in the form ``parsed`` reads."""

    name = FORM

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Json:
        """The stage."""
        try:
            return value if isinstance(value, dict) else parsed(str(value))
        except InvalidInput as error:
            self.fail(f"{error.detail}\n'mcpctl explain proxymodel' shows the stages and what each takes.", param, ctx)


def cache_tool(text: str) -> str:
    """``text`` if it may name tools whose results are cached.

    Raises:
        InvalidInput: it is none.
    """
    return check_cache_tool(text)


def complete_stages(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of stages and, after a colon, of their options, for the shell."""
    name, colon, _ = incomplete.partition(":")
    if not colon:
        return [stage.name for stage in known_stages() if stage.name.startswith(incomplete)]
    options = next((stage.options for stage in known_stages() if stage.name == name), {})
    return [word for option in options if (word := f"{name}:{option}=").startswith(incomplete)]


def complete_stage_names(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of stages, for the shell."""
    return [stage.name for stage in known_stages() if stage.name.startswith(incomplete)]
