"""How the gateway reaches MCP servers: over Streamable HTTP and as stdio children, in both eras, behind two guards."""
