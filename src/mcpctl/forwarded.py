"""Whose request it is that comes through proxies: ``X-Forwarded-For``, believed only as far as known proxies wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Network = IPv4Network | IPv6Network

MOST_HOPS: Final = 32
"""Proxies believed one after another. Nobody has so many, and a long header must cost nothing: no bearer is known yet."""


def client_address(peer: str, forwarded: Iterable[str], proxies: Sequence[Network]) -> str:
    """The client's address: the peer's own, or what a proxy says of its peer, and so on for as long as that is a proxy too.

    Args:
        peer: who holds the other end of the connection.
        forwarded: the lines of ``X-Forwarded-For``; each proxy adds its peer behind what it was sent.
        proxies: networks whose word counts. Without any, nobody's does.
    """
    if not proxies:
        return peer
    address, hops = peer, [hop.strip() for line in forwarded for hop in line.split(",")][-MOST_HOPS:]
    while hops and is_in(address, proxies):
        parsed = _parsed(hops.pop())
        if parsed is None:
            break
        address = str(parsed)
    return address


def is_in(address: str, networks: Iterable[Network]) -> bool:
    """Whether ``address`` is an address, and in one of the networks."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv4Address):
        return found
    if found.scope_id is not None:  # any text at all, and of no meaning elsewhere
        return None
    return found.ipv4_mapped or found
