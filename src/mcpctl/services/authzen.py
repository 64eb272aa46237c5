"""The OpenID AuthZEN Authorization API 1.0 in terms of the one question.

A subject's type is ``user``, ``group`` or ``mcptoken`` (whose id is the SHA-256 of its first secret), a resource's type is a
resource of the vocabulary and its id a name, and actions are called as everywhere. ``properties`` and ``context`` change
nothing. A word that is not known makes no error of the request: it is a no that says why (section 7.2.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session as Db

from mcpctl.errors import FieldError, InvalidInput
from mcpctl.policy import vocabulary
from mcpctl.policy.decision import Authority, could, decide
from mcpctl.policy.files import PolicyFiles
from mcpctl.policy.names import parse_subject
from mcpctl.policy.vocabulary import ACTIONS, ANY, OPERATIONS, OPERATIONS_RESOURCE, PROJECT_OPERATIONS
from mcpctl.services import answers, questions, rbac
from mcpctl.services.everybody import KINDS, Kind
from mcpctl.services.questions import Known, Until
from mcpctl.store import policy_rules
from mcpctl.store.schema import Group, InstanceRow, Project, ProxyModel, Secret, Server, Session, Token, User
from mcpctl.wire import authzen as wire

SUBJECT_TYPES: Final[dict[str, str]] = {"user": "User", "group": "Group", "mcptoken": "McpToken"}
SEMANTICS: Final[dict[str, Until]] = {
    "execute_all": "all",
    "deny_on_first_deny": "until_deny",
    "permit_on_first_permit": "until_permit",
}


_TABLES: Final[dict[str, type[Server | Project | Secret | ProxyModel | User | Group]]] = {
    "servers": Server,
    "projects": Project,
    "secrets": Secret,
    "proxymodels": ProxyModel,
    "users": User,
    "groups": Group,
}


Evaluation = tuple[wire.Entity, wire.Action, wire.Entity]
"""Subject, action and resource."""


class Asked(NamedTuple):
    """One evaluation in our words; ``wrong`` is why it cannot be asked."""

    subject: str | None
    words: tuple[str, str, str] | None
    wrong: str = ""


def subject_of(entity: wire.Entity) -> str | None:
    """The subject an entity is, ``None`` where no subject could be called that."""
    kind = SUBJECT_TYPES.get(entity.type)
    try:
        return str(parse_subject(f"{kind}:{entity.id}")) if kind else None
    except InvalidInput:
        return None


def read(evaluation: Evaluation) -> Asked:
    """An evaluation in the vocabulary's words."""
    subject, action, resource = evaluation
    return _read(subject.type, subject.id, action.name, resource.type, resource.id)


@lru_cache(maxsize=4096)
def _read(subject_type: str, subject_id: str, action: str, resource_type: str, resource_id: str) -> Asked:
    entity = wire.Entity(type=subject_type, id=subject_id)
    subject = subject_of(entity)
    if subject is None:
        return Asked(None, None, _no_subject(entity))
    try:
        return Asked(subject, questions.checked_words(action, resource_type, resource_id))
    except InvalidInput as error:
        return Asked(subject, None, error.detail)


def _no_subject(entity: wire.Entity) -> str:
    if entity.type not in SUBJECT_TYPES:
        return f"{vocabulary.shown(entity.type)} is no type of subject; it is one of {', '.join(SUBJECT_TYPES)}"
    try:
        parse_subject(f"{SUBJECT_TYPES[entity.type]}:{entity.id}")
    except InvalidInput as error:
        return error.detail
    raise AssertionError


def evaluations_of(body: wire.Evaluations) -> list[Evaluation]:
    """Each evaluation with what it takes from the top (section 7.1.1); without any, the one that the top is.

    Raises:
        InvalidInput: a subject, action or resource stands in neither place.
    """
    parts: Sequence[wire.PartialEvaluation] = body.evaluations or [body]
    found, errors = list[Evaluation](), list[FieldError]()
    for index, part in enumerate(parts):
        subject, action, resource = part.subject or body.subject, part.action or body.action, part.resource or body.resource
        if subject is not None and action is not None and resource is not None:
            found.append((subject, action, resource))
            continue
        where = f"evaluations.{index}." if body.evaluations else ""
        members = {"subject": subject, "action": action, "resource": resource}
        errors += [FieldError(where + name, "it is missing") for name, value in members.items() if value is None]
    if errors:
        raise InvalidInput("; ".join(f"{one.field}: {one.message}" for one in errors[:10]), errors=errors[:10])
    return found


def decided(known: Known, asked: Iterable[Asked], until: Until = "all") -> list[dict[str, Any]]:
    """The decisions, in order, as far as ``until`` wants them; each is a ``wire.Decision``.

    They are written as they are, for there may be a thousand and each model costs more than its decision.
    """
    found = list[dict[str, Any]]()
    for one in asked:
        found.append(_decision(known, one))
        if until != "all" and found[-1]["decision"] is (until == "until_permit"):
            break
    return found


def _decision(known: Known, asked: Asked) -> dict[str, Any]:
    if asked.subject is None or asked.words is None:
        return {"decision": False, "context": {"error": {"status": 400, "message": asked.wrong}}}
    decision = known.decide(asked.subject, *asked.words)
    because = {"reason": decision.reason}
    if rule := decision.rule:
        because |= {"rule": str(rule), "origin": rule.origin}
        if via := decision.via:
            because["via"] = via
    return {"decision": decision.allowed, "context": because | {"revision": decision.revision, "id": decision.id}}


def subjects(db: Db, policy: PolicyFiles, search: wire.SubjectSearch, now: float) -> list[wire.FoundEntity]:
    """Section 8.4: every subject of the type that may do it, through its groups too.

    Raises:
        InvalidInput: a word is not of the vocabulary.
    """
    kind: Kind | None = next((kind for kind in KINDS if kind == search.subject.type), None)
    if kind is None:
        raise InvalidInput(_no_subject(wire.Entity(type=search.subject.type, id="")))
    words = questions.checked_words(search.action.name, search.resource.type, search.resource.id)
    found = answers.who_can(db, policy, words, now, [kind])
    return [wire.FoundEntity(type=kind, id=one.decision.subject.partition(":")[2]) for one in found]


def resources(db: Db, known: Known, viewer: Authority, search: wire.ResourceSearch) -> list[wire.FoundEntity]:
    """Section 8.5: every resource of the type that exists, that the subject may do it to, and that ``viewer`` may view.

    What is below a server is known to gateways only, so of servers it is the servers.

    Raises:
        InvalidInput: a word is not of the vocabulary.
    """
    subject = subject_of(search.subject)
    if subject is None:
        raise InvalidInput(_no_subject(search.subject))
    action, resource, _ = questions.checked_words(search.action.name, search.resource.type, ANY)
    authority = known.authority(subject)
    if authority is None or not could(authority, action, resource):
        return []
    operation = resource == OPERATIONS_RESOURCE
    return [
        wire.FoundEntity(type=search.resource.type, id=name)
        for name in _names(db, action, resource)
        if decide(authority, action, resource, name)
        and (name == ANY or decide(viewer, "view", "projects" if operation else resource, name))
    ]


def actions(known: Known, search: wire.ActionSearch) -> list[wire.FoundAction]:
    """Section 8.6: every action that the subject may do to the resource.

    Raises:
        InvalidInput: a word is not of the vocabulary.
    """
    subject = subject_of(search.subject)
    if subject is None:
        raise InvalidInput(_no_subject(search.subject))
    resource, found, known_words = vocabulary.resource(search.resource.type), list[wire.FoundAction](), False
    refused = InvalidInput("there is no action")
    for action in OPERATIONS if resource == OPERATIONS_RESOURCE else ACTIONS:
        try:
            words = questions.checked_words(action, resource, search.resource.id)
        except InvalidInput as error:  # not every operation is limited to a project
            refused = error
            continue
        known_words = True
        if known.decide(subject, *words):
            found.append(wire.FoundAction(name=action))
    if not known_words:
        raise refused
    return found


def _names(db: Db, action: str, resource: str) -> list[str]:
    """What there is of a kind, by name; of an operation the projects, and ``*`` for all of them."""
    if resource == OPERATIONS_RESOURCE:
        return [ANY, *(db.scalars(select(Project.name).order_by(Project.name)) if action in PROJECT_OPERATIONS else ())]
    if resource == "rbac":
        origins = policy_rules.origins(db, rbac.PREFIX, "", 1_000_000)
        return [origin.removeprefix(rbac.PREFIX) for origin in origins]
    if resource == "mcptokens":
        live = select(Project.name, Token.name).join(Project, Project.id == Token.project_id).where(Token.revoked_at.is_(None))
        return sorted(f"{project}/{token}" for project, token in db.execute(live))
    if resource == "instances":
        seen = select(Server.name, InstanceRow.gateway).join(Server, Server.id == InstanceRow.server_id)
        return sorted(f"{server}/{gateway}" for server, gateway in db.execute(seen))
    if resource == "sessions":
        return list(db.scalars(select(User.name).join(Session, Session.user_id == User.id).distinct().order_by(User.name)))
    table = _TABLES.get(resource)
    return [] if table is None else list(db.scalars(select(table.name).order_by(table.name)))
