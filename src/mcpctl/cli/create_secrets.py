"""``mcpctl create|edit|set secret``. Values come from files, standard input or variables, never as arguments."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import rich_click as click

from mcpctl.cli.connection import control_plane
from mcpctl.cli.credentials import read_secret
from mcpctl.cli.flags import connection_flags, output_flag
from mcpctl.cli.output import print_done
from mcpctl.cli.resources import SECRETS
from mcpctl.cli.verbs import Command
from mcpctl.cli.words import NAME
from mcpctl.errors import FieldError, InvalidInput

Made = TypeVar("Made", bound=Callable[..., Any])


def _value_flags(function: Made) -> Made:
    for flag in (
        click.option(
            "--from-env", "variables", multiple=True, metavar="KEY=VARIABLE", help="A value in this variable; may be repeated."
        ),
        click.option(
            "--from-file",
            "files",
            multiple=True,
            metavar="KEY=FILE",
            help="A value in this file, - is standard input; may be repeated.",
        ),
    ):
        function = flag(function)
    return function


@click.command("secret", cls=Command, short_help="Values that servers use and nobody reads back.")
@click.argument("name", type=NAME, metavar="NAME", help="Name of the secret.")
@_value_flags
@output_flag("name", "json", "yaml")
@connection_flags
def create_secret(name: str, files: tuple[str, ...], variables: tuple[str, ...], output: str | None) -> None:
    """Keep a secret: one or more values, each under a key. A server names one as KEY=secret:NAME/KEY.

    Examples:
      mcpctl create secret github --from-file bearer=github.token
      pass show github | mcpctl create secret github --from-file bearer=-
      mcpctl create secret github --from-env bearer=GITHUB_TOKEN
    """
    with control_plane() as plane:
        made = plane.post(SECRETS.collection, {"name": name, "values": _values(files, variables)})
    print_done(SECRETS, made, "created", output)


def _changing(verb: str) -> click.Command:
    @click.command(
        "secret",
        cls=Command,
        short_help="Some of a secret's values.",
        help=f"""Set the values named, and leave the others as they are. Gateways use the new values at once.

    Examples:
      mcpctl {verb} secret github --from-file bearer=github.token
      mcpctl {verb} secret github --from-env bearer=GITHUB_TOKEN --remove old-bearer
    """,
    )
    @click.argument("name", type=NAME, metavar="NAME", help="Name of the secret.")
    @_value_flags
    @click.option("--remove", "gone", multiple=True, metavar="KEY", help="Forget the value of this key; may be repeated.")
    @output_flag("name", "json", "yaml")
    @connection_flags
    def command(
        name: str, files: tuple[str, ...], variables: tuple[str, ...], gone: tuple[str, ...], output: str | None
    ) -> None:
        _change(name, files, variables, gone, output)

    return command


edit_secret, set_secret = _changing("edit"), _changing("set")


def _change(name: str, files: tuple[str, ...], variables: tuple[str, ...], gone: tuple[str, ...], output: str | None) -> None:
    values: dict[str, str | None] = dict(_values(files, variables, needed=not gone))
    if twice := sorted({*gone} & values.keys()):
        _refuse("gone", f"the key {twice[0]!r} is set and removed")
    with control_plane() as plane:
        made = plane.patch(SECRETS.path(name), {"values": values | dict.fromkeys(gone)})
    print_done(SECRETS, made, "changed", output)


def _values(files: tuple[str, ...], variables: tuple[str, ...], *, needed: bool = True) -> dict[str, str]:
    values: dict[str, str] = {}
    if sum(word.endswith("=-") for word in files) > 1:
        _refuse("files", "only one value can come from standard input")
    for flag, words in (("files", files), ("variables", variables)):
        for word in words:
            key, equals, source = word.partition("=")
            if not key or not equals or not source:
                _refuse(flag, f"{word!r} is not KEY={'FILE' if flag == 'files' else 'VARIABLE'}")
            if key in values:
                _refuse(flag, f"the key {key!r} stands there twice")
            if flag == "files":
                values[key] = read_secret(source, flag)
            elif not os.environ.get(source):
                _refuse(flag, f"the variable {source!r} is not set, or empty")
            else:
                values[key] = os.environ[source]
    if needed and not values:
        _refuse("files", "a secret needs a value: --from-file KEY=FILE, or --from-env KEY=VARIABLE")
    return values


def _refuse(field: str, message: str) -> None:
    raise InvalidInput(message, errors=[FieldError(field, message)])
