"""``subscriptions/listen`` (2026-07-28, "Subscriptions"): which changes a client wants to hear of, and in which words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mcplocal import wire
from mcplocal.json_text import write
from mcplocal.offers.kinds import FAMILIES, Family
from mcplocal.protocol.envelope import Incoming, Rejection, notification_text, result_text

ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"


@dataclass(frozen=True)
class Subscription:
    """One subscription. Everything it says carries the id of the request that opened it.

    Attributes:
        changes: by what has changed, the notification: of what the client opted in to, and no more.
        acknowledged: the first thing it is told: what of its wishes is honoured.
        ended: the answer to the request, once there will be nothing more.
    """

    changes: Mapping[Family, str]
    acknowledged: str
    ended: str

    @classmethod
    def of(cls, message: Incoming) -> Subscription:
        """The subscription that ``message`` asks for. Updates of single resources are not honoured.

        Raises:
            Rejection: it does not say which notifications it wants (-32602).
        """
        wanted = message.value("notifications")
        if not isinstance(wanted, dict):
            raise Rejection(
                wire.INVALID_PARAMS, f"{wire.LISTEN} needs the notifications that are wanted", id_text=message.id_text
            )
        honoured = [family for family in FAMILIES if wanted.get(_wish(family)) is True]
        meta = {wire.META: {wire.SUBSCRIPTION_ID_KEY: message.id}}
        acknowledged = {"notifications": {_wish(family): True for family in honoured}, **meta}
        ended = {
            "resultType": "complete",
            wire.META: {wire.SUBSCRIPTION_ID_KEY: message.id, wire.SERVER_INFO_KEY: wire.IMPLEMENTATION},
        }
        return cls(
            {family: notification_text(wire.LIST_CHANGED[family.capability], write(meta)) for family in honoured},
            notification_text(ACKNOWLEDGED, write(acknowledged)),
            result_text(message.id_text, write(ended)),
        )


def _wish(family: Family) -> str:
    return f"{family.capability}ListChanged"
