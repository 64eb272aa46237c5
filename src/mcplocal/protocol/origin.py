"""``Host`` and ``Origin``: whether a request was meant for this gateway, and not for a name somebody pointed at it.

DNS rebinding needs a name under an attacker's control in ``Host``; an address there is beyond suspicion. A browser says in
``Origin`` whose page sends the request; programs send none.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from mcplocal.recent import Recent
from mcplocal.settings import Settings


class Addressed:
    """Knows the names this gateway goes by."""

    def __init__(self, settings: Settings) -> None:
        host, _ = settings.address
        self._loopback_only = _is_loopback(host)
        own = {"localhost", host.lower()} | (set() if self._loopback_only else {socket.gethostname().lower()})
        self._hosts = own | {name.lower() for name in settings.allowed_hosts}
        self._judged: Recent[str, bool] = Recent(100)
        self._origins = {origin.lower().rstrip("/") for origin in settings.allowed_origins}

    def is_host(self, values: Sequence[str]) -> bool:
        """Whether a request with these ``Host`` values is for this gateway."""
        if len(values) != 1:
            return False
        known = self._judged.get(values[0])
        return known if known is not None else self._judged.keep(values[0], self._is_own_host(values[0]))

    def _is_own_host(self, value: str) -> bool:
        name = _host_of(value)
        if name is None:
            return False
        if name in self._hosts or value.lower() in self._hosts:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return not self._loopback_only or _is_loopback(name)

    def is_origin(self, values: Sequence[str]) -> bool:
        """Whether a page of this ``Origin`` may send requests; without one it is no page."""
        if not values:
            return True
        if len(values) != 1:
            return False
        origin = values[0].lower()
        if origin in self._origins:
            return True
        scheme, mark, authority = origin.partition("://")
        return bool(mark) and scheme in ("http", "https") and "/" not in authority and self._is_own_page(authority)

    def _is_own_page(self, authority: str) -> bool:
        name = _host_of(authority)
        return name is not None and (name in self._hosts or authority in self._hosts)


def _host_of(authority: str) -> str | None:
    try:
        parts = urlsplit("//" + authority)
        if parts.path or parts.query or parts.fragment or "@" in authority or not parts.hostname:
            return None
        _ = parts.port
        return parts.hostname.lower()
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
