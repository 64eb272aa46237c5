"""How each era is spoken to an upstream, and how the gateway finds out which one a server speaks.

The rules are those of the 2026-07-28 revision, "Backward Compatibility" of each transport: ask ``server/discover`` first;
an answer, or an error only modern servers give, tells the modern era; a refused credential, an overload or silence over
HTTP tells nothing; whatever else means ``initialize``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mcplocal import wire
from mcplocal.client_side import Ask, ClientSide, Declined
from mcplocal.json_text import write, write_members, write_object
from mcplocal.upstream.answers import Message, Notify, UpstreamFailed
from mcplocal.wire import Era


@dataclass(slots=True)
class Call:
    """One request to an upstream, in the words of neither era.

    Attributes:
        method: the JSON-RPC method.
        params: each parameter as JSON text, ``_meta`` left out.
        meta: the ``_meta`` members to pass on, as JSON text; those the protocol keeps for itself are added on the way.
        name: what ``Mcp-Name`` says, for the methods that have it.
        headers: ``Mcp-Param-…`` headers of this call.
        notify: called with each notification that belongs to this request.
        wants_progress: whether progress is asked for.
        client: who is at the other end: what the server may ask, and the severity it is asked to report from.
        ask: asks the client; ``None`` where there is no way to.
        timeout: seconds for all of it.
        held: whether the answer is a stream without an end, for which ``timeout`` does not count.
    """

    method: str
    params: Mapping[str, str] = field(default_factory=dict)
    meta: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    notify: Notify | None = None
    wants_progress: bool = False
    client: ClientSide | None = None
    ask: Ask | None = None
    timeout: float = 60.0
    held: bool = False


DISCOVER: Final = "server/discover"
INITIALIZE: Final = "initialize"
INITIALIZED: Final = "notifications/initialized"
CANCELLED: Final = "notifications/cancelled"
UNASKED: Final = frozenset((*wire.LIST_CHANGED.values(), wire.UPDATED))
"""What a server says about itself and not about a request, on whichever stream it comes."""

MODERN_META: Final[Mapping[str, Any]] = {
    wire.VERSION_KEY: wire.MODERN_VERSION,
    wire.CAPABILITIES_KEY: {},
    wire.CLIENT_INFO_KEY: wire.IMPLEMENTATION,
}
_MODERN_META_TEXTS: Final = {key: write(value) for key, value in MODERN_META.items()}
_MODERN_META_TEXT: Final = write(MODERN_META)


def request_text(identity: int, call: Call, era: Era) -> str:
    """The JSON-RPC request for ``call``. Its id is this hop's own, and so is the progress token."""
    members = write_members(call.params.items())
    of_client = _of_client(call.client) if era is Era.MODERN and call.client is not None else {}
    meta_text = _MODERN_META_TEXT if era is Era.MODERN else ""
    if call.meta or call.wants_progress or of_client:
        meta = {**call.meta, **(_MODERN_META_TEXTS if era is Era.MODERN else {})}
        meta |= {key: write(value) for key, value in of_client.items()}
        if call.wants_progress:
            meta[wire.PROGRESS_TOKEN] = str(identity)
        meta_text = write_object(meta)
    if meta_text:
        members += f',"_meta":{meta_text}' if members else f'"_meta":{meta_text}'
    of_params = f',"params":{{{members}}}' if members else ""
    return f'{{"jsonrpc":"2.0","id":{identity},"method":{write(call.method)}{of_params}}}'


def _of_client(client: ClientSide) -> dict[str, Any]:
    """What a modern request says of the client: what it may be asked for, and what it wants to hear."""
    found: dict[str, Any] = {}
    if client.capabilities:
        found[wire.CAPABILITIES_KEY] = dict(client.capabilities)
    if client.log_level is not None:
        found[wire.LOG_LEVEL_KEY] = client.log_level
    return found


def notification_text(method: str, params: Mapping[str, Any] | None = None) -> str:
    """A JSON-RPC notification."""
    return write({"jsonrpc": "2.0", "method": method} | ({"params": params} if params else {}))


async def reply_text(request: Message, call: Call | None) -> str:
    """The answer to a request that an upstream sent: the gateway's own to ``ping``, the client's to what it may be asked.

    Args:
        request: the request.
        call: the call it belongs to, if there is one.
    """
    method, result = request.method or "", "{}"
    try:
        if method != "ping":
            if call is None or call.ask is None or call.client is None or not call.client.may_be_asked(method):
                raise Declined(wire.METHOD_NOT_FOUND, "this client offers no such method")
            result = await call.ask(method, write_object({key: member.text for key, member in request.params.items()}))
    except Declined as error:
        return write({"jsonrpc": "2.0", "id": request.id, "error": {"code": error.code, "message": error.message}})
    return write_object([("jsonrpc", '"2.0"'), ("id", write(request.id)), ("result", result)])


def initialize_call(timeout: float, client: ClientSide | None) -> Call:
    """The handshake of the legacy era, offering its latest revision, and of ``client`` what it may be asked for."""
    return Call(
        INITIALIZE,
        {
            "protocolVersion": write(wire.LATEST_LEGACY),
            "capabilities": write(dict(client.capabilities)) if client is not None else "{}",
            "clientInfo": write(wire.IMPLEMENTATION),
        },
        timeout=timeout,
    )


def era_told_by(answer: Message) -> Era | None:
    """The era that an answer to ``server/discover`` tells; ``None`` if it tells nothing, so ``initialize`` decides.

    Raises:
        UpstreamFailed: the server says that it speaks no revision the gateway speaks.
    """
    if answer.result is not None:
        supported = answer.result["supportedVersions"].value if "supportedVersions" in answer.result else None
        return _common(supported) if isinstance(supported, list) else None
    if answer.error is None or answer.error.code not in wire.MODERN_ONLY:
        return None
    if answer.error.code == wire.UNSUPPORTED_VERSION and isinstance(answer.error.data, dict):
        supported = answer.error.data.get("supported")
        if isinstance(supported, list):
            return _common(supported)
    return Era.MODERN


def _common(supported: list[Any]) -> Era | None:
    if wire.MODERN_VERSION in supported:
        return Era.MODERN
    if any(version in wire.LEGACY_VERSIONS for version in supported):
        return None
    raise UpstreamFailed("it speaks no revision of MCP that this gateway speaks", lasting=True)


def capabilities_told_by(answer: Message) -> frozenset[str]:
    """What a server says it has, by an answer to ``server/discover`` or ``initialize``.

    ``tools``, ``prompts`` and so on; and what it says of these that is true, as in ``tools.listChanged``.
    """
    said = answer.result["capabilities"].value if answer.result and "capabilities" in answer.result else None
    if not isinstance(said, dict):
        return frozenset()
    has = {what: how for what, how in said.items() if isinstance(how, dict)}
    return frozenset((*has, *(f"{what}.{flag}" for what, how in has.items() for flag, on in how.items() if on is True)))


def negotiated_version(answer: Message) -> str:
    """The revision an ``initialize`` settled on.

    Raises:
        UpstreamFailed: it failed, or settled on none the gateway speaks.
    """
    if answer.error is not None:
        raise UpstreamFailed(f"it refused to be initialized (JSON-RPC {answer.error.code})")
    version = answer.result["protocolVersion"].value if answer.result and "protocolVersion" in answer.result else None
    if version not in wire.LEGACY_VERSIONS:
        raise UpstreamFailed("it settled on a revision of MCP that this gateway does not speak", lasting=True)
    return str(version)
