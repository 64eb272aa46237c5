"""The policy directory: ``model.conf`` and the ``*.csv`` files people edit, read strictly.

Casbin's own CSV adapter loses rules silently (a byte order mark, an unknown line type, a trailing comment). Here every line
is understood whole or reported, with file, line, what is wrong and the cure, and all findings come at once.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple, ParamSpec, TypeVar

from mcpctl.errors import FieldError, InvalidInput, InvalidPolicy
from mcpctl.policy import names, vocabulary
from mcpctl.policy.model import InvalidModel, PolicyModel
from mcpctl.policy.slices import Roles, Rule, Slice
from mcpctl.policy.vocabulary import ACTIONS, ADMIN, ALLOW, DENY, OPERATIONS, OPERATIONS_RESOURCE, Effect, close_to, shown

MODEL_FILE: Final = "model.conf"
LINE_TYPES: Final = {
    "g2": "g2, ROLE, ACTION",
    "g": "g, User:<name>, Group:<name>",
    "p": "p, SUBJECT, ROLE, RESOURCE, NAME, allow|deny",
}

_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Such a name can stand in the origin of a line, in a log and in an answer."""

Args = ParamSpec("Args")
Value = TypeVar("Value")


class Finding(NamedTuple):
    """One thing wrong in a policy directory."""

    file: str
    line: int
    cause: str
    cure: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.cause}; {self.cure}"


class Origin(NamedTuple):
    """Where a line stands."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Membership(NamedTuple):
    """A ``g`` line of a file."""

    user: str
    group: str
    origin: str


@dataclass(frozen=True)
class PolicyFiles:
    """Everything a policy directory says, read at one moment. ``digest`` changes when anything of it changes.

    ``role_lines`` says of each pair of a role and an action where its line stands.
    """

    model: PolicyModel
    roles: Roles
    rules: tuple[Rule, ...]
    memberships: tuple[Membership, ...]
    digest: str
    role_lines: Mapping[tuple[str, str], str] = field(default_factory=dict)
    _rules_by_subject: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict, repr=False)
    _groups_by_user: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        model: PolicyModel,
        roles: Roles,
        rules: list[Rule],
        memberships: list[Membership],
        digest: str,
        role_lines: Mapping[tuple[str, str], str] | None = None,
    ) -> PolicyFiles:
        """Index what was read."""
        by_subject: defaultdict[str, list[Rule]] = defaultdict(list)
        for rule in rules:
            by_subject[rule.sub].append(rule)
        by_user: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for membership in memberships:
            by_user[membership.user].setdefault(membership.group, membership.origin)
        return cls(
            model,
            roles,
            tuple(rules),
            tuple(memberships),
            digest,
            role_lines or {},
            {subject: tuple(found) for subject, found in by_subject.items()},
            dict(by_user),
        )

    def rules_of(self, subject: str) -> tuple[Rule, ...]:
        """The lines whose subject this is."""
        return self._rules_by_subject.get(subject, ())

    def groups_of(self, user: str) -> tuple[str, ...]:
        """The groups, as ``Group:<name>``, that files put ``User:<name>`` into."""
        return tuple(self._groups_by_user.get(user, ()))

    def joined_by(self, user: str, group: str) -> str | None:
        """Where a file puts ``user`` into ``group``."""
        return self._groups_by_user.get(user, {}).get(group)

    def places(self, user: str, rule: Rule) -> tuple[str, ...]:
        """Where it stands that ``rule`` speaks of ``user``: the line, and that which puts the user into its group."""
        joined = self.joined_by(user, rule.sub)
        return (rule.origin, joined) if joined else (rule.origin,)

    def naming(self, subject: str) -> tuple[str, ...]:
        """Where files name ``subject``: every ``file:line``, in order."""
        lines = [rule.origin for rule in self.rules_of(subject)]
        lines += [m.origin for m in self.memberships if subject in (m.user, m.group)]
        return tuple(lines)


def read(directory: Path) -> PolicyFiles:
    """Read the policy directory.

    Raises:
        InvalidPolicy: with one entry of ``errors`` for each finding.
    """
    reader = _Reader(directory)
    files = reader.read()
    if reader.findings or files is None:
        errors = [FieldError(f"{f.file}:{f.line}" if f.line else f.file, f"{f.cause}; {f.cure}") for f in reader.findings]
        summary = "\n".join(str(finding) for finding in reader.findings)
        raise InvalidPolicy(f"{len(reader.findings)} finding(s) in {directory}:\n{summary}", errors=errors)
    return files


def check(directory: Path) -> list[Finding]:
    """Every finding in the policy directory; an empty list means it can be put in force."""
    reader = _Reader(directory)
    reader.read()
    return reader.findings


class _Reader:
    """One pass over a directory, gathering lines and findings."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.findings: list[Finding] = []
        self.digest = sha256()
        self.roles: set[str] = {ADMIN}
        self.every_file_is_read = True
        self.role_lines: dict[tuple[str, str], str] = {}
        self.rules: list[Rule] = []
        self.memberships: list[Membership] = []
        self.good_subjects: set[str] = set()  # the same few stand in most lines
        self.seen: dict[tuple[str, ...], str] = {}

    def read(self) -> PolicyFiles | None:
        model = self._model()
        lines = [line for path in self._csv_files() for line in self._lines(path)]
        # Roles first: a line may use a role that a later file defines.
        for kind in LINE_TYPES:
            for file, number, fields in lines:
                if fields[0] == kind:
                    self._line(kind, Origin(file, number), fields)
        self._roles_called_like_actions()
        self.findings.sort(key=lambda finding: (finding.file, finding.line))
        if model is None or self.findings:
            return None
        roles = Roles(self.role_lines)
        self._try(model, roles)
        if self.findings:
            return None
        return PolicyFiles.of(model, roles, self.rules, self.memberships, self.digest.hexdigest(), self.role_lines)

    def _csv_files(self) -> Iterator[Path]:
        """Every file that holds lines. Hidden ones are not policy: editors and mounted volumes keep their own there."""
        try:
            paths = sorted(path for path in self.directory.iterdir() if not path.name.startswith("."))
        except OSError as error:
            self.findings.clear()  # without the directory, no word about what is in it
            cure = "name a directory with model.conf and *.csv files, or mend its rights"
            self._find(str(self.directory), 0, f"it cannot be read as a directory: {error.strerror}", cure)
            return
        for path in paths:
            if path.suffix == ".csv" and _FILE_NAME.fullmatch(path.name):
                yield path
            elif path.suffix.lower() == ".csv":
                cure = "name it with letters, digits, '.', '_' and '-', ending in .csv"
                self._find(shown(path.name), 0, "a policy file of this name is not read", cure)

    def _model(self) -> PolicyModel | None:
        text = self._text(self.directory / MODEL_FILE)
        if text is None or self.findings:
            return None
        try:
            return PolicyModel(text)
        except InvalidModel as error:
            self._find(MODEL_FILE, error.line, error.detail, "compare it with the one that ships with the program")
            return None

    def _text(self, path: Path) -> str | None:
        try:
            if path.is_symlink() and not path.resolve().is_relative_to(self.directory.resolve()):
                cure = "copy the file here, so that only what was put here is read"
                self._find(path.name, 0, "it is a link that leads out of the directory", cure)
                return None
            raw = path.read_bytes() if path.is_file() else None
            other = "" if raw is not None or not path.exists() else "a directory" if path.is_dir() else "a pipe or a device"
        except OSError as error:
            self._find(path.name, 0, f"it cannot be read: {error.strerror}", "mend its rights")
            return None
        if other:
            self._find(path.name, 0, f"it is {other} and no file", "put a file in its place, or call it otherwise")
            return None
        if raw is None:
            self._find(path.name, 0, "there is no such file", "create it, or mend the link to it")
            return None
        self.digest.update(path.name.encode() + b"\0" + sha256(raw).digest())
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            self._find(path.name, 1, "it is not UTF-8 but UTF-16", "save it as UTF-8 without BOM")
            return None
        if raw.startswith(b"\xef\xbb\xbf"):
            self._find(path.name, 1, "it begins with a byte order mark", "save it as UTF-8 without BOM")
        lines = raw.decode("utf-8-sig", errors="replace").split("\n")
        return "\n".join(self._as_seen(path.name, number, line) for number, line in enumerate(lines, start=1))

    def _as_seen(self, file: str, number: int, line: str) -> str:
        """``line`` if an editor shows the whole of it as one line; else nothing, and a finding."""
        line = line.removesuffix("\r")
        if line.isascii() and line.isprintable():
            return line
        hidden = next((one for one in line if not one.isprintable() and one != "\t"), None)
        if "\ufffd" in line:
            self._find(file, number, "it is not UTF-8", "save it as UTF-8")
        elif hidden is not None:
            self._find(file, number, f"a character that cannot be seen, U+{ord(hidden):04X}", "delete it")
        else:
            return line
        return ""

    def _lines(self, path: Path) -> Iterator[tuple[str, int, tuple[str, ...]]]:
        """Every line that says something, and where it stands, its type and field count checked.

        Plain tuples of text: Python's garbage collector soon stops looking at those, and there may be very many.
        """
        text = self._text(path)
        if text is None:
            self.every_file_is_read = False
            return
        file = path.name
        for number, raw in enumerate(text.split("\n"), start=1):
            line = raw.strip(" \t")
            if not line or line.startswith("#"):
                continue
            origin = (file, number)
            fields = tuple([part.strip(" \t") for part in line.split(",")])
            form = LINE_TYPES.get(fields[0])
            if form is None:
                close = close_to(fields[0], LINE_TYPES)
                cure = f"did you mean {close!r}?" if close else "a line begins with p, g or g2"
                self._find(*origin, f"unknown line type {shown(fields[0])}", cure)
            elif "#" in line:
                self._find(*origin, "a comment stands behind the line", "give the comment a line of its own")
            elif '"' in line:
                self._find(*origin, "a quotation mark", "write fields bare; no name needs quoting")
            elif len(fields) != form.count(",") + 1:
                self._find(*origin, f"{len(fields)} fields where {form.count(',') + 1} belong", f"write {form!r}")
            elif not all(fields):
                self._find(*origin, "an empty field", f"write {form!r}")
            else:
                yield file, number, fields
            if fields[0] == "g2":
                self.roles.update(fields[1:2])  # a fault in the line that defines a role is not one where the role is used

    def _line(self, kind: str, origin: Origin, fields: Sequence[str]) -> None:
        before = len(self.findings)
        if kind == "g2":
            says = self._role_link(origin, fields[1], fields[2])
        elif kind == "g":
            says = self._membership(origin, fields[1], fields[2])
        else:
            says = self._rule(origin, *fields[1:])
        if len(self.findings) > before:
            return
        if first := self.seen.get((kind, *says)):
            self._find(*origin, f"it says the same as {first}", "delete one of the two")
        self.seen[(kind, *says)] = str(origin)

    def _role_link(self, origin: Origin, role: str, action: str) -> tuple[str, ...]:
        if role == ADMIN or role in OPERATIONS:
            self._find(*origin, f"{role!r} cannot be defined", "it is built in; choose another name for the role")
        else:
            self._checked(origin, "g2", names.check_name, role, "role")
        if action not in ACTIONS:
            is_role = action in self.roles
            cause = f"{action!r} is a role, and a role contains actions only" if is_role else f"unknown action {shown(action)}"
            self._find(*origin, cause, _cure(action, ACTIONS))
        self.role_lines[(role, action)] = str(origin)
        return role, action

    def _try(self, model: PolicyModel, roles: Roles) -> None:
        """Put a few questions to the model: one that cannot be evaluated would answer everybody with an error."""
        somebody = "User:somebody"
        effects: list[Effect] = [ALLOW, DENY]
        questions = (("view", "users", "somebody"), (ADMIN, "servers", "some/*"), ("logs", "operations", "*"))
        lines = [
            Slice(model, roles, somebody, ["Group:some"], [Rule(somebody, ADMIN, "*", "*", eft, "trial")]) for eft in effects
        ]
        why = next((why for line in lines for asked in questions if (why := line.objection(*asked)) is not None), None)
        if why is not None:
            cure = "compare it with the one that ships with the program"
            self._find(MODEL_FILE, model.line_of_matcher, f"its matcher cannot be evaluated: {why}", cure)

    def _roles_called_like_actions(self) -> None:
        """In Casbin a name is linked to itself: such a role holds its action whatever the lines say, so they are to say it."""
        for role in sorted({role for role, _ in self.role_lines if role in ACTIONS and (role, role) not in self.role_lines}):
            first = next(place for (name, _), place in self.role_lines.items() if name == role)
            file, _, number = first.rpartition(":")
            cause = f"the role {role!r} is called like an action, so it holds that action, and no line says so"
            self._find(file, int(number), cause, f"write 'g2, {role}, {role}' too, or call the role otherwise")

    def _membership(self, origin: Origin, user: str, group: str) -> tuple[str, ...]:
        member = self._checked(origin, "g", names.parse_subject, user)
        of = self._checked(origin, "g", names.parse_subject, group)
        if (member and member.kind != "User") or (of and of.kind != "Group"):
            self._find(*origin, "only a user can be a member, and only of a group", f"write {LINE_TYPES['g']!r}")
        self.memberships.append(Membership(user, group, str(origin)))
        return user, group

    def _rule(self, origin: Origin, subject: str, role: str, word: str, name: str, effect: str) -> tuple[str, ...]:
        if subject not in self.good_subjects:
            known = self._checked(origin, "p", names.parse_subject, subject)
            self.good_subjects.update({subject} if known else ())
        resource = self._checked(origin, "p", vocabulary.resource, word, any_allowed=True)
        operation = resource == OPERATIONS_RESOURCE
        valid = {ADMIN, *OPERATIONS} if operation else self.roles if resource else {*self.roles, *OPERATIONS}
        role_is_known = role in valid
        if not role_is_known and (operation or self.every_file_is_read):
            self._find(*origin, f"unknown role {shown(role)}", _cure(role, sorted(valid)))
        if resource and (role_is_known or not operation):  # what the name of an operation may be hangs on which it is
            self._checked(origin, "p", names.check_bound_name, resource, name, role)
        if effect not in (ALLOW, DENY):
            self._find(*origin, f"unknown effect {shown(effect)}", _cure(effect, (ALLOW, DENY)))
        kept: Effect = DENY if effect == DENY else ALLOW
        rule = Rule(subject, role, resource or word, name, kept, str(origin))
        self.rules.append(rule)
        return rule[:-1]

    def _checked(
        self, origin: Origin, kind: str, check: Callable[Args, Value], *args: Args.args, **more: Args.kwargs
    ) -> Value | None:
        """What ``check`` says of a field, or ``None`` and a finding."""
        try:
            return check(*args, **more)
        except InvalidInput as error:
            self._find(*origin, error.detail, f"write {LINE_TYPES[kind]!r}")
            return None

    def _find(self, file: str, line: int, cause: str, cure: str) -> None:
        self.findings.append(Finding(file, line, cause, cure))


def _cure(word: str, valid: Sequence[str]) -> str:
    close = close_to(word, valid)
    return f"did you mean {close!r}?" if close else f"it is one of {', '.join(valid)}"
