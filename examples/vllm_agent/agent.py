"""A whole agent: a model of one's own behind an OpenAI-compatible address (vLLM), and tools of MCP through the gateway.

``python agent.py "What time is it in Rome?"``. The model sees exactly the tools that the token may call.

    OPENAI_BASE_URL  such as http://vllm:8000/v1
    OPENAI_MODEL     as vLLM serves it
    MCP_URL          such as https://mcp.example.com/mcp
    MCP_TOKEN_FILE   a file with the agent's own token
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

ROUNDS = 10
"""How often the model may ask for tools before it has to answer."""


async def answer(question: str, token: str) -> str:
    """What the model answers, after it has called what it wanted to call."""
    bearer = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=bearer, timeout=httpx2.Timeout(30, read=300)) as http,
        Client(streamable_http_client(os.environ["MCP_URL"], http_client=http)) as tools,
        httpx2.AsyncClient(base_url=os.environ["OPENAI_BASE_URL"].rstrip("/"), timeout=300) as model,
    ):
        offered = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description or "", "parameters": tool.input_schema},
            }
            for tool in (await tools.list_tools()).tools
        ]
        messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
        for _ in range(ROUNDS):
            body = {"model": os.environ["OPENAI_MODEL"], "messages": messages}
            said = await model.post("/chat/completions", json=body | ({"tools": offered} if offered else {}))
            said.raise_for_status()
            message = said.json()["choices"][0]["message"]
            messages.append(message)
            if not message.get("tool_calls"):
                return str(message["content"])
            for call in message["tool_calls"]:
                result = await called(tools, call["function"])
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
        return "The model kept asking for tools."


async def called(tools: Client, function: dict[str, str]) -> str:
    """What one tool said, as text for the model; a refusal and an error are told to it too, so that it can do without."""
    print(f"{function['name']} {function['arguments']}", file=sys.stderr)
    try:
        result = await tools.call_tool(function["name"], json.loads(function["arguments"] or "{}"))
    except (MCPError, ValueError) as error:
        return f"error: {error}"
    return "\n".join(block.text for block in result.content if block.type == "text")


if __name__ == "__main__":
    own_token = Path(os.environ["MCP_TOKEN_FILE"]).read_text().strip()
    print(asyncio.run(answer(" ".join(sys.argv[1:]) or "What time is it in Rome?", own_token)))
