"""mcpctl: authorization service and control plane for MCP servers, centred on a Casbin policy engine."""
