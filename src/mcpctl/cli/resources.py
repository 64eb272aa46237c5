"""The kinds of things there are: their names, where they live, how they look. ``get``, ``describe`` and ``delete`` read it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from mcpctl.cli.ages import NONE, ago, moment, until
from mcpctl.client.http import Json, path_of
from mcpctl.errors import InvalidInput, nearest

Show = Literal["table", "wide", "describe"]
Form = Literal["text", "list", "count", "map", "ago", "until", "flag", "ms", "endpoint", "status", "who"]


@dataclass(frozen=True, slots=True)
class Field:
    """One member of an answer as people see it: its title, where it shows, and its form."""

    title: str
    member: str
    form: Form = "text"
    show: Show = "table"
    label: str = ""

    @property
    def described_as(self) -> str:
        """What ``describe`` calls it."""
        return self.label or self.title.capitalize()

    def cell(self, item: Json) -> str:
        """The member as one cell of a table."""
        return _CELLS[self.form](item, item.get(self.member))

    def lines(self, item: Json) -> list[str]:
        """The member in full, one line each, for ``describe``."""
        value = item.get(self.member)
        if self.form in ("list", "count"):
            return [str(one) for one in value or ()] or [NONE]
        if self.form == "map":
            return [f"{key}={shown_value(one)}" for key, one in (value or {}).items() if one is not None] or [NONE]
        if self.form in ("ago", "until") and (then := moment(value)):
            said = until(value) if self.form == "until" else ago(value) + " ago"
            return [
                f"{then.isoformat(timespec='seconds')} ({'in ' + said if self.form == 'until' and said != 'expired' else said})"
            ]
        return [self.cell(item)]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of thing.

    Attributes:
        plural: as in ``get users`` and in the path.
        singular: as in ``create user`` and ``user/alice``.
        fields: what is shown of it, in order.
        aliases: other words for it.
        identity: the member that names it in a path.
        in_project: its names are unique only within a project (tokens).
        described: ``describe`` knows it, since there is a route for one of it.
        deleted: ``delete`` knows it.
        goes_with_it: what else is gone when one is deleted.
        many: several of them in a sentence, where that is not the plural.
    """

    plural: str
    singular: str
    fields: tuple[Field, ...]
    aliases: tuple[str, ...] = ()
    identity: str = "name"
    in_project: bool = False
    described: bool = True
    deleted: bool = True
    goes_with_it: str = ""
    many: str = ""

    @property
    def in_words(self) -> str:
        """Several of them, in a sentence."""
        return self.many or self.plural

    @property
    def collection(self) -> str:
        """Path of the list."""
        return path_of(self.plural)

    def path(self, name: str, *more: str) -> str:
        """Path of the one called ``name``, or below it."""
        if self.plural == "instances":
            return path_of(self.plural, *name.split("/", 1), *more)
        return path_of(self.plural, name, *more)

    def name_of(self, item: Json) -> str:
        """The full name of ``item``, as ``KIND/NAME`` and every argument take it."""
        name = str(item.get(self.identity, ""))
        return f"{item.get('project')}/{name}" if self.in_project else name

    def reference(self, item: Json) -> str:
        """``user/alice``: the form ``-o name`` prints and every command takes back."""
        return f"{self.singular}/{self.name_of(item)}"

    def columns(self, *, wide: bool) -> tuple[Field, ...]:
        """The fields a table shows."""
        return tuple(one for one in self.fields if one.show == "table" or (wide and one.show == "wide"))


def shown_value(value: object) -> str:
    """A header's or variable's value; a secret shows as the reference it is."""
    if isinstance(value, dict) and value.keys() == {"secret", "key"}:
        return f"secret:{value['secret']}/{value['key']}"
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _text(_item: Json, value: Any) -> str:
    return NONE if value is None or value == "" else str(value)


def _list(_item: Json, value: Any) -> str:
    return ",".join(str(one) for one in value or ()) or NONE


def _bindings(_item: Json, value: Any) -> str:
    return "; ".join(str(one) for one in value or ()) or NONE


def _map(_item: Json, value: Any) -> str:
    return ",".join(f"{key}={shown_value(one)}" for key, one in (value or {}).items() if one is not None) or NONE


def _endpoint(item: Json, _value: Any) -> str:
    import shlex

    return str(item.get("url") or shlex.join([str(item.get("command") or ""), *map(str, item.get("args") or ())]))


def _status(item: Json, _value: Any) -> str:
    return "disabled" if item.get("disabled") else "enabled"


def _who(item: Json, _value: Any) -> str:
    if item.get("tokenName"):
        return f"{item.get('user') or '?'} by token {item['tokenName']}"
    return str(item.get("user") or item.get("subject") or NONE)


_CELLS: Final[dict[Form, Callable[[Json, Any], str]]] = {
    "text": _text,
    "list": lambda item, value: _bindings(item, value) if any("," in str(one) for one in value or ()) else _list(item, value),
    "count": lambda _item, value: str(len(value or ())),
    "map": _map,
    "ago": lambda _item, value: ago(value),
    "until": lambda _item, value: until(value),
    "flag": lambda _item, value: "yes" if value else "no",
    "ms": lambda _item, value: NONE if value is None else f"{float(value):.0f}ms",
    "endpoint": _endpoint,
    "status": _status,
    "who": _who,
}

_AGE = Field("AGE", "createdAt", "ago", label="Created")
_ID = Field("ID", "id", show="wide", label="ID")

USERS: Final = Kind(
    "users",
    "user",
    (
        Field("NAME", "name"),
        Field("STATUS", "disabled", "status"),
        Field("SERVICE", "service", "flag"),
        Field("GROUPS", "groups", "list"),
        _AGE,
        _ID,
    ),
    goes_with_it="its sessions, its tokens and all that was granted to it",
)
GROUPS: Final = Kind(
    "groups",
    "group",
    (Field("NAME", "name"), Field("MEMBERS", "members", "count"), _AGE, Field("NAMES", "members", "list", "wide"), _ID),
    goes_with_it="all that was granted to it",
)
SESSIONS: Final = Kind(
    "sessions",
    "session",
    (
        Field("ID", "id"),
        Field("USER", "user"),
        _AGE,
        Field("EXPIRES", "expiresAt", "until"),
        Field("LAST USED", "lastUsedAt", "ago"),
    ),
    identity="id",
    described=False,
)
PROJECTS: Final = Kind(
    "projects",
    "project",
    (
        Field("NAME", "name"),
        Field("SERVERS", "servers", "list"),
        Field("TOOL NAMES", "toolNames"),
        Field("PROXY MODEL", "proxyModel"),
        _AGE,
        _ID,
        Field("UPDATED", "updatedAt", "ago", "describe"),
    ),
    goes_with_it="its tokens",
)
SERVERS: Final = Kind(
    "servers",
    "server",
    (
        Field("NAME", "name"),
        Field("TRANSPORT", "transport"),
        Field("ENDPOINT", "url", "endpoint"),
        Field("PROJECTS", "projects", "list"),
        _AGE,
        Field("HEADERS", "headers", "map", "wide"),
        Field("ENV", "env", "map", "wide"),
        Field("PROXY MODEL", "proxyModel", "text", "wide"),
        Field("STATEFUL", "stateful", "flag", "wide"),
        Field("HEALTH CHECK", "healthCheck", "map", "describe"),
        _ID,
        Field("UPDATED", "updatedAt", "ago", "describe"),
    ),
)
SECRETS: Final = Kind(
    "secrets",
    "secret",
    (
        Field("NAME", "name"),
        Field("KEYS", "keys", "list"),
        Field("SERVERS", "servers", "list"),
        _AGE,
        _ID,
        Field("UPDATED", "updatedAt", "ago", "describe"),
    ),
)
INSTANCES: Final = Kind(
    "instances",
    "instance",
    (
        Field("NAME", "name"),
        Field("STATUS", "status"),
        Field("TOOLS", "tools"),
        Field("LATENCY", "latencyMs", "ms"),
        Field("PROBED", "at", "ago"),
        Field("DETAIL", "detail", "text", "wide"),
    ),
    deleted=False,
)
RBAC: Final = Kind(
    "rbac",
    "rbac",
    (
        Field("NAME", "name"),
        Field("SUBJECTS", "subjects", "list"),
        Field("ROLE BINDINGS", "roleBindings", "list"),
        Field("ORIGIN", "origin", "text", "wide"),
        Field("READ-ONLY", "readOnly", "flag", "wide"),
    ),
    goes_with_it="what it grants, and what it denies",
    many="RBAC definitions",
)
MCPTOKENS: Final = Kind(
    "mcptokens",
    "mcptoken",
    (
        Field("NAME", "name"),
        Field("PROJECT", "project"),
        Field("OWNER", "owner"),
        Field("STATUS", "status"),
        Field("EXPIRES", "expiresAt", "until"),
        Field("LAST USED", "lastUsedAt", "ago"),
        _AGE,
        Field("RBAC", "rbacMode", "text", "wide", "RBAC mode"),
        Field("BINDINGS", "bindings", "list", "wide"),
        Field("DESCRIPTION", "description", "text", "wide"),
        Field("REVOKED", "revokedAt", "ago", "describe"),
        _ID,
        Field("SHA-256", "tokenSha", "text", "describe", "SHA-256"),
    ),
    aliases=("token", "tokens"),
    in_project=True,
    goes_with_it="its policy; its row in the list too, which 'revoke' would keep",
)
AUDIT: Final = Kind(
    "audit",
    "audit",
    (
        Field("AT", "at"),
        Field("WHO", "user", "who"),
        Field("ACTION", "action"),
        Field("RESOURCE", "resource"),
        Field("NAME", "name"),
        Field("ALLOWED", "allowed", "flag"),
        Field("OUTCOME", "outcome"),
        Field("PROJECT", "project", "text", "wide"),
        Field("TOOL", "tool", "text", "wide"),
        Field("RULE", "rule", "text", "wide"),
        Field("ORIGIN", "origin", "text", "wide"),
        Field("SOURCE", "source", "text", "wide"),
        Field("TOOK", "durationMs", "ms", "wide"),
    ),
    identity="id",
    described=False,
    deleted=False,
    many="audit rows",
)

KINDS: Final = (USERS, GROUPS, SESSIONS, PROJECTS, SERVERS, SECRETS, INSTANCES, RBAC, MCPTOKENS, AUDIT)

_BY_WORD: Final = {word: kind for kind in KINDS for word in (kind.plural, kind.singular, *kind.aliases)}


def kind_called(word: str, among: Sequence[Kind] = KINDS) -> Kind:
    """The kind ``word`` means, singular, plural or alias.

    Raises:
        InvalidInput: it means none of ``among``; the sentence names the nearest, or all.
    """
    found = _BY_WORD.get(word.lower())
    if found in among and found is not None:
        return found
    close = nearest(word, [one for one, kind in _BY_WORD.items() if kind in among])
    valid = ", ".join(kind.plural for kind in among)
    raise InvalidInput(
        f"{word!r} is not a kind of thing here; " + (f"did you mean {close!r}?" if close else f"it is one of {valid}")
    )


def targets(words: Sequence[str], among: Sequence[Kind] = KINDS) -> Iterator[tuple[Kind, str | None]]:
    """What the arguments ``KIND [NAME…]``, ``KIND,KIND`` or ``KIND/NAME…`` mean, each with its name or ``None`` for all.

    Raises:
        InvalidInput: a kind is not known, or the two forms are mixed.
    """
    if "/" in words[0]:
        for word in words:
            kind, slash, name = word.partition("/")
            if not slash or not name:
                raise InvalidInput(f"{word!r} has no kind: after a KIND/NAME every argument is one")
            yield kind_called(kind, among), name
        return
    kinds = [kind_called(word, among) for word in words[0].split(",")]
    if len(words) == 1:
        yield from ((kind, None) for kind in kinds)
    elif len(kinds) > 1:
        raise InvalidInput("names go with one kind: leave out the names, or write KIND/NAME for each")
    else:
        yield from ((kinds[0], name) for name in words[1:])
