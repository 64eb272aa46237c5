"""What a server asks its client while it answers: a form, a completion by a model, the roots.

One piece of code asks in both eras. In a session the question is a request of the server's, sent on the stream of the request
it belongs to. From 2026-07-28 on it is a result, ``input_required``, and the client sends the request again with the answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import mcp_types as types
from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

Context = ServerRequestContext[Any, Any]
Question = types.ElicitRequest | types.CreateMessageRequest | types.ListRootsRequest
Json = dict[str, Any]

ANSWERS: Final[dict[str, type[types.ElicitResult] | type[types.CreateMessageResult] | type[types.ListRootsResult]]] = {
    "elicitation/create": types.ElicitResult,
    "sampling/createMessage": types.CreateMessageResult,
    "roots/list": types.ListRootsResult,
}
CAPABILITIES: Final = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}


class InputNeeded(Exception):
    """The client has to be asked first: ``result`` is what to answer meanwhile."""

    def __init__(self, result: types.InputRequiredResult) -> None:
        super().__init__("input needed")
        self.result = result


class CannotBeAsked(Exception):
    """A client in a session did not say that it can be asked this."""


@dataclass(frozen=True)
class Conversation:
    """A request, and what its client said to the questions it led to.

    Attributes:
        context: the SDK's.
        answers: what came with the request, by the name of the question.
        state: what this server gave the client to bring back, already verified by the SDK's boundary.
    """

    context: Context
    answers: Mapping[str, Any]
    state: str | None

    @classmethod
    def of(cls, context: Context, params: types.InputResponseRequestParams) -> Conversation:
        """The conversation that this request starts or goes on with."""
        return cls(context, params.input_responses or {}, params.request_state)

    @property
    def modern(self) -> bool:
        """Whether it is of the era without sessions."""
        return self.context.protocol_version in MODERN_PROTOCOL_VERSIONS

    @property
    def remembered(self) -> Json:
        """What an earlier round wanted to be known in this one."""
        found: Json = json.loads(self.state) if self.state is not None else {}
        return found

    def can_ask(self, question: Question) -> bool:
        """Whether the client said that it answers such questions."""
        capabilities = self.context.session.client_capabilities
        return getattr(capabilities, CAPABILITIES[question.method], None) is not None

    async def ask(self, questions: Mapping[str, Question], remember: Json | None = None) -> Json:
        """The answers, by the names of the questions.

        Args:
            questions: all that is asked in this round.
            remember: what to know in the next one; if given, answers count only together with it.

        Raises:
            InputNeeded: without sessions; some question is not answered yet, or with something that is no answer to it.
            CannotBeAsked: in a session.
            MCPError: without sessions; the client does not answer such questions.
        """
        if cannot := [question for question in questions.values() if not self.can_ask(question)]:
            self._refuse(cannot)
        if not self.modern:
            return {name: await self._send(question) for name, question in questions.items()}
        state = json.dumps(remember) if remember is not None else None
        given = {name: self.answers.get(name) for name in questions}
        answered = all(isinstance(given[name], ANSWERS[question.method]) for name, question in questions.items())
        if answered and (state is None or state == self.state):
            return given
        raise InputNeeded(types.InputRequiredResult(input_requests=dict(questions), request_state=state))

    async def _send(self, question: Question) -> Any:
        related = ServerMessageMetadata(related_request_id=self.context.request_id)
        return await self.context.session.send_request(question, ANSWERS[question.method], metadata=related)

    def _refuse(self, questions: list[Question]) -> None:
        needed: Json = {CAPABILITIES[question.method]: {} for question in questions}
        if not self.modern:
            raise CannotBeAsked(f"the client lacks {', '.join(needed)}")
        data = {"requiredCapabilities": needed}
        raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, f"this needs {', '.join(needed)} of the client", data)


def form(message: str, properties: Json, required: list[str] | None = None) -> types.ElicitRequest:
    """A form to fill in; without ``required`` all of it is."""
    schema = {"type": "object", "properties": properties, "required": list(properties) if required is None else required}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def completion(text: str, most: int) -> types.CreateMessageRequest:
    """A model's answer to this text, of so many tokens at most."""
    message = types.SamplingMessage(role="user", content=types.TextContent(text=text))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=most))


def roots() -> types.ListRootsRequest:
    """What the client has opened."""
    return types.ListRootsRequest()


def told(answer: Any) -> str:
    """What was answered, for people."""
    return f"action={answer.action}, content={json.dumps(answer.content or {})}"
