"""The control plane a command speaks to."""

from __future__ import annotations

from click import get_current_context

from mcpctl.cli.flags import CONTEXT_FLAG, PLAIN_HTTP_FLAG, SERVER_FLAG
from mcpctl.cli.terminal import say
from mcpctl.client.contexts import config_path, load, readable_by_others
from mcpctl.client.http import ControlPlane
from mcpctl.client.target import Target, resolve
from mcpctl.errors import FieldError, InvalidInput


def target() -> Target:
    """Where this invocation goes and as whom.

    Raises:
        InvalidSetting: the saved contexts, a flag or a variable are wrong.
    """
    meta = get_current_context().meta
    path = config_path()
    contexts = load(path)
    if readable_by_others(path):
        say(f"warning: {path} can be read by others on this machine: chmod 600 {path}")
    return resolve(
        contexts,
        context=meta.get(CONTEXT_FLAG),
        server=meta.get(SERVER_FLAG),
        allow_plain_http=bool(meta.get(PLAIN_HTTP_FLAG)),
    )


def control_plane(found: Target | None = None) -> ControlPlane:
    """The control plane, asked with this invocation's bearer.

    Raises:
        MissingCredential: nobody is logged in.
        InvalidSetting: the credential would cross a network unencrypted, or as ``target``.
    """
    import stamina.instrumentation

    found = found or target()
    server, token = found.require()
    # Otherwise a second attempt is logged, to standard output, where somebody reads JSON.
    stamina.instrumentation.set_on_retry_hooks(())
    return ControlPlane(server, token, allow_plain_http=found.allow_plain_http)


def project_or_default(project: str | None, found: Target) -> str:
    """``project``, else the one the context names.

    Raises:
        InvalidInput: there is neither.
    """
    if chosen := project or found.project:
        return chosen
    where = found.context or "NAME"
    raise InvalidInput(
        "which project?",
        errors=[FieldError("project", f"give -p PROJECT, or keep one: mcpctl config set-context {where} --project PROJECT")],
    )
