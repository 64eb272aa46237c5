"""The kinds of things there are: their names, where they live, how they look. ``get``, ``describe`` and ``delete`` read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mcpctl.cli.ages import NONE, ago, in_utc, moment, until
from mcpctl.cli.cells import CELLS, Form, cache_lines, shown_value, stage_lines
from mcpctl.client.http import Json, path_of
from mcpctl.errors import InvalidInput, InvalidName, nearest
from mcpctl.policy.names import check_name, check_server_name, check_user_name
from mcpctl.policy.vocabulary import shown

Show = Literal["table", "narrow", "wide", "describe"]
"""From where on a field shows: in every table; in the narrow one only, as the wide one says more; in the wide one; at last."""


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
        return CELLS[self.form](item, item.get(self.member))

    def lines(self, item: Json) -> list[str]:
        """The member in full, one line each, for ``describe``."""
        value = item.get(self.member)
        if self.form in ("list", "count"):
            return [str(one) for one in value or ()] or [NONE]
        if self.form in ("stages", "cache"):
            return stage_lines(value) if self.form == "stages" else cache_lines(value)
        if self.form == "map":
            return [f"{key}={shown_value(one)}" for key, one in (value or {}).items() if one is not None] or [NONE]
        if self.form in ("ago", "until") and (then := moment(value)):
            said = until(value) if self.form == "until" else ago(value) + " ago"
            return [f"{in_utc(then)} ({'in ' + said if self.form == 'until' and said != 'expired' else said})"]
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
        check: refuses what cannot be a name of it.
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
    check: Callable[[str], object] = check_name
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
        """Path of the one called ``name``, or below it.

        Raises:
            InvalidName: nothing of this kind can be called so.
        """
        self.refuse(name)
        if self.plural == "instances":
            return path_of(self.plural, *name.split("/", 1), *more)
        return path_of(self.plural, name, *more)

    def refuse(self, name: str) -> None:
        """Go on only if something of this kind can have this name or id: a server's router need not judge that.

        Raises:
            InvalidName: naming the rule.
        """
        if is_id(name):
            return
        try:
            self.check(name)
        except InvalidName as error:
            other = "/" in name and name.partition("/")[0].lower() in _BY_WORD
            raise InvalidName(error.detail + ("; to name several kinds, write KIND/NAME for each" if other else "")) from None

    def name_of(self, item: Json) -> str:
        """The full name of ``item``, as ``KIND/NAME`` and every argument take it."""
        name = str(item.get(self.identity, ""))
        return f"{item.get('project')}/{name}" if self.in_project else name

    def reference(self, item: Json) -> str:
        """``user/alice``: the form ``-o name`` prints and every command takes back."""
        return f"{self.singular}/{self.name_of(item)}"

    def in_full(self) -> list[Field]:
        """The fields as ``describe`` shows them: what the thing is, then since when, then its ids."""
        once: dict[str, Field] = {}
        for one in self.fields:
            if one.show != "narrow":
                once.setdefault(one.member, one)
        return sorted(once.values(), key=lambda one: _LAST.get(one.member, 0))

    def columns(self, *, wide: bool) -> tuple[Field, ...]:
        """The fields a table shows."""
        return tuple(one for one in self.fields if one.show in ("table", "wide" if wide else "narrow"))


_LAST: Final = {"createdAt": 1, "updatedAt": 2, "id": 3, "tokenSha": 4}


def is_id(text: str) -> bool:
    """Whether this is an id: a ULID, which in upper case no name can be."""
    return len(text) == 26 and text.isascii() and text.isalnum() and text.upper() == text


def _an_instance(text: str) -> None:
    server, slash, gateway = text.partition("/")
    if not slash:
        raise InvalidName(
            f"{shown(text)} cannot be the name of an instance: that is SERVER/GATEWAY; 'mcpctl get instances' lists them"
        )
    check_server_name(server)
    check_name(gateway, "gateway name")


def _a_session(text: str) -> None:
    raise InvalidName(f"{shown(text)} cannot be the id of a session; 'mcpctl get sessions' lists them")


def _a_token(text: str) -> None:
    *project, name = text.split("/", 1)
    for one in project:
        check_name(one, "project name")
    check_name(name, "token name")


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
    goes_with_it="its sessions, its tokens and all that was granted or denied to it",
    check=check_user_name,
)
GROUPS: Final = Kind(
    "groups",
    "group",
    (Field("NAME", "name"), Field("MEMBERS", "members", "count"), _AGE, Field("NAMES", "members", "list", "wide"), _ID),
    goes_with_it="all that was granted or denied to it",
    check=lambda text: check_name(text, "group name"),
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
    check=_a_session,
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
        Field("UPDATED", "updatedAt", "ago", "describe"),
        _ID,
    ),
    goes_with_it="its tokens",
    check=lambda text: check_name(text, "project name"),
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
        Field("UPDATED", "updatedAt", "ago", "describe"),
        _ID,
    ),
    check=check_server_name,
)
PROXYMODELS: Final = Kind(
    "proxymodels",
    "proxymodel",
    (
        Field("NAME", "name"),
        Field("STAGES", "stages", "stages"),
        Field("CACHE", "cache", "cache"),
        Field("PROJECTS", "projects", "list"),
        Field("SERVERS", "servers", "list"),
        _AGE,
        Field("DESCRIPTION", "description", "text", "wide"),
        Field("UPDATED", "updatedAt", "ago", "describe"),
        _ID,
    ),
    many="proxy models",
    check=lambda text: check_name(text, "proxy model"),
)
SECRETS: Final = Kind(
    "secrets",
    "secret",
    (
        Field("NAME", "name"),
        Field("KEYS", "keys", "list"),
        Field("SERVERS", "servers", "list"),
        _AGE,
        Field("UPDATED", "updatedAt", "ago", "describe"),
        _ID,
    ),
    check=lambda text: check_name(text, "secret name"),
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
    check=_an_instance,
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
    check=lambda text: check_name(text, "name of a definition"),
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
    check=_a_token,
)
AUDIT: Final = Kind(
    "audit",
    "audit",
    (
        Field("AT", "at", "moment", "narrow"),
        Field("AT", "at", show="wide"),
        Field("WHO", "user", "who"),
        Field("WHAT", "name", "what", "narrow"),
        Field("ACTION", "action", show="wide"),
        Field("RESOURCE", "resource", show="wide"),
        Field("NAME", "name", show="wide"),
        Field("DECISION", "outcome", "decision"),
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

KINDS: Final = (USERS, GROUPS, SESSIONS, PROJECTS, SERVERS, PROXYMODELS, SECRETS, INSTANCES, RBAC, MCPTOKENS, AUDIT)

_BY_WORD: Final = {word: kind for kind in KINDS for word in (kind.plural, kind.singular, *kind.aliases)}


def kind_called(word: str, among: Sequence[Kind] = KINDS) -> Kind:
    """The kind ``word`` means, singular, plural or alias.

    Raises:
        InvalidInput: it means none of ``among``; the sentence names the nearest, or all.
    """
    found = _BY_WORD.get(word.lower())
    if found in among and found is not None:
        return found
    words = [one for one, kind in _BY_WORD.items() if kind in among]
    close = nearest(word, words)
    # Both are right; the plural is what every text says.
    close = _BY_WORD[close].plural if close and close == _BY_WORD[close].singular and word.lower().startswith(close) else close
    valid = ", ".join(kind.plural for kind in among)
    raise InvalidInput(
        f"{word!r} is not a kind of thing here; " + (f"did you mean {close!r}?" if close else f"it is one of {valid}")
    )


def targets(words: Sequence[str], among: Sequence[Kind] = KINDS) -> Iterator[tuple[Kind, str | None]]:
    """What the arguments ``KIND [NAME…]``, ``KIND,KIND`` or ``KIND/NAME…`` mean, each with its name or ``None`` for all.

    Raises:
        InvalidInput: a kind is not known, a name cannot be one of that kind, or the two forms are mixed.
    """
    if "/" in words[0]:
        for word in words:
            kind, slash, name = word.partition("/")
            if not slash or not name:
                raise InvalidInput(f"{word!r} has no kind: after a KIND/NAME every argument is one")
            found = kind_called(kind, among)
            found.refuse(name)
            yield found, name
        return
    kinds = [kind_called(word, among) for word in words[0].split(",")]
    if len(words) == 1:
        yield from ((kind, None) for kind in kinds)
    elif len(kinds) > 1:
        raise InvalidInput("names go with one kind: leave out the names, or write KIND/NAME for each")
    else:
        for name in words[1:]:
            kinds[0].refuse(name)
            yield kinds[0], name
