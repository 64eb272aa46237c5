"""``mcpctl login``, ``logout`` and ``whoami``."""

from __future__ import annotations

import os
from typing import Final
from urllib.parse import urlsplit

import rich_click as click

from mcpctl.cli.ages import until
from mcpctl.cli.connection import control_plane, target
from mcpctl.cli.credentials import password_flags, read_password
from mcpctl.cli.flags import CONTEXT_FLAG, PLAIN_HTTP_FLAG, SERVER_FLAG, connection_flags, output_flag
from mcpctl.cli.output import print_document, print_fields
from mcpctl.cli.terminal import can_ask, printable, say
from mcpctl.cli.verbs import Command
from mcpctl.cli.words import ADDRESS, CONTEXT
from mcpctl.client.address import check_address
from mcpctl.client.contexts import Context, Contexts, changing, config_path, load
from mcpctl.client.http import ControlPlane, path_of
from mcpctl.errors import FieldError, InvalidInput, Unauthenticated

DEFAULT_SERVER: Final = "http://127.0.0.1:8470"
"""Where ``mcpctl server`` and ``mcpctl quickstart`` listen."""


@click.command(cls=Command, short_help="Log in and keep the session.")
@click.option("--server", type=ADDRESS, metavar="URL", help="The control plane; the context's own if left out.")
@click.option("-u", "--username", metavar="NAME", help="Who; asked for if left out.")
@password_flags
@connection_flags
@click.pass_context
def login(
    ctx: click.Context, server: str | None, username: str | None, password: str | None, password_file: str | None
) -> None:
    """Log in and keep the session in a context.

    The password is asked for, or read from a file or from standard input; it is never an argument. --context names the
    context to keep it in; without it that is the one for this server.

    Examples:
      mcpctl login
      mcpctl login --server https://mcp.example.com --context work
      mcpctl login -u alice --password-file alice.txt
    """
    path = config_path()
    saved = load(path)
    server = server or ctx.meta.get(SERVER_FLAG) or _from_environment()
    named = ctx.meta.get(CONTEXT_FLAG) or os.environ.get("MCPCTL_CONTEXT")
    if named:
        CONTEXT.convert(named, None, ctx)
    name = named or context_for(saved, server)
    before = saved.by_name.get(name)
    beside = before or saved.by_name.get(saved.current or "")
    address = server or (beside.server if beside else DEFAULT_SERVER)
    plain = bool(ctx.meta.get(PLAIN_HTTP_FLAG)) or bool(beside and beside.server == address and beside.allow_plain_http)
    with ControlPlane(address, allow_plain_http=plain) as plane:
        user = username or _ask_user(address, before.user if before and before.server == address else None)
        secret = read_password(password_file, password, f"Password of {user} at {address}")
        session = plane.post(path_of("auth", "login"), {"username": user, "password": secret})
    with changing(path) as contexts:
        old = contexts.by_name.get(name) or Context(address)
        contexts.by_name[name] = old.with_(server=address, token=session["token"], user=session["user"], allow_plain_http=plain)
        contexts.current = name
    ends = f"the session ends in {until(session['expiresAt'])}" if session["expiresAt"] else "the session does not end"
    print(printable(f"Logged in to {address} as {session['user']} (context {name}); {ends}."))
    if os.environ.get("MCPCTL_TOKEN"):
        say("warning: MCPCTL_TOKEN is set and is used instead of this log-in")


@click.command(cls=Command, short_help="End the session.")
@connection_flags
def logout() -> None:
    """End the session of the context and forget it.

    Examples:
      mcpctl logout
      mcpctl logout --context work
    """
    found = target()
    if found.token_source == "MCPCTL_TOKEN":  # noqa: S105 — the name of a variable
        raise InvalidInput(
            "MCPCTL_TOKEN is set: that credential is not this program's to end",
            errors=[FieldError("MCPCTL_TOKEN", "unset it, then log out of the context")],
        )
    server, _ = found.require()
    try:
        with control_plane(found) as plane:
            plane.post(path_of("auth", "logout"))
    except Unauthenticated:
        say("The session had ended already.")
    if found.context:
        with changing(config_path()) as contexts:
            if kept := contexts.by_name.get(found.context):
                contexts.by_name[found.context] = kept.with_(token=None)
    print(f"Logged out of {server}.")


@click.command(cls=Command, short_help="Who the control plane takes you for.")
@output_flag("name", "json", "yaml")
@connection_flags
def whoami(output: str | None) -> None:
    """Show who the control plane takes you for, and what is granted to you.

    Examples:
      mcpctl whoami
      mcpctl whoami -o json
    """
    found = target()
    with control_plane(found) as plane:
        me = plane.get(path_of("auth", "whoami"))
    if output == "name":
        print(printable(me["subject"]))
        return
    if output:
        print_document(me, output)
        return
    rows: list[tuple[str, list[str]]] = [("Subject", [me["subject"]])]
    if me["kind"] == "mcptoken":
        rows += [("Token", [f"{me['project']}/{me['tokenName']}"]), ("Owner", [f"User:{me['user']}"])]
    rows += [
        ("Server", [found.server or ""]),
        ("Context", [found.context or "-"]),
        ("Groups", me["groups"] or ["-"]),
        ("Expires", [until(me["expiresAt"])]),
        ("Bindings", me["bindings"] or ["none: nothing is allowed"]),
    ]
    print_fields(rows)


def context_for(saved: Contexts, server: str | None) -> str:
    """The context a log-in to ``server`` belongs to: the current one if it is that server's, else any of that server's,
    else a new one named after the host. Without ``server`` the current one, or ``default``.
    """
    current = saved.by_name.get(saved.current or "")
    if server is None:
        return saved.current if current and saved.current else "default"
    if current and saved.current and current.server == server:
        return saved.current
    same = [name for name, context in sorted(saved.by_name.items()) if context.server == server]
    if same:
        return same[0]
    if not saved.by_name:
        return "default"
    parts = urlsplit(server)
    host = "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in (parts.hostname or "").lower())
    base = f"{host}-{parts.port}" if parts.port else host
    return base.strip(".-")[:63].strip(".-") or "default"


def _ask_user(address: str, known: str | None) -> str:
    if can_ask():
        found: str = click.prompt(f"User name at {address}", default=known, err=True)
        return found
    if known:
        return known
    raise InvalidInput("there is no terminal to ask on", errors=[FieldError("username", "say who logs in")])


def _from_environment() -> str | None:
    chosen = os.environ.get("MCPCTL_SERVER")
    return check_address(chosen, "server in MCPCTL_SERVER") if chosen else None
