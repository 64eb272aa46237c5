"""What ``mcpctl test mcp`` is told, from flags, a file for CI, and the environment, in this order."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from click import get_current_context

from mcpctl.cli.credentials import read_secret
from mcpctl.cli.endpoint_words import (
    arguments_of_call,
    endpoint_address,
    load_of,
    query_secrets,
    texts,
    timeout_of,
    wrong,
)
from mcpctl.cli.flags import PLAIN_HTTP_FLAG
from mcpctl.cli.project_tokens import granted
from mcpctl.client.address import is_plain
from mcpctl.client.target import check_bearer
from mcpctl.endpoint_test.catalog import chosen
from mcpctl.endpoint_test.check import Check
from mcpctl.endpoint_test.options import ERAS, Load, Options
from mcpctl.errors import nearest

TOKEN_VARIABLE: Final = "MCPCTL_TEST_TOKEN"  # noqa: S105 - a name
LARGEST_FILE: Final = 1 << 20
OUTPUTS: Final = ("table", "json", "junit", "sarif")

_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "url": (str,),
    "project": (str,),
    "token-file": (str,),
    "second-token-file": (str,),
    "refused-token-files": (list,),
    "headers": (dict,),
    "era": (str,),
    "calls": (dict,),
    "only": (list,),
    "skip": (list,),
    "timeout": (int, float),
    "load": (str,),
    "strict": (bool,),
    "insecure": (bool,),
    "verbose": (bool,),
    "output": (str,),
}
"""What a file may say, and of which type."""


@dataclass(frozen=True, slots=True)
class Given:
    """One run, as it was asked for."""

    options: Options
    checks: tuple[Check, ...]
    output: str
    strict: bool
    verbose: bool


@contextmanager
def gathered(flags: Mapping[str, Any]) -> Iterator[Given]:
    """All that was given; tokens that were made for the run are gone when the block ends.

    Raises:
        InvalidInput: something is missing, or is not what it should be.
        Problem: the control plane did not make the tokens of ``--project``.
    """
    file = read_file(flags["config_file"]) if flags["config_file"] else {}

    def value(flag: str, member: str = "", default: Any = None) -> Any:
        given = flags[flag]
        return given if given not in (None, (), "") else file.get(member or flag.replace("_", "-"), default)

    checks = chosen(texts(value("only", default=()), "only"), texts(value("skip", default=()), "skip"))
    headers = [_header(text) for text in flags["headers"]] or [_checked(*pair) for pair in file.get("headers", {}).items()]
    load = value("load")
    in_file = {str(tool): arguments_of_call(str(tool), given) for tool, given in file.get("calls", {}).items()}
    calls: dict[str, Mapping[str, Any]] = dict(flags["calls"]) or {**in_file}
    with ExitStack() as stack:
        url, token, grants = value("url"), _token(value("token_file"), flags["token_source"]), None
        if project := value("project"):
            if token is not None and flags["token_file"]:
                raise wrong("token-file", "--project makes its own tokens: leave --token-file out")
            url, token, grants = stack.enter_context(granted(project, url, other_origin=bool(flags["other_origin"])))
        if url is None:
            raise wrong("url", "which endpoint? Give a URL, or -p PROJECT, or --config FILE that names one")
        endpoint_address(url)
        _stays_private(url, token is not None or bool(headers))
        options = Options(
            url,
            token,
            _secret_file(value("second_token_file"), "second_token_file"),
            tuple(
                one
                for source in texts(value("refused_token_files", default=()), "refused-token-files")
                if (one := _secret_file(source, "refused_token_files"))
            ),
            tuple(headers),
            _one_of(value("era", default="auto"), ERAS, "era"),
            calls,
            timeout=timeout_of(value("timeout", default=10.0)),
            verify=not value("insecure"),
            load=None if load is None else Load(*(load if isinstance(load, tuple) else load_of(load))),
            grants=grants,
            hidden=query_secrets(url),
        )
        output = _one_of(value("output", default="table"), OUTPUTS, "output")
        yield Given(options, checks, output, bool(value("strict")), bool(value("verbose")))


def read_file(path: str) -> dict[str, Any]:
    """What a file says: TOML, or YAML if its name ends in ``.yaml`` or ``.yml``.

    Raises:
        InvalidInput: it cannot be read, or says what no option means.
    """
    try:
        with Path(path).open("rb") as opened:
            raw = opened.read(LARGEST_FILE)
        if path.endswith((".yaml", ".yml")):
            from ruamel.yaml import YAML
            from ruamel.yaml.error import YAMLError

            try:
                found = YAML(typ="safe", pure=True).load(raw.decode()) or {}
            except YAMLError as error:
                raise wrong("config", f"{path} is not YAML: {str(error)[:300]}") from None
        else:
            found = tomllib.loads(raw.decode())
    except OSError as error:
        raise wrong("config", f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise wrong("config", f"{path} is not TOML: {error}") from None
    if not isinstance(found, dict):
        raise wrong("config", f"{path} holds no options")
    for member, said in found.items():
        if member not in _KINDS:
            close = nearest(str(member), list(_KINDS))
            raise wrong("config", f"{path}: {member!r} is no option" + (f"; did you mean {close!r}?" if close else ""))
        if not isinstance(said, _KINDS[member]) or (isinstance(said, bool) and bool not in _KINDS[member]):
            wanted = " or ".join(kind.__name__ for kind in _KINDS[member])
            raise wrong("config", f"{path}: {member} is {said!r:.60}, and should be of type {wanted}")
    return found


def _token(token_file: str | None, source: str | None) -> str | None:
    if source not in (None, "-"):
        raise wrong(
            "token", "a token on the command line can be read by others: use --token-file FILE, or - for standard input"
        )
    if found := "-" if source else token_file:
        return check_bearer(read_secret(found, "token_file"), "the token")
    found = os.environ.get(TOKEN_VARIABLE, "").strip()
    return check_bearer(found, TOKEN_VARIABLE) if found else None


def _secret_file(path: str | None, flag: str) -> str | None:
    return check_bearer(read_secret(path, flag), f"what stands in {path}") if path else None


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise wrong("header", f"{text!r:.60} is no header: write 'NAME: VALUE' or 'NAME: env:VARIABLE'")
    return _checked(name, value)


def _checked(name: object, value: object) -> tuple[str, str]:
    key, text = str(name).strip(), str(value).strip()
    if text.startswith("env:"):
        text = os.environ.get(text.removeprefix("env:"), "")
        if not text:
            raise wrong("header", f"the variable that holds {key} is not set")
    if not key or not all(one.isalnum() or one in "!#$%&'*+-.^_`|~" for one in key) or not key.isascii():
        raise wrong("header", f"{key!r:.60} is not a header's name")
    if not text.isprintable() or not text.isascii():
        raise wrong("header", f"the value of {key} is not printable ASCII")
    if key.lower() in ("host", "content-length", "transfer-encoding", "connection", "content-type", "accept"):
        raise wrong("header", f"{key} is set by the checks themselves")
    return key, text


def _one_of(word: str, words: tuple[Any, ...], member: str) -> Any:
    if word in words:
        return word
    raise wrong(member, f"{member} is one of {', '.join(words)}, not {word!r:.40}")


def _stays_private(url: str, has_secret: bool) -> None:
    if has_secret and is_plain(url) and not get_current_context().meta.get(PLAIN_HTTP_FLAG):
        raise wrong(
            "url",
            f"{url.partition('?')[0]} is plain http to another machine, where the token can be read on its way: use https://, "
            "or add --allow-plain-http if that network is yours",
        )
