"""Reading one's own writes on any replica: an answer to a write tells its revision, and a request may say which it has seen.

A snapshot of the database is always current; what a replica remembers of bearers may be a moment older. So a request that
says ``Mcpctl-Min-Revision`` waits until this replica has heard of that revision, before anything remembered is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Final

import anyio

from mcpctl.api.control_plane import ControlPlane
from mcpctl.errors import FieldError, InvalidInput, NotCaughtUp

REVISION: Final = b"mcpctl-revision"
"""Header of the answer to a write: the revision it made, or found if it changed nothing that an answer depends on."""

MIN_REVISION: Final = b"mcpctl-min-revision"
"""Header of a request: the newest revision its client was told of."""

LONGEST_WAIT: Final = 2.0
"""Seconds. A replica that follows the database hears of a revision within a fifth of one."""

LARGEST: Final = 18
"""Digits a revision may have."""


async def wait(control: ControlPlane, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Go on once this replica has heard of the revision that the client presents.

    Args:
        control: this replica.
        headers: of the request, their names in lower case. ``Mcpctl-Min-Revision`` may stand among them once.

    Raises:
        InvalidInput: it is no revision.
        NotCaughtUp: it has not heard of it in time.
    """
    values = [value for name, value in headers if name == MIN_REVISION]
    if not values:
        return
    given = values[0]
    if len(values) > 1 or not (given.isdigit() and len(given) <= LARGEST):
        wrong = FieldError("Mcpctl-Min-Revision", "it must be one revision, which is a number of up to 18 digits")
        raise InvalidInput(f"{wrong.field}: {wrong.message}", errors=[wrong])
    wanted = int(given)
    pause, until = 0.005, monotonic() + LONGEST_WAIT
    while control.feed.revision < wanted:
        if monotonic() >= until:
            raise NotCaughtUp(
                f"this replica knows of revision {control.feed.revision} and not yet of {wanted}; ask again in a moment",
                headers={"Retry-After": "1"},
            )
        await anyio.sleep(pause)
        pause = min(0.1, pause * 2)
