"""``requestState`` of an upstream on its way through a client and back: sealed, so that it returns unchanged to its own call.

The state is the upstream's and means nothing here. But whoever sends it back decides what is done with it, so what a client
is given says for whom, for which tool of which server, and until when it is good (2026-07-28, Multi Round-Trip Requests:
"integrity-protect, bind to the principal, let it expire"). Gateways with one credential open each other's seals.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256
from time import time
from typing import Final

GOOD_FOR: Final = 3600
"""Seconds a person may take to answer."""

_NONE: Final = "0"
_SOME: Final = "1"


class BrokenSeal(Exception):
    """The state was not given to this caller for this tool, was changed, or is too old. The sentence is for the client."""


class StateSeal:
    """Seals and opens."""

    def __init__(self, secret: Callable[[], str]) -> None:
        """Use a key made from ``secret``, which is the gateway's credential as it is then."""
        self._secret = secret

    def seal(self, state: str | None, bound_to: tuple[str, ...]) -> str:
        """``state`` as a client may hold it; ``None`` says that the upstream gave none."""
        head = f"{int(time()) + GOOD_FOR}.{_NONE if state is None else _SOME}"
        return f"{self._mark(head, state or '', bound_to)}.{head}.{state or ''}"

    def open(self, sealed: str, bound_to: tuple[str, ...]) -> str | None:
        """The state that ``seal`` was given.

        Raises:
            BrokenSeal: this is none that was given out for the same, or it is too old.
        """
        mark, _, rest = sealed.partition(".")
        until, _, rest = rest.partition(".")
        some, _, state = rest.partition(".")
        right = self._mark(f"{until}.{some}", state, bound_to)
        if not hmac.compare_digest(mark.encode("utf-8", "surrogatepass"), right.encode()):
            raise BrokenSeal("this requestState was not given to you for this tool")
        if time() >= int(until):
            raise BrokenSeal("this requestState is too old: send the call again without it")
        return state if some == _SOME else None

    def _mark(self, head: str, state: str, bound_to: tuple[str, ...]) -> str:
        parts = [head, state, *bound_to]
        text = "".join(f"{len(part)}:{part}" for part in parts)
        key = sha256(b"mcplocal requestState\0" + self._secret().encode()).digest()
        return hmac.new(key, text.encode("utf-8", "surrogatepass"), sha256).hexdigest()
