"""Decision tables: what a policy is expected to answer, as data.

A table is CSV or a document (YAML) of cases: subject, action, resource, name, ``expected`` (``allow`` or ``deny``), and ``by``
what. Where it says ``unlisted: deny``, every question of its axes that no case lists is expected to be denied. A document may
also say what stands in the database beside the files: memberships, bindings, projects with their servers, and tokens with owner
and project; and which roles contain which.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import product
from math import prod
from typing import Final, NamedTuple

from mcpctl.errors import FieldError, InvalidInput, InvalidTable
from mcpctl.policy import bindings, names, vocabulary
from mcpctl.policy.bindings import Binding
from mcpctl.policy.files import Finding
from mcpctl.policy.vocabulary import ADMIN, ALLOW, ANY, DENY, close_to, shown

COLUMNS: Final = ("subject", "action", "resource", "name", "expected", "by")
UNLISTED: Final = "# unlisted: deny"
"""What a line of a CSV table says for ``unlisted: deny`` of a document."""

MEMBERS: Final = ("about", "unlisted", "axes", "memberships", "bindings", "projects", "tokens", "roles", "cases")
"""What a document may say. ``about`` is for people."""

MOST_QUESTIONS: Final = 100_000
"""Of one table, those it lists and those it does not each: a few words in each field of one line multiply to any number."""

Question = tuple[str, str, str, str]
"""Subject, action, resource, name."""

Place = tuple[str | int, ...]
"""A member of a document, or one and what is in it: ``("cases", 3)``."""


class Case(NamedTuple):
    """One question and the answer expected. An empty ``by`` is any reason."""

    line: int
    question: Question
    allowed: bool
    by: str = ""


class Containment(NamedTuple):
    """Whether whoever holds ``role`` for everything could give ``other`` for everything."""

    role: str
    other: str
    contained: bool


class TokenFixture(NamedTuple):
    """A token as it would stand in the database."""

    owner: str
    project: str
    bindings: tuple[Binding, ...]


@dataclass
class Table:
    """One table. Subjects are written as in policy lines; a token of ``tokens`` is ``McpToken:<its name here>``."""

    file: str
    cases: list[Case] = field(default_factory=list)
    containments: list[Containment] = field(default_factory=list)
    unlisted_denied: bool = False
    axes: dict[str, list[str]] = field(default_factory=lambda: {"subjects": [], "actions": []})
    names: dict[str, list[str]] = field(default_factory=dict)
    memberships: dict[str, tuple[str, ...]] = field(default_factory=dict)
    bindings: dict[str, tuple[Binding, ...]] = field(default_factory=dict)
    projects: dict[str, tuple[str, ...]] = field(default_factory=dict)
    tokens: dict[str, TokenFixture] = field(default_factory=dict)

    def unlisted(self) -> list[Question]:
        """The questions of its axes that no case lists: of every subject each action on each name of a resource."""
        listed = {case.question for case in self.cases}
        subjects, things, actions = self._all_axes()
        found = [(subject, action, *thing) for subject, thing, action in product(subjects, things, actions)]
        return [one for one in found if one not in listed and _can_be_asked(one[1], one[2])]

    def extent(self) -> int:
        """How many questions its axes make, listed or not, counted without making them."""
        return prod(map(len, self._all_axes()))

    def _all_axes(self) -> tuple[Collection[str], Collection[tuple[str, str]], Collection[str]]:
        """The subjects, the resources with their names, and the actions of the axes and of the cases."""
        questions = [case.question for case in self.cases]
        subjects = dict.fromkeys([*self.axes["subjects"], *(one for one, _, _, _ in questions)])
        actions = dict.fromkeys([*self.axes["actions"], *(one for _, one, _, _ in questions)])
        things = dict.fromkeys(
            [(res, name) for res, all_ in self.names.items() for name in all_] + [(res, name) for _, _, res, name in questions]
        )
        return subjects, things, actions


def token_subject(name: str) -> str:
    """The subject of the policy that stands for the token a table calls ``name``."""
    return f"McpToken:{name if vocabulary.is_sha(name) else sha256(name.encode()).hexdigest()}"


def of_csv(file: str, text: str) -> Table:
    """The table a CSV file says. Several words in a field, with blanks between, are a case each.

    Raises:
        InvalidTable: with every finding.
    """
    reader = _Reader(file)
    header: list[str] | None = None
    for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        reader.line = number
        line = raw.strip()
        if line == UNLISTED:
            reader.table.unlisted_denied = True
        if not line or line.startswith("#"):
            continue
        fields = [part.strip() for part in line.split(",", len(COLUMNS) - 1)]
        if header is None:
            header = fields
            if fields not in (list(COLUMNS), list(COLUMNS[:-1])):
                reader.find("the first line is not the one of titles", f"write {','.join(COLUMNS)!r}")
        elif len(fields) < len(COLUMNS) - 1:
            reader.find(f"{len(fields)} fields where at least {len(COLUMNS) - 1} belong", f"write {','.join(COLUMNS)!r}")
        else:
            row = dict(zip(COLUMNS, fields, strict=False))
            reader.case({key: value if key in ("expected", "by") else value.split() for key, value in row.items()})
    return reader.done()


def of_document(file: str, document: object, lines: Mapping[Place, int], roles: Collection[str]) -> Table:
    """The table a document of plain maps, lists and words says.

    Args:
        file: what it is called.
        document: what it says.
        lines: where its members stand, and what is in these.
        roles: the roles its bindings may give.

    Raises:
        InvalidTable: with every finding.
    """
    reader = _Reader(file, roles, lines)
    if not isinstance(document, Mapping):
        reader.find("it is not a map", f"write the members {', '.join(MEMBERS)}")
        return reader.done()
    for member in document:
        reader.at(str(member))
        reader.only([member], MEMBERS)
    table, said = reader.table, reader.map_of
    reader.at("unlisted")
    if (unlisted := document.get("unlisted", ALLOW)) not in (DENY, ALLOW):
        reader.find(f"unlisted is {shown(str(unlisted))}", "write 'unlisted: deny', or leave it out")
    table.unlisted_denied = unlisted == DENY
    table.memberships = {str(user): reader.words(groups, reader.subject) for user, groups in said(document, "memberships")}
    table.projects = {str(name): reader.words(servers, names.check_server_name) for name, servers in said(document, "projects")}
    for name, token in said(document, "tokens"):
        reader.token(str(name), token)
    table.bindings = {reader.subject(str(one)): reader.bindings(texts) for one, texts in said(document, "bindings")}
    axes = dict(said(document, "axes"))
    reader.at("axes")
    reader.only(axes, ("subjects", "actions", "resources"))
    for axis, check in (("subjects", reader.subject), ("actions", str)):
        reader.at("axes", axis)
        table.axes[axis] = list(reader.words(axes.get(axis, ()), check))
    for resource, listed in said(axes, "resources", "axes"):
        table.names[str(reader.checked(vocabulary.resource, str(resource), any_allowed=True))] = list(reader.words(listed, str))
    for role, others in said(document, "roles"):
        reader.role(str(role), others)
    cases = document.get("cases") or ()
    reader.at("cases")
    if not isinstance(cases, Sequence) or isinstance(cases, str):
        reader.find("cases is not a list", "write 'cases:' and below it a line that begins with '-' for each")
        return reader.done()
    for number, case in enumerate(cases):
        reader.at("cases", number)
        reader.case(case)
    return reader.done()


def _can_be_asked(action: str, resource: str) -> bool:
    """Whether the action is one of that kind of resource; the ceiling's question ``admin`` is one of any."""
    try:
        return action == ADMIN or vocabulary.action(action, resource) == action
    except InvalidInput:
        return False


class _Reader:
    """Reads into one table, and gathers what is wrong."""

    def __init__(
        self, file: str, roles: Collection[str] = bindings.BUILT_IN_ROLES, lines: Mapping[Place, int] | None = None
    ) -> None:
        self.table = Table(file)
        self.roles = roles
        self.line = 0
        self.lines = lines or {}
        self.findings: dict[Finding, None] = {}
        self.asked: set[Question] = set()
        self.wanted = 0

    def at(self, *place: str | int) -> None:
        """From here on speak of this."""
        self.line = next((self.lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in self.lines), 0)

    def find(self, cause: str, cure: str) -> None:
        self.findings[Finding(self.table.file, self.line, cause, cure)] = None

    def done(self) -> Table:
        if self.table.unlisted_denied and (extent := self.table.extent()) > MOST_QUESTIONS:
            self.line = 0
            self.find(f"its axes make {extent} questions, and {MOST_QUESTIONS} are the most", "make several tables of it")
        if not self.findings and not self.table.cases and not self.table.containments:
            self.line = 0
            self.find("it expects nothing", "write cases, or roles and what they contain")
        if self.findings:
            errors = [FieldError(str(one).split(": ")[0], f"{one.cause}; {one.cure}") for one in self.findings]
            summary = "\n".join(map(str, self.findings))
            raise InvalidTable(f"{len(self.findings)} finding(s) in the table {self.table.file}:\n{summary}", errors=errors)
        return self.table

    def checked(self, check: Callable[..., object], *args: str, **more: bool) -> object:
        """What ``check`` says, or the word itself and a finding."""
        try:
            return check(*args, **more)
        except InvalidInput as error:
            self.find(error.detail, "see 'mcpctl policy test --help'")
            return args[0]

    def only(self, said: Iterable[object], valid: Sequence[str]) -> None:
        for key in said:
            if key not in valid:
                close = close_to(str(key), valid)
                cure = f"did you mean {close!r}?" if close else f"it is one of {', '.join(valid)}"
                self.find(f"nothing reads {shown(str(key))}", cure)

    def map_of(self, said: Mapping[object, object], key: str, *above: str) -> Iterator[tuple[object, object]]:
        """The members of a member that is a map; while one is looked at, it is spoken of."""
        found = said.get(key) or {}
        if isinstance(found, Mapping):
            for name, value in found.items():
                self.at(*above, key, str(name))
                yield name, value
        else:
            self.at(*above, key)
            self.find(f"{key} is not a map", f"write '{key}:' and a member for each below it")

    def words(self, said: object, check: Callable[[str], object]) -> tuple[str, ...]:
        """One word or a list of them, each as ``check`` gives it back."""
        listed = [said] if isinstance(said, str) else said if isinstance(said, Sequence) else [None]
        if not all(isinstance(one, str) for one in listed):
            self.find(f"{shown(str(said))} is neither a word nor a list of words", "quote what YAML takes for something else")
            return ()
        return tuple(str(self.checked(check, str(one))) for one in listed)

    def subject(self, text: str) -> str:
        kind, _, name = text.partition(":")
        if kind == "McpToken" and name in self.table.tokens:
            return token_subject(name)
        if kind == "McpToken":
            self.find(f"the token {shown(name)} is not among 'tokens'", "write a YAML table with its owner and its project")
            return text
        return str(self.checked(names.parse_subject, text))

    def bindings(self, texts: object) -> tuple[Binding, ...]:
        found: list[Binding] = []
        self.words(texts, lambda text: found.append(bindings.parse(text, self.roles)))
        return tuple(found)

    def token(self, name: str, said: object) -> None:
        if not isinstance(said, Mapping) or not {"owner", "project"} <= set(said):
            self.find(f"the token {shown(name)} has no owner or no project", "write owner, project and bindings")
            return
        self.only(said, ("owner", "project", "bindings"))
        if str(said["project"]) not in self.table.projects:
            self.find(f"the project {shown(str(said['project']))} of the token {shown(name)} is not among 'projects'", "add it")
        owner = self.subject(str(said["owner"]))
        self.table.tokens[name] = TokenFixture(owner, str(said["project"]), self.bindings(said.get("bindings", ())))

    def role(self, role: str, others: object) -> None:
        if role not in self.roles:
            self.find(f"unknown role {shown(role)}", f"it is one of {', '.join(sorted(self.roles))}")
        contained = self.words(others, str)
        for other in contained:
            if other not in self.roles:
                self.find(f"unknown role {shown(other)}", f"it is one of {', '.join(sorted(self.roles))}")
        # Which it contains is said in full: of all others it is expected that it does not.
        for other in self.roles:
            if other != role:
                self.table.containments.append(Containment(role, other, other in contained))

    def case(self, said: object) -> None:
        if self.wanted > MOST_QUESTIONS:
            return
        if not isinstance(said, Mapping):
            self.find("the case is not a map", f"write {', '.join(COLUMNS)}")
            return
        self.only(said, COLUMNS)
        for key in ("subject", "action", "resource", "expected"):
            if not said.get(key):
                self.find(f"the case has no {key}", "add it")
                return
        if (expected := said["expected"]) not in (ALLOW, DENY):
            self.find(f"expected is {shown(str(expected))}", "write 'allow' or 'deny'")
        name = said.get("name") or ANY
        several = [one for one in (said["subject"], said["action"], said["resource"], name) if isinstance(one, list)]
        self.wanted += prod(map(len, several))
        if self.wanted > MOST_QUESTIONS:
            self.find(f"with this case the table asks more than {MOST_QUESTIONS} questions", "make several tables of it")
            return
        subjects, actions = self.words(said["subject"], self.subject), self.words(said["action"], str)
        resources = self.words(said["resource"], lambda word: vocabulary.resource(word, any_allowed=True))
        for subject, action, resource in product(subjects, actions, resources):
            if action != ADMIN and resource != ANY:
                self.checked(vocabulary.action, action, resource)
            for one in self.words(name, lambda name: names.check_bound_name(resource, name, action)):  # noqa: B023
                question = (subject, action, resource, one)
                if question in self.asked:
                    self.find(f"the question {' '.join(question)!r} is asked twice", "delete one of the two")
                self.asked.add(question)
                self.table.cases.append(Case(self.line, question, expected == ALLOW, str(said.get("by") or "")))
