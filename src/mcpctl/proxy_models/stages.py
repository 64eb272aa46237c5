"""The stages a proxy model may have, and whether what somebody wrote is such a list of stages.

A model's ``stages`` is a list of ``{"stage": <name>, "options": {…}}``; ``options`` may be left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mcpctl.errors import InvalidInput, nearest
from mcpctl.policy.names import check_bound_name
from mcpctl.proxy_models.builtin import BUILTIN, StageDescription
from mcpctl.proxy_models.detectors import ALWAYS_ON, DETECTORS
from mcpctl.proxy_models.linear_patterns import compiled
from mcpctl.proxy_models.third_party import third_party_stages

__all__ = [
    "StageDescription",
    "builtin_stages",
    "check_cache_tool",
    "check_stages",
    "known_stages",
    "left_out_stages",
    "with_defaults",
]

MOST_STAGES: Final = 20
LARGEST_OPTIONS: Final = 65_536
"""Bytes of the options of one stage, as JSON."""

LONGEST_TTL: Final = 604_800
"""Seconds for which a model may have anything cached: a week."""

MOST_CACHE_TOOLS: Final = 100


def builtin_stages() -> tuple[StageDescription, ...]:
    """The stages every gateway has."""
    return BUILTIN


def known_stages() -> tuple[StageDescription, ...]:
    """The builtin stages, then those of installed packages (see ``third_party``)."""
    return (*BUILTIN, *third_party_stages().descriptions.values())


def left_out_stages() -> Mapping[str, str]:
    """What installed packages offer that is no stage, by entry point, and why."""
    return third_party_stages().left_out


def check_stages(stages: Any) -> list[tuple[str, str]]:
    """Everything wrong with ``stages``, each as a path such as ``0.options.maxChars`` and a sentence; empty if nothing is."""
    if not isinstance(stages, Sequence) or isinstance(stages, str):
        return [("", "it must be a list")]
    if not 1 <= len(stages) <= MOST_STAGES:
        return [("", f"there must be 1 to {MOST_STAGES} stages")]
    known = {stage.name: stage for stage in known_stages()}
    return [(f"{place}{path}", why) for place, one in enumerate(stages) for path, why in _wrong_with_stage(one, known)]


def with_defaults(stage: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` and, for each that is left out, its default. ``redact`` always looks for our own tokens.

    Raises:
        InvalidInput: there is no such stage here.
    """
    found = next((one for one in known_stages() if one.name == stage), None)
    if found is None:
        raise InvalidInput(_unknown(stage, [one.name for one in known_stages()]))
    defaults = {name: schema["default"] for name, schema in found.options.items() if "default" in schema}
    filled: dict[str, Any] = json.loads(json.dumps(defaults)) | dict(options)
    if stage == "redact":
        filled["detectors"] = [name for name in DETECTORS if name == ALWAYS_ON or name in filled["detectors"]]
    return filled


def check_cache_tool(pattern: str) -> str:
    """``pattern`` if it may name tools whose results are cached: what a policy line may name below a server.

    Raises:
        InvalidInput: it is none; the sentence says the form.
    """
    server, slash, below = pattern.partition("/")
    if not slash or below.startswith(("prompt:", "resource:")):
        raise InvalidInput(f"{pattern[:80]!r} names no tool: write <server>/<tool>, or <server>/get_* for all that begin so")
    return check_bound_name("servers", f"{server}/{below}")


def _wrong_with_stage(one: Any, known: Mapping[str, StageDescription]) -> list[tuple[str, str]]:
    if not isinstance(one, Mapping):
        return [("", "it must be an object: {stage, options}")]
    name, options = one.get("stage"), one.get("options", {})
    others = sorted(str(member)[:80] for member in set(one) - {"stage", "options"})
    unknown = [(f".{member}", "unknown member: a stage has stage and options") for member in others]
    if not isinstance(name, str):
        return [*unknown, (".stage", "it must be the name of a stage")]
    if name not in known:
        return [*unknown, (".stage", _unknown(name, list(known)))]
    if not isinstance(options, Mapping):
        return [*unknown, (".options", "it must be an object")]
    try:
        return [*unknown, *((f".options{path}", why) for path, why in _wrong_with_options(known[name], dict(options)))]
    except RecursionError:
        return [*unknown, (".options", "it is nested too deeply")]


def _wrong_with_options(stage: StageDescription, options: dict[str, Any]) -> list[tuple[str, str]]:
    if len(json.dumps(options)) > LARGEST_OPTIONS:
        return [("", f"the options of a stage have at most {LARGEST_OPTIONS} bytes")]
    from mcpctl.proxy_models.options import wrong_options  # here: it loads a validator, which most who import this never need

    wrong = wrong_options(stage, options)
    if wrong or stage not in BUILTIN:
        return wrong
    if stage.name == "select":
        return _wrong_with_expression(options["expression"])
    if stage.name == "redact":
        return _wrong_with_patterns(options.get("patterns", []))
    return []


def _wrong_with_expression(expression: str) -> list[tuple[str, str]]:
    import jmespath  # here, for the same reason

    try:
        jmespath.compile(expression)
    except jmespath.exceptions.JMESPathError as error:
        return [(".expression", f"it is no JMESPath expression: {' '.join(str(error).split())[:300]}")]
    except RecursionError:
        return [(".expression", "it is nested too deeply")]
    return []


def _wrong_with_patterns(patterns: list[dict[str, str]]) -> list[tuple[str, str]]:
    wrong = list[tuple[str, str]]()
    names = [pattern["name"] for pattern in patterns]
    for place, pattern in enumerate(patterns):
        if pattern["name"].endswith("\n"):  # which "$" lets pass
            wrong.append((f".patterns.{place}.name", "it ends in a line feed"))
        if pattern["name"] in names[:place] or pattern["name"] in DETECTORS:
            wrong.append((f".patterns.{place}.name", "another pattern or a detector is called so"))
        try:
            compiled(pattern["pattern"])
        except InvalidInput as error:
            wrong.append((f".patterns.{place}.pattern", error.detail))
    return wrong


def _unknown(name: str, known: Sequence[str]) -> str:
    close = nearest(name, known) if len(name) <= 80 else None
    hint = f"; did you mean {close!r}?" if close else f"; there are {', '.join(known)}"
    return f"there is no stage {name[:80]!r} here{hint}"
