"""Secrets on their way in and out: passwords are read, never taken from the command line; a raw token is written once."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import rich_click as click

from mcpctl.cli.output import print_document
from mcpctl.cli.terminal import can_ask, is_terminal
from mcpctl.client.http import Json
from mcpctl.errors import FieldError, InvalidInput

Made = TypeVar("Made", bound=Callable[..., Any])

LARGEST_SECRET = 65_536
"""Bytes; more than that is some other file."""


def password_flags(function: Made) -> Made:
    """``--password-file F``, and ``--password -`` for standard input."""

    def check(_ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
        if value not in (None, "-"):
            raise click.BadParameter(
                "a password on the command line can be read by others: use --password-file FILE, or - for standard input",
                param=param,
            )
        return value

    stdin = click.option("--password", callback=check, metavar="-", help="'-' reads the password from standard input.")
    file = click.option("--password-file", metavar="FILE", help="Read the password from this file; '-' is standard input.")
    return file(stdin(function))


def read_password(
    password_file: str | None, password: str | None, prompt: str, *, again: bool = False, flag: str = "password_file"
) -> str:
    """The password from where the flags say, else asked for on the terminal.

    Args:
        password_file: value of ``--password-file``.
        password: value of ``--password``, which is ``-`` or nothing.
        prompt: what to ask for on a terminal.
        again: ask twice, as for a new password.
        flag: the parameter that ``password_file`` came from.

    Raises:
        InvalidInput: there is no password and nobody to ask.
    """
    if password_file or password:
        return read_secret(password_file or "-", flag)
    if not can_ask():
        raise InvalidInput(
            "there is no terminal to ask for the password on",
            errors=[FieldError(flag, "name a file that holds it, or - for standard input")],
        )
    return ask_password(prompt, again=again)


def ask_password(prompt: str, *, again: bool = False) -> str:
    """A password typed without being shown. ``again`` asks twice until both agree."""
    while True:
        found = getpass.getpass(f"{prompt}: ", stream=sys.stderr)
        if not found:
            continue
        if not again or getpass.getpass("Again: ", stream=sys.stderr) == found:
            return found
        print("These differ; once more.", file=sys.stderr)


def read_secret(source: str, flag: str) -> str:
    """The secret in the file ``source``, or on standard input for ``-``, without the line end that follows it.

    Raises:
        InvalidInput: it cannot be read, is empty, or is no text of a secret's size.
    """
    if source == "-" and is_terminal(sys.stdin):
        return ask_password("Secret")
    where = "standard input" if source == "-" else source
    try:
        raw = sys.stdin.buffer.read(LARGEST_SECRET + 1) if source == "-" else _read_file(Path(source))
        text = raw.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise _refuse(flag, f"{where} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _refuse(flag, f"{where} is not UTF-8 text") from None
    if not text:
        raise _refuse(flag, f"{where} is empty")
    if len(raw) > LARGEST_SECRET:
        raise _refuse(flag, f"{where} is longer than {LARGEST_SECRET} bytes: is that the right file?")
    return text


def raw_token_flags(function: Made) -> Made:
    """``-o token|json|yaml|name`` and ``--save-token FILE``: how a secret that is shown once leaves."""
    from mcpctl.cli.flags import output_flag

    save = click.option(
        "--save-token",
        metavar="FILE",
        help="Write the raw token to this new file, mode 0600, instead of printing it.",
    )
    output = output_flag(
        "token",
        "json",
        "yaml",
        "name",
        default="token",
        help="What standard output gets: the raw token, the whole answer with it, or (with --save-token) the name.",
    )
    return output(save(function))


@contextmanager
def token_destination(output: str, save_token: str | None) -> Iterator[Callable[[Json, str], None]]:
    """Make sure that a raw token can be delivered before it is made; gives the function that delivers it.

    That function takes the answer, whose member ``token`` is the raw one, and the reference of what was made.

    Raises:
        InvalidInput: the token would be lost, or the file cannot be created.
    """
    if output == "name" and save_token is None:
        raise InvalidInput(
            "the raw token is shown this once, and -o name would lose it",
            errors=[FieldError("output", "use -o token or -o json, or add --save-token FILE", "token")],
        )
    if save_token is None:
        yield lambda answer, reference: _deliver(answer, reference, output, None)
        return
    path = Path(save_token)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise _refuse("save_token", f"{path} exists and is not overwritten; choose another file") from None
    except OSError as error:
        raise _refuse("save_token", f"{path} cannot be created: {error.strerror}") from None
    with os.fdopen(handle, "w") as file:
        try:
            yield lambda answer, reference: _deliver(answer, reference, output, file)
        finally:
            if file.tell() == 0:
                path.unlink(missing_ok=True)


def delivered(save_token: str | None) -> str:
    """What became of a raw token, after its subject."""
    return f"is in {save_token} and is shown nowhere" if save_token else "is shown this once"


def _deliver(answer: Json, reference: str, output: str, file: IO[str] | None) -> None:
    shown = answer
    if file is not None:
        file.write(answer["token"] + "\n")
        file.flush()
        shown = {member: value for member, value in answer.items() if member != "token"}
    if output in ("json", "yaml"):
        print_document(shown, output)
    elif file is not None:
        print(reference)
    else:
        print(answer["token"])
    sys.stdout.flush()


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST_SECRET + 1)


def _refuse(flag: str, message: str) -> InvalidInput:
    return InvalidInput(message, errors=[FieldError(flag, message)])
