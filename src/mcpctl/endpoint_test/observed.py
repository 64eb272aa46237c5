"""What is watched in every answer to a well-formed request, whichever check made it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

from mcpctl.endpoint_test import official_schemas as official
from mcpctl.endpoint_test.exchange import Exchange, Shown, same_id
from mcpctl.endpoint_test.judge import Judge, Unjudged
from mcpctl.endpoint_test.mask import Mask

KEPT: Final = 10
"""Of each kind of remark."""
ERA: Final = {official.MODERN: "modern"}


@dataclass(slots=True)
class Observed:
    """Remarks by kind: ``results``, ``errors`` and ``notifications`` (against the schema, with the era in front), ``media``,
    ``form``, ``ids``, ``jsonrpc``, ``unasked``, ``late``, ``minted``, ``unvalidated``.

    Each is kept with what may be shown of the exchange, never with the exchange itself, which may be large.

    Attributes:
        mask: hides secrets in what is kept.
        judge: knows the official schemas.
        answers: how many messages were looked at.
    """

    mask: Mask
    judge: Judge
    remarks: dict[str, list[tuple[str, Shown]]] = field(default_factory=lambda: defaultdict(list))
    answers: int = 0

    def note(self, exchange: Exchange, revision: str) -> None:
        """Look at an answer to a request that was right."""
        era = ERA.get(revision, "legacy")
        if exchange.id is not None and exchange.size and 200 <= exchange.status < 300:
            kind = exchange.header("content-type").partition(";")[0].strip().lower()
            if kind not in ("application/json", "text/event-stream"):
                self._remark("media", f"{exchange.sent['method']} is answered with {kind or 'no content type'!r}", exchange)
        for fault in exchange.faults:
            self._remark("form", f"{exchange.sent['method']}: {fault}", exchange)
        if era == "modern" and exchange.header("mcp-session-id"):
            self._remark("minted", f"{exchange.sent['method']} is answered with an Mcp-Session-Id", exchange)
        answered = False
        for message in exchange.messages:
            self.answers += 1
            if answered and era == "modern":
                self._remark("late", "a message follows the response", exchange)
            answered = answered or (isinstance(message, dict) and ("result" in message or "error" in message))
            if exchange.nodes > official.MOST_NODES:
                self._remark("unvalidated", f"{exchange.sent['method']}: {exchange.nodes} values", exchange)
                continue
            try:
                self._judge(message, exchange, revision, era)
            except Unjudged as error:
                self._remark("unvalidated", f"{exchange.sent['method']}: {error}", exchange)

    def _judge(self, message: Any, exchange: Exchange, revision: str, era: str) -> None:
        method = exchange.sent["method"]
        if not isinstance(message, dict):
            self._remark("jsonrpc", f"{method}: the answer is no object", exchange)
            return
        if message.get("jsonrpc") != "2.0":
            self._remark("jsonrpc", f"{method}: the answer's jsonrpc is {message.get('jsonrpc')!r}", exchange)
        if "method" in message:
            self._unasked(message, exchange, revision, era)
        elif "error" in message:
            if "result" in message:
                self._remark("jsonrpc", f"{method}: the answer has both a result and an error", exchange)
            if not same_id(message.get("id"), exchange.id):
                self._remark("error-ids", f"{method}: the error has the id {message.get('id')!r}", exchange)
            wrong = self.judge.wrong_error(exchange.nodes, revision, {**message, "id": exchange.id, "jsonrpc": "2.0"})
            self._remark(f"{era} errors", wrong, exchange)
        elif "result" in message:
            if not same_id(message.get("id"), exchange.id):
                self._remark("ids", f"{method}: the result has the id {message.get('id')!r}", exchange)
            wrong = self.judge.wrong_result(exchange.nodes, revision, method, message["result"])
            self._remark(f"{era} results", wrong, exchange)
        else:
            self._remark("jsonrpc", f"{method}: the answer is neither a result nor an error", exchange)

    def _unasked(self, message: dict[str, Any], exchange: Exchange, revision: str, era: str) -> None:
        name = message["method"]
        if "id" in message:
            if era == "modern":
                self._remark("requests", f"the server sent a request, {name!r}", exchange)
            return
        if era == "modern" and name == "notifications/message":
            self._remark("logs", "a log message came, although the request set no logLevel", exchange)
        self._remark(f"{era} notifications", self.judge.wrong_notification(exchange.nodes, revision, message), exchange)

    def _remark(self, kind: str, said: str, exchange: Exchange) -> None:
        if said and len(self.remarks[kind]) < KEPT:
            self.remarks[kind].append((self.mask.line(said), self.mask.show(exchange)))
