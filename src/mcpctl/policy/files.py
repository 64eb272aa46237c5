"""The policy directory: ``model.conf`` and the ``*.csv`` files people edit, read strictly.

Casbin's own CSV adapter loses rules silently (a byte order mark, an unknown line type, a trailing comment). Here every line
is understood whole or reported, with file, line, what is wrong and the cure, and all findings come at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from mcpctl.errors import FieldError, InvalidInput, InvalidPolicy, nearest
from mcpctl.policy import names, vocabulary
from mcpctl.policy.model import PolicyModel
from mcpctl.policy.slices import Roles, Rule
from mcpctl.policy.vocabulary import ACTIONS, ADMIN, ALLOW, DENY, OPERATIONS, OPERATIONS_RESOURCE, Effect

MODEL_FILE: Final = "model.conf"
LINE_TYPES: Final = {
    "p": "p, SUBJECT, ROLE, RESOURCE, NAME, allow|deny",
    "g": "g, User:<name>, Group:<name>",
    "g2": "g2, ROLE, ACTION",
}


class Finding(NamedTuple):
    """One thing wrong in a policy directory."""

    file: str
    line: int
    cause: str
    cure: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.cause}; {self.cure}"


class Membership(NamedTuple):
    """A ``g`` line of a file."""

    user: str
    group: str
    origin: str


@dataclass(frozen=True)
class PolicyFiles:
    """Everything a policy directory says, read at one moment. ``digest`` changes when anything of it changes."""

    model: PolicyModel
    roles: Roles
    rules: tuple[Rule, ...]
    memberships: tuple[Membership, ...]
    digest: str
    _rules_by_subject: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict, repr=False)
    _groups_by_user: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, model: PolicyModel, roles: Roles, rules: list[Rule], memberships: list[Membership], digest: str) -> PolicyFiles:
        """Index what was read."""
        by_subject: defaultdict[str, list[Rule]] = defaultdict(list)
        for rule in rules:
            by_subject[rule.sub].append(rule)
        by_user: defaultdict[str, list[str]] = defaultdict(list)
        for membership in memberships:
            by_user[membership.user].append(membership.group)
        return cls(
            model,
            roles,
            tuple(rules),
            tuple(memberships),
            digest,
            {subject: tuple(found) for subject, found in by_subject.items()},
            {user: tuple(found) for user, found in by_user.items()},
        )

    def rules_of(self, subject: str) -> tuple[Rule, ...]:
        """The lines whose subject this is."""
        return self._rules_by_subject.get(subject, ())

    def groups_of(self, user: str) -> tuple[str, ...]:
        """The groups, as ``Group:<name>``, that files put ``User:<name>`` into."""
        return self._groups_by_user.get(user, ())

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
        self.role_links: list[tuple[str, str]] = []
        self.rules: list[Rule] = []
        self.memberships: list[Membership] = []
        self.seen: dict[tuple[str, ...], str] = {}

    def read(self) -> PolicyFiles | None:
        if not self.directory.is_dir():
            self.findings.append(
                Finding(str(self.directory), 0, "there is no such directory", "make one with 'mcpctl policy init DIR'")
            )
            return None
        model = self._model()
        lines = [line for path in sorted(self.directory.glob("*.csv")) for line in self._lines(path)]
        # Roles first: a line may use a role that a later file defines.
        for kind in ("g2", "g", "p"):
            for origin, fields in lines:
                if fields[0] == kind:
                    self._line(kind, origin, fields)
        if model is None or self.findings:
            return None
        return PolicyFiles.of(model, Roles(self.role_links), self.rules, self.memberships, self.digest.hexdigest())

    def _model(self) -> PolicyModel | None:
        text = self._text(self.directory / MODEL_FILE)
        if text is None:
            return None
        try:
            return PolicyModel(text)
        except InvalidPolicy as error:
            self.findings.append(Finding(MODEL_FILE, 0, error.detail, "compare it with the one 'mcpctl policy init' writes"))
            return None

    def _text(self, path: Path) -> str | None:
        try:
            raw = path.read_bytes()
        except OSError as error:
            self.findings.append(Finding(path.name, 0, f"it cannot be read: {error.strerror}", "create it or mend its rights"))
            return None
        self.digest.update(path.name.encode() + b"\0" + sha256(raw).digest())
        if raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
            self.findings.append(Finding(path.name, 1, "it begins with a byte order mark", "save it as UTF-8 without BOM"))
            return None
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            line = raw[: error.start].count(b"\n") + 1
            self.findings.append(Finding(path.name, line, "it is not UTF-8", "save it as UTF-8"))
            return None

    def _lines(self, path: Path) -> Iterator[tuple[str, list[str]]]:
        """Every line that says something, as (``file:line``, fields), its type and field count checked."""
        text = self._text(path)
        for number, raw in enumerate((text or "").split("\n"), start=1):
            line = raw.removesuffix("\r").strip(" \t")
            if not line or line.startswith("#"):
                continue
            origin = f"{path.name}:{number}"
            fields = [part.strip(" \t") for part in line.split(",")]
            form = LINE_TYPES.get(fields[0])
            if form is None:
                close = nearest(fields[0], list(LINE_TYPES))
                cure = f"did you mean {close!r}?" if close else "a line begins with p, g or g2"
                self._find(origin, f"unknown line type {fields[0]!r}", cure)
            elif "#" in line:
                self._find(origin, "a comment stands behind the line", "give the comment a line of its own")
            elif '"' in line:
                self._find(origin, "a quotation mark", "write fields bare; no name needs quoting")
            elif len(fields) != form.count(",") + 1:
                self._find(origin, f"{len(fields)} fields where {form.count(',') + 1} belong", f"write {form!r}")
            elif not all(fields):
                self._find(origin, "an empty field", f"write {form!r}")
            else:
                yield origin, fields

    def _line(self, kind: str, origin: str, fields: list[str]) -> None:
        before = len(self.findings)
        try:
            if kind == "g2":
                self._role_link(origin, fields[1], fields[2])
            elif kind == "g":
                self._membership(origin, fields[1], fields[2])
            else:
                self._rule(origin, *fields[1:])
        except InvalidInput as error:
            self._find(origin, error.detail, f"write {LINE_TYPES[kind]!r}")
        if len(self.findings) > before:
            return
        key = tuple(fields[:5]) if kind == "p" else tuple(fields)
        if key in self.seen:
            self._find(origin, f"it says the same as {self.seen[key]}", "delete one of the two")
        self.seen[key] = origin

    def _role_link(self, origin: str, role: str, action: str) -> None:
        names.check_name(role, "role")
        if role == ADMIN or role in OPERATIONS:
            self._find(origin, f"{role!r} cannot be defined", "it is built in; choose another name for the role")
        elif action not in ACTIONS:
            is_role = action in {ADMIN, *(r for r, _ in self.role_links)}
            cause = f"{action!r} is a role, and a role contains actions only" if is_role else f"unknown action {action!r}"
            close = nearest(action, ACTIONS)
            self._find(origin, cause, f"did you mean {close!r}?" if close else f"actions are {', '.join(ACTIONS)}")
        else:
            self.role_links.append((role, action))

    def _membership(self, origin: str, user: str, group: str) -> None:
        member, of = names.parse_subject(user), names.parse_subject(group)
        if member.kind != "User" or of.kind != "Group":
            self._find(origin, "only a user can be a member, and only of a group", f"write {LINE_TYPES['g']!r}")
        else:
            self.memberships.append(Membership(user, group, origin))

    def _rule(self, origin: str, subject: str, role: str, resource_word: str, name: str, effect: str) -> None:
        names.parse_subject(subject)
        resource = vocabulary.resource(resource_word, any_allowed=True)
        roles = {ADMIN, *(r for r, _ in self.role_links)}
        valid = {ADMIN, *OPERATIONS} if resource == OPERATIONS_RESOURCE else roles
        if role not in valid:
            close = nearest(role, sorted(valid))
            self._find(
                origin,
                f"unknown role {role!r}",
                f"did you mean {close!r}?" if close else f"it is one of {', '.join(sorted(valid))}",
            )
            return
        if effect not in (ALLOW, DENY):
            close = nearest(effect, (ALLOW, DENY))
            self._find(origin, f"unknown effect {effect!r}", f"did you mean {close!r}?" if close else "it is allow or deny")
            return
        if not (resource == OPERATIONS_RESOURCE and role == ADMIN and name == "*"):
            names.check_bound_name(resource, name, role)
        kept: Effect = DENY if effect == DENY else ALLOW
        self.rules.append(Rule(subject, role, resource, name, kept, origin))

    def _find(self, origin: str, cause: str, cure: str) -> None:
        file, _, line = origin.rpartition(":")
        self.findings.append(Finding(file, int(line), cause, cure))
