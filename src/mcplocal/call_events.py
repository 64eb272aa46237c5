"""The event that each call leaves behind, in the shape of ``POST /api/v1/gateway/audit``; never arguments, never results.

Written as JSON text from the start: most of an event is the same for every call of one caller to one tool, and putting the
same twenty members together and encoding them again for each call took longer than deciding about it.
"""

from __future__ import annotations

from functools import lru_cache
from json.encoder import encode_basestring_ascii
from time import gmtime, strftime, time_ns
from typing import Any, Final, Literal

from mcpctl.policy.decision import Decision
from mcplocal.gate import Caller
from mcplocal.json_text import shown, write
from mcplocal.names import Ref
from mcplocal.recent import Recent
from mcplocal.ulids import new_ulid

CallOutcome = Literal["ok", "tool_error", "refused", "upstream_error", "cancelled"]

FromCache = Literal["hit", "page"]
"""A result that its server was not asked for: one kept from before, or one more page."""

LONGEST_TOOL: Final = 512
LONGEST_REASON: Final = 2000
LONGEST_RULE: Final = 1000
REMEMBERED: Final = 2048
"""Callers and what they call, whose part of an event is kept."""

_Key = tuple[Caller, Ref, Decision]


class CallEvents:
    """Writes events."""

    def __init__(self) -> None:
        """Nothing is remembered."""
        self._same: Recent[tuple[int, str, int, int], tuple[_Key, str]] = Recent(REMEMBERED)

    def write(
        self,
        caller: Caller,
        method: str,
        asked: Ref | str,
        decision: Decision | None,
        outcome: CallOutcome,
        why: str | None,
        *,
        took_ms: float,
        request_bytes: int,
        response_bytes: int,
        source: str | None,
        request_id: str | None,
        cache: FromCache | None = None,
    ) -> str:
        """One event as JSON text.

        Args:
            caller: who called.
            method: what was called.
            asked: what it was about, or the name that was asked for where there is no such thing.
            decision: what was decided, if it came so far.
            outcome: what became of the call.
            why: a reason beside the decision's own.
            took_ms: how long it took, in milliseconds.
            request_bytes: of the request.
            response_bytes: of the upstream's answer.
            source: the client's address.
            request_id: of the HTTP request.
            cache: whether the server was not asked.
        """
        if isinstance(asked, Ref) and decision is not None and decision.allowed and why is None and outcome != "refused":
            same = self._remembered(caller, method, asked, decision)
        else:
            same = _same(caller, method, asked, decision, why, refused=outcome == "refused")
        kept = "" if cache is None else f',"cache":"{cache}"'
        at = time_ns() // 1_000_000
        return (
            f'{{"id":"{new_ulid(at)}","at":"{_time(at)}",{same},"durationMs":{took_ms:.2f},"requestBytes":{request_bytes},'
            f'"responseBytes":{response_bytes},"outcome":"{outcome}","source":{_text(source)},"requestId":{_text(request_id)}{kept}}}'
        )

    def _remembered(self, caller: Caller, method: str, used: Ref, decision: Decision) -> str:
        # By identity: a decision is remembered by its authority, and comparing one takes as long as making the text. What is
        # kept holds on to all three, so no id can come to mean something else.
        key = (id(caller), method, id(used), id(decision))
        kept = self._same.get(key)
        if kept is None:
            same = _same(caller, method, used, decision, None, refused=False)
            kept = self._same.keep(key, ((caller, used, decision), same))
        return kept[1]


def _same(caller: Caller, method: str, asked: Ref | str, decision: Decision | None, why: str | None, *, refused: bool) -> str:
    """The members that do not change from call to call, without the braces."""
    identity = caller.identity
    known = isinstance(asked, Ref)
    reason = why or (decision.reason if decision is not None else "it was not decided about")
    members: dict[str, Any] = {
        "subject": identity.subject,
        "user": identity.user,
        "tokenName": identity.token_name,
        "tokenSha": identity.token_sha,
        "project": caller.project,
        "server": asked.server if isinstance(asked, Ref) else None,
        "tool": f"{asked.mark}{asked.name}" if isinstance(asked, Ref) else shown(asked, LONGEST_TOOL),
        "method": method,
        "allowed": known and bool(decision) and not refused,
        "reason": reason[:LONGEST_REASON],
        "rule": str(decision.rule)[:LONGEST_RULE] if decision is not None and decision.rule is not None else None,
        "origin": decision.origin if decision is not None else None,
        "revision": decision.revision if decision is not None else caller.authority.revision,
        "decisionId": decision.id if decision is not None else None,
    }
    return write(members)[1:-1]


def _text(value: str | None) -> str:
    return "null" if value is None else str(encode_basestring_ascii(value))


@lru_cache(maxsize=4)
def _time(milliseconds: int) -> str:
    """A time as RFC 3339 with milliseconds. Under load many events are of the same."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds))
