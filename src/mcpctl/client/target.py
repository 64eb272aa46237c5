"""Which server a command speaks to, and with which bearer: flags beat the environment beats the context."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mcpctl.client.address import check_address, origin
from mcpctl.client.contexts import Context, Contexts
from mcpctl.errors import FieldError, InvalidSetting, MissingCredential

TokenSource = Literal["MCPCTL_TOKEN", "context"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where to and as whom.

    Attributes:
        server: base URL, or ``None`` if nothing names one.
        token: the raw bearer, or ``None``.
        token_source: where the bearer comes from.
        context: the name of the context in use.
        project: the project the context names.
        allow_plain_http: the bearer may cross a network unencrypted.
    """

    server: str | None
    token: str | None = field(default=None, repr=False)
    token_source: TokenSource | None = None
    context: str | None = None
    project: str | None = None
    allow_plain_http: bool = False

    def require(self) -> tuple[str, str]:
        """Server and bearer.

        Raises:
            MissingCredential: either is missing; the sentence says how to come by it.
        """
        if self.server is None:
            raise MissingCredential("no control plane is known: run 'mcpctl login --server URL', or set MCPCTL_SERVER")
        if self.token is None:
            where = f" --context {self.context}" if self.context else ""
            raise MissingCredential(
                f"you are not logged in to {self.server}: run 'mcpctl login --server {self.server}{where}', or set MCPCTL_TOKEN"
            )
        return self.server, self.token


def resolve(
    contexts: Contexts,
    *,
    context: str | None = None,
    server: str | None = None,
    allow_plain_http: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Target:
    """The target the flags ``context`` and ``server``, the environment and the saved contexts name together.

    A saved bearer goes only to the server it was saved with: if a flag or ``MCPCTL_SERVER`` names another one, it stays home.

    Raises:
        InvalidSetting: a named context does not exist, or an address or variable is wrong.
    """
    environ = os.environ if environ is None else environ
    name = context or environ.get("MCPCTL_CONTEXT") or contexts.current
    saved: Context | None = contexts.named(name) if name else None
    address = check_address(server) if server else None
    if address is None and (chosen := environ.get("MCPCTL_SERVER")):
        address = _from_environment(chosen)
    plain = allow_plain_http or _switched_on(environ)
    token = environ.get("MCPCTL_TOKEN", "").strip() or None
    source: TokenSource | None = "MCPCTL_TOKEN" if token else None
    if token is not None:
        check_bearer(token, "MCPCTL_TOKEN")
    if saved is None:
        return Target(address, token, source, name, None, plain)
    same_server = address is None or origin(address) == origin(saved.server)
    if token is None and same_server and saved.token:
        token, source = check_bearer(saved.token, f"the token of the context {name!r}"), "context"
    plain = plain or (same_server and saved.allow_plain_http)
    return Target(address or saved.server, token, source, name, saved.project, plain)


def check_bearer(text: str, what: str) -> str:
    """``text`` if it can stand in an Authorization header.

    Raises:
        InvalidSetting: it cannot; the sentence names ``what`` and never shows the value.
    """
    if text and text.isascii() and text.isprintable() and " " not in text:
        return text
    raise InvalidSetting(f"{what} is not a bearer: a bearer is one word of printable ASCII")


def _from_environment(address: str) -> str:
    try:
        return check_address(address)
    except InvalidSetting as error:
        raise InvalidSetting(f"MCPCTL_SERVER: {error.detail}", errors=[FieldError("MCPCTL_SERVER", error.detail)]) from None


def _switched_on(environ: Mapping[str, str]) -> bool:
    said = environ.get("MCPCTL_ALLOW_PLAIN_HTTP", "").lower()
    if said in ("", "0", "false", "no"):
        return False
    if said in ("1", "true", "yes"):
        return True
    raise InvalidSetting(
        "MCPCTL_ALLOW_PLAIN_HTTP is 1 or 0", errors=[FieldError("MCPCTL_ALLOW_PLAIN_HTTP", "it is 1 or 0", "1")]
    )
