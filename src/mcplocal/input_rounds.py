"""Calls that a server answers with what it still needs to know, to be sent again with that (2026-07-28, "Multi Round-Trip
Requests"): relayed to clients of that era, and put as questions to those of the handshake's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from mcplocal.client_side import Ask, ClientSide
from mcplocal.json_text import Member, write, write_object
from mcplocal.sealed_state import StateSeal
from mcplocal.upstream.answers import Answer

MOST_ROUNDS: Final = 10
MOST_QUESTIONS: Final = 20

STATE: Final = "requestState"
RESPONSES: Final = "inputResponses"


def needs_input(answer: Answer) -> bool:
    """Whether the server wants to be asked again."""
    kind = answer.result.get("resultType") if answer.result is not None else None
    return kind is not None and kind.value == "input_required"


def state_of(answer: Answer) -> str | None:
    """The state that the server wants back, if it gave one."""
    member = answer.result.get(STATE) if answer.result is not None else None
    return member.value if member is not None and isinstance(member.value, str) else None


def sealed(answer: Answer, seal: StateSeal, bound_to: tuple[str, ...]) -> Answer:
    """The same with a state that only the same caller can send back for the same tool."""
    state = write(seal.seal(state_of(answer), bound_to))
    return replace(answer, result={**(answer.result or {}), STATE: Member(state)})


def again(responses: str | None, state: str | None) -> dict[str, str]:
    """The parameters that a call is sent again with, as JSON text."""
    found = {RESPONSES: responses} if responses is not None else {}
    return found | ({STATE: write(state)} if state is not None else {})


async def responses_of(answer: Answer, client: ClientSide, ask: Ask) -> str | None:
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
