"""Routes: secrets. None of them ever answers with a value."""

from __future__ import annotations

from sqlalchemy import select

from mcpctl.api import naming
from mcpctl.api.naming import ListQuery
from mcpctl.api.operations import Call, Filtered, Guarded, Operation
from mcpctl.services import secrets
from mcpctl.services.reading import Reading, page
from mcpctl.services.work import Work
from mcpctl.store.schema import Secret
from mcpctl.wire import secrets as wire
from mcpctl.wire.shapes import Page


def list_secrets(reading: Reading, call: Call) -> Page[wire.Secret]:
    """The secrets the asker may view."""
    rows = select(Secret).order_by(Secret.name)
    return page(
        reading,
        "secrets",
        lambda after, limit: reading.db.scalars(rows.where(Secret.name > after).limit(limit)).all(),
        lambda secret: secret.name,
        lambda secret: secrets.shown(reading.db, secret, reading.actor.authority),
        limit=call.query.limit,
        cursor=call.query.cursor,
    )


def create_secret(work: Work, call: Call) -> wire.Secret:
    return secrets.shown(work.db, secrets.create(work, call.body), work.authority)


def replace_secret(work: Work, call: Call) -> wire.Secret:
    secret = secrets.replace(work, secrets.find(work.db, call.params["id"]), call.body)
    return secrets.shown(work.db, secret, work.authority)


def change_secret(work: Work, call: Call) -> wire.Secret:
    secret = secrets.change(work, secrets.find(work.db, call.params["id"]), call.body)
    return secrets.shown(work.db, secret, work.authority)


_V = "/api/v1/secrets"
_T = ("secrets",)
_secret = naming.by_id_or_name(Secret, "secrets")

OPERATIONS = (
    Operation("GET", _V, Filtered("secrets"), "read", list_secrets, "List secrets", Page[wire.Secret], query=ListQuery, tags=_T),
    Operation(
        "POST", _V, Guarded("create", "secrets", naming.body_name), "write", create_secret,
        "Keep a secret", wire.Secret, body=wire.NewSecret, status=201, tags=_T, errors=(409,),
    ),
    Operation(
        "GET", f"{_V}/{{id}}", Guarded("view", "secrets", _secret), "read",
        lambda reading, call: secrets.shown(reading.db, secrets.find(reading.db, call.params["id"]), reading.actor.authority),
        "Describe a secret; never its values", wire.Secret, tags=_T,
    ),
    Operation(
        "PUT", f"{_V}/{{id}}", Guarded("edit", "secrets", _secret), "write", replace_secret,
        "Replace a secret's values", wire.Secret, body=wire.SecretBody, tags=_T, errors=(409,),
    ),
    Operation(
        "PATCH", f"{_V}/{{id}}", Guarded("edit", "secrets", _secret), "write", change_secret,
        "Set some of a secret's values, and forget some", wire.Secret, body=wire.SecretPatch, tags=_T, errors=(409,),
    ),
    Operation(
        "DELETE", f"{_V}/{{id}}", Guarded("delete", "secrets", _secret), "write",
        lambda work, call: secrets.remove(work, secrets.find(work.db, call.params["id"])),
        "Forget a secret", status=204, tags=_T, errors=(409,),
    ),
)  # fmt: skip
"""Everything about secrets."""
