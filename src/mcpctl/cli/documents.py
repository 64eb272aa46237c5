"""Things as documents in files: what ``get -o yaml`` prints and ``apply``, ``diff`` and ``edit`` read.

A document is one thing with its ``kind``, or ``kind: list`` with ``items``, each of them one. A file may hold several, between
lines of ``---``. JSON is read as the YAML it is; of YAML only what is plain (``mcpctl.cli.plain_yaml``).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Final

from mcpctl.cli import plain_yaml
from mcpctl.cli.resources import (
    GROUPS,
    KINDS,
    MCPTOKENS,
    PROJECTS,
    PROXYMODELS,
    RBAC,
    SECRETS,
    SERVERS,
    USERS,
    Kind,
    kind_called,
)
from mcpctl.client.http import Json
from mcpctl.errors import InvalidInput

APPLIED: Final = (USERS, GROUPS, SECRETS, PROXYMODELS, SERVERS, PROJECTS, RBAC)
"""What can be applied."""

READ_ONLY: Final = {
    "user": {"id", "groups", "createdAt"},
    "group": {"id", "createdAt"},
    "secret": {"id", "servers", "createdAt", "updatedAt"},
    "proxymodel": {"id", "projects", "servers", "createdAt", "updatedAt"},
    "server": {"id", "projects", "createdAt", "updatedAt"},
    "project": {"id", "createdAt", "updatedAt"},
    "rbac": {"origin", "readOnly"},
}
"""What ``get`` shows and nobody sets: it may stand in a document and says nothing."""

SUFFIXES: Final = (".yaml", ".yml", ".json")
MANY: Final = 3
"""Things with the same thing wrong that are told one by one."""

LONGEST_NUMBER: Final = 1024
"""Bits of a whole number: more than any program keeps of one, and few enough to be written in decimal digits."""


@dataclass(frozen=True, slots=True)
class Document:
    """One thing, where it was read, and as ``POST /apply`` takes it."""

    where: str
    kind: Kind
    item: Json

    @property
    def reference(self) -> str:
        """``user/alice``."""
        return self.kind.reference(self.item)


def as_item(kind: Kind, body: Json) -> Json:
    """What ``get`` answered, or a file says, as the item that makes it so: without what nobody sets and what is not there.

    That a project has no proxy model stays in it: left out, it would keep the one it has.
    """
    empty: tuple[Any, ...] = (None, {}, []) if kind is SERVERS else (None,)
    says_none = {"proxyModel"} if kind is PROJECTS else set()
    read_only = READ_ONLY[kind.singular] | {"kind"}
    return {"kind": kind.singular} | {
        member: value
        for member, value in body.items()
        if member not in read_only and (value not in empty or member in says_none)
    }


def read(places: Sequence[str]) -> list[Document]:
    """The documents in ``places``: files, directories (what ends so as ``SUFFIXES``, right in them), ``-`` for standard input.

    Raises:
        InvalidInput: one line for each thing that cannot be read, with its file, document and line; what is wrong with many,
            once.
    """
    wrong = dict[str, list[str]]()
    found = list[Document]()
    for place in places:
        for source, text in _texts(place):
            for where, body in _things(source, text, wrong):
                try:
                    found.append(_document(where, body))
                except InvalidInput as error:
                    wrong.setdefault(error.detail, []).append(where)
    _refuse(wrong)
    if not found:
        raise InvalidInput(f"there is nothing in {', '.join(places)}")
    return found


def parse(source: str, text: str) -> list[Document]:
    """The documents in one text.

    Raises:
        InvalidInput: as ``read``.
    """
    wrong = dict[str, list[str]]()
    found = [*_things(source, text, wrong)]
    _refuse(wrong)
    return [_document(where, body) for where, body in found]


def read_one(kind: Kind, name: str, place: str) -> Json:
    """The one thing in ``place`` as the item that makes it so; its kind and name may be left out, as they were said already.

    Raises:
        InvalidInput: it cannot be read, or holds something else.
    """
    wrong = dict[str, list[str]]()
    found = [body for source, text in _texts(place) for _, body in _things(source, text, wrong)]
    _refuse(wrong)
    if len(found) != 1 or not isinstance(found[0], dict):
        raise InvalidInput(f"{place} must hold one {kind.singular}, and holds {len(found) or 'nothing'}")
    document = _document(place, {"kind": kind.singular, "name": name} | found[0])
    if (document.kind, document.item["name"]) != (kind, name):
        raise InvalidInput(f"{place} holds {document.reference}, and not {kind.singular}/{name}")
    return document.item


def _refuse(wrong: dict[str, list[str]]) -> None:
    """Go on only if nothing is wrong: ``wrong`` holds what is, each with the places where it is so.

    Raises:
        InvalidInput: as ``read``.
    """
    lines = list[str]()
    for why, places in wrong.items():
        if len(places) > MANY:
            lines.append(f"{places[0]}: {why} (and {len(places) - 1} more like it)")
        else:
            lines += [f"{place}: {why}" for place in places]
    if lines:
        raise InvalidInput("\n".join(lines))


def _texts(place: str) -> Iterator[tuple[str, str]]:
    path = Path(place)
    try:
        if place == "-":
            yield "standard input", sys.stdin.buffer.read().decode("utf-8-sig")
        elif path.is_dir():
            files = sorted(one for one in path.iterdir() if one.suffix in SUFFIXES and one.is_file())
            if not files:
                raise InvalidInput(f"there is no file in {place} that ends in {', '.join(SUFFIXES)}")
            for file in files:
                yield str(file), file.read_bytes().decode("utf-8-sig")
        else:
            yield place, path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InvalidInput(f"{error.filename or place} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{place} cannot be read: it is not UTF-8 text") from None


def _things(source: str, text: str, wrong: dict[str, list[str]]) -> Iterator[tuple[str, Any]]:
    """Each thing in ``text`` and where it stands; what cannot be read is added to ``wrong``."""
    nodes, number = list[Any](), 0
    try:
        for node in plain_yaml.nodes(text):
            nodes.append(node)
            number += 1
        number = 0
        for node, value in zip(nodes, plain_yaml.values(text), strict=True):
            number += 1
            document = f"{source}, document {number}, line "
            if value is None:
                continue
            items = value.get("items") if isinstance(value, dict) and value.get("kind", "list") == "list" else None
            if isinstance(items, list):
                lines = plain_yaml.lines(node)
                yield from ((f"{document}{lines['items', n]}", item) for n, item in enumerate(items))
            else:
                yield f"{document}{node.start_mark.line + 1}", value
    except plain_yaml.UNREADABLE as error:
        line, why = plain_yaml.cause(error)
        wrong.setdefault(why, []).append(f"{source}, document {number + 1}" + (f", line {line}" if line else ""))


def _document(where: str, body: Any) -> Document:
    if not isinstance(body, dict):
        raise InvalidInput("it must be an object with a kind and a name")
    _require_json(body)
    word = body.get("kind")
    if not isinstance(word, str):
        raise InvalidInput(f"it has no kind; that is one of {', '.join(kind.singular for kind in APPLIED)}")
    if word.lower() in (MCPTOKENS.singular, MCPTOKENS.plural, *MCPTOKENS.aliases):
        raise InvalidInput(
            "a token cannot be applied: its secret is shown once, to whoever mints it with 'mcpctl create mcptoken'"
        )
    if any(word.lower() in (kind.singular, kind.plural, *kind.aliases) for kind in KINDS if kind not in APPLIED):
        raise InvalidInput(f"{word} is nothing that can be applied; that is {', '.join(kind.singular for kind in APPLIED)}")
    kind = kind_called(word, APPLIED)
    if kind is SERVERS and "transport" not in body:
        raise InvalidInput("a server has a transport: stdio, with a command, or streamable-http, with a url")
    name = body.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidInput("it has no name" if name is None else "its name must be text")
    return Document(where, kind, as_item(kind, body))


def _require_json(body: Json) -> None:
    """Go on only if all of this can be said in JSON.

    Raises:
        InvalidInput: naming the member.
    """
    ahead: list[tuple[str, Any]] = [("", body)]
    while ahead:
        where, value = ahead.pop()
        if isinstance(value, dict):
            if odd := [key for key in value if not isinstance(key, str)]:
                raise InvalidInput(f"{where or 'it'} has a member that is not text: put {odd[0]} in quotes")
            ahead += [(f"{where}.{key}".lstrip("."), one) for key, one in value.items()]
        elif isinstance(value, list):
            ahead += [(f"{where}.{number}", one) for number, one in enumerate(value)]
        elif isinstance(value, int) and value.bit_length() > LONGEST_NUMBER:
            raise InvalidInput(f"{where}: it is a number of more than {LONGEST_NUMBER} bits: put it in quotes")
        elif isinstance(value, str) and not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value):
            raise InvalidInput(f"{where}: it holds half of a character, a surrogate: write the whole of it")
        elif not isinstance(value, str | int | float | None) or (isinstance(value, float) and not isfinite(value)):
            raise InvalidInput(f"{where}: {value} is a {type(value).__name__}: put it in quotes")
