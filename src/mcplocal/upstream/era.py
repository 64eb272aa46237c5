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
from mcplocal.json_text import write, write_object
from mcplocal.upstream.answers import Message, Notify, UpstreamFailed
from mcplocal.wire import Era


@dataclass(slots=True)
class Call:
    """One request to an upstream, in the words of neither era.

    Attributes:
        method: the JSON-RPC method.
        params: each parameter as JSON text, ``_meta`` left out.
        meta: the ``_meta`` members to pass on; those the protocol keeps for itself are added on the way.
        name: what ``Mcp-Name`` says, for the methods that have it.
        headers: ``Mcp-Param-…`` headers of this call.
        notify: called with each notification that belongs to this request; with it, progress is asked for.
        timeout: seconds for all of it.
    """

    method: str
    params: Mapping[str, str] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    notify: Notify | None = None
    timeout: float = 60.0


DISCOVER: Final = "server/discover"
INITIALIZE: Final = "initialize"
INITIALIZED: Final = "notifications/initialized"
CANCELLED: Final = "notifications/cancelled"
LISTS_CHANGED: Final = frozenset(wire.LIST_CHANGED.values())
PROGRESS: Final = "notifications/progress"

MODERN_META: Final[Mapping[str, Any]] = {
    wire.VERSION_KEY: wire.MODERN_VERSION,
    wire.CAPABILITIES_KEY: {},  # nothing is relayed back to a person yet, so an upstream must not ask for it
    wire.CLIENT_INFO_KEY: wire.IMPLEMENTATION,
}
_MODERN_META_TEXT: Final = write(MODERN_META)


def request_text(identity: int, call: Call, era: Era) -> str:
    """The JSON-RPC request for ``call``. Its id is this hop's own, and so is the progress token."""
    params = dict(call.params)
    if call.meta or call.notify is not None:
        meta = {**call.meta, **(MODERN_META if era is Era.MODERN else {})}
        if call.notify is not None:
            meta[wire.PROGRESS_TOKEN] = identity
        params[wire.META] = write(meta)
    elif era is Era.MODERN:
        params[wire.META] = _MODERN_META_TEXT
    members = [("jsonrpc", '"2.0"'), ("id", str(identity)), ("method", write(call.method))]
    return write_object([*members, ("params", write_object(params))] if params else members)


def notification_text(method: str, params: Mapping[str, Any] | None = None) -> str:
    """A JSON-RPC notification."""
    return write({"jsonrpc": "2.0", "method": method} | ({"params": params} if params else {}))


def reply_text(request: Message) -> str:
    """The gateway's answer to a request an upstream sent: it answers ``ping`` and offers nothing else."""
    identity = {"jsonrpc": "2.0", "id": request.id}
    if request.method == "ping":
        return write(identity | {"result": {}})
    error = {"code": wire.METHOD_NOT_FOUND, "message": "this client offers no such method"}
    return write(identity | {"error": error})


def initialize_call(timeout: float) -> Call:
    """The handshake of the legacy era, offering its latest revision and no capability."""
    return Call(
        INITIALIZE,
        {
            "protocolVersion": write(wire.LATEST_LEGACY),
            "capabilities": "{}",
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
    """What a server says it has: ``tools``, ``prompts`` and so on, by an answer to ``server/discover`` or ``initialize``."""
    said = answer.result["capabilities"].value if answer.result and "capabilities" in answer.result else None
    return frozenset(what for what, how in said.items() if isinstance(how, dict)) if isinstance(said, dict) else frozenset()


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
