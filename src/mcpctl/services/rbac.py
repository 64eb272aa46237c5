"""RBAC definitions: named sets of subjects and role bindings.

They have no home but the policy lines themselves: a definition *is* the lines of origin ``rbac:NAME``, every subject with
every binding. Every way of writing one passes the ceiling on the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy.orm import Session as Db

from mcpctl.errors import Duplicate, FieldError, InvalidBinding, InvalidInput, NotFound
from mcpctl.policy import bindings as binding_text
from mcpctl.policy.bindings import Binding
from mcpctl.policy.slices import Roles, Rule
from mcpctl.services import giving, last_admin, subjects
from mcpctl.services.work import Work
from mcpctl.store import policy_rules
from mcpctl.wire import rbac as wire

PREFIX = "rbac:"
MOST_LINES = 2000
"""One definition's subjects times its bindings."""


def origin_of(name: str) -> str:
    """The origin of a definition's lines."""
    return PREFIX + name


def find(db: Db, name: str) -> wire.Definition:
    """The definition of this name.

    Raises:
        NotFound: there is none.
    """
    rules = policy_rules.of_origin(db, origin_of(name))
    if not rules:
        raise NotFound(f"there is no RBAC definition {name!r}")
    return shown(name, rules)


def shown(name: str, rules: Sequence[Rule]) -> wire.Definition:
    """The definition as it crosses the wire: what its lines say."""
    return wire.Definition(
        name=name,
        subjects=list(dict.fromkeys(rule.sub for rule in rules)),
        role_bindings=[str(binding) for binding in dict.fromkeys(rule.binding for rule in rules)],
        origin=origin_of(name),
        read_only=False,
    )


def parse_all(texts: Iterable[str], roles: Roles, field: str) -> list[Binding]:
    """Each binding once, in order.

    Raises:
        InvalidBinding: with one entry of ``errors`` for each that cannot be read.
    """
    found: dict[Binding, None] = {}
    errors = []
    for index, text in enumerate(texts):
        try:
            found[binding_text.parse(text, roles.names)] = None
        except InvalidBinding as error:
            errors.append(FieldError(f"{field}.{index}", error.detail))
    if errors:
        raise InvalidBinding("; ".join(error.message for error in errors), errors=errors)
    return list(found)


def create(work: Work, new: wire.NewDefinition) -> wire.Definition:
    """Make a definition.

    Raises:
        CeilingExceeded: it would give what the actor does not hold, or deny somebody stronger (doors 2 and 4).
        Duplicate, InvalidInput: the name is taken; a subject or binding is wrong.
        LastAdmin: it would deny the last admin something.
    """
    if policy_rules.of_origin(work.db, origin_of(new.name)):
        raise Duplicate(f"there is an RBAC definition {new.name!r} already")
    _write(work, new.name, [], _lines(work, new.name, new))
    work.record("create", "rbac", new.name, subjects=new.subjects, roleBindings=new.role_bindings)
    return find(work.db, new.name)


def replace(work: Work, name: str, body: wire.DefinitionBody) -> wire.Definition:
    """Make the definition say this from now on.

    Raises:
        NotFound: there is none of that name.
        CeilingExceeded, InvalidInput, LastAdmin: as for ``create``, on the result of the edit.
    """
    before = policy_rules.of_origin(work.db, origin_of(name))
    if not before:
        raise NotFound(f"there is no RBAC definition {name!r}")
    _write(work, name, before, _lines(work, name, body))
    work.record("edit", "rbac", name, subjects=body.subjects, roleBindings=body.role_bindings)
    return find(work.db, name)


def remove(work: Work, name: str) -> None:
    """Delete a definition.

    Raises:
        NotFound: there is none.
        CeilingExceeded: it carries a deny whose set the actor does not hold (door 4).
        LastAdmin: nobody would be left.
    """
    before = policy_rules.of_origin(work.db, origin_of(name))
    if not before:
        raise NotFound(f"there is no RBAC definition {name!r}")
    _write(work, name, before, [])
    work.record("delete", "rbac", name)


def _lines(work: Work, name: str, body: wire.DefinitionBody) -> list[Rule]:
    subjects.require_known(work, body.subjects, "subjects")
    bindings = parse_all(body.role_bindings, work.policy.roles, "roleBindings")
    if len(body.subjects) * len(bindings) > MOST_LINES:
        message = f"subjects times bindings make more than {MOST_LINES} lines: bind a group instead"
        raise InvalidInput(message, errors=[FieldError("subjects", message)])
    return [
        Rule(subject, binding.role, binding.resource, binding.name, binding.effect, origin_of(name))
        for subject in dict.fromkeys(body.subjects)
        for binding in bindings
    ]


def _write(work: Work, name: str, before: list[Rule], after: list[Rule]) -> None:
    if {*before} == {*after}:
        return
    _require_ceiling(work, name, before, after)
    with last_admin.kept(work.db, work.policy):
        if before:
            policy_rules.remove_origin(work.db, origin_of(name))
        policy_rules.add(work.db, after)
    # Of all of them: a line that is written again stands behind others, and may no longer be the one that decides.
    work.touch(*(rule.sub for rule in (*before, *after)))


def _require_ceiling(work: Work, name: str, before: list[Rule], after: list[Rule]) -> None:
    """Doors 2 and 4. An edit that adds anything is judged by everything it leaves standing; one that adds nothing is not.

    Judging only what was added would let somebody keep a strong definition alive under a new guise; judging a mere
    shrinking would keep people from taking rights away.
    """
    doing = f"the RBAC definition {name!r}"
    present, wanted = set(before), set(after)
    added = [rule for rule in after if rule not in present]
    if any(not rule.binding.denies for rule in added):
        work.require_holding((rule.binding for rule in after if not rule.binding.denies), doing)
    for subject in dict.fromkeys(rule.sub for rule in added if rule.binding.denies):
        denies = [rule.binding for rule in added if rule.binding.denies and rule.sub == subject]
        giving.require_denying(work, denies, giving.slices_hit_by(work, subject), doing)
    lifted = dict.fromkeys(rule.binding for rule in before if rule.binding.denies and rule not in wanted)
    work.require_holding(lifted, f"lifting a deny of {doing}")
