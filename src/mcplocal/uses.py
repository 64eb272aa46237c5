"""The use of something offered: a tool's call, a prompt got, a resource read, a completion asked for; and how it can fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

from mcpctl.policy.decision import Decision
from mcplocal.call_events import CallOutcome, FromCache
from mcplocal.client_side import Ask, ClientSide
from mcplocal.gate import Caller
from mcplocal.json_text import Member, write
from mcplocal.offers.entries import Entry
from mcplocal.offers.kinds import PROMPTS, RESOURCES, TOOLS, Family
from mcplocal.shapes import Shape
from mcplocal.subscriber import Subscriber
from mcplocal.upstream.answers import Answer, Notify
from mcplocal.upstream.era import Call
from mcplocal.wire import NAMED_BY, SUBSCRIBE, Era

SHOWN_NAME: Final = 128

FAMILY_OF: Final = {"tools/call": TOOLS, "prompts/get": PROMPTS, "resources/read": RESOURCES, SUBSCRIBE: RESOURCES}
"""What a method uses; ``completion/complete`` says itself which."""

COMPLETES: Final = "completions"
"""The capability of a server that completes arguments."""


class Unknown(Exception):
    """There is nothing of that name, or not for the caller: from outside these are one. The sentence is for the client."""


class HeaderMismatch(Exception):
    """A ``Mcp-Param-…`` header and the body differ. The sentence is for the client."""


class InvalidInputResponse(Exception):
    """A request is sent again with a state that was not given for it. The sentence is for the client."""


class Full(Exception):
    """There is room for no more. The sentence is for the client."""


class UpstreamError(Exception):
    """What was asked for could not be had, or nothing that can be passed on. The sentence is for the client."""


class NoPage(UpstreamError):
    """There is no such page of a result for the caller, or not any more: from outside these are one."""


@dataclass(slots=True)
class Use:
    """A request that uses something, as a client sent it, in the words of neither era.

    Attributes:
        method: of the request.
        family: what is used.
        name: the exposed name or URI, as asked.
        params: the other parameters as JSON text, to be passed on as they are.
        reference: of a completion, what it is about, all members.
        arguments: the parsed arguments of a tool.
        meta: the ``_meta`` members to pass on, as JSON text.
        headers: the request's headers, all values by lower-case name; ``None`` where headers do not repeat arguments.
        notify: called with progress and log messages, if the client wants any.
        wants_progress: whether it asked for progress.
        client: what it may be asked; ``ask`` asks it, where there is a way to.
        relays_input: whether it is of the era in which a request is sent again with what its server asked for.
        input_responses: what such a request is sent again with, as JSON text.
        request_state: likewise the state that it was given.
        subscriber: who is to be told of changes from then on, if that is what the request is for.
        holder: whose state a stateful server keeps: the client's session, or its principal.
        size: bytes of the request.
        source: the client's address.
        request_id: of the HTTP request, for logs and audit.
    """

    method: str
    family: Family
    name: str
    params: Mapping[str, str]
    reference: Mapping[str, Any] | None = None
    arguments: Any = None
    meta: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, Sequence[str]] | None = None
    notify: Notify | None = None
    wants_progress: bool = False
    client: ClientSide | None = None
    ask: Ask | None = None
    relays_input: bool = False
    input_responses: str | None = None
    request_state: str | None = None
    subscriber: Subscriber | None = None
    holder: str = ""
    size: int = 0
    source: str | None = None
    request_id: str | None = None

    def call(self, entry: Entry, headers: Mapping[str, str], timeout: float, more: Mapping[str, str]) -> Call:
        """The same as a request to the server of ``entry``, in its own words, with these parameters more."""
        key, original = self.family.key, write(entry.original)
        named = {key: original} if self.reference is None else {"ref": write({**self.reference, key: entry.original})}
        return Call(
            self.method,
            {**named, **self.params, **more},
            self.meta,
            name=entry.original if self.method in NAMED_BY else None,
            headers=headers,
            notify=self.notify,
            wants_progress=self.wants_progress,
            client=self.client,
            ask=self.ask,
            timeout=timeout,
        )


@dataclass(slots=True)
class Trace:
    """What is known of one use while it runs; an event is made of it.

    Attributes:
        shape: what becomes of its result; ``None`` if that is passed on as it comes.
        cache: whether the result is not from the server, but kept from before.
        cache_key: under which name the result is to be kept, if it is.
        stamp: what the cache says of the server's state as of the beginning.
        does_to: the digest of a server to which the use may do something that makes older results wrong.
        page: the result, where it is one more page of another one.
        begun: when it began, by ``monotonic``.
        took: the seconds until it was over.
    """

    caller: Caller
    use: Use
    entry: Entry | None = None
    decision: Decision | None = None
    outcome: CallOutcome = "upstream_error"
    why: str | None = None
    code: str | None = None
    response_size: int = 0
    stopped: bool = False
    shape: Shape | None = None
    cache: FromCache | None = None
    cache_key: str | None = None
    stamp: int = 0
    does_to: str | None = None
    page: Answer | None = None
    begun: float = field(default_factory=monotonic)
    took: float = 0.0

    def unknown(self) -> Unknown:
        """The one answer for what does not exist and for what is not for the caller."""
        identity, word = self.caller.identity, self.use.family.word
        who = f"the token {identity.token_name!r}" if identity.is_token else identity.subject
        return Unknown(f"Unknown {word}: {who} has no {word} {self.use.name[:SHOWN_NAME]!r}")


def nothing_to_complete(era: Era) -> Answer:
    """The answer for a server that completes nothing."""
    return Answer(era, {"completion": Member('{"values":[]}')})
