"""Calls of the reference's tools, in both eras."""

from __future__ import annotations

from typing import Any

from tests.endpoint_test.messages import PAGE, SECOND, Answer, Asked, State, Wrong, notification


class Calls(State):
    """``tools/call``, and pages of ``tools/list``."""

    def page(self, asked: Asked, tools: list[dict[str, Any]]) -> dict[str, Any]:
        if self.has("hides but serves") and asked.who == SECOND:
            return {"tools": []}
        cursor, turn, start = asked.params.get("cursor"), self.lists % len(tools), 0
        if cursor is None:
            self.lists += 1
        elif cursor.startswith("at-"):
            turn, start = (int(one) for one in cursor[3:].split("-"))
        elif not self.has("any cursor"):
            raise Wrong(asked, -32602, 400)
        if self.has("order changes"):
            tools = tools[turn:] + tools[:turn]
        page: dict[str, Any] = {"tools": tools[start : start + PAGE]}
        if start + PAGE < len(tools):
            page["nextCursor"] = f"at-{turn}-{start + PAGE}"
        elif self.has("paging never ends"):
            page["nextCursor"] = cursor
        return page

    async def call(self, asked: Asked, complete: dict[str, Any], unknown: int) -> Answer:
        modern = "resultType" in complete
        name, arguments = asked.params.get("name"), asked.params.get("arguments") or {}
        self.called.append(str(name))
        if name not in ("echo", "ask"):
            if self.has("unknown tool is a result" if modern else "legacy unknown tool is a result"):
                return self.told(asked, {**complete, "content": [], "isError": True})
            raise Wrong(asked, unknown, 400 if modern else 200)
        if name == "ask":
            if self.has("asks for input"):
                ask = {"k": {"method": "roots/list"}}
                return self.told(asked, {**complete, "resultType": "input_required", "inputRequests": ask, "requestState": "x"})
            return self.told(asked, {**complete, "content": [{"type": "text", "text": "no question"}]})
        if modern and "region" in arguments:
            said = asked.header("mcp-param-region")
            wrong = (said is None and not self.has("param header optional")) or (
                said is not None and said != arguments["region"] and not self.has("param header differs")
            )
            if wrong:
                raise Wrong(asked, -32020, 400)
        result = {**complete, "content": [{"type": "text", "text": "hello"}], "structuredContent": {"said": "hello"}}
        if self.has("no content"):
            del result["content"]
        if self.has("structured differs"):
            result["structuredContent"] = {"said": 7}
        token, messages = asked.meta.get("progressToken"), []
        if token is None and self.has("progress unasked"):
            token = "mine"
        if token is not None:
            steps = (2, 1) if self.has("progress shrinks") else (1, 2)
            messages = [notification("notifications/progress", {"progressToken": token, "progress": step}) for step in steps]
        if modern:
            messages += self.unasked(asked)
        response = {"jsonrpc": "2.0", "id": asked.message["id"], "result": result}
        late = [notification("notifications/tools/list_changed", {})] if self.has("message after response") and modern else []
        return Answer(200, [*messages, response, *late], {"content-type": "text/event-stream"})

    def unasked(self, asked: Asked) -> list[dict[str, Any]]:
        if self.has("log unasked"):
            return [notification("notifications/message", {"level": "info", "data": "x"})]
        if self.has("server sends requests"):
            return [{"jsonrpc": "2.0", "id": 1, "method": "roots/list", "params": {}}]
        if self.has("modern notification malformed"):
            return [{"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": []}]
        return []
