"""``mcpctl config``: the saved contexts. None of it asks a server."""

from __future__ import annotations

from typing import Any

import rich_click as click

from mcpctl.cli.credentials import read_secret
from mcpctl.cli.flags import complete_contexts, output_flag
from mcpctl.cli.output import print_document
from mcpctl.cli.tables import print_table
from mcpctl.cli.terminal import say
from mcpctl.cli.verbs import CommandGroup
from mcpctl.cli.words import ADDRESS, CONTEXT, PROJECT
from mcpctl.client.contexts import Context, changing, config_path, load
from mcpctl.client.target import check_bearer
from mcpctl.errors import FieldError, InvalidInput, NotFound


@click.group(cls=CommandGroup, short_help="Contexts: which server, whose log-in.")
def config() -> None:
    """Look at and change the saved contexts: which server, which gateway, whose log-in, which project.

    Examples:
      mcpctl config get-contexts
      mcpctl config use-context work
      mcpctl config set-context work --project demo
    """


@config.command("get-contexts", short_help="List them.")
@output_flag("table", "name", "json", "yaml", default="table")
@click.option("--no-headers", is_flag=True, help="Leave out the line of titles.")
def get_contexts(output: str, no_headers: bool) -> None:
    """List the saved contexts. Tokens are never shown.

    Examples:
      mcpctl config get-contexts
      mcpctl config get-contexts -o name
    """
    contexts = load(config_path())
    if output in ("json", "yaml"):
        items = [{"name": name, "current": name == contexts.current} | _shown(one) for name, one in contexts.by_name.items()]
        print_document({"items": items}, output)
    elif output == "name":
        for name in contexts.by_name:
            print(name)
    elif not contexts.by_name:
        say(f"There are no contexts in {contexts.path}; 'mcpctl login --server URL' makes one.")
    else:
        rows = [
            ["*" if name == contexts.current else "", name, one.server, one.user or "-", one.project or "-", one.gateway or "-"]
            for name, one in contexts.by_name.items()
        ]
        print_table(["CURRENT", "NAME", "SERVER", "USER", "PROJECT", "GATEWAY"], rows, headers=not no_headers)


@config.command("current-context", short_help="Print the name of the current one.")
def current_context() -> None:
    """Print the name of the current context.

    Examples:
      mcpctl config current-context
    """
    contexts = load(config_path())
    if contexts.current is None:
        raise NotFound(f"no context is current in {contexts.path}: 'mcpctl config use-context NAME' chooses one")
    print(contexts.current)


@config.command("use-context", short_help="Make another one current.")
@click.argument("name", metavar="NAME", shell_complete=complete_contexts, help="Name of the context.")
def use_context(name: str) -> None:
    """Make another context the current one.

    Examples:
      mcpctl config use-context work
    """
    with changing(config_path()) as contexts:
        contexts.named(name)
        contexts.current = name
    print(f"Now using the context {name}.")


@config.command("set-context", short_help="Make or change one.")
@click.argument("name", type=CONTEXT, metavar="NAME", shell_complete=complete_contexts, help="Name of the context.")
@click.option("--server", type=ADDRESS, metavar="URL", help="The control plane. Another one drops the log-in.")
@click.option("--gateway", type=ADDRESS, metavar="URL", help="The gateway that 'mcplocal' connects to.")
@click.option("--project", type=PROJECT, metavar="NAME", help="What commands mean when no project is given.")
@click.option("--token-file", metavar="FILE", help="Use the raw token in this file, '-' for standard input, as log-in.")
@click.option("--allow-plain-http/--no-plain-http", default=None, help="Send credentials over plain http to this server.")
def set_context(name: str, token_file: str | None, **flags: Any) -> None:
    """Make a context, or change one. What no flag names stays as it is.

    Examples:
      mcpctl config set-context work --server https://mcp.example.com
      mcpctl config set-context work --gateway https://gw.example.com
      mcpctl config set-context ci --server https://mcp.example.com --token-file ci.token
    """
    changes = {key: value for key, value in flags.items() if value is not None}
    if token_file:
        raw = read_secret(token_file, "token_file").strip()
        changes |= {"token": check_bearer(raw, f"what {token_file} holds"), "user": None}
    with changing(config_path()) as contexts:
        before = contexts.by_name.get(name)
        if before is None and "server" not in changes:
            raise InvalidInput(
                f"there is no context {name!r} yet, and a new one needs a server",
                errors=[FieldError("server", "give the address of the control plane")],
            )
        after = before.with_(**changes) if before else Context(**changes)
        contexts.by_name[name] = after
        contexts.current = contexts.current or name
    print(f"context/{name} {'changed' if before else 'created'}")
    if before and before.token and not after.token:
        say(f"It was logged in to {before.server}; that log-in was dropped. Log in again: mcpctl login --context {name}")


@config.command("delete-context", short_help="Forget one.")
@click.argument("name", metavar="NAME", shell_complete=complete_contexts, help="Name of the context.")
def delete_context(name: str) -> None:
    """Forget a context and its log-in. The session itself lives on; 'mcpctl logout' ends it.

    Examples:
      mcpctl config delete-context work
    """
    with changing(config_path()) as contexts:
        contexts.named(name)
        del contexts.by_name[name]
        if contexts.current == name:
            contexts.current = None
            say(f"{name} was the current context; choose another with 'mcpctl config use-context NAME'.")
    print(f"context/{name} deleted")


@config.command("view", short_help="Show the file, without tokens.")
@output_flag("yaml", "json", default="yaml")
def view(output: str) -> None:
    """Show what the file says, without tokens.

    Examples:
      mcpctl config view
      mcpctl config view -o json
    """
    contexts = load(config_path())
    body = {
        "path": str(contexts.path),
        "currentContext": contexts.current,
        "contexts": {name: _shown(one) for name, one in contexts.by_name.items()},
    }
    print_document(body, output)


def _shown(context: Context) -> dict[str, Any]:
    return {member: "REDACTED" if member == "token" else value for member, value in context.as_json().items()}
