"""URIs as a decision is asked about them, and as a project offers those of its servers."""

from __future__ import annotations

import re
from typing import Final

from mcpctl.policy.names import is_resource_uri

QUALIFIED: Final = "mcplocal://"
"""Begins a URI that says which server it is of: ``mcplocal://<server>/<the server's own URI>``."""

_ENCODED: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]")
_DETOURS: Final = re.compile(r"(?:^|[/:])\.\.?(?:[/:]|$)|[^:/]//|////")
"""Segments that are dots or nothing; what follows a colon, as in ``file:///``, is none."""


def askable(uri: str) -> str | None:
    """``uri`` percent-normalized (RFC 3986, 6.2.2.2), as a decision is asked about it; ``None`` if none can be.

    What is encoded without need is decoded, so no other spelling of a name gets past a line about it. Nothing that is
    askable holds a percent sign, so neither can a server decode it once more. Segments that are dots or
    nothing are not resolved but refused: a server that resolves them would read something else than what was decided about.
    """
    name = _ENCODED.sub(_decoded, uri) if "%" in uri else uri
    return name if is_resource_uri(name) and not _DETOURS.search(name) else None


def _decoded(encoded: re.Match[str]) -> str:
    letter = chr(int(encoded[1], 16))
    return letter if _UNRESERVED.fullmatch(letter) else encoded[0].upper()


def qualified(server: str, uri: str) -> str:
    """``uri``, or a template of URIs, of ``server`` in the form that says so."""
    return f"{QUALIFIED}{server}/{uri}"


def server_of(uri: str) -> tuple[str, str] | None:
    """The server that a qualified URI names, and its own URI for it; ``None`` if it is not qualified."""
    if not uri.startswith(QUALIFIED):
        return None
    server, _, own = uri[len(QUALIFIED) :].partition("/")
    return server, own
