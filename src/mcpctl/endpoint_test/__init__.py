"""``mcpctl test mcp``: judges any Streamable HTTP endpoint of MCP.

``checks`` holds the checks, a module per family, each check a value; ``catalog`` lists them; ``runner`` runs them;
``reports`` says what came of it. Everything an endpoint sends arrives through ``bounded_http``, which limits time, size and
depth; strangers' schemas are judged in a second process (``judge``). Nothing here starts a command, and nothing here knows the
control plane.
"""
