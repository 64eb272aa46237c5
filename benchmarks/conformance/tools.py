"""The tools that the suite's scenarios call, by the names and with the words that their descriptions ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import mcp_types as types

from benchmarks.conformance.media import AUDIO, IMAGE
from benchmarks.conformance.questions import Conversation, Json, Question, completion, form, roots, told

STEP: Final = 0.05
"""Seconds between two things that a tool tells while it runs."""

NOTHING: Final[Json] = {"type": "object", "properties": {}}
NAME: Final = form("What is your name?", {"name": {"type": "string"}})

Content = list[types.ContentBlock]


class Surroundings(Protocol):
    """What tools may do to the server that offers them."""

    async def change_tools(self, conversation: Conversation) -> None:
        """Offer one tool more, or one less, and say so."""

    async def change_prompts(self, conversation: Conversation) -> None:
        """Offer one prompt more, or one less, and say so."""

    async def log(self, conversation: Conversation, text: str) -> None:
        """Say something to whoever called, if it wants to hear it."""


@dataclass(frozen=True)
class Call:
    """One call of a tool."""

    conversation: Conversation
    arguments: Json
    server: Surroundings


@dataclass(frozen=True)
class Offered:
    """A tool, and what it does."""

    tool: types.Tool
    run: Callable[[Call], Awaitable[Content]]


class Failed(Exception):
    """The tool ran and failed; its words are the result."""


TOOLS: Final[dict[str, Offered]] = {}
DYNAMIC: Final = types.Tool(name="test_dynamic_tool", description="There every second time", input_schema=NOTHING)

Run = Callable[[Call], Awaitable[Content]]


def tool(name: str, description: str, schema: Json = NOTHING) -> Callable[[Run], Run]:
    """Offer what is decorated under this name, in the order of this file."""

    def offer(run: Run) -> Run:
        TOOLS[name] = Offered(types.Tool(name=name, description=description, input_schema=schema), run)
        return run

    return offer


def text(words: str) -> Content:
    """Content that is one text."""
    return [types.TextContent(text=words)]


def _takes(**properties: Any) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


# The scenarios of headers call the first tool without arguments, so it is one that takes none.
@tool("test_simple_text", "Answers with a text")
async def _simple_text(_: Call) -> Content:
    return text("This is a simple text response for testing.")


@tool("test_image_content", "Answers with an image")
async def _image(_: Call) -> Content:
    return [types.ImageContent(data=IMAGE, mime_type="image/png")]


@tool("test_audio_content", "Answers with a sound")
async def _audio(_: Call) -> Content:
    return [types.AudioContent(data=AUDIO, mime_type="audio/wav")]


def _embedded(uri: str, mime_type: str, words: str) -> types.EmbeddedResource:
    return types.EmbeddedResource(resource=types.TextResourceContents(uri=uri, mime_type=mime_type, text=words))


@tool("test_embedded_resource", "Answers with a resource")
async def _resource(_: Call) -> Content:
    return [_embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")]


@tool("test_multiple_content_types", "Answers with a text, an image and a resource")
async def _mixed(_: Call) -> Content:
    return [
        types.TextContent(text="Multiple content types test:"),
        types.ImageContent(data=IMAGE, mime_type="image/png"),
        _embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ]


async def _log_thrice(call: Call) -> Content:
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await call.server.log(call.conversation, words)
        await asyncio.sleep(STEP)
    return text("Three things were logged.")


tool("test_tool_with_logging", "Logs while it runs")(_log_thrice)
tool("test_logging_tool", "Logs while it runs, to whoever asked for it")(_log_thrice)


@tool("test_tool_with_progress", "Reports progress while it runs")
async def _progress(call: Call) -> Content:
    for progress in (0, 50, 100):
        await call.conversation.context.session.report_progress(progress, 100)
        await asyncio.sleep(STEP)
    return text("All of it is done.")


@tool("test_error_handling", "Fails")
async def _error(_: Call) -> Content:
    raise Failed("This tool intentionally returns an error for testing")


@tool("test_reconnection", "Closes the stream of its own answer, which the client then fetches")
async def _reconnection(call: Call) -> Content:
    if (close := call.conversation.context.close_sse_stream) is not None:
        await close()
    await asyncio.sleep(4 * STEP)
    return text("The answer came over another stream.")


@tool("test_sampling", "Has the client's model answer", _takes(prompt={"type": "string", "description": "what to ask it"}))
async def _sampling(call: Call) -> Content:
    answers = await call.conversation.ask({"answer": completion(str(call.arguments.get("prompt")), 100)})
    return text(f"LLM response: {_said(answers['answer'])}")


_PERSON: Final = {
    "username": {"type": "string", "description": "User's response"},
    "email": {"type": "string", "description": "User's email address"},
}


@tool("test_elicitation", "Asks whoever sits there", _takes(message={"type": "string", "description": "what to say to them"}))
async def _elicitation(call: Call) -> Content:
    answers = await call.conversation.ask({"person": form(str(call.arguments.get("message")), _PERSON)})
    return text(f"User response: {told(answers['person'])}")


_DEFAULTS: Final = {
    "name": {"type": "string", "description": "User name", "default": "John Doe"},
    "age": {"type": "integer", "description": "User age", "default": 30},
    "score": {"type": "number", "description": "User score", "default": 95.5},
    "status": {"type": "string", "description": "User status", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "description": "Verification status", "default": True},
}


@tool("test_elicitation_sep1034_defaults", "Asks with a default for each primitive type")
async def _defaults(call: Call) -> Content:
    answers = await call.conversation.ask({"user": form("Please review the defaults", _DEFAULTS, [])})
    return text(f"Elicitation completed: {told(answers['user'])}")


def _titled(*choices: tuple[str, str]) -> list[Json]:
    return [{"const": value, "title": title} for value, title in choices]


_OPTIONS: Final = ["option1", "option2", "option3"]
_ENUMS: Final = {
    "untitledSingle": {"type": "string", "enum": _OPTIONS},
    "titledSingle": {"type": "string", "oneOf": _titled(("value1", "First Option"), ("value2", "Second Option"))},
    "legacyEnum": {
        "type": "string",
        "enum": ["opt1", "opt2", "opt3"],
        "enumNames": ["Option One", "Option Two", "Option Three"],
    },
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": _OPTIONS}},
    "titledMulti": {"type": "array", "items": {"anyOf": _titled(("value1", "First Choice"), ("value2", "Second Choice"))}},
}


@tool("test_elicitation_sep1330_enums", "Asks with every kind of choice")
async def _enums(call: Call) -> Content:
    answers = await call.conversation.ask({"choices": form("Please choose", _ENUMS, [])})
    return text(f"Elicitation completed: {told(answers['choices'])}")


async def _ask_name(call: Call) -> Content:
    answers = await call.conversation.ask({"user_name": NAME})
    return text(f"Hello, {_filled(answers['user_name'], 'name')}!")


tool("test_input_required_result_elicitation", "Needs a name")(_ask_name)
tool("test_streaming_elicitation", "Needs a name, and never asks for it on the stream of its answer")(_ask_name)


@tool("test_input_required_result_sampling", "Needs a model's answer")
async def _ask_model(call: Call) -> Content:
    answers = await call.conversation.ask({"capital_question": completion("What is the capital of France?", 100)})
    return text(_said(answers["capital_question"]))


@tool("test_input_required_result_list_roots", "Needs the roots")
async def _ask_roots(call: Call) -> Content:
    answers = await call.conversation.ask({"client_roots": roots()})
    return text(f"Roots: {', '.join(str(root.uri) for root in answers['client_roots'].roots)}")


_CONFIRM: Final = form("Please confirm", {"ok": {"type": "boolean"}})


async def _ask_with_state(call: Call) -> Content:
    await call.conversation.ask({"confirm": _CONFIRM}, {"asked": "confirm"})
    return text("state-ok")


tool("test_input_required_result_request_state", "Needs a yes, and its state back")(_ask_with_state)
tool("test_input_required_result_tampered_state", "Needs a yes, and its state back as it was")(_ask_with_state)


_EVERYTHING: Final[dict[str, Question]] = {
    "user_name": NAME,
    "greeting": completion("Generate a greeting", 50),
    "client_roots": roots(),
}


@tool("test_input_required_result_multiple_inputs", "Needs a name, a model's answer and the roots at once")
async def _ask_much(call: Call) -> Content:
    answers = await call.conversation.ask(_EVERYTHING, {"asked": sorted(_EVERYTHING)})
    return text(f"{_filled(answers['user_name'], 'name')}: {_said(answers['greeting'])}")


@tool("test_input_required_result_multi_round", "Needs a name, and then a colour")
async def _ask_twice(call: Call) -> Content:
    name = call.conversation.remembered.get("name")
    if name is None:
        first = form("Step 1: What is your name?", {"name": {"type": "string"}})
        name = _filled((await call.conversation.ask({"step1": first}, {"step": 1}))["step1"], "name")
    second = form("Step 2: What is your favorite color?", {"color": {"type": "string"}})
    answers = await call.conversation.ask({"step2": second}, {"step": 2, "name": name})
    return text(f"{name} likes {_filled(answers['step2'], 'color')}.")


@tool("test_input_required_result_capabilities", "Needs whatever this client can be asked")
async def _ask_what_can_be_asked(call: Call) -> Content:
    possible = {name: question for name, question in _EVERYTHING.items() if call.conversation.can_ask(question)}
    answers = await call.conversation.ask(possible) if possible else {}
    return text(f"Asked: {', '.join(answers)}")


@tool("test_missing_capability", "Needs a client with a model")
async def _needs_model(call: Call) -> Content:
    answers = await call.conversation.ask({"answer": completion("Say anything", 10)})
    return text(_said(answers["answer"]))


@tool("test_trigger_tool_change", "Changes the list of tools")
async def _change_tools(call: Call) -> Content:
    await call.server.change_tools(call.conversation)
    return text("The tools have changed.")


@tool("test_trigger_prompt_change", "Changes the list of prompts")
async def _change_prompts(call: Call) -> Content:
    await call.server.change_prompts(call.conversation)
    return text("The prompts have changed.")


_REGION: Final = {"type": "string", "description": "where to look", "x-mcp-header": "Region"}


@tool("test_custom_header", "Has an argument that travels in a header too", {**NOTHING, "properties": {"region": _REGION}})
async def _custom_header(call: Call) -> Content:
    return text(f"region={call.arguments.get('region')}")


_CONTACT: Final[Json] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


@tool("json_schema_2020_12_tool", "Tool with JSON Schema 2020-12 features", _CONTACT)
async def _contact(call: Call) -> Content:
    return text(f"Contact: {call.arguments.get('name')}")


def _said(answer: types.CreateMessageResult) -> str:
    return answer.content.text if isinstance(answer.content, types.TextContent) else f"({answer.content.type})"


def _filled(answer: types.ElicitResult, field: str) -> Any:
    if answer.action != "accept" or field not in (answer.content or {}):
        raise Failed(f"{field} was not given: {told(answer)}")
    return (answer.content or {})[field]
