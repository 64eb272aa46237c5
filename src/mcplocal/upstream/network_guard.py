"""Which addresses the gateway connects to on behalf of an operator's URL.

The address is judged when a socket for it is made, so neither a name that resolves differently a moment later, nor a number
in decimal, octal or hex, nor an IPv6 address that wraps an IPv4 one, gets past. Link-local and metadata addresses are
refused always; loopback, private and other non-global ones unless they are in one of the allowed networks.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NEVER: Final[Sequence[tuple[Network, str]]] = [
    (ip_network(network), what)
    for network, what in (
        ("169.254.0.0/16", "link-local"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("fd00:ec2::/32", "a metadata service"),
        ("fd20:ce::/32", "a metadata service"),
        ("100.100.100.200/32", "a metadata service"),
        ("168.63.129.16/32", "a metadata service"),
        ("192.0.0.192/32", "a metadata service"),
        ("0.0.0.0/8", "unspecified"),
        ("::/128", "unspecified"),
        ("224.0.0.0/4", "multicast"),
        ("ff00::/8", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
]

_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE: Final = IPv6Network("::/96")
_ISATAP: Final = (0x00005EFE, 0x02005EFE)


class AddressRefused(OSError):
    """The guard does not let the gateway connect to this address."""


class NetworkGuard:
    """Judges addresses by what is allowed on this gateway."""

    def __init__(self, allowed: Iterable[Network] = ()) -> None:
        self.allowed = tuple(allowed)

    def objection(self, address: str) -> str | None:
        """Why the gateway may not connect to ``address``, or ``None`` if it may."""
        try:
            outer = ip_address(address.partition("%")[0])
        except ValueError:
            return f"{address!r} is not an address"
        faces = [outer, *_embedded(outer)]
        for face in faces:
            for network, what in NEVER:
                if face in network:
                    return f"{outer} is {what}" + (f" (it stands for {face})" if face != outer else "")
        for face in faces:
            if not _is_global(face) and not self._is_allowed(face):
                hint = "which is not in MCPLOCAL_UPSTREAM_NETWORKS"
                return f"{outer} stands for {face}, {hint}" if face != outer else f"{outer} is not a public address, {hint}"
        return None

    def socket(self, address_info: tuple[Any, ...]) -> socket.socket:
        """A socket for an address that was resolved, if it may be connected to.

        Raises:
            AddressRefused: it may not.
        """
        family, kind, protocol, _, address = address_info
        if objection := self.objection(str(address[0])):
            raise AddressRefused(objection)
        return socket.socket(family, kind, protocol)

    def _is_allowed(self, face: Address) -> bool:
        return any(face.version == network.version and face in network for network in self.allowed)


def _is_global(face: Address) -> bool:
    # A wrapping address is judged by what it wraps; by itself it is as public as its prefix.
    if isinstance(face, IPv6Address) and any(True for _ in _embedded(face)):
        return True
    return face.is_global


def _embedded(address: Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses an IPv6 address stands for or travels by."""
    if isinstance(address, IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    last = IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _NAT64[0] or (address in _COMPATIBLE and int(address) > 1):
        yield last
    if address in _NAT64[1]:
        yield last
        # Its operator may have chosen a shorter prefix: then the address stands around bits 64 to 71 (RFC 6052, section 2.2).
        for before in (48, 56, 64):
            bits = int(address) & ((1 << (128 - before)) - 1)
            high, low = bits >> 64, bits & ((1 << 56) - 1)
            first = 64 - before
            yield IPv4Address(((high & ((1 << first) - 1)) << (32 - first)) | (low >> (56 - (32 - first))))
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        yield last
