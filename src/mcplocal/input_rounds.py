"""Calls that a server answers with what it still needs to know, to be sent again with that (2026-07-28, "Multi Round-Trip
Requests"): relayed to clients of that era, and put as questions to those of the handshake's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from mcplocal.client_side import Ask, ClientSide, Declined
from mcplocal.json_text import Member, write, write_object
from mcplocal.sealed_state import BrokenSeal, StateSeal
from mcplocal.upstream.answers import Answer
from mcplocal.uses import InvalidInputResponse, UpstreamError, Use

MOST_ROUNDS: Final = 10
MOST_QUESTIONS: Final = 20

SendAgain = Callable[[Mapping[str, str]], Awaitable[Answer]]

STATE: Final = "requestState"
RESPONSES: Final = "inputResponses"

_NOTHING: Final[Mapping[str, str]] = {}


def needs_input(answer: Answer) -> bool:
    """Whether the server wants to be asked again."""
    kind = answer.result.get("resultType") if answer.result is not None else None
    return kind is not None and kind.value == "input_required"


def _state_of(answer: Answer) -> str | None:
    """The state that the server wants back, if it gave one."""
    member = answer.result.get(STATE) if answer.result is not None else None
    return member.value if member is not None and isinstance(member.value, str) else None


async def _responses_of(answer: Answer, client: ClientSide, ask: Ask) -> str | None:
    """What ``client`` answers to all that the server needs, as JSON text; ``None`` if it never said that it can.

    Raises:
        Declined: it answered one of them with an error.
    """
    member = answer.result.get("inputRequests") if answer.result is not None else None
    wanted = member.value if member is not None else {}
    if not isinstance(wanted, dict) or len(wanted) > MOST_QUESTIONS:
        return None
    if not all(_is_question(one) and client.may_be_asked(one["method"]) for one in wanted.values()):
        return None
    given = await asyncio.gather(*(ask(one["method"], write(one.get("params", {}))) for one in wanted.values()))
    return write_object(dict(zip(wanted, given, strict=True)))


def _is_question(one: Any) -> bool:
    return isinstance(one, Mapping) and isinstance(one.get("method"), str) and isinstance(one.get("params", {}), Mapping)


def _params(responses: str | None, state: str | None) -> dict[str, str]:
    """The parameters that a request is sent again with, as JSON text."""
    found = {RESPONSES: responses} if responses is not None else {}
    return found | ({STATE: write(state)} if state is not None else {})


class InputRounds:
    """Sees a request through the rounds that its server wants."""

    def __init__(self, seal: StateSeal) -> None:
        """Keep what servers want back from clients with ``seal``."""
        self._seal = seal

    def brought(self, use: Use, bound_to: tuple[str, ...]) -> Mapping[str, str]:
        """What a request that is sent again brings with it, as parameters for its server.

        Raises:
            InvalidInputResponse: it brings a state that was given to somebody else or for something else.
        """
        if use.request_state is None and use.input_responses is None:
            return _NOTHING
        state = None
        if use.request_state is not None:
            try:
                state = self._seal.open(use.request_state, bound_to)
            except BrokenSeal as broken:
                raise InvalidInputResponse(str(broken)) from None
        return _params(use.input_responses, state)

    async def settled(self, answer: Answer, use: Use, bound_to: tuple[str, ...], again: SendAgain) -> Answer:
        """What comes of ``answer``: for a client of the later era its state is sealed, another one is asked.

        Args:
            answer: the first, which needs input.
            use: what was asked for.
            bound_to: for whom and what a state is good.
            again: sends the request once more, with these parameters beside its own.

        Raises:
            UpstreamError: the client declined to answer.
        """
        if use.relays_input:
            state = write(self._seal.seal(_state_of(answer), bound_to))
            return replace(answer, result={**(answer.result or {}), STATE: Member(state)})
        for _ in range(MOST_ROUNDS):
            if not needs_input(answer) or use.client is None or use.ask is None:
                break
            try:
                responses = await _responses_of(answer, use.client, use.ask)
            except Declined as declined:
                raise UpstreamError(f"The client declined what was asked for: {declined.message}") from None
            if responses is None:
                break
            answer = await again(_params(responses, _state_of(answer)))
        return answer
