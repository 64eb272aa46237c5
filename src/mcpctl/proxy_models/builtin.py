"""The stages every gateway has, and the JSON Schema of the options of each.

A schema's ``description`` is what people read, its ``default`` what ``with_defaults`` fills in; ``examples`` holds options to
start from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mcpctl.proxy_models.detectors import DETECTORS
from mcpctl.proxy_models.linear_patterns import LONGEST

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class StageDescription:
    """A kind of stage: what it is called, what it does in one sentence, and a JSON Schema (draft 2020-12) of its options."""

    name: str
    summary: str
    options_schema: Mapping[str, Any]

    @property
    def options(self) -> Mapping[str, Mapping[str, Any]]:
        """The schema of each option by its name, in the order in which people read them."""
        found: Mapping[str, Mapping[str, Any]] = self.options_schema.get("properties", {})
        return found


def _options(
    properties: dict[str, Any], examples: list[dict[str, Any]], required: list[str] | None = None, note: str = ""
) -> dict[str, Any]:
    schema: dict[str, Any] = {"$schema": DIALECT, "type": "object"}
    if note:
        schema["description"] = note
    schema |= {"properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = required
    return schema | {"examples": examples}


def _whole(default: int, least: int, most: int, description: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most, "default": default, "description": description}


def _flag(default: bool, description: str) -> dict[str, Any]:
    return {"type": "boolean", "default": default, "description": description}


_PATTERN: Final = {
    "type": "object",
    "properties": {
        "name": {
            "type": "string",
            "pattern": "^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$",
            "description": "what stands in its place is called so; a-z 0-9 -",
        },
        "pattern": {
            "type": "string",
            "minLength": 1,
            "maxLength": LONGEST,
            "format": "re2",
            "description": "a regular expression in RE2 syntax, which has no look-around and no back-references",
        },
    },
    "required": ["name", "pattern"],
    "additionalProperties": False,
}

PASSTHROUGH: Final = StageDescription(
    "passthrough",
    "Leaves results as they are.",
    _options({}, [{}], note="For a model that is there only for its cache."),
)
TRUNCATE: Final = StageDescription(
    "truncate",
    "Cuts long text, and says how much is gone.",
    _options(
        {
            "maxChars": _whole(20_000, 1, 10_000_000, "characters that are kept of each text"),
            "keep": {
                "type": "string",
                "enum": ["head", "tail", "both"],
                "default": "head",
                "description": "which part is kept: the beginning, the end, or half of each",
            },
        },
        [{"maxChars": 8000}, {"maxChars": 4000, "keep": "tail"}],
    ),
)
PAGINATE: Final = StageDescription(
    "paginate",
    "Gives the first page of a long text; the rest is read page by page with a tool the gateway adds.",
    _options(
        {
            "pageChars": _whole(20_000, 100, 1_000_000, "characters of one page"),
            "ttlSeconds": _whole(600, 1, 86_400, "seconds for which the rest can be read, only by who made the call"),
        },
        [{"pageChars": 10_000}],
    ),
)
COMPACT_JSON: Final = StageDescription(
    "compact-json",
    "Writes text that is JSON without its white space.",
    _options({"dropNulls": _flag(False, "leave out members whose value is null")}, [{}, {"dropNulls": True}]),
)
SELECT: Final = StageDescription(
    "select",
    "Keeps of a JSON result what a JMESPath expression finds.",
    _options(
        {
            "expression": {
                "type": "string",
                "minLength": 1,
                "maxLength": 1000,
                "format": "jmespath",
                "description": "a JMESPath expression (jmespath.org)",
            }
        },
        [{"expression": "items[].{name: name, state: state}"}],
        required=["expression"],
    ),
)
HTML_TO_MARKDOWN: Final = StageDescription(
    "html-to-markdown",
    "Writes text that is HTML as Markdown, without scripts and styles.",
    _options(
        {
            "links": _flag(True, "keep where links lead"),
            "images": _flag(False, "keep images, as links to them"),
        },
        [{}, {"links": False}],
    ),
)
REDACT: Final = StageDescription(
    "redact",
    "Takes secrets and what matches your patterns out of results. If it cannot, nothing of the result is given.",
    _options(
        {
            "detectors": {
                "type": "array",
                "items": {"type": "string", "enum": list(DETECTORS)},
                "uniqueItems": True,
                "maxItems": len(DETECTORS),
                "default": list(DETECTORS),
                "description": "what is looked for; mcpctl-token always is, also when left out here",
            },
            "patterns": {
                "type": "array",
                "items": _PATTERN,
                "maxItems": 20,
                "default": [],
                "description": "what else is looked for: a list of {name, pattern}",
            },
            "replacement": {
                "type": "string",
                "maxLength": 100,
                "default": "[redacted:{name}]",
                "description": "what is put in its place; {name} becomes the name of the detector or pattern",
            },
        },
        [{}, {"detectors": ["email"], "patterns": [{"name": "ticket", "pattern": r"TICKET-\d+"}]}],
    ),
)
SUMMARIZE: Final = StageDescription(
    "summarize",
    "Has a language model sum up long text; the original can still be read.",
    _options(
        {
            "overChars": _whole(8000, 1, 10_000_000, "texts of at most so many characters stay as they are"),
            "maxTokens": _whole(500, 1, 32_768, "tokens of the summary"),
            "instructions": {
                "type": "string",
                "maxLength": 4000,
                "default": "",
                "description": "what matters to you, in your words",
            },
            "timeoutSeconds": _whole(30, 1, 300, "seconds after which the result is given as it is"),
        },
        [{"overChars": 20_000, "instructions": "Keep names, numbers and error messages."}],
        note="Which language model: the gateway's own settings say, never a proxy model.",
    ),
)

BUILTIN: Final = (PASSTHROUGH, TRUNCATE, PAGINATE, COMPACT_JSON, SELECT, HTML_TO_MARKDOWN, REDACT, SUMMARIZE)
