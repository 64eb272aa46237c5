"""Stages of other packages, found by the entry point group ``mcpctl.stages``."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from mcpctl.proxy_models.builtin import BUILTIN, StageDescription

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP: Final = "mcpctl.stages"
STAGE_NAME: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"

_NAME = re.compile(STAGE_NAME)


@dataclass(frozen=True, slots=True)
class Found:
    """What other packages offer.

    Attributes:
        stages: by name, the object each entry point gives: ``name``, ``summary``, ``options_schema`` and an async ``apply``.
        descriptions: the same stages, as they are described; taken once, so that no object changes its options later.
        left_out: by entry point (``name = module:attribute``), why it is no stage.
    """

    stages: Mapping[str, Any]
    descriptions: Mapping[str, StageDescription]
    left_out: Mapping[str, str]


@cache
def third_party_stages() -> Found:
    """What the installed packages offer; looked for once in a process. One that fails is left out and harms nothing else."""
    from importlib.metadata import entry_points  # here: few processes need it

    return found_in(tuple(entry_points(group=GROUP)))


def found_in(points: tuple[EntryPoint, ...]) -> Found:
    """What these entry points offer. A name that two of them claim is given to neither."""
    stages: dict[str, Any] = {}
    descriptions: dict[str, StageDescription] = {}
    left_out: dict[str, str] = {}
    named = [point.name for point in points]
    for point in points:
        label = f"{point.name} = {point.value}"
        if named.count(point.name) > 1:
            left_out[label] = "two packages offer a stage of this name"
            continue
        try:
            stage = point.load()
            description = _described(point.name, stage)
        except (Exception, SystemExit) as error:  # whatever a stranger's module does when imported
            left_out[label] = f"{type(error).__name__}: {error}" if not isinstance(error, _NoStage) else str(error)
            continue
        stages[point.name], descriptions[point.name] = stage, description
    return Found(stages, descriptions, left_out)


class _NoStage(Exception):
    pass


def _described(name: str, stage: Any) -> StageDescription:
    from jsonschema import Draft202012Validator, SchemaError  # here: most processes meet no stage of others

    if inspect.isclass(stage):
        raise _NoStage("it is a class: the entry point must name an object")
    if not _NAME.fullmatch(name):
        raise _NoStage("its name must be 1 to 63 of a-z 0-9 -, beginning and ending with a letter or digit")
    if name in {one.name for one in BUILTIN}:
        raise _NoStage("the name belongs to a builtin stage")
    if stage.name != name:
        raise _NoStage(f"the entry point is called {name!r} and the stage {stage.name!r}: both must be the same")
    if not (isinstance(stage.summary, str) and stage.summary.strip()):
        raise _NoStage("its summary must be a sentence")
    if not inspect.iscoroutinefunction(stage.apply):
        raise _NoStage("its apply must be an async function")
    schema = json.loads(json.dumps(stage.options_schema))
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise _NoStage(f"its options_schema is no JSON Schema of draft 2020-12: {error.message}") from None
    if not isinstance(schema, dict) or schema.get("type") != "object" or schema.get("additionalProperties") is not False:
        raise _NoStage("its options_schema must say type: object and additionalProperties: false")
    return StageDescription(name, stage.summary, schema)
