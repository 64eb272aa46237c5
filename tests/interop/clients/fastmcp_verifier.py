"""FastMCP's own introspection verifier, configured and not changed: what it makes of each bearer that it is given, as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from fastmcp.server.auth.providers.introspection import IntrospectionTokenVerifier


async def main() -> None:
    """Read the order on standard input: the verifier's arguments, and bearers."""
    order = json.load(sys.stdin)
    verifier = IntrospectionTokenVerifier(**order["verifier"])
    found = [await verifier.verify_token(bearer) for bearer in order["bearers"]]
    print(json.dumps([one and {"subject": one.subject, "client": one.client_id, "scopes": one.scopes} for one in found]))


if __name__ == "__main__":
    asyncio.run(main())
