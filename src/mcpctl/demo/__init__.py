"""Two small MCP servers to try things with: ``time_server`` over Streamable HTTP, ``notes_server`` as a stdio child."""
