"""Addresses of control planes and gateways: what may be one, and which are on this machine."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from mcpctl.errors import InvalidSetting


def check_address(text: str, what: str = "server") -> str:
    """``text`` without its trailing slash, if it may be a base URL.

    Raises:
        InvalidSetting: it is not ``http(s)://HOST[:PORT][/PATH]``; the sentence names ``what`` and what comes nearest.
    """
    rule = f"the {what} must be http:// or https://, a host and perhaps a port"
    shown = ascii(text)
    if "://" not in text:
        scheme = "http" if _looks_local(text) else "https"
        raise InvalidSetting(f"{shown} is not an address: {rule}; did you mean '{scheme}://{text}'?")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise InvalidSetting(f"{shown} is not an address: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidSetting(f"{shown} is not an address: {rule}")
    if "@" in parts.netloc:
        raise InvalidSetting(f"the {what} address holds a user or password; leave these out and use 'mcpctl login'")
    if parts.query or parts.fragment:
        raise InvalidSetting(f"{shown} is not an address: {rule}, without '?' and '#'")
    if not text.isascii() or any(ord(character) <= 32 or ord(character) == 127 for character in text):
        raise InvalidSetting(f"{shown} is not an address: {rule}, in ASCII and without blanks")
    return text.rstrip("/")


def origin(address: str) -> tuple[str, str, int]:
    """Scheme, host and port: what must agree before a credential saved for one address is sent to another."""
    parts = urlsplit(address)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


def is_loopback(address: str) -> bool:
    """Whether ``address`` names this very machine, so that nothing sent there crosses a network."""
    return _is_local_host(urlsplit(address).hostname or "")


def is_plain(address: str) -> bool:
    """Whether what is sent to ``address`` can be read on its way."""
    return urlsplit(address).scheme == "http" and not is_loopback(address)


def _is_local_host(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _looks_local(text: str) -> bool:
    return _is_local_host(text.partition("/")[0].rpartition(":")[0] or text)
