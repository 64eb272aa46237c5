"""Routes: many things in one request."""

from __future__ import annotations

from anyio import to_thread

from mcpctl.api.control_plane import ControlPlane
from mcpctl.api.operations import Call, Decided, Operation
from mcpctl.services import apply, passwords
from mcpctl.services.principals import Principal
from mcpctl.services.work import Work
from mcpctl.wire import apply as wire


async def hash_passwords(control: ControlPlane, principal: Principal, call: Call) -> dict[str, str]:
    """Hashing takes long, so it is done before the transaction, for whoever may then create these users."""
    if not any(item.kind == "user" for item in call.body.items):
        return {}
    given = await to_thread.run_sync(_to_be_made, control, principal, call.body)
    return {name: await to_thread.run_sync(passwords.hash_password, password) for name, password in given.items()}


def _to_be_made(control: ControlPlane, principal: Principal, body: wire.ApplyBody) -> dict[str, str]:
    with control.database.read() as db:
        return apply.to_be_made(db, principal, body)


def apply_all(work: Work, call: Call) -> wire.ApplyResult:
    return apply.run(work, call.body, call.prepared)


OPERATIONS = (
    Operation(
        "POST", "/api/v1/apply", Decided("each item needs what its own route needs, and view to say what differs; pruning needs delete"),
        "write", apply_all, "Apply many things, all or nothing", wire.ApplyResult, body=wire.ApplyBody, tags=("apply",),
        errors=(409,), prepare=hash_passwords,
    ),
)  # fmt: skip
"""Everything about batches."""
