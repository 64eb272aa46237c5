"""What the gateway does for each method, in either era. How a message came and how it leaves is for others to know."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mcpctl.errors import Problem
from mcplocal import input_rounds, wire
from mcplocal.client_side import LEVELS, Ask, ClientSide
from mcplocal.gate import Caller
from mcplocal.json_text import Members, read_objects, write, write_object
from mcplocal.offers.kinds import FAMILIES, PROMPTS, RESOURCES, Family, Kind
from mcplocal.protocol.envelope import Incoming, Rejection, notification_text, result_text
from mcplocal.protocol.legacy import offered
from mcplocal.protocol.translate import (
    GOOD_FOR_MS,
    SERVER_META,
    SERVER_META_TEXT,
    not_found,
    progress_params,
    result_of,
    subscribed,
    text_result,
)
from mcplocal.router import Router
from mcplocal.subscriber import Subscriber
from mcplocal.upstream.answers import Notify
from mcplocal.uses import FAMILY_OF, Full, HeaderMismatch, InvalidInputResponse, Unknown, UpstreamError, Use
from mcplocal.vigil import Renew
from mcplocal.wire import Era

LISTS: Final[Mapping[str, tuple[Family, Kind]]] = {kind.method: (family, kind) for family in FAMILIES for kind in family.kinds}

REFERENCES: Final = {"ref/prompt": PROMPTS, "ref/resource": RESOURCES}
"""What a completion may be about."""

FORWARDED: Final = frozenset((*FAMILY_OF, wire.COMPLETE))
"""The methods that a server answers, which may take its time."""

_OF_THIS_HOP: Final = frozenset((wire.VERSION_KEY, wire.CAPABILITIES_KEY, wire.CLIENT_INFO_KEY, wire.PROGRESS_TOKEN))
"""What most clients say in ``_meta`` and nothing else: the gateway reads it, and no server is told."""

_NOTHING: Final[Mapping[str, str]] = {}

WITH_ARGUMENTS: Final = frozenset(("tools/call", "prompts/get"))

STAYS: Final[Mapping[str, frozenset[str]]] = {
    key: frozenset((key, wire.META, "task", input_rounds.RESPONSES, input_rounds.STATE))
    for key in ("ref", *(family.key for family in FAMILIES))
}
"""Parameters that do not travel as they are, by the one that says what is asked for."""

SUBSCRIBING_AT_ONCE: Final = 16
"""Resources of one ``subscriptions/listen`` that are looked for at the same time."""


def discovered(tells_of_updates: bool) -> str:
    """The result of ``server/discover``, where resources can be subscribed to or cannot."""
    return write(
        {
            "resultType": "complete",
            "supportedVersions": [wire.MODERN_VERSION],
            "capabilities": offered(tells_of_updates),
            "ttlMs": 60_000,
            "cacheScope": "private",
            wire.META: SERVER_META,
        }
    )


@dataclass(slots=True)
class Circumstances:
    """How a request came.

    Attributes:
        caller: who asks.
        renew: makes sure of that again.
        era: the era it is to be answered in.
        holder: whose state a stateful server keeps.
        client: what the client may be asked and wants to hear.
        ask: asks it while the request is answered; ``None`` where there is no way to.
        headers: all header values by lower-case name, where headers repeat parts of the body.
        emit: takes the text of each notification on the way to the client; ``None`` where there is no way.
        subscriber: who is told when resources change; ``None`` where nobody can be.
        source: the client's address.
        request_id: for logs and audit.
    """

    caller: Caller
    renew: Renew
    era: Era
    holder: str
    client: ClientSide = field(default_factory=ClientSide)
    ask: Ask | None = None
    headers: Mapping[str, Sequence[str]] | None = None
    emit: Any = None
    subscriber: Subscriber | None = None
    source: str | None = None
    request_id: str | None = field(default=None)


class Methods:
    """Answers requests through a router."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def answer(self, message: Incoming, how: Circumstances) -> str:
        """The text of the response to the request ``message``.

        Raises:
            Rejection: the response is an error.
        """
        if message.method in FORWARDED:
            return await self.forwarded(message, how)
        try:
            match message.method:
                case "server/discover" if how.era is Era.MODERN:
                    result = discovered(await self._router.tells_of_updates(how.caller.project))
                case "ping" if how.era is Era.LEGACY:
                    result = "{}"
                case "logging/setLevel" if how.era is Era.LEGACY:
                    result = _set_level(message, how.client)
                case wire.UNSUBSCRIBE if how.era is Era.LEGACY and how.subscriber is not None:
                    result = self._unsubscribe(message, how.subscriber)
                case method if method in LISTS:
                    result = await self._list(message, how)
                case other:
                    raise _no_method(other, how.era, message.id_text)
        except Problem as problem:
            raise Rejection(problem.jsonrpc_code, problem.detail, id_text=message.id_text) from None
        return result_text(message.id_text, result)

    async def forwarded(self, message: Incoming, how: Circumstances) -> str:
        """The same for a request of ``FORWARDED``, without asking what it is.

        Raises:
            Rejection: the response is an error.
        """
        if message.method == wire.SUBSCRIBE and (how.era is Era.MODERN or how.subscriber is None):
            raise _no_method(message.method, how.era, message.id_text)
        use = _use_of(message, how)
        try:
            answer = await self._router.use(how.caller, how.renew, use)
            if use.subscriber is not None:
                result = subscribed(use, answer, how.era, message.id_text)
            else:
                result = result_of(use, answer, how.era, message.id_text)
        except Unknown as error:
            raise not_found(use, str(error), how.era, message.id_text) from None
        except Full as error:
            raise Rejection(wire.INVALID_REQUEST, str(error), id_text=message.id_text) from None
        except InvalidInputResponse as error:
            raise Rejection(wire.INVALID_PARAMS, str(error), id_text=message.id_text) from None
        except HeaderMismatch as error:
            raise Rejection(wire.HEADER_MISMATCH, str(error), id_text=message.id_text) from None
        except UpstreamError as error:
            if message.method != "tools/call":
                raise Rejection(wire.INTERNAL_ERROR, str(error), id_text=message.id_text) from None
            result = text_result(str(error), how.era)
        except Problem as problem:
            raise Rejection(problem.jsonrpc_code, problem.detail, id_text=message.id_text) from None
        return result_text(message.id_text, result)

    async def subscribed(self, uris: Sequence[str], message: Incoming, how: Circumstances) -> list[str]:
        """Of the resources that a ``subscriptions/listen`` names, those that its client is told of from now on.

        What there is not, what is not for the caller, and what its server does not tell of are left out alike.

        Raises:
            Rejection: the gateway has room for no more (-32600).
            Problem: it cannot be decided now.
        """
        room = asyncio.Semaphore(SUBSCRIBING_AT_ONCE)

        async def subscribe(uri: str) -> bool:
            async with room:
                use = Use(message.method, RESOURCES, uri, {}, client=how.client, subscriber=how.subscriber, holder=how.holder)
                use.size, use.source, use.request_id = message.size, how.source, how.request_id
                try:
                    return (await self._router.use(how.caller, how.renew, use)).error is None
                except (Unknown, UpstreamError):
                    return False

        subscribing = [asyncio.ensure_future(subscribe(uri)) for uri in uris]
        try:
            told = await asyncio.gather(*subscribing)
        except Full as full:
            raise Rejection(wire.INVALID_REQUEST, str(full), id_text=message.id_text) from None
        finally:
            for one in subscribing:
                one.cancel()
            await asyncio.gather(*subscribing, return_exceptions=True)
        return [uri for uri, is_told in zip(uris, told, strict=True) if is_told]

    def _unsubscribe(self, message: Incoming, subscriber: Subscriber) -> str:
        uri = message.value("uri")
        if not isinstance(uri, str):
            raise Rejection(wire.INVALID_PARAMS, f"{wire.UNSUBSCRIBE} needs the uri of a resource", id_text=message.id_text)
        self._router.unsubscribe(subscriber, uri)
        return "{}"

    async def _list(self, message: Incoming, how: Circumstances) -> str:
        if message.value("cursor") is not None:
            raise Rejection(wire.INVALID_PARAMS, "invalid cursor: the list has one page", id_text=message.id_text)
        family, kind = LISTS[message.method]
        try:
            listed = await self._router.listed(how.caller, how.renew, family, kind, how.era)
        except UpstreamError as error:
            raise Rejection(wire.INTERNAL_ERROR, str(error), id_text=message.id_text) from None
        if how.era is Era.LEGACY:
            return f'{{"{kind.member}":{listed}}}'
        hints = f'"ttlMs":{GOOD_FOR_MS},"cacheScope":"private","_meta":{SERVER_META_TEXT}'
        return f'{{"resultType":"complete","{kind.member}":{listed},{hints}}}'


def _use_of(message: Incoming, how: Circumstances) -> Use:
    """What a request asks for.

    Raises:
        Rejection: it does not say what, or with arguments that are none.
    """
    reference: Any = None
    if message.method == wire.COMPLETE:
        reference = message.value("ref")
        kind = reference.get("type") if isinstance(reference, dict) else None
        family = REFERENCES.get(kind) if isinstance(kind, str) else None
        if family is None:
            text = "completion/complete needs a ref of type ref/prompt or ref/resource"
            raise Rejection(wire.INVALID_PARAMS, text, id_text=message.id_text)
        name = reference.get(family.key)
    else:
        family = FAMILY_OF[message.method]
        name = message.params.get(family.key)
    params, meta = message.params, message.meta
    arguments = params.get("arguments")
    if not isinstance(name, str):
        text = f"{message.method} needs the {family.key} of a {family.word}"
        raise Rejection(wire.INVALID_PARAMS, text, id_text=message.id_text)
    if not isinstance(arguments, dict) and "arguments" in params and message.method in WITH_ARGUMENTS:
        raise Rejection(wire.INVALID_PARAMS, f"the arguments of a {family.word} are an object", id_text=message.id_text)
    stays = STAYS["ref" if reference is not None else family.key]
    token = _progress_token(message) if meta else None
    use = Use(
        method=message.method,
        family=family,
        name=name,
        params={key: message.text(key) for key in params if key not in stays},
        reference=reference,
        arguments=arguments,
        meta=_NOTHING if _OF_THIS_HOP.issuperset(meta) else _forwarded(message),
        headers=how.headers,
        notify=_relay(token, how),
        wants_progress=token is not None,
        client=how.client,
        ask=how.ask,
        relays_input=how.era is Era.MODERN,
        holder=how.holder,
        size=message.size,
        source=how.source,
        request_id=how.request_id,
    )
    if input_rounds.RESPONSES in params:
        use.input_responses = _text_of(message, input_rounds.RESPONSES)
    if input_rounds.STATE in params:
        use.request_state = _state(message)
    if message.method == wire.SUBSCRIBE:
        use.subscriber = how.subscriber
    return use


def _no_method(method: str, era: Era, id_text: str | None) -> Rejection:
    text = f"there is no method {method[:128]!r} here"
    if era is Era.MODERN and method == "initialize":
        text += f": revision {wire.MODERN_VERSION} has no handshake; leave the envelope out to shake hands"
        return Rejection(wire.METHOD_NOT_FOUND, text, data={"supported": [wire.MODERN_VERSION]}, id_text=id_text)
    return Rejection(wire.METHOD_NOT_FOUND, text, id_text=id_text)


def _forwarded(message: Incoming) -> dict[str, str]:
    """The ``_meta`` members that are the client's and the tool's affair, trace context among them, as they were written."""
    kept = [key for key in message.meta if not key.startswith(wire.META_PREFIX) and key != wire.PROGRESS_TOKEN]
    if not kept:
        return {}
    found = read_objects(f"[{message.text(wire.META)}]")
    return {key: found[0][key].text if found else write(message.meta[key]) for key in kept}


def _set_level(message: Incoming, client: ClientSide) -> str:
    level = message.value("level")
    if level not in LEVELS:
        raise Rejection(wire.INVALID_PARAMS, f"the level is one of {', '.join(LEVELS)}", id_text=message.id_text)
    client.log_level = level
    return "{}"


def _text_of(message: Incoming, name: str) -> str | None:
    return message.text(name) if message.value(name) is not None else None


def _state(message: Incoming) -> str | None:
    state = message.value("requestState")
    if state is not None and not isinstance(state, str):
        raise Rejection(wire.INVALID_PARAMS, "the requestState is not a string", id_text=message.id_text)
    return state


def _progress_token(message: Incoming) -> str | int | None:
    token = message.meta.get(wire.PROGRESS_TOKEN)
    return token if isinstance(token, str | int) and not isinstance(token, bool) else None


def _relay(token: str | int | None, how: Circumstances) -> Notify | None:
    """What takes progress to the client, under the client's own token, and log messages; ``None`` if it wants neither."""
    emit = how.emit
    if emit is None:
        return None
    hears = how.era is Era.LEGACY or how.client.log_level is not None
    if token is None and not hears:
        return None

    def relay(method: str, params: Members) -> None:
        if method == wire.PROGRESS and token is not None:
            emit(notification_text(method, progress_params(params, token)))
        elif method == wire.LOG_MESSAGE and hears and "level" in params and how.client.hears(params["level"].value):
            emit(notification_text(method, write_object({key: member.text for key, member in params.items()})))

    return relay
