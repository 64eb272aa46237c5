"""How agents speak to the gateway: both eras of MCP on one endpoint and on one pair of pipes."""
