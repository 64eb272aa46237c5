"""One member of an answer as a cell of a table, in each form there is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, Literal

from mcpctl.cli.ages import NONE, ago, moment, until
from mcpctl.cli.stage_flags import as_flag, in_words
from mcpctl.client.http import Json

Form = Literal[
    "text",
    "list",
    "count",
    "map",
    "ago",
    "until",
    "moment",
    "flag",
    "ms",
    "endpoint",
    "status",
    "who",
    "what",
    "decision",
    "stages",
    "cache",
]


def shown_value(value: object) -> str:
    """A header's or variable's value; a secret shows as the reference it is."""
    if isinstance(value, dict) and value.keys() == {"secret", "key"}:
        return f"secret:{value['secret']}/{value['key']}"
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _text(_item: Json, value: Any) -> str:
    return NONE if value is None or value == "" else str(value)


def _list(_item: Json, value: Any) -> str:
    return ",".join(str(one) for one in value or ()) or NONE


def _bindings(_item: Json, value: Any) -> str:
    return "; ".join(str(one) for one in value or ()) or NONE


def _map(_item: Json, value: Any) -> str:
    return ",".join(f"{key}={shown_value(one)}" for key, one in (value or {}).items() if one is not None) or NONE


def _endpoint(item: Json, _value: Any) -> str:
    import shlex

    return str(item.get("url") or shlex.join([str(item.get("command") or ""), *map(str, item.get("args") or ())]))


def _status(item: Json, _value: Any) -> str:
    return "disabled" if item.get("disabled") else "enabled"


def _moment(_item: Json, value: Any) -> str:
    return f"{then:%m-%d %H:%M:%SZ}" if (then := moment(value)) else NONE


def _who(item: Json, _value: Any) -> str:
    if item.get("tokenName"):
        return f"{item['tokenName']} (of {item.get('user') or '?'})"
    return str(item.get("user") or item.get("subject") or NONE)


def _what(item: Json, _value: Any) -> str:
    """What was done, in the order 'mcpctl auth can-i' takes it."""
    where = {"attach": " to ", "detach": " from "}.get(str(item.get("action")))
    beside = f"{where}{item['project']}" if where and item.get("project") else ""
    return " ".join(str(item.get(member) or NONE) for member in ("action", "resource", "name")) + beside


_WITHOUT_SERVER: Final[dict[object, str]] = {"hit": ", from the cache", "page": ", one more page"}
"""By ``details.cache`` of a call, what came of it without asking its server."""


def _decision(item: Json, _value: Any) -> str:
    decided = "allowed" if item.get("allowed") is True else "refused"
    outcome = item.get("outcome") or "ok"
    kept = _WITHOUT_SERVER.get((item.get("details") or {}).get("cache"), "")
    return (decided if outcome in ("ok", decided) else f"{decided}: {outcome}") + kept


def stage_lines(value: Any) -> list[str]:
    """The stages of a proxy model, each as ``--stage`` takes it."""
    return [as_flag(one) for one in value or ()] or [NONE]


def cache_lines(value: Any) -> list[str]:
    """What a proxy model has cached, in full."""
    if not value:
        return ["nothing"]
    tools = ["what its server calls read-only or idempotent", *value.get("tools", ())]
    return [f"for {in_words(value['ttlSeconds'])}: {tools[0]}", *(f"    and {tool}" for tool in tools[1:])]


CELLS: Final[dict[Form, Callable[[Json, Any], str]]] = {
    "text": _text,
    "list": lambda item, value: _bindings(item, value) if any("," in str(one) for one in value or ()) else _list(item, value),
    "count": lambda _item, value: str(len(value or ())),
    "map": _map,
    "ago": lambda _item, value: ago(value),
    "until": lambda _item, value: until(value),
    "moment": _moment,
    "flag": lambda _item, value: "yes" if value else "no",
    "ms": lambda _item, value: NONE if value is None else f"{float(value):.0f}ms",
    "endpoint": _endpoint,
    "status": _status,
    "who": _who,
    "what": _what,
    "decision": _decision,
    "stages": lambda _item, value: ",".join(str(one.get("stage")) for one in value or ()) or NONE,
    "cache": lambda _item, value: in_words(value["ttlSeconds"]) if value else NONE,
}
