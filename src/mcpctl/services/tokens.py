"""Tokens (``McpToken``): minting, listing, rotating, revoking, deleting, introspecting.

To the policy a token is just another subject, called after the SHA-256 of its first secret, for life: its secrets stand in
a table of their own, so a rotation changes no policy line.
"""

from __future__ import annotations

from dataclasses import replace as replaced
from datetime import UTC, datetime
from typing import Final
from weakref import WeakKeyDictionary

from sqlalchemy import select, update
from sqlalchemy.orm import Session as Db

from mcpctl.errors import Conflict, Duplicate, FieldError, InvalidBinding, InvalidInput, NotFound
from mcpctl.policy.bindings import Binding
from mcpctl.policy.decision import TOKEN_NEVER_IN_WORDS, Authority, decide
from mcpctl.policy.files import PolicyFiles
from mcpctl.policy.slices import Rule
from mcpctl.policy.vocabulary import ACTIONS, ADMIN, ALLOW, ANY, OPERATIONS, OPERATIONS_RESOURCE, RESOURCES
from mcpctl.services import authorities, lifetimes, rbac, subjects
from mcpctl.services.principals import NotAuthenticated, Principal
from mcpctl.services.token_secret import generate_token, hash_token
from mcpctl.services.unusable import unusable
from mcpctl.services.work import Work
from mcpctl.store import policy_rules
from mcpctl.store.schema import Project, Token, TokenSecret, User
from mcpctl.wire import tokens as wire

RESERVED_NAME = "introspect"
"""A route of that name stands where a token's would."""

MOST_SCOPES = 500
"""Scopes told of one bearer; who holds more asks the decision API about each."""


def find(db: Db, key: str, project: str | None) -> Token:
    """The token of this id, or of this name in this project; of several (revoked ones keep theirs) the live one.

    Raises:
        NotFound: there is none.
        InvalidInput: a name without its project.
    """
    by_id = db.get(Token, key)
    if by_id is not None:
        return by_id
    if project is None and key == key.lower():
        message = "a token's name is only unique in its project: add ?project=NAME"
        raise InvalidInput(message, errors=[FieldError("project", message)])
    query = select(Token).join(Project, Project.id == Token.project_id).where(Token.name == key, Project.name == project)
    newest = query.order_by(Token.revoked_at.is_not(None), Token.created_at.desc())
    token = db.scalars(newest).first()
    if token is None:
        raise NotFound(f"there is no token {key!r} in the project {project!r}")
    return token


def policy_name(token: Token) -> str:
    """What a token is called in the policy: ``<project>/<token>``."""
    return f"{token.project.name}/{token.name}"


def create(work: Work, new: wire.NewToken) -> wire.MintedToken:
    """Mint a token owned by the actor; its row, its policy lines and the audit row are one transaction.

    Raises:
        CeilingExceeded: a binding gives what the actor does not hold (door 1).
        Duplicate, InvalidInput, NotFound: the name is taken; a member is wrong; there is no such project.
    """
    if new.name == RESERVED_NAME:
        message = f"{RESERVED_NAME!r} is reserved"
        raise InvalidInput(message, errors=[FieldError("name", message)])
    # Before the project is looked up: who may not view it learns nothing about whether it exists.
    work.require("view", "projects", new.project)
    project = work.db.scalars(select(Project).where(Project.name == new.project)).one_or_none()
    if project is None:
        raise NotFound(f"there is no project {new.project!r}")
    taken = select(Token.id).where(Token.project_id == project.id, Token.name == new.name, Token.revoked_at.is_(None))
    if work.db.scalars(taken).first():
        raise Duplicate(
            f"the project {project.name!r} has a token {new.name!r} already; an expired one keeps its name until deleted"
        )
    bindings = _bindings(work, new)
    work.require_holding(bindings, f"the token {new.project}/{new.name}")
    owner = work.db.scalars(select(User).where(User.name == work.actor.user)).one()
    raw = generate_token()
    token = Token(
        name=new.name,
        project_id=project.id,
        owner_id=owner.id,
        sha=hash_token(raw),
        rbac_mode=new.rbac_mode,
        description=new.description,
        created_at=work.now,
        expires_at=lifetimes.expiry(new.ttl, work.now),
    )
    work.db.add(token)
    work.db.flush()
    work.db.add(TokenSecret(sha=token.sha, token_id=token.id, created_at=work.now))
    copied = [rule.binding for rule in work.authority.own.rules] if new.rbac_mode == "clone" else []
    policy_rules.add(
        work.db,
        [Rule(token.subject, b.role, b.resource, b.name, b.effect, token.origin) for b in dict.fromkeys([*copied, *bindings])],
    )
    work.touch(token.subject)
    work.record("create", "mcptokens", policy_name(token), project=project.name, tokenSha=token.sha, rbacMode=new.rbac_mode)
    return _minted(work, token, raw)


def _bindings(work: Work, new: wire.NewToken) -> list[Binding]:
    bindings = rbac.parse_all(new.bindings, work.policy.roles, "bindings")
    errors = [
        FieldError(f"bindings.{index}", f"{binding}: a token's bindings only allow; write {replaced(binding, effect=ALLOW)}")
        for index, binding in enumerate(bindings)
        if binding.denies
    ]
    if errors:
        raise InvalidBinding("; ".join(error.message for error in errors), errors=errors)
    return bindings


def revoke(work: Work, token: Token) -> Token:
    """End a token for good: all its secrets, and every line whose subject it is. Its row stays, its name is free.

    Revoking a revoked one changes nothing.
    """
    if token.revoked_at is None:
        token.revoked_at = work.now
        _end_secrets(work, token)
        subjects.forget(work, token.subject)
        work.record("revoke", "mcptokens", policy_name(token), project=token.project.name, tokenSha=token.sha)
        work.db.flush()
    return token


def remove(work: Work, token: Token) -> None:
    """Delete a token: as ``revoke``, and its row too. The audit keeps its name and SHA."""
    subjects.forget(work, token.subject)
    work.record("delete", "mcptokens", policy_name(token), project=token.project.name, tokenSha=token.sha)
    work.db.delete(token)


def rotate(work: Work, token: Token, grace: str | None) -> wire.MintedToken:
    """A new secret of the same token; the old ones stay valid for ``grace`` at most, none by default.

    Raises:
        CeilingExceeded: the actor is not the owner and does not hold all that the token may do (door 9).
        Conflict: it is revoked or expired.
    """
    if token.revoked_at is not None:
        raise Conflict(f"the token {policy_name(token)} is revoked: create a new one")
    if token.expires_at is not None and token.expires_at <= work.now:
        raise Conflict(f"the token {policy_name(token)} has expired: delete it and create a new one")
    if work.actor.user != token.owner.name:
        # All it was given, not only what its owner holds today: that may grow again.
        work.require_holding(_given(work, token), f"rotating the token {policy_name(token)} of {token.owner.subject}")
    seconds = lifetimes.grace(grace).total_seconds()
    # Without grace the end lies in no clock's future, however far behind another replica's is.
    until = work.now + seconds if seconds else 0.0
    ending = update(TokenSecret).where(TokenSecret.token_id == token.id)
    work.db.execute(
        ending.where((TokenSecret.valid_until.is_(None)) | (TokenSecret.valid_until > until)).values(valid_until=until)
    )
    raw = generate_token()
    work.db.add(TokenSecret(sha=hash_token(raw), token_id=token.id, created_at=work.now))
    work.touch(token.subject)
    work.record("rotate", "mcptokens", policy_name(token), project=token.project.name, tokenSha=token.sha, grace=grace or "0")
    return _minted(work, token, raw)


def _given(work: Work, token: Token) -> list[Binding]:
    return authorities.allowed_bindings(authorities.slice_of(work.db, work.policy, token.subject))


def _end_secrets(work: Work, token: Token) -> None:
    work.db.execute(update(TokenSecret).where(TokenSecret.token_id == token.id).values(valid_until=0.0))


def _minted(work: Work, token: Token, raw: str) -> wire.MintedToken:
    work.db.flush()
    seen = shown(work.db, work.policy, token, work.now)
    in_vain = unusable(_given(work, token), work.policy.roles, token.project.name)
    return wire.MintedToken(
        **seen.model_dump(), token=raw, never=list(TOKEN_NEVER_IN_WORDS), unusable=[str(binding) for binding in in_vain]
    )


def shown(db: Db, policy: PolicyFiles, token: Token, now: float) -> wire.Token:
    """The token as it crosses the wire, with what policy files give it too; never a secret."""
    stored = policy_rules.of_subjects(db, [token.subject])
    if token.revoked_at is not None:
        status = "revoked"
    elif token.expires_at is not None and token.expires_at <= now:
        status = "expired"
    else:
        status = "owner_disabled" if token.owner.disabled else "active"
    return wire.Token.model_validate(
        {
            "id": token.id,
            "name": token.name,
            "project": token.project.name,
            "owner": token.owner.subject,
            "token_sha": token.sha,
            "rbac_mode": token.rbac_mode,
            "bindings": [str(rule.binding) for rule in (*policy.rules_of(token.subject), *stored)],
            "description": token.description,
            "status": status,
            "created_at": _time(token.created_at),
            "expires_at": _time(token.expires_at),
            "revoked_at": _time(token.revoked_at),
            "last_used_at": _time(token.last_used_at),
        }
    )


def introspected(principal: Principal, revision: int) -> wire.Introspection:
    """What a good bearer is, as of ``revision``: nothing it was built from has changed since."""
    authority = principal.authority
    return wire.Introspection(
        active=True,
        sub=principal.subject,
        token_type="mcptoken" if principal.is_token else "session",
        username=principal.user,
        exp=None if principal.expires_at is None else int(principal.expires_at),
        iat=int(principal.issued_at),
        project=principal.project,
        token_name=principal.token_name,
        token_sha=principal.token_sha,
        token_id=principal.credential_id if principal.is_token else None,
        owner=f"User:{principal.user}" if principal.is_token else None,
        bindings=[str(rule.binding) for rule in authority.own.rules],
        topics=sorted(authority.topics),
        revision=max(revision, authority.revision),
    )


def for_resource_servers(principal: Principal, revision: int) -> wire.ClientIntrospection:
    """What another program is told of a good bearer it was handed, as of ``revision``."""
    authority = principal.authority
    full = introspected(principal, revision).model_dump(exclude={"reason", "topics"})
    return wire.ClientIntrospection(
        **full,
        client_id=principal.subject,
        scope=_scope(authority),
        aud=sorted(authority.attached) if principal.is_token else None,
    )


_KNOWN_SCOPES: Final[WeakKeyDictionary[Authority, str]] = WeakKeyDictionary()


def _scope(authority: Authority) -> str:
    """``_scopes`` as RFC 7662 writes them. Found once for each authority: verifiers ask with each request they get."""
    known = _KNOWN_SCOPES.get(authority)
    if known is None:
        known = _KNOWN_SCOPES[authority] = " ".join(_scopes(authority))
    return known


def _scopes(authority: Authority) -> list[str]:
    """What it may do now of all that its own lines and its owner's name, and what it may do with each server of its project.

    Every one of them has been asked about, so the owner of a token, its project and every deny are looked at.
    """
    asked = {(action, "servers", server) for server in authority.attached for action in ACTIONS}
    # Of an owner with very many lines the first ones: as many scopes are told at most.
    for rule in (*authority.own.rules, *(authority.owner.rules[:MOST_SCOPES] if authority.owner is not None else ())):
        resources = RESOURCES if rule.res == ANY else (rule.res,)
        actions = (*ACTIONS, *OPERATIONS) if rule.role == ADMIN else authority.own.roles.actions(rule.role)
        asked |= {(a, r, rule.name) for r in resources for a in actions if (a in OPERATIONS) == (r == OPERATIONS_RESOURCE)}
    held = sorted((resource, name, action) for action, resource, name in asked if decide(authority, action, resource, name))
    return [f"{action}:{resource}/{name}" for resource, name, action in held[:MOST_SCOPES]]


def introspection(principal: Principal, revision: int) -> bytes:
    """``introspected`` as JSON. Written once for each principal and revision, because gateways ask it all the time."""
    written = principal.introspection.get(revision)
    if written is None:
        written = introspected(principal, revision).model_dump_json(by_alias=True).encode()
        principal.introspection.clear()
        principal.introspection[revision] = written
    return written


def not_active(reason: NotAuthenticated) -> wire.Introspection:
    """What a bad bearer is, told only to whoever presents it."""
    return wire.Introspection(active=False, reason=reason.why)


def _time(moment: float | None) -> datetime | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC)
