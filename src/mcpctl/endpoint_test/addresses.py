"""Which addresses a document from the endpoint may lead to: never from a public endpoint into somebody's own network."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port.

    Raises:
        ValueError: ``url`` is none.
    """
    parts: SplitResult = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


def is_loopback(host: str) -> bool:
    """Whether ``host`` names this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_public(address: str) -> bool:
    """Whether ``address`` is on the public network, in whichever notation it comes."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inner = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
    return bool((inner or found).is_global) and not found.is_multicast


class PublicOnly(AbstractResolver):
    """Resolves names, and forgets every address that is not public."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Public addresses of ``host``.

        Raises:
            OSError: it has none.
        """
        found = [one for one in await self._resolver.resolve(host, port, family) if is_public(one["host"])]
        if not found:
            raise OSError(f"{host} has no public address")
        return found

    async def close(self) -> None:
        """Nothing is kept."""
