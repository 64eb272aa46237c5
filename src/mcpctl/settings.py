"""Every ``MCPCTL_`` variable there is, and the one check that refuses the others.

A misspelled variable that is silently ignored is a setting somebody believes in, so it is an error. ``mcplocal`` keeps its own
list and uses the same check.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from mcpctl.errors import FieldError, InvalidSetting, nearest

PREFIX: Final = "MCPCTL_"

Side = Literal["server", "client"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable: what it means, who reads it, and whether its value must never be shown."""

    name: str
    meaning: str
    side: Side
    secret: bool = False


SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("MCPCTL_SERVER", "address of the control plane; beats the context's", "client"),
    Setting("MCPCTL_TOKEN", "bearer to present, a session or an McpToken; beats the context's", "client", secret=True),
    Setting("MCPCTL_CONTEXT", "name of the context to use", "client"),
    Setting("MCPCTL_CONFIG", "path of the file that holds the contexts", "client"),
    Setting("MCPCTL_ALLOW_PLAIN_HTTP", "1 sends credentials over plain http to other machines", "client"),
    Setting("MCPCTL_TEST_TOKEN", "bearer that 'mcpctl test mcp' presents to the endpoint it tests", "client", secret=True),
    Setting("MCPCTL_DATABASE_URL", "SQLAlchemy URL of the database", "server", secret=True),
    Setting("MCPCTL_DATABASE_URL_FILE", "file that holds this URL; set only one of the two", "server"),
    Setting("MCPCTL_DATA_DIR", "directory for the SQLite database and generated files", "server"),
    Setting("MCPCTL_POLICY_DIR", "directory of model.conf and the policy files", "server"),
    Setting("MCPCTL_CONFIG_FILE", "settings file of the server", "server"),
    Setting("MCPCTL_LISTEN", "HOST:PORT the server listens on", "server"),
    Setting("MCPCTL_ADMIN_PASSWORD", "password of admin, at the first start only", "server", secret=True),
    Setting("MCPCTL_ADMIN_PASSWORD_FILE", "file that holds this password; set only one of the two", "server"),
    Setting("MCPCTL_SECRET_KEY", "keys that encrypt secrets, the encrypting one first: docs/secrets.md", "server", secret=True),
    Setting("MCPCTL_SECRET_KEY_FILE", "file of these keys, one a line; set only one of the two", "server"),
    Setting("MCPCTL_TRUSTED_PROXIES", "networks whose X-Forwarded-For counts", "server"),
    Setting("MCPCTL_ALLOWED_HOSTS", "values of Host the server answers to", "server"),
    Setting("MCPCTL_MAX_BODY_BYTES", "largest request body, in bytes", "server"),
    Setting(
        "MCPCTL_CLIENT_TIMEOUT",
        "how long a client may take to send one request, or go without taking any of an answer",
        "server",
    ),
    Setting(
        "MCPCTL_DRAIN_DELAY",
        "how long after SIGTERM /readyz says no while requests are still served: whoever balances is to hear of it",
        "server",
    ),
    Setting("MCPCTL_SESSION_TTL", "how long a log-in lasts, such as 12h", "server"),
    Setting("MCPCTL_SHADOW_POLICY_DIR", "candidate policy directory: asked beside, never enforced", "server"),
    Setting("MCPCTL_METRICS_LISTEN", "HOST:PORT that shows /metrics; without it nothing does", "server"),
    Setting("MCPCTL_LOG_FORMAT", "json, text, or auto: text on a terminal only", "server"),
)
"""The registry. ``mcpctl help environment`` prints it."""

NAMES: Final = frozenset(setting.name for setting in SETTINGS)

_SERVICE_LINK = re.compile(
    r"_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT$|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$"
)


def is_service_link(name: str) -> bool:
    """Whether Kubernetes makes a variable of this name for a Service (``enableServiceLinks``)."""
    return _SERVICE_LINK.search(name) is not None


def check_environment(prefix: str = PREFIX, known: Collection[str] = NAMES, environ: Mapping[str, str] | None = None) -> None:
    """Refuse variables that begin with ``prefix`` and are not ``known``. Service links are ignored.

    Args:
        prefix: ``MCPCTL_`` or ``MCPLOCAL_``.
        known: the names there are.
        environ: the environment; ``os.environ`` if left out.

    Raises:
        InvalidSetting: naming every unknown variable and the nearest one there is.
    """
    wrong = [
        FieldError(name, f"{name} is not a setting", _nearest(name, prefix, known))
        for name in sorted(os.environ if environ is None else environ)
        if name.startswith(prefix) and name not in known and not is_service_link(name)
    ]
    if wrong:
        said = [error.message + (f"; did you mean {error.nearest}?" if error.nearest else "") for error in wrong]
        raise InvalidSetting("; ".join(said), errors=wrong)


def _nearest(name: str, prefix: str, known: Collection[str]) -> str | None:
    # Without what all of them share, which would make any two alike.
    by_lower = {one.removeprefix(prefix).lower(): one for one in known}
    close = nearest(name.removeprefix(prefix), sorted(by_lower))
    return by_lower[close] if close else None
