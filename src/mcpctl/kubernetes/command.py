"""``mcpctl bootstrap kubernetes``: a Job of the cluster runs it (``k8s/base/bootstrap.yaml``)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import rich_click as click
import stamina.instrumentation

from mcpctl.cli.verbs import Command, CommandGroup
from mcpctl.cli.words import ADDRESS, USER
from mcpctl.client.contexts import Contexts
from mcpctl.client.http import ControlPlane
from mcpctl.client.target import resolve
from mcpctl.errors import FieldError, InvalidInput
from mcpctl.kubernetes import first_secrets
from mcpctl.kubernetes.first_secrets import ADMIN_PASSWORD, GatewayCredential
from mcpctl.kubernetes.secret_store import SecretStore
from mcpctl.kubernetes.service_account import MOUNTED, mounted

NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
PLACE: Final = re.compile(r"[a-z0-9.-]+:([0-9]{1,5})/[a-z][a-z0-9_]{0,62}")


@click.group(cls=CommandGroup, short_help="Give a new installation what it begins with.")
def bootstrap() -> None:
    """Give a new installation what it begins with.

    Examples:
      mcpctl bootstrap kubernetes --control-plane http://mcpctl:8470 --allow-plain-http
    """


@bootstrap.command("kubernetes", cls=Command, short_help="Make the first Secrets of an installation in a cluster.")
@click.option("--control-plane", type=ADDRESS, metavar="URL", help="The control plane; MCPCTL_SERVER if left out.")
@click.option("--secret", default="mcpctl", show_default=True, metavar="NAME", help="Secret of the control plane.")
@click.option("--gateway-secret", default="mcpctl-gateway", show_default=True, metavar="NAME", help="Secret of the gateways.")
@click.option(
    "--gateway-user", type=USER, default="kubernetes-gateway", show_default=True, help="Service user of the gateways."
)
@click.option("--database", metavar="HOST:PORT/NAME", help="Make a password for this PostgreSQL, and the URL with it.")
@click.option("--database-secret", default="mcpctl-database", show_default=True, metavar="NAME", help="Secret they go to.")
@click.option("--rotate-gateway-credential", is_flag=True, help="Put a new session into the gateways' Secret.")
@click.option(
    "--wait", type=click.IntRange(1, 3600), default=600, show_default=True, help="Seconds to wait for the control plane."
)
@click.option("--allow-plain-http", is_flag=True, help="Send credentials over plain http to another machine.")
@click.option("--api-server", metavar="URL", help="The cluster's API server; by default the one its variables name.")
@click.option(
    "--service-account",
    type=click.Path(path_type=Path),
    default=MOUNTED,
    show_default=True,
    metavar="DIR",
    help="Directory with the pod's token, ca.crt and namespace.",
)
def kubernetes(
    control_plane: str | None,
    secret: str,
    gateway_secret: str,
    gateway_user: str,
    database: str | None,
    database_secret: str,
    rotate_gateway_credential: bool,
    wait: int,
    allow_plain_http: bool,
    api_server: str | None,
    service_account: Path,
) -> None:
    """Make the Secrets that a new installation in a cluster begins with.

    These are the first admin's password, the key that secrets are encrypted with, and the gateways' credential. What is there
    already stays, so this may be run at any time. No value is printed.

    Examples:
      mcpctl bootstrap kubernetes --control-plane http://mcpctl:8470 --allow-plain-http
      mcpctl bootstrap kubernetes --database postgresql:5432/mcpctl
      mcpctl bootstrap kubernetes --rotate-gateway-credential
    """
    for flag, name in (("secret", secret), ("gateway_secret", gateway_secret), ("database_secret", database_secret)):
        if not NAME.fullmatch(name):
            raise _wrong(flag, f"{name!a} cannot be the name of a Secret: lower-case letters, digits and '-', 63 at most")
    place = PLACE.fullmatch(database) if database is not None else None
    if database is not None and (place is None or not 0 < int(place[1]) < 65536):
        raise _wrong("database", f"{database!a} is not HOST:PORT/NAME, such as postgresql:5432/mcpctl")
    found = resolve(Contexts(Path()), server=control_plane, allow_plain_http=allow_plain_http)
    if found.server is None:
        raise _wrong("control_plane", "which control plane? Name it here or in MCPCTL_SERVER")
    ControlPlane(found.server, allow_plain_http=found.allow_plain_http).close()  # refuses an address before anything is made
    stamina.instrumentation.set_on_retry_hooks(())  # they would log to standard output
    with SecretStore(mounted(service_account, api_server)) as store:
        if database is not None:
            first_secrets.ensure(store, database_secret, first_secrets.database_keys(database), _say)
        values, fresh = first_secrets.ensure(store, secret, first_secrets.control_plane_keys, _say)
        password = values[ADMIN_PASSWORD].removesuffix("\n").removesuffix("\r")  # as the control plane reads its file
        first_secrets.await_control_plane(found.server, wait, allow_plain_http=found.allow_plain_http, say=_say)
        gateway = GatewayCredential(
            store, gateway_secret, gateway_user, found.server, allow_plain_http=found.allow_plain_http, say=_say
        )
        if rotate_gateway_credential:
            gateway.rotate(password)
        else:
            gateway.ensure(password, check_password=fresh)


def _say(text: str) -> None:
    print(text, flush=True)


def _wrong(flag: str, message: str) -> InvalidInput:
    return InvalidInput(message, errors=[FieldError(flag, message)])
