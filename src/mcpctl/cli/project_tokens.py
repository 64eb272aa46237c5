"""The tokens ``mcpctl test mcp --project`` makes for one run: they live ten minutes, and are deleted when it ends."""

from __future__ import annotations

import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from mcpctl.cli.connection import control_plane, target
from mcpctl.cli.resources import MCPTOKENS
from mcpctl.cli.terminal import say
from mcpctl.client.address import origin
from mcpctl.client.contexts import config_path, load
from mcpctl.client.http import API, ControlPlane, path_of
from mcpctl.client.target import Target
from mcpctl.endpoint_test.options import Grants
from mcpctl.errors import CeilingExceeded, FieldError, InvalidInput, Problem

LIFETIME: Final = "10m"
OTHERS_TRIED: Final = 5
"""Projects in which a foreign token is tried to be made."""


@contextmanager
def granted(project: str, url: str | None, *, other_origin: bool = False) -> Iterator[tuple[str, str, Grants]]:
    """The endpoint of a project's gateway, a token that may run what the project has, and what else tells of its rights.

    Args:
        project: its name.
        url: its endpoint, if it is not the one of the gateway that the context names.
        other_origin: ``url`` may be of another origin than that gateway, and get the tokens.

    Raises:
        InvalidInput: no gateway is known, or ``url`` is not of the known one.
        Problem: the token could not be made.
    """
    found = target()
    gateway = _gateway(found)
    if url and gateway and origin(url) != origin(gateway) and not other_origin:
        message = f"{url.partition('?')[0]} is not of the context's gateway ({gateway}); --other-origin sends the tokens there"
        raise InvalidInput(message, errors=[FieldError("url", message)])
    endpoint = url or _endpoint(gateway, project)
    with ExitStack() as stack:
        stack.enter_context(terminated_gently())
        plane = stack.enter_context(control_plane(found))
        about = plane.get(path_of("projects", project))
        bindings = [f"role:run,resource:servers,name:{server}" for server in about["servers"]]
        try:
            tested = _made(stack, plane, project, bindings=bindings)
        except CeilingExceeded:
            # Whoever may run some tools only can give these away no narrower than by a copy of all that is held.
            tested = _made(stack, plane, project, rbacMode="clone")
        powerless = _made(stack, plane, project)
        asking = stack.enter_context(ControlPlane(plane.server, tested, allow_plain_http=found.allow_plain_http))
        yield endpoint, tested, Grants(_asker(asking, about), powerless, _foreign(stack, plane, project))


@contextmanager
def terminated_gently() -> Iterator[None]:
    """Let SIGTERM end this block as an exception does, so that what was made for it is deleted."""

    def leave(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _gateway(found: Target) -> str | None:
    context = load(config_path()).by_name.get(found.context or "")
    return context.gateway if context else None


def _endpoint(gateway: str | None, project: str) -> str:
    if gateway is None:
        message = "which gateway? Give its URL, or keep it: mcpctl config set-context NAME --gateway URL"
        raise InvalidInput(message, errors=[FieldError("url", message)])
    return f"{gateway}/projects/{project}/mcp"


def _made(stack: ExitStack, plane: ControlPlane, project: str, **members: Any) -> str:
    name = f"test-{secrets.token_hex(6)}"
    body = {"name": name, "project": project, "ttl": LIFETIME, "description": "mcpctl test mcp", **members}
    made = plane.post(MCPTOKENS.collection, body)
    stack.callback(_delete, plane, made["id"], f"{project}/{name}")
    token: str = made["token"]
    return token


def _delete(plane: ControlPlane, token_id: str, name: str) -> None:
    try:
        plane.delete(path_of("mcptokens", token_id))
    except Problem as problem:
        say(f"warning: the token {name} could not be deleted ({problem.detail}); it ends by itself within {LIFETIME}")


def _foreign(stack: ExitStack, plane: ControlPlane, project: str) -> str | None:
    """A token of another project, if there is one in which the asker may make it."""
    others = [one["name"] for one in plane.items(path_of("projects"), limit=OTHERS_TRIED + 1) if one["name"] != project]
    for other in others[:OTHERS_TRIED]:
        try:
            return _made(stack, plane, other)
        except Problem:
            continue
    return None


def _asker(asking: ControlPlane, project: dict[str, Any]) -> Callable[[str], bool]:
    """Whether the token may run the tool of a listed name, as the control plane sees it."""

    def may(listed: str) -> bool:
        if project["toolNames"] == "plain":
            meant = [f"{server}/{listed}" for server in project["servers"]]
        else:
            starts = [server for server in project["servers"] if listed.startswith(f"{server}__")]
            meant = [f"{server}/{listed.removeprefix(f'{server}__')}" for server in starts]
        # An exposed name that was shortened says no longer what it stands for.
        return not meant or any(_asked(asking, name) for name in meant)

    return may


def _asked(asking: ControlPlane, name: str) -> bool:
    return bool(asking.post(f"{API}/authorize", {"action": "run", "resource": "servers", "name": name})["allowed"])
