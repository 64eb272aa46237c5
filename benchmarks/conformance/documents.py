"""The prompts, resources and templates that the suite's scenarios ask for, and what completes their arguments."""

from __future__ import annotations

import json
import re
from typing import Final

import mcp_types as types
from mcp import MCPError

from benchmarks.conformance.media import IMAGE
from benchmarks.conformance.questions import Conversation, Json, form


def _prompt(name: str, description: str, *arguments: str) -> types.Prompt:
    needed = [types.PromptArgument(name=one, description=f"The {one} to use", required=True) for one in arguments]
    return types.Prompt(name=name, description=description, arguments=needed or None)


PROMPTS: Final = [
    _prompt("test_simple_prompt", "A prompt without arguments"),
    _prompt("test_prompt_with_arguments", "A prompt with arguments", "arg1", "arg2"),
    _prompt("test_prompt_with_embedded_resource", "A prompt that holds a resource", "resourceUri"),
    _prompt("test_prompt_with_image", "A prompt that holds an image"),
    _prompt("test_input_required_result_prompt", "A prompt that needs to know more"),
]
DYNAMIC: Final = _prompt("test_dynamic_prompt", "There every second time")
SUGGESTIONS: Final = ["test", "testValue1", "testValue2", "paris", "park", "party"]
"""For every argument of every prompt and template."""

WATCHED: Final = "test://watched-resource"
RESOURCES: Final = {
    "test://static-text": ("Static Text Resource", "text/plain", "This is the content of the static text resource."),
    "test://static-binary": ("Static Binary Resource", "image/png", IMAGE),
    WATCHED: ("Watched Resource", "text/plain", "Watched resource content"),
}
TEMPLATE: Final = types.ResourceTemplate(
    uri_template="test://template/{id}/data",
    name="Resource Template",
    description="A resource template with parameter substitution",
    mime_type="application/json",
)
_FILLED: Final = re.compile(r"test://template/([^/]+)/data")


def listed() -> list[types.Resource]:
    """The resources that are no templates."""
    return [
        types.Resource(uri=uri, name=name, description=f"{name}, for testing", mime_type=mime_type)
        for uri, (name, mime_type, _) in RESOURCES.items()
    ]


def read(uri: str) -> list[types.TextResourceContents | types.BlobResourceContents]:
    """What is there.

    Raises:
        KeyError: nothing is.
    """
    if filled := _FILLED.fullmatch(uri):
        data = {"id": filled[1], "templateTest": True, "data": f"Data for ID: {filled[1]}"}
        return [types.TextResourceContents(uri=uri, mime_type="application/json", text=json.dumps(data))]
    _, mime_type, content = RESOURCES[uri]
    if mime_type.startswith("text/"):
        return [types.TextResourceContents(uri=uri, mime_type=mime_type, text=content)]
    return [types.BlobResourceContents(uri=uri, mime_type=mime_type, blob=content)]


async def filled_prompt(conversation: Conversation, name: str, given: Json) -> list[types.PromptMessage]:
    """The messages of a prompt.

    Raises:
        MCPError: there is no such prompt, or an argument is missing.
        InputNeeded: more has to be known first.
    """
    prompt = next((one for one in (*PROMPTS, DYNAMIC) if one.name == name), None)
    if prompt is None:
        raise MCPError(types.INVALID_PARAMS, f"unknown prompt: {name}")
    if missing := [one.name for one in prompt.arguments or () if one.name not in given]:
        raise MCPError(types.INVALID_PARAMS, f"missing: {', '.join(missing)}")
    match name:
        case "test_simple_prompt":
            return [_says("This is a simple prompt for testing.")]
        case "test_prompt_with_arguments":
            return [_says(f"Prompt with arguments: arg1='{given['arg1']}', arg2='{given['arg2']}'")]
        case "test_prompt_with_embedded_resource":
            words = "Embedded resource content for testing."
            resource = types.TextResourceContents(uri=given["resourceUri"], mime_type="text/plain", text=words)
            embedded = types.PromptMessage(role="user", content=types.EmbeddedResource(resource=resource))
            return [embedded, _says("Please process the embedded resource above.")]
        case "test_prompt_with_image":
            image = types.PromptMessage(role="user", content=types.ImageContent(data=IMAGE, mime_type="image/png"))
            return [image, _says("Please analyze the image above.")]
        case "test_input_required_result_prompt":
            question = form("What context should the prompt use?", {"context": {"type": "string"}})
            answers = await conversation.ask({"user_context": question})
            return [_says(f"Context: {(answers['user_context'].content or {}).get('context')}")]
    return [_says("I am there every second time.")]


def _says(words: str) -> types.PromptMessage:
    return types.PromptMessage(role="user", content=types.TextContent(text=words))
