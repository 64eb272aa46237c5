"""What ought to be: everybody's rights, found by counting, and what each call does to them.

It shares no code with the product and knows none of its shortcuts. A right is an *atom*: one action on one resource of one
name, out of a small universe in which, beside everything the calls speak of, stand an action not yet invented, a resource
nobody lists and names nobody wrote down, so being included in it is being included at all. Sets of atoms are bits of a
number. Whatever the product decides by asking, this counts.

A call is described by ``Expected``: the statuses with which it may be refused (none: it must be accepted), and what it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from itertools import product
from typing import NamedTuple

ROLES = {
    "view": "view",
    "create": "create",
    "edit": "view create edit delete expose",
    "delete": "delete",
    "run": "view run",
    "expose": "view expose",
}
ACTIONS = ["view", "create", "edit", "delete", "run", "expose"]
OPERATIONS = ["logs", "audit", "impersonate", "backup", "restore", "gateway"]
INVENTED_LATER = "levitate"

SERVERS, PROJECTS, SECRETS, MODELS = ["s1", "s2"], ["p1", "p2"], ["a", "b"], ["x", "y"]
USERS = ["ann", "bob", "cid", "svc", "fay", "gus", "admin"]
GROUPS = ["team", "crew", "filed", "admins"]
DEFINITIONS, TOKENS = ["d0", "d1", "d2", "d3", "d4"], ["k0", "k1"]

NAMED = {
    "servers": [*SERVERS, "s1/t", "s1/tx", "s1/tq", "s2/t"],
    "instances": [*SERVERS, "s1/g"],
    "projects": PROJECTS,
    "secrets": SECRETS,
    "users": USERS,
    "groups": GROUPS,
    "sessions": USERS,
    "rbac": DEFINITIONS,
    "mcptokens": [*PROJECTS, *(f"{project}/{token}" for project in PROJECTS for token in TOKENS)],
    "proxymodels": MODELS,
    "operations": PROJECTS,
    "gizmos": [],  # a resource not yet invented
}
NAMES = {res: [*(n + end for n in names for end in ("", "/q")), "zz", "zz/q"] for res, names in NAMED.items()}
ATOMS = [
    (action, res, name)
    for action, (res, names) in product([*ACTIONS, *OPERATIONS, INVENTED_LATER], NAMES.items())
    for name in names
]
EVERYTHING = (1 << len(ATOMS)) - 1


def _bits(speaks: Callable[[str, str, str], bool]) -> int:
    return sum(1 << bit for bit, atom in enumerate(ATOMS) if speaks(*atom))


def _line_speaks_of(pattern: str, name: str) -> bool:
    if pattern[-1] == "*":
        return name[: len(pattern) - 1] == pattern[:-1]
    return name == pattern or name[: len(pattern) + 1] == pattern + "/"


class Binding(NamedTuple):
    """What a line gives or denies."""

    role: str
    res: str
    name: str = "*"
    eft: str = "allow"

    @property
    def atoms(self) -> int:
        """Everything it speaks of."""
        return _atoms_of_a_line(self.role, self.res, self.name)

    @property
    def text(self) -> str:
        """As the API takes it."""
        words = [f"action:{self.role}"] if self.role in OPERATIONS else [f"role:{self.role}", f"resource:{self.res}"]
        words += [f"name:{self.name}"] if self.name != "*" else []
        return ",".join([*words, "effect:deny"] if self.eft == "deny" else words)


@cache
def _atoms_of_a_line(role: str, res: str, name: str) -> int:
    listed = ROLES.get(role, role).split()
    return _bits(lambda a, r, n: (role == "admin" or a in listed) and res in ("*", r) and _line_speaks_of(name, n))


@cache
def question(action: str, res: str, name: str) -> int:
    """Everything a question is about: one atom, or, for a name with a star, many. Never nothing."""
    found = _bits(
        lambda a, r, n: (
            action in ("admin", a) and res in ("*", r) and (_line_speaks_of(name, n) if name[-1] == "*" else name == n)
        )
    )
    assert found, (action, res, name)
    return found


@cache
def _needed_to_give(binding: Binding) -> tuple[int, ...]:
    """What somebody must hold, each by one line, to give or deny this: for every action, all that the name stands for."""
    actions = ["admin"] if binding.role == "admin" else ROLES.get(binding.role, binding.role).split()
    of_action = {action: question(action, binding.res, "*") for action in actions}
    return tuple(atoms & _atoms_of_a_line("admin", binding.res, binding.name) for atoms in of_action.values())


def holds(lines: Iterable[Binding], asked: int) -> bool:
    """Whether one line gives all that is asked and none denies any of it. An enumeration never covers a star."""
    lines = list(lines)
    if any(line.eft == "deny" and line.atoms & asked for line in lines):
        return False
    return any(line.eft == "allow" and not asked & ~line.atoms for line in lines)


def sum_of(lines: Iterable[Binding]) -> int:
    """Every single atom that these lines allow."""
    allowed = denied = 0
    for line in lines:
        if line.eft == "allow":
            allowed |= line.atoms
        else:
            denied |= line.atoms
    return allowed & ~denied


def allows(lines: Iterable[Binding]) -> list[Binding]:
    """What these lines give, denies set aside."""
    return [line for line in lines if line.eft == "allow"]


def denies(lines: Iterable[Binding]) -> list[Binding]:
    """What these lines deny."""
    return [line._replace(eft="allow") for line in lines if line.eft == "deny"]


NO_TOKEN_EVER = _bits(
    lambda action, res, name: (
        res == "secrets"
        or (res in ("mcptokens", "sessions", "users", "groups", "rbac") and action != "view")
        or (res == "operations" and action not in ("logs", "audit"))
    )
)
"""Credentials and grants: what a token never does, whatever its bindings."""


class Line(NamedTuple):
    """A policy line: a binding, whose it is, and where it stands."""

    subject: str
    binding: Binding
    origin: str


class User(NamedTuple):
    service: bool
    password: int | None = None
    disabled: bool = False


class Token(NamedTuple):
    """``subject`` is for life. A deleted one is forgotten; a revoked one is kept."""

    subject: str
    name: str
    project: str
    owner: str
    revoked: bool = False


class Credential(NamedTuple):
    """A bearer somebody was handed: a session of ``user`` or a secret of the token ``subject``. An ended one stays ended."""

    subject: str
    ended: bool = False


class Actor(NamedTuple):
    """Whoever calls: a user by a session, or a token."""

    subject: str
    user: str
    token: Token | None = None


FILE_LINES = [
    Line("Group:admins", Binding("admin", "*"), ""),
    Line("Group:gateways", Binding("gateway", "operations"), ""),
    Line("User:observer", Binding("impersonate", "operations"), ""),
    Line("User:fay", Binding("run", "servers", "s1"), ""),
    Line("Group:filed", Binding("run", "servers", "s2"), ""),
    Line("Group:filed", Binding("view", "secrets", "a", "deny"), ""),
]
"""What the policy files say; ``fay``, ``gus`` and ``filed`` are names that wait for somebody to bear them."""

FILE_MEMBERS = [("gus", "filed")]
NAMED_BY_FILES = {*(line.subject for line in FILE_LINES), "User:gus"}


class Expected(NamedTuple):
    """What must come of a call.

    ``refusals`` are the statuses that explain a refusal; none means it is accepted. ``hands`` is the subject whose
    credential the caller is given by it. With ``or_conflict`` a 409 is as good: an order of steps could be to blame. With
    ``either`` it is said only what it does if it is accepted: that nobody gains by it is held against it all the same.
    """

    refusals: set[int]
    effect: Callable[[World], None]
    hands: str | None = None
    or_conflict: bool = False
    either: bool = False


class Batch(NamedTuple):
    """What is applied at once: groups with their members, projects with their servers, definitions with their lines."""

    groups: dict[str, list[str]]
    projects: dict[str, list[str]]
    definitions: dict[str, frozenset[Line]]
    prunes: bool
    """Whether definitions that are not in it are to go, as far as the caller may view them."""


class World:
    """Everybody and everything, and who may do what to it."""

    def __init__(self) -> None:
        """The world after the first start."""
        self.users: dict[str, User] = {"admin": User(service=False, password=0), "observer": User(service=True)}
        self.groups: dict[str, frozenset[str]] = {"admins": frozenset({"admin"}), "gateways": frozenset()}
        self.lines: frozenset[Line] = frozenset()
        self.tokens: tuple[Token, ...] = ()
        self.credentials: tuple[Credential, ...] = ()
        self.servers: dict[str, frozenset[str]] = {}
        self.projects: dict[str, tuple[str, ...]] = {}
        self.secrets: frozenset[str] = frozenset()
        self.models: frozenset[str] = frozenset()
        self.shaped: dict[tuple[str, str], str] = {}  # which model a project or server names
        self.minted = 0

    def after(self, effect: Callable[[World], None]) -> World:
        """What this would be like after ``effect``. Everything inside is immutable, so a shallow copy will do."""
        other = World.__new__(World)
        other.__dict__.update({key: dict(value) if isinstance(value, dict) else value for key, value in vars(self).items()})
        effect(other)
        return other

    # Who may do what

    def lines_of(self, subject: str) -> list[Binding]:
        """The lines of a subject alone."""
        return [line.binding for line in (*FILE_LINES, *self.lines) if line.subject == subject]

    def lines_of_user(self, name: str) -> list[Binding]:
        """The lines of a user and its groups."""
        groups = {group for group, members in self.groups.items() if name in members}
        groups |= {group for user, group in FILE_MEMBERS if user == name}
        return [line for subject in (f"User:{name}", *(f"Group:{g}" for g in groups)) for line in self.lines_of(subject)]

    def token(self, subject: str) -> Token | None:
        """The token of this subject, revoked or not, unless it was deleted."""
        return next((token for token in self.tokens if token.subject == subject), None)

    def exists(self, subject: str) -> bool:
        """Whether a line may speak of ``subject``."""
        kind, _, name = subject.partition(":")
        if kind == "McpToken":
            return any(token.subject == subject and not token.revoked for token in self.tokens)
        return name in (self.users if kind == "User" else self.groups)

    def can_act(self, subject: str) -> bool:
        """Whether a question about ``subject`` can have a yes: it exists, it is enabled, and so is its owner."""
        token = self.token(subject)
        user = token.owner if token else subject.removeprefix("User:")
        return self.exists(subject) and (subject.startswith("Group:") or not self.users[user].disabled)

    def may(self, subject: str, action: str, res: str, name: str) -> bool:
        """The decision."""
        if not self.can_act(subject):
            return False
        asked = question(action, res, name)
        if (token := self.token(subject)) is None:
            lines = (
                self.lines_of(subject) if subject.startswith("Group:") else self.lines_of_user(subject.removeprefix("User:"))
            )
            return holds(lines, asked)
        if asked & NO_TOKEN_EVER or asked & ~self._within(token, attached_only=True):
            return False
        return holds(self.lines_of(subject), asked) and holds(self.lines_of_user(token.owner), asked)

    def _within(self, token: Token, *, attached_only: bool) -> int:
        """All that is in a token's project: an upper bound of what it may do."""
        attached = self.projects[token.project] if attached_only else (*SERVERS, "zz")
        return _atoms_in_project(token.project, frozenset(attached))

    def could(self) -> dict[str, int]:
        """For every user and token all it could do: the measure of the invariant.

        A token is counted as if every server were attached to its project. Attaching gives no right, it lets rights that
        were given come to bear, and has a door of its own.
        """
        found = {f"User:{name}": 0 if user.disabled else sum_of(self.lines_of_user(name)) for name, user in self.users.items()}
        for token in self.tokens:
            owner = 0 if token.revoked else found[f"User:{token.owner}"]
            own = sum_of(self.lines_of(token.subject)) & self._within(token, attached_only=False)
            found[token.subject] = own & owner & ~NO_TOKEN_EVER
        return found

    def actor(self, number: int) -> Actor | None:
        """Who the credential of this number is, if it is good."""
        subject, ended = self.credentials[number]
        if ended or not self.can_act(subject):
            return None
        token = self.token(subject)
        return Actor(subject, token.owner if token else subject.removeprefix("User:"), token)

    def is_admin(self, subject: str) -> bool:
        """Whether nothing is beyond this subject."""
        return subject.startswith("User:") and self.can_act(subject) and holds(self.lines_of_user(subject[5:]), EVERYTHING)

    def anybody_is_admin(self) -> bool:
        """Whether a person who can log in is admin of everything."""
        return any(not user.service and self.is_admin(f"User:{name}") for name, user in self.users.items())

    # What a call needs

    def guard(self, actor: Actor, action: str, res: str, name: str = "*") -> set[int]:
        """How a call is refused that needs this, or nothing: what is outside a token's project does not exist for it."""
        if self.may(actor.subject, action, res, name):
            return set()
        asked = question(action, res, name)
        outside = actor.token is not None and not asked & NO_TOKEN_EVER
        outside = outside and bool(asked & ~self._within(actor.token, attached_only=True))  # type: ignore[arg-type]
        return {404} if outside and name != "*" and action != "create" else {403}

    def _ceiling(self, actor: Actor, bindings: Iterable[Binding]) -> set[int]:
        """403 unless the actor holds all that these give."""
        lines = self.lines_of_user(actor.user)
        assert actor.token is None, "a token never comes as far as a ceiling"
        return set() if all(holds(lines, each) for binding in bindings for each in _needed_to_give(binding)) else {403}

    def _denying(self, actor: Actor, denied: list[Binding], subject: str) -> set[int]:
        """403 unless the actor holds the denied set, and all that is given to whomever denies on ``subject`` hit."""
        if not denied:
            return set()
        kind, _, name = subject.partition(":")
        members = self.groups.get(name, frozenset()) | {u for u, g in FILE_MEMBERS if g == name and u in self.users}
        hit = [self.lines_of(subject)]
        hit += [self.lines_of_user(user) for user in (members if kind == "Group" else {name} if kind == "User" else ())]
        return self._ceiling(actor, denied) | self._ceiling(actor, [one for lines in hit for one in allows(lines)])

    def _joining(self, actor: Actor, group: str, users: Iterable[str]) -> set[int]:
        found, lines = set[int](), self.lines_of(f"Group:{group}")
        for user in users:
            found |= self._ceiling(actor, allows(lines))
            found |= self._denying(actor, denies(lines), f"User:{user}")
        return found

    def _keeping_an_admin(self, effect: Callable[[World], None]) -> set[int]:
        return {409} if self.anybody_is_admin() and not self.after(effect).anybody_is_admin() else set()

    # The calls

    def create_user(self, actor: Actor, name: str, password: int | None) -> Expected:
        def effect(world: World) -> None:
            world.users[name] = User(service=password is None, password=password)

        refusals = self.guard(actor, "create", "users", name)
        if not refusals:
            refusals = {409} if name in self.users else self._ceiling(actor, allows(self.lines_of_user(name)))
        return Expected(refusals, effect)

    def set_disabled(self, actor: Actor, name: str, *, disabled: bool) -> Expected:
        def effect(world: World) -> None:
            world.users[name] = world.users[name]._replace(disabled=disabled)

        own, user = actor.subject == f"User:{name}", self.users.get(name)
        unchanged = user is not None and user.disabled == disabled
        refusals = set() if own and unchanged else self.guard(actor, "edit", "users", name)
        if not refusals and user is None:
            refusals = {404}
        elif not refusals and not unchanged:
            refusals = self._keeping_an_admin(effect)
            refusals |= set() if disabled else self._ceiling(actor, allows(self.lines_of_user(name)))
        return Expected(refusals, effect)

    def set_password(self, actor: Actor, name: str, password: int, old: int | None) -> Expected:
        def effect(world: World) -> None:
            world.users[name] = world.users[name]._replace(password=password)
            world._end(f"User:{name}")

        user = self.users.get(name)
        own = actor.subject == f"User:{name}"
        refusals = set() if own else self.guard(actor, "edit", "users", name)
        if not refusals and user is None:
            refusals = {404}
        elif not refusals and user is not None and user.service:
            refusals = {422, 401} if own and old is not None else {422}  # it has no password, so no old one is right
        elif not refusals and user is not None and own:
            refusals = {422} if old is None else {401} if old != user.password else set()
        elif not refusals:
            refusals = self._ceiling(actor, allows(self.lines_of_user(name)))
        return Expected(refusals, effect, hands=f"User:{name}")

    def delete_user(self, actor: Actor, name: str) -> Expected:
        def effect(world: World) -> None:
            for token in [token for token in world.tokens if token.owner == name]:
                world._delete_token(token)
            world._forget(f"User:{name}")
            world._end(f"User:{name}")
            world.groups = {group: members - {name} for group, members in world.groups.items()}
            del world.users[name]

        refusals = self.guard(actor, "delete", "users", name)
        if not refusals and name not in self.users:
            refusals = {404}
        elif not refusals:
            refusals = {409} if f"User:{name}" in NAMED_BY_FILES else self._keeping_an_admin(effect)
        return Expected(refusals, effect)

    def create_group(self, actor: Actor, name: str, members: list[str]) -> Expected:
        def effect(world: World) -> None:
            world.groups[name] = frozenset(members)

        refusals = self.guard(actor, "create", "groups", name)
        if not refusals and name in self.groups:
            refusals = {409}
        elif not refusals:
            refusals = self._ceiling(actor, allows(self.lines_of(f"Group:{name}"))) | self._unknown(members)
            refusals |= self._joining(actor, name, [user for user in members if user in self.users])
            refusals |= self._keeping_an_admin(effect)
        return Expected(refusals, effect)

    def set_members(self, actor: Actor, name: str, members: list[str]) -> Expected:
        """All at once, one more or one less; ``members`` is the result."""

        def joined(world: World) -> None:
            world.groups[name] |= frozenset(members)

        def effect(world: World) -> None:
            world.groups[name] = frozenset(members)

        refusals, or_conflict = self.guard(actor, "edit", "groups", name), False
        if not refusals and name not in self.groups:
            refusals = {404}
        elif not refusals:
            present = self.groups[name]
            known = [user for user in members if user in self.users]
            refusals = self._unknown(members) | self._joining(actor, name, [user for user in known if user not in present])
            if present - set(members):
                refusals |= self._ceiling(actor, denies(self.lines_of(f"Group:{name}")))
            refusals |= self._keeping_an_admin(effect)
            or_conflict = bool(self._keeping_an_admin(joined))
        return Expected(refusals, effect, or_conflict=or_conflict)

    def delete_group(self, actor: Actor, name: str) -> Expected:
        def effect(world: World) -> None:
            world._forget(f"Group:{name}")
            del world.groups[name]

        refusals = self.guard(actor, "delete", "groups", name)
        if not refusals and name not in self.groups:
            refusals = {404}
        elif not refusals and f"Group:{name}" in NAMED_BY_FILES:
            refusals = {409}
        elif not refusals:
            refusals = self._keeping_an_admin(effect)
            refusals |= self._ceiling(actor, denies(self.lines_of(f"Group:{name}"))) if self.groups[name] else set()
        return Expected(refusals, effect)

    def open_session(self, actor: Actor, name: str) -> Expected:
        refusals = self.guard(actor, "create", "sessions", name)
        if not refusals:
            user = self.users.get(name)
            refusals = {422} if user is None or not user.service else self._ceiling(actor, allows(self.lines_of_user(name)))
        return Expected(refusals, lambda world: world._hand(f"User:{name}"), hands=f"User:{name}")

    def log_in(self, name: str, password: int) -> Expected:
        user = self.users.get(name)
        good = user is not None and not user.service and not user.disabled and user.password == password
        return Expected(set() if good else {401}, lambda world: world._hand(f"User:{name}"))

    def end_session(self, actor: Actor, number: int) -> Expected:
        user = self.credentials[number].subject.removeprefix("User:")
        refusals = self.guard(actor, "delete", "sessions", "*" if self.credentials[number].ended else user)
        return Expected(refusals or ({404} if self.credentials[number].ended else set()), lambda world: world._end_one(number))

    def log_out(self, actor: Actor, number: int) -> Expected:
        return Expected(set() if actor.token is None else {403}, lambda world: world._end_one(number))

    def write_definition(
        self, actor: Actor, name: str, subjects: list[str], bindings: list[Binding], *, create: bool
    ) -> Expected:
        origin = f"rbac:{name}"
        wanted = frozenset(Line(subject, binding, origin) for subject in subjects for binding in bindings)
        refusals = self.guard(actor, "create" if create else "edit", "rbac", name)
        before = self._definition(name)
        if not refusals and bool(before) is create:
            refusals = {409} if create else {404}
        elif not refusals:
            refusals = set() if all(map(self.exists, subjects)) else {422}
            refusals |= self._rewriting(actor, before, wanted) if not refusals else set()
        return Expected(refusals, lambda world: world._rewrite(origin, wanted))

    def delete_definition(self, actor: Actor, name: str) -> Expected:
        refusals = self.guard(actor, "delete", "rbac", name)
        before = self._definition(name)
        if not refusals:
            refusals = self._rewriting(actor, before, frozenset()) if before else {404}
        return Expected(refusals, lambda world: world._rewrite(f"rbac:{name}", frozenset()))

    def apply(self, actor: Actor, batch: Batch, *, dry_run: bool) -> Expected:
        """All of it or nothing. Whether each item may be so is judged by the single calls, in a property test of its own."""
        definitions = {line.origin.removeprefix("rbac:") for line in self.lines if line.origin.startswith("rbac:")}
        seen = {name for name in definitions if self.may(actor.subject, "view", "rbac", name)}

        def effect(world: World) -> None:
            world.groups |= {name: frozenset(members) for name, members in batch.groups.items()}
            world.projects |= {name: tuple(servers) for name, servers in batch.projects.items()}
            for name in seen - set(batch.definitions) if batch.prunes else ():
                world._rewrite(f"rbac:{name}", frozenset())
            for name, lines in batch.definitions.items():
                world._rewrite(f"rbac:{name}", lines)

        return Expected(set(), (lambda world: None) if dry_run else effect, either=True)

    def _definition(self, name: str) -> frozenset[Line]:
        return frozenset(line for line in self.lines if line.origin == f"rbac:{name}")

    def _rewriting(self, actor: Actor, before: frozenset[Line], wanted: frozenset[Line]) -> set[int]:
        """What adds an allow is judged by everything that is left standing; a deny by whom it hits; lifting one is giving."""
        added, origin = wanted - before, next(iter(before | wanted)).origin
        refusals = self._keeping_an_admin(lambda world: world._rewrite(origin, wanted))
        if allows(line.binding for line in added):
            refusals |= self._ceiling(actor, allows(line.binding for line in wanted))
        for subject in {line.subject for line in added}:
            refusals |= self._denying(actor, denies(line.binding for line in added if line.subject == subject), subject)
        return refusals | self._ceiling(actor, denies(line.binding for line in before - wanted))

    def mint(self, actor: Actor, project: str, name: str, bindings: list[Binding], *, clone: bool) -> Expected:
        subject = f"McpToken:{self.minted}"

        def effect(world: World) -> None:
            given = {*bindings, *(world.lines_of_user(actor.user) if clone else ())}
            world.tokens += (Token(subject, name, project, actor.user),)
            world.lines |= {Line(subject, binding, f"mcptoken:{subject}") for binding in given}
            world.minted += 1
            world._hand(subject)

        refusals = self.guard(actor, "create", "mcptokens", f"{project}/{name}")
        refusals = refusals or self.guard(actor, "view", "projects", project)
        taken = any((t.project, t.name, t.revoked) == (project, name, False) for t in self.tokens)
        if not refusals and (project not in self.projects or taken):
            refusals = {404} if project not in self.projects else {409}
        elif not refusals:
            refusals = {422} if denies(bindings) else self._ceiling(actor, bindings)
        return Expected(refusals, effect, hands=subject)

    def revoke(self, actor: Actor, subject: str, place: str, *, delete: bool) -> Expected:
        def effect(world: World) -> None:
            token = world.token(subject)
            assert token is not None
            world._delete_token(token)
            if not delete:
                world.tokens += (token._replace(revoked=True),)

        gone = self.token(subject) is None
        refusals = self.guard(actor, "delete", "mcptokens", "*" if gone else place)
        return Expected(refusals or ({404} if gone else set()), effect)

    def rotate(self, actor: Actor, subject: str, place: str, *, grace: bool) -> Expected:
        def effect(world: World) -> None:
            if not grace:
                world._end(subject)
            world._hand(subject)

        token = self.token(subject)
        refusals = self.guard(actor, "edit", "mcptokens", place if token else "*")
        if not refusals and (token is None or token.revoked):
            refusals = {409} if token else {404}
        elif not refusals and token is not None and token.owner != actor.user:
            refusals = self._ceiling(actor, allows(self.lines_of(subject)))
        return Expected(refusals, effect, hands=subject)

    def write_server(self, actor: Actor, name: str, secrets: list[str], model: str | None, *, create: bool) -> Expected:
        def effect(world: World) -> None:
            world.servers[name] = frozenset(secrets)
            world._shape("servers", name, model)

        refusals = self.guard(actor, "create" if create else "edit", "servers", name)
        if not refusals and not create and name not in self.servers:
            refusals = {404}
        elif not refusals:
            wrong = {409} if create and name in self.servers else set()
            wrong |= set() if set(secrets) <= self.secrets else {422}
            before = None if create else self.shaped.get(("servers", name))
            new = [model] if model is not None and model != before else []
            wrong |= set() if set(new) <= self.models else {422}
            asked = [("run", "secrets", secret) for secret in secrets] + [("view", "proxymodels", one) for one in new]
            refusals = self._lacking(actor, asked) or wrong
        return Expected(refusals, effect)

    def delete_server(self, actor: Actor, name: str) -> Expected:
        def effect(world: World) -> None:
            del world.servers[name]
            world._shape("servers", name, None)
            world.projects = {p: tuple(s for s in servers if s != name) for p, servers in world.projects.items()}

        refusals = self.guard(actor, "delete", "servers", name)
        return Expected(refusals or (set() if name in self.servers else {404}), effect)

    def write_secret(self, actor: Actor, name: str, *, create: bool) -> Expected:
        def effect(world: World) -> None:
            world.secrets |= {name}

        refusals = self.guard(actor, "create" if create else "edit", "secrets", name)
        wrong = {409} if create else {404}
        return Expected(refusals or (wrong if (name in self.secrets) is create else set()), effect)

    def delete_secret(self, actor: Actor, name: str) -> Expected:
        def effect(world: World) -> None:
            world.secrets -= {name}

        refusals = self.guard(actor, "delete", "secrets", name)
        if not refusals and name not in self.secrets:
            refusals = {404}
        elif not refusals:
            refusals = {409} if any(name in used for used in self.servers.values()) else set()
        return Expected(refusals, effect)

    def write_model(self, actor: Actor, name: str, *, create: bool) -> Expected:
        def effect(world: World) -> None:
            world.models |= {name}

        refusals = self.guard(actor, "create" if create else "edit", "proxymodels", name)
        wrong = {409} if create else {404}
        if not refusals and (name in self.models) is create:
            refusals = wrong
        elif not refusals and not create:
            # Whoever changes it changes each that names it; that one of them is outside a token's project is not said.
            needs = {"projects": "expose", "servers": "edit"}
            users = [(needs[res], res, user) for (res, user), model in self.shaped.items() if model == name]
            refusals = {403} if self._lacking(actor, users) else set()
        return Expected(refusals, effect)

    def delete_model(self, actor: Actor, name: str) -> Expected:
        def effect(world: World) -> None:
            world.models -= {name}

        refusals = self.guard(actor, "delete", "proxymodels", name)
        if not refusals and name not in self.models:
            refusals = {404}
        elif not refusals:
            refusals = {409} if name in self.shaped.values() else set()
        return Expected(refusals, effect)

    def select_model(self, actor: Actor, name: str, model: str | None) -> Expected:
        def effect(world: World) -> None:
            world._shape("projects", name, model)

        refusals = self.guard(actor, "edit", "projects", name)
        if not refusals and name not in self.projects:
            refusals = {404}
        elif not refusals and model != self.shaped.get(("projects", name)):
            seen = [("view", "proxymodels", model)] if model is not None else []
            refusals = self._lacking(actor, [("expose", "projects", name), *seen])
            refusals = refusals or (set() if model is None or model in self.models else {422})
        return Expected(refusals, effect)

    def create_project(self, actor: Actor, name: str, servers: list[str]) -> Expected:
        def effect(world: World) -> None:
            world.projects[name] = tuple(servers)

        refusals = self.guard(actor, "create", "projects", name)
        if not refusals:
            taken = {409} if name in self.projects else set()
            refusals = taken or self._attaching(actor, name, servers) or self._no_such(servers)
        return Expected(refusals, effect)

    def set_servers(self, actor: Actor, name: str, servers: list[str]) -> Expected:
        def effect(world: World) -> None:
            world.projects[name] = tuple(servers)

        refusals = self.guard(actor, "edit", "projects", name)
        if not refusals and name not in self.projects:
            refusals = {404}
        elif not refusals:
            present = self.projects[name]
            refusals = self._attaching(actor, name, [server for server in servers if server not in present])
            refusals |= self._lacking(actor, [("expose", "projects", name)]) if set(present) - set(servers) else set()
            refusals = refusals or self._no_such(servers)
        return Expected(refusals, effect)

    def attach(self, actor: Actor, name: str, server: str) -> Expected:
        def effect(world: World) -> None:
            world.projects[name] = tuple(dict.fromkeys((*world.projects[name], server)))

        refusals = self.guard(actor, "expose", "projects", name)
        if not refusals and name not in self.projects:
            refusals = {404}
        elif not refusals:
            refusals = self._attaching(actor, name, [server]) or (set() if server in self.servers else {404})
        return Expected(refusals, effect)

    def detach(self, actor: Actor, name: str, server: str) -> Expected:
        def effect(world: World) -> None:
            world.projects[name] = tuple(one for one in world.projects[name] if one != server)

        refusals = self.guard(actor, "expose", "projects", name)
        return Expected(refusals or (set() if server in self.projects.get(name, ()) else {404}), effect)

    def delete_project(self, actor: Actor, name: str) -> Expected:
        def effect(world: World) -> None:
            for token in [token for token in world.tokens if token.project == name]:
                world._delete_token(token)
            del world.projects[name]
            world._shape("projects", name, None)

        refusals = self.guard(actor, "delete", "projects", name)
        return Expected(refusals or (set() if name in self.projects else {404}), effect)

    def _attaching(self, actor: Actor, project: str, servers: list[str]) -> set[int]:
        asked = [("expose", "projects", project), *(("view", "servers", server) for server in servers)]
        asked += [("run", "secrets", secret) for server in servers for secret in sorted(self.servers.get(server, ()))]
        return self._lacking(actor, asked) if servers else set()

    def _lacking(self, actor: Actor, asked: list[tuple[str, str, str]]) -> set[int]:
        found = [self.guard(actor, *each) for each in asked]
        return {404} if {404} in found else {403} if {403} in found else set()

    def _no_such(self, servers: list[str]) -> set[int]:
        return set() if set(servers) <= self.servers.keys() else {422}

    def _unknown(self, members: list[str]) -> set[int]:
        return set() if set(members) <= self.users.keys() else {422}

    # What a call does

    def _rewrite(self, origin: str, wanted: frozenset[Line]) -> None:
        self.lines = frozenset(line for line in self.lines if line.origin != origin) | wanted

    def _shape(self, res: str, name: str, model: str | None) -> None:
        self.shaped = {user: one for user, one in self.shaped.items() if user != (res, name)}
        self.shaped |= {(res, name): model} if model is not None else {}

    def _forget(self, subject: str) -> None:
        self.lines = frozenset(line for line in self.lines if line.subject != subject)

    def _delete_token(self, token: Token) -> None:
        self.tokens = tuple(one for one in self.tokens if one != token)
        self._forget(token.subject)
        self._end(token.subject)

    def _hand(self, subject: str) -> None:
        self.credentials += (Credential(subject),)

    def _end(self, subject: str) -> None:
        self.credentials = tuple(c._replace(ended=c.ended or c.subject == subject) for c in self.credentials)

    def _end_one(self, number: int) -> None:
        self.credentials = tuple(c._replace(ended=c.ended or n == number) for n, c in enumerate(self.credentials))


@cache
def _atoms_in_project(project: str, attached: frozenset[str]) -> int:
    def inside(_action: str, res: str, name: str) -> bool:
        head = name.partition("/")[0]
        if res in ("servers", "instances"):
            return head in attached
        if res in ("projects", "mcptokens"):
            return head == project
        return name == project if res == "operations" else True

    return _bits(inside)
