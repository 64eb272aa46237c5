"""``subscriptions/listen`` (2026-07-28, "Subscriptions"): which changes a client wants to hear of, and in which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mcplocal import wire
from mcplocal.json_text import write
from mcplocal.offers.kinds import FAMILIES, Family
from mcplocal.protocol.envelope import Incoming, Rejection, notification_text, result_text

RESOURCES: Final = "resourceSubscriptions"


@dataclass(frozen=True)
class Subscription:
    """One subscription. Everything it says carries the id of the request that opened it.

    Attributes:
        meta: what is said in every ``_meta`` of it.
        changes: by what has changed, the notification: of what the client opted in to, and no more.
        uris: the resources whose changes it wants to hear of, each once.
        ended: the answer to the request, once there will be nothing more.
    """

    meta: Mapping[str, Any]
    changes: Mapping[Family, str]
    uris: tuple[str, ...]
    ended: str

    @classmethod
    def of(cls, message: Incoming, most: int) -> Subscription:
        """The subscription that ``message`` asks for, to no more than ``most`` resources.

        Raises:
            Rejection: it does not say which notifications it wants (-32602), or wants too many (-32600).
        """
        wanted = message.value("notifications")
        if not isinstance(wanted, dict):
            raise Rejection(
                wire.INVALID_PARAMS, f"{wire.LISTEN} needs the notifications that are wanted", id_text=message.id_text
            )
        uris = wanted.get(RESOURCES)
        if uris is not None and not (isinstance(uris, list) and all(isinstance(uri, str) for uri in uris)):
            raise Rejection(wire.INVALID_PARAMS, f"{RESOURCES} is a list of URIs", id_text=message.id_text)
        once = tuple(dict.fromkeys(uris or ()))
        if len(once) > most:
            text = f"one subscription may be to {most} resources, not {len(once)} (MCPLOCAL_MAX_SUBSCRIPTIONS)"
            raise Rejection(wire.INVALID_REQUEST, text, id_text=message.id_text)
        honoured = [family for family in FAMILIES if wanted.get(_wish(family)) is True]
        meta = {wire.META: {wire.SUBSCRIPTION_ID_KEY: message.id}}
        ended = {
            "resultType": "complete",
            wire.META: {wire.SUBSCRIPTION_ID_KEY: message.id, wire.SERVER_INFO_KEY: wire.IMPLEMENTATION},
        }
        return cls(
            meta,
            {family: notification_text(wire.LIST_CHANGED[family.capability], write(meta)) for family in honoured},
            once,
            result_text(message.id_text, write(ended)),
        )

    def acknowledged(self, uris: Sequence[str]) -> str:
        """The first thing that the client is told: what of its wishes is honoured, of the resources ``uris``."""
        honoured: dict[str, Any] = {_wish(family): True for family in self.changes}
        if uris:
            honoured[RESOURCES] = list(uris)
        return notification_text(wire.ACKNOWLEDGED, write({"notifications": honoured, **self.meta}))

    def updated(self, uri: str) -> str:
        """The notification that the resource ``uri`` has changed."""
        return notification_text(wire.UPDATED, write({"uri": uri, **self.meta}))


def _wish(family: Family) -> str:
    return f"{family.capability}ListChanged"
