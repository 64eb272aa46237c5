"""Applying many things at once (door 7): each through its own guard and its own ceiling, and all of them or none.

A batch may do exactly what its items may do one by one. They run in one transaction, in a fixed order of kinds, by the very
services that the single routes call. Whoever applies is judged by what they could do when the transaction began (``Work``
holds that authority, and nothing reads it anew): what a batch gives its own sender is of no use to it. What was made earlier
in it may be *named* by later items, as a subject, a member, a server or a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NoReturn

from sqlalchemy import select
from sqlalchemy.orm import Session as Db

from mcpctl.errors import CeilingExceeded, Conflict, Duplicate, FieldError, Forbidden, InUse, InvalidInput, NotFound, Problem
from mcpctl.policy.decision import decide
from mcpctl.services import last_admin
from mcpctl.services.applied_kinds import KINDS
from mcpctl.services.principals import Principal
from mcpctl.services.work import Work
from mcpctl.store.schema import User
from mcpctl.wire import apply as wire

MOST_LINES: Final = 5000
"""Policy lines and members of one batch: written in a few seconds."""

MOST_ERRORS = 50
"""Entries of ``errors`` in one answer."""


def run(work: Work, body: wire.ApplyBody, hashed: Mapping[str, str]) -> wire.ApplyResult:
    """Apply all of it, or nothing.

    Args:
        work: whose, and in which transaction; it must be rolled back if this raises.
        body: what shall be.
        hashed: hashes of the passwords of users to be made, by name, as far as they were made before.

    Raises:
        CeilingExceeded, Forbidden: with everything that is missing, of all items that could be judged.
        InvalidInput: with one entry of ``errors`` for each thing wrong, by ``items.N``, or for all of it if that is too much.
        LastAdmin: nobody would be left who is admin.
        Conflict: the revision is another one; something is in the way of an item, or an item needs what would be pruned.
        NotFound: a token asks for something outside its project.
    """
    _refuse_repeated(body)
    _refuse_too_many_lines(body)
    if body.revision not in (None, work.transaction.revision):
        raise Conflict("something was changed since the dry run: look again at what would be done")
    taken_back = work.db.begin_nested() if body.dry_run else None
    refusals = _Refusals(work.db)
    done = dict[int, wire.Applied]()
    with last_admin.kept(work.db, work.policy):
        for word in KINDS:
            for number, item in enumerate(body.items):
                if item.kind == word:
                    with refusals.of(f"{word}/{item.name}", number):
                        done[number] = _one(work, item, hashed)
        pruned = _prune(work, body, refusals)
        refusals.raise_any()
    if pruned:
        _require_still_so(work, body, pruned)
    if taken_back is not None:
        taken_back.rollback()
        work.transaction.topics.clear()
    items = [*(done[number] for number in sorted(done)), *pruned]
    return wire.ApplyResult(items=items, dry_run=body.dry_run, revision=work.transaction.revision)


def to_be_made(db: Db, asker: Principal, body: wire.ApplyBody) -> dict[str, str]:
    """The passwords of those users who are not there yet and whom ``asker`` may create, by name."""
    given = {
        item.name: item.password
        for item in body.items
        if item.kind == "user" and item.password is not None and decide(asker.authority, "create", "users", item.name)
    }
    there = set(db.scalars(select(User.name).where(User.name.in_(given))))
    return {name: password for name, password in given.items() if name not in there}


def _refuse_repeated(body: wire.ApplyBody) -> None:
    seen = set[tuple[str, str]]()
    errors = []
    for number, item in enumerate(body.items):
        if (item.kind, item.name) in seen:
            errors.append(FieldError(f"items.{number}", f"{item.kind}/{item.name} stands there twice"))
        seen.add((item.kind, item.name))
    for number, word in enumerate(body.prune):
        if word not in {item.kind for item in body.items}:
            message = f"there is no {word} among the items, so pruning would delete every one"
            errors.append(FieldError(f"prune.{number}", message))
    if errors:
        _raise_invalid(InvalidInput, errors)


def _refuse_too_many_lines(body: wire.ApplyBody) -> None:
    """While a batch is applied nothing else is written, so what one may write is limited: revocations wait for it."""
    lines = sum(len(item.subjects) * len(item.role_bindings) for item in body.items if item.kind == "rbac")
    lines += sum(len(item.members or ()) for item in body.items if item.kind == "group")
    if lines > MOST_LINES:
        said = f"these items make {lines} policy lines and memberships"
        message = f"{said}, and one request may make {MOST_LINES}: send them in parts"
        _raise_invalid(InvalidInput, [FieldError("items", message)])


def _one(work: Work, item: wire.ItemShape, hashed: Mapping[str, str]) -> wire.Applied:
    """Make one item so.

    Whoever may view it learns whether it is there and needs ``edit`` or ``create``; whoever may not is answered as at the
    route that creates, where an existing and a missing thing answer the same without the right to create it.
    """
    kind, work.decision = KINDS[item.kind], None
    sees = bool(decide(work.authority, "view", kind.resource, item.name))
    if not sees:
        work.require("create", kind.resource, item.name)
    thing = kind.find(work.db, item.name)
    if thing is None:
        work.require("create", kind.resource, item.name)
        kind.create(work, item, hashed)
        work.db.flush()
        after = kind.document(work.db, kind.find(work.db, item.name))
        differs = [member for member in after if member not in ("kind", "name")]
        return wire.Applied(kind=item.kind, name=item.name, result="created", differs=differs, before=None, after=after)
    if not sees:
        raise Duplicate(f"{item.kind}/{item.name} is there already, and you may not view it")
    before = kind.document(work.db, thing)
    differs = kind.differs(work, thing, item)
    if not differs:
        return wire.Applied(kind=item.kind, name=item.name, result="unchanged", differs=[], before=before, after=before)
    work.require("edit", kind.resource, item.name)
    kind.change(work, thing, item)
    work.db.flush()
    after = kind.document(work.db, kind.find(work.db, item.name))
    return wire.Applied(kind=item.kind, name=item.name, result="changed", differs=differs, before=before, after=after)


def _prune(work: Work, body: wire.ApplyBody, refusals: _Refusals) -> list[wire.Applied]:
    """Delete what is of the kinds to prune and not among the items, as far as the actor may view it.

    Never the actor, the first admin, the built-in groups, or whom policy files name.
    """
    pruned = []
    wanted = {(item.kind, item.name) for item in body.items}
    for word, kind in reversed(KINDS.items()):
        for name in kind.names(work.db) if word in body.prune else []:
            if (word, name) in wanted or kind.kept(work, name) or not decide(work.authority, "view", kind.resource, name):
                continue
            with refusals.of(f"{word}/{name}", None):
                work.decision = None
                work.require("delete", kind.resource, name)
                thing = kind.find(work.db, name)
                if thing is not None:  # it may have gone with another one
                    before = kind.document(work.db, thing)
                    kind.remove(work, thing)
                    work.db.flush()
                    pruned.append(wire.Applied(kind=word, name=name, result="pruned", differs=[], before=before, after=None))
    return pruned


def _require_still_so(work: Work, body: wire.ApplyBody, pruned: list[wire.Applied]) -> None:
    """Go on only if pruning took nothing out of what was asked for.

    Raises:
        InUse: an item names a user, a group or a server that would be gone; the sentence names these.
    """
    gone = {(one.kind, one.name) for one in pruned}
    for item in body.items:
        kind = KINDS[item.kind]
        if item.kind != "secret":  # it names nothing
            thing = kind.find(work.db, item.name)
            if thing is None or kind.differs(work, thing, item):
                lost = [f"{word}/{name}" for word, name in _named_by(item) if (word, name) in gone]
                what = f"{', '.join(lost) or 'something'}, which would be pruned"
                raise InUse(
                    f"{item.kind}/{item.name} names {what}: add {'it' if len(lost) < 2 else 'them'}, or take it out there"
                )


def _named_by(item: wire.ItemShape) -> Iterator[tuple[str, str]]:
    """Whom and what an item names that pruning could take out of it, as kind and name."""
    if isinstance(item, wire.GroupItem | wire.DefinitionItem):
        for subject in (item.members or []) if isinstance(item, wire.GroupItem) else item.subjects:
            kind, _, name = subject.partition(":")
            yield kind.lower(), name
    elif isinstance(item, wire.ProjectItem):
        yield from (("server", name) for name in item.servers or ())


@dataclass
class _Refusals:
    """What was refused so far, each with what it was about and the number of its item."""

    db: Db
    found: list[tuple[str, int | None, Problem]] = field(default_factory=list)

    @contextmanager
    def of(self, what: str, number: int | None) -> Iterator[None]:
        """Note a refusal, take back what it left half done, and go on to the next item: all that is missing shall be said."""
        try:
            with self.db.begin_nested():
                yield
        except (Forbidden, InvalidInput, NotFound, Conflict) as problem:
            self.found.append((what, number, problem))

    def raise_any(self) -> None:
        """Go on only if nothing was refused.

        A missing right is said alone: what else is wrong may come of it, and is not for everybody to know.

        Raises:
            Problem: as ``run``.
        """
        said = [f"{what}: {problem.detail}" for what, _, problem in self.found if isinstance(problem, Forbidden)]
        if said:
            forbidden = [problem for _, _, problem in self.found if isinstance(problem, Forbidden)]
            ceiling = any(isinstance(problem, CeilingExceeded) for problem in forbidden)
            missing = list(dict.fromkeys(line for problem in forbidden for line in problem.missing))
            raise (CeilingExceeded if ceiling else Forbidden)("\n".join(said), missing=missing)
        invalid = [(number, problem) for _, number, problem in self.found if isinstance(problem, InvalidInput)]
        if invalid:
            kinds = {type(problem) for _, problem in invalid}
            errors = [
                FieldError(f"items.{number}.{error.field}", error.message, error.nearest)
                for number, problem in invalid
                for error in problem.errors or [FieldError("name", problem.detail)]
            ]
            _raise_invalid(kinds.pop() if len(kinds) == 1 else InvalidInput, errors)
        for what, _, problem in self.found:
            raise type(problem)(f"{what}: {problem.detail}")


def _raise_invalid(kind: type[InvalidInput], errors: list[FieldError]) -> NoReturn:
    shown = errors[:MOST_ERRORS]
    raise kind("; ".join(f"{error.field}: {error.message}" for error in shown), errors=shown)
