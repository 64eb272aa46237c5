"""Proxy models: named pipelines of stages over what tools answer."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from mcpctl.errors import InvalidInput
from mcpctl.policy.names import NAME_PATTERN, RESERVED_SERVER
from mcpctl.proxy_models.stages import (
    LONGEST_TTL,
    MOST_CACHE_TOOLS,
    MOST_STAGES,
    StageDescription,
    check_cache_tool,
    known_stages,
)
from mcpctl.wire.shapes import Answer, Name, Request, Text, Time, said

_TOOLS: Final = rf"(?![^/]*__)(?!{RESERVED_SERVER}/){NAME_PATTERN}/(?!prompt:|resource:)(?:[A-Za-z0-9._:/-]{{1,512}}\*?|\*)"


def _cache_tool(text: str) -> str:
    try:
        return check_cache_tool(text)
    except InvalidInput as error:
        raise ValueError(error.detail) from None


CacheTool = Annotated[
    str, StringConstraints(max_length=600), AfterValidator(_cache_tool), said("<server>/<tool>, which may end in one *", _TOOLS)
]


def _schema_of(stage: StageDescription) -> dict[str, Any]:
    """The schema of a stage's options as a part of a larger document, where references of its own would lead elsewhere."""
    if "$ref" in json.dumps(stage.options_schema):
        return {"type": "object"}
    return {key: value for key, value in stage.options_schema.items() if key not in ("$schema", "$id")}


def _say_stages(schema: dict[str, Any]) -> None:
    """In the OpenAPI document a stage is one of those known here, each with the options it takes."""
    schema["anyOf"] = [
        {
            "title": stage.name,
            "description": stage.summary,
            "properties": {
                "stage": {"const": stage.name},
                "options": _schema_of(stage),
            },
            "required": ["stage", *(["options"] if stage.options_schema.get("required") else [])],
        }
        for stage in known_stages()
    ]


class StageUse(Request):
    """One stage of a pipeline, and its options."""

    model_config = ConfigDict(json_schema_extra=_say_stages)

    stage: str = Field(min_length=1, max_length=63)
    options: dict[str, Any] = Field(default={}, description="those left out have their defaults")


class ResultCache(Request):
    """Results that are answered again without asking the server."""

    ttl_seconds: int = Field(ge=1, le=LONGEST_TTL, description="for how long")
    tools: list[CacheTool] = Field(
        default=[],
        max_length=MOST_CACHE_TOOLS,
        description="of these tools too; of those that their server declares read-only or idempotent anyway",
    )


class ProxyModelBody(Request):
    """What a proxy model is from now on. What is left out is not there."""

    name: Name | None = Field(default=None, description="may be left out in an update; if given it is the name in the path")
    description: Text = ""
    stages: list[StageUse] = Field(min_length=1, max_length=MOST_STAGES, description="in the order in which results pass them")
    cache: ResultCache | None = Field(default=None, description="null: nothing is cached")


class NewProxyModel(ProxyModelBody):
    """A proxy model to be kept."""

    name: Name


class Stage(Answer):
    """One stage of a pipeline as it was written: its defaults are not in it."""

    stage: str
    options: dict[str, Any]


class CacheRule(Answer):
    """Which results are answered again, and for how many seconds."""

    ttl_seconds: int
    tools: list[str]


class ProxyModel(Answer):
    """A proxy model as it is listed."""

    id: str
    name: str
    description: str
    stages: list[Stage]
    cache: CacheRule | None
    projects: list[str] = Field(description="that use it, as far as the asker may view these")
    servers: list[str] = Field(description="likewise")
    created_at: Time
    updated_at: Time
