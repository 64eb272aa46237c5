"""Secrets: kept encrypted, used by servers, never read back. Values leave only through the gateways' own route.

``view`` shows that a secret exists and the names of its keys. ``run`` uses it: naming it in a server sends its values to
wherever that server is, so every create and edit of a server asks for ``run`` on every secret of the result (door 8).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session as Db

from mcpctl.errors import Duplicate, FieldError, InUse, InvalidInput, InvalidSetting, NotFound, Unavailable
from mcpctl.policy.decision import Authority, decide
from mcpctl.services.keyring import Keyring, Sealed
from mcpctl.services.work import Work
from mcpctl.store.database import WriteTransaction
from mcpctl.store.schema import Attachment, Project, Secret, SecretValue, Server
from mcpctl.wire import secrets as wire
from mcpctl.wire.catalog import SecretRef, Value

logger = logging.getLogger(__name__)

_IN_A_HEADER: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
"""What a header's value may be made of (RFC 9110, 5.5): no line break, no control character but the tab."""


def find(db: Db, key: str) -> Secret:
    """The secret of this id or name.

    Raises:
        NotFound: there is none.
    """
    secret = db.scalars(select(Secret).where((Secret.id == key) | (Secret.name == key))).one_or_none()
    if secret is None:
        raise NotFound(f"there is no secret {key!r}")
    return secret


def shown(db: Db, secret: Secret, viewer: Authority) -> wire.Secret:
    """The secret as it crosses the wire: its keys, and of the servers that use it those the viewer may view."""
    keys = select(SecretValue.key).where(SecretValue.secret_id == secret.id).order_by(SecretValue.key)
    users = [server.name for server in using(db, secret.name) if decide(viewer, "view", "servers", server.name)]
    return wire.Secret(
        id=secret.id,
        name=secret.name,
        keys=list(db.scalars(keys)),
        servers=users,
        created_at=datetime.fromtimestamp(secret.created_at, UTC),
        updated_at=datetime.fromtimestamp(secret.updated_at, UTC),
    )


def create(work: Work, new: wire.NewSecret) -> Secret:
    """Keep a secret.

    Raises:
        Duplicate: the name is taken.
        Conflict: this control plane has no key to encrypt with.
    """
    if work.db.scalars(select(Secret.id).where(Secret.name == new.name)).first():
        raise Duplicate(f"there is a secret {new.name!r} already")
    secret = Secret(name=new.name, created_at=work.now, updated_at=work.now)
    work.db.add(secret)
    work.db.flush()
    _keep(work, secret, new.values)
    work.touch(f"Secret:{secret.name}")
    work.record("create", "secrets", secret.name, keys=sorted(new.values))
    return secret


def replace(work: Work, secret: Secret, body: wire.SecretBody) -> Secret:
    """Keep these values from now on and no others; gateways learn of it at once.

    Raises:
        InUse: a server uses a key that would be gone.
        InvalidInput: a server sends a value as a header, and it cannot be one.
        Conflict: this control plane has no key to encrypt with.
    """
    rows = select(SecretValue.key).where(SecretValue.secret_id == secret.id)
    return _change(work, secret, dict(body.values), set(work.db.scalars(rows)) - body.values.keys())


def change(work: Work, secret: Secret, patch: wire.SecretPatch) -> Secret:
    """Keep the values given and forget those given as ``null``; what is not named stays as it is (RFC 7396).

    Raises:
        InUse: a server uses a key that would be gone.
        InvalidInput: nothing would be left, a key to forget is not there, or a server sends a value as a header and it
            cannot be one.
        Conflict: this control plane has no key to encrypt with.
    """
    there = set(work.db.scalars(select(SecretValue.key).where(SecretValue.secret_id == secret.id)))
    values = {key: value for key, value in patch.values.items() if value is not None}
    gone = patch.values.keys() - values.keys()
    errors = [FieldError(f"values.{key}", "the secret has no such key") for key in sorted(gone - there)]
    if not errors and not (there - gone) | values.keys():
        errors = [FieldError("values", "nothing would be left: delete the secret instead")]
    if errors:
        raise InvalidInput("; ".join(f"{error.field}: {error.message}" for error in errors), errors=errors)
    return _change(work, secret, values, gone)


def _change(work: Work, secret: Secret, values: Mapping[str, str], gone: Iterable[str]) -> Secret:
    users = using(work.db, secret.name)
    needed = {key for server in users for name, key in references(server) if name == secret.name} & set(gone)
    if needed:
        raise InUse(f"servers use {', '.join(sorted(needed))} of the secret {secret.name!r}: change these first")
    sent = {value["key"] for server in users for value in server.headers.values() if _names(value, secret.name)}
    wrong = [key for key in sorted(sent & values.keys()) if not _IN_A_HEADER.fullmatch(values[key])]
    errors = [FieldError(f"values.{key}", _NO_HEADER) for key in wrong]
    if errors:
        raise InvalidInput("; ".join(f"{error.field}: {error.message}" for error in errors), errors=errors)
    rows = delete(SecretValue).where(SecretValue.secret_id == secret.id, SecretValue.key.in_({*values, *gone}))
    work.db.execute(rows)
    _keep(work, secret, values)
    secret.updated_at = work.now
    _touch_users(work, secret, users)
    work.record("edit", "secrets", secret.name, keys=sorted(values), forgotten=sorted(gone))
    return secret


_NO_HEADER: Final = "a server sends it as a header, so it has no line breaks or control characters"


def _names(value: Any, secret: str) -> bool:
    return isinstance(value, dict) and value["secret"] == secret


def remove(work: Work, secret: Secret) -> None:
    """Forget a secret.

    Raises:
        InUse: servers use it; those the actor may view are named.
    """
    users = using(work.db, secret.name)
    if users:
        named = [server.name for server in users if decide(work.authority, "view", "servers", server.name)]
        listed = f": {', '.join(named)}" if named else ""
        raise InUse(f"{len(users)} server(s) use the secret {secret.name!r}{listed}")
    work.touch(f"Secret:{secret.name}")
    work.record("delete", "secrets", secret.name)
    work.db.delete(secret)


def require_usable(work: Work, named: Mapping[str, SecretRef]) -> list[FieldError]:
    """Go on only if the actor may use every secret that ``named`` (by field) refers to; what does not exist is returned.

    Raises:
        CeilingExceeded: ``run`` on a secret is missing. An existing and a missing secret answer the same then.
    """
    asked = [("run", "secrets", reference.secret) for reference in named.values()]
    work.require_all(dict.fromkeys(asked), "a server that names a secret")
    errors = []
    for field, reference in named.items():
        found = work.db.scalars(select(SecretValue).join(Secret).where(Secret.name == reference.secret))
        rows = {row.key: row for row in found}
        if not rows:
            errors.append(FieldError(field, f"there is no secret {reference.secret!r}"))
        elif reference.key not in rows:
            errors.append(FieldError(field, f"the secret {reference.secret!r} has no key {reference.key!r}"))
        elif field.startswith("headers."):
            value = _opened(work.keyring, rows[reference.key], reference.secret)
            errors += [] if _IN_A_HEADER.fullmatch(value) else [FieldError(field, _NO_HEADER)]
    return errors


def references(server: Server) -> list[tuple[str, str]]:
    """The (secret, key) pairs a server names."""
    values: list[Any] = [*server.headers.values(), *server.env.values()]
    return [(value["secret"], value["key"]) for value in values if isinstance(value, dict)]


def using(db: Db, name: str) -> list[Server]:
    """The servers that name a secret, by name."""
    # There are few servers, and JSON is searched differently on each database.
    servers = db.scalars(select(Server).order_by(Server.name))
    return [server for server in servers if any(secret == name for secret, _ in references(server))]


def resolved(db: Db, keyring: Keyring, values: Mapping[str, Any]) -> dict[str, str]:
    """``values`` with every reference replaced by the secret's value: for gateways, and for nothing else.

    Raises:
        NotFound: a secret is gone.
        Unavailable: one does not decrypt.
    """
    return {key: _value(db, keyring, value) for key, value in values.items()}


def _value(db: Db, keyring: Keyring, value: Any) -> str:
    if isinstance(value, str):
        return value
    query = select(SecretValue).join(Secret).where(Secret.name == value["secret"], SecretValue.key == value["key"])
    row = db.scalars(query).one_or_none()
    if row is None:
        raise NotFound(f"there is no secret {value['secret']!r} with a key {value['key']!r}")
    return _opened(keyring, row, value["secret"])


def _opened(keyring: Keyring, row: SecretValue, name: str) -> str:
    try:
        return keyring.open(Sealed(row.key_id, row.nonce, row.ciphertext), _row_name(row.secret_id, name, row.key))
    except Unavailable as error:
        raise Unavailable(f"the value {row.key!r} of the secret {name!r} cannot be read: {error.detail}") from None


def adopt_key(transaction: WriteTransaction, keyring: Keyring) -> int:
    """At start: read every kept value, and encrypt with the first key what is not; how many were.

    A value that was altered does not stop the start: it is logged, its server cannot be used, and it can be set anew.

    Raises:
        InvalidSetting: a value needs a key this control plane was not given.
    """
    db = transaction.session
    rows = list(db.execute(select(SecretValue, Secret.name).join(Secret)))
    if unknown := sorted({row.key_id for row, _ in rows} - set(keyring.ids)):
        had = ", ".join(keyring.ids) or "no key"
        needed = f"{'keys' if len(unknown) > 1 else 'key'} {', '.join(unknown)}"
        raise InvalidSetting(f"secrets are kept that need the {needed}, and {keyring.source} holds {had}: restore it there")
    anew = 0
    for row, secret in rows:
        try:
            value = _opened(keyring, row, secret)
        except Unavailable as error:
            logger.error("%s", error.detail)
            continue
        if row.key_id != keyring.encrypting:
            row.key_id, row.nonce, row.ciphertext = keyring.seal(value, _row_name(row.secret_id, secret, row.key))
            anew += 1
    if anew:
        logger.warning("encrypted %s values of secrets anew with the key %s; no older key is needed", anew, keyring.encrypting)
    return anew


def _keep(work: Work, secret: Secret, values: Mapping[str, str]) -> None:
    for key, value in values.items():
        sealed = work.keyring.seal(value, _row_name(secret.id, secret.name, key))
        work.db.add(
            SecretValue(secret_id=secret.id, key=key, key_id=sealed.key_id, nonce=sealed.nonce, ciphertext=sealed.ciphertext)
        )
    work.db.flush()


def _row_name(secret_id: str, name: str, key: str) -> str:
    """What is bound into a sealed value; the name too, so no exchange of names in the database exchanges values."""
    return f"{secret_id}/{name}/{key}"


def _touch_users(work: Work, secret: Secret, users: Iterable[Server]) -> None:
    work.touch(f"Secret:{secret.name}")
    for server in users:
        projects = select(Project.name).join(Attachment, Attachment.project_id == Project.id)
        names = work.db.scalars(projects.where(Attachment.server_id == server.id))
        work.touch(f"Server:{server.name}", *(f"Project:{name}" for name in names))


def references_in(field: str, values: Mapping[str, Value] | None) -> dict[str, SecretRef]:
    """The references among ``values``, by ``field.key``."""
    return {f"{field}.{key}": value for key, value in (values or {}).items() if isinstance(value, SecretRef)}
