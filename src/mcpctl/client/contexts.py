"""The file of named contexts: which server, which gateway, whose log-in.

One JSON object, mode 0600 in a directory of mode 0700, replaced as a whole. A file that cannot be understood is reported and
left as it is: it may hold the only copy of somebody's log-in. Nothing here imports an HTTP client; ``mcplocal`` reads the same
file.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from mcpctl.client.address import check_address
from mcpctl.errors import InvalidInput, InvalidSetting, nearest
from mcpctl.policy.names import check_name

_MEMBERS: Final = {
    "server": "server",
    "gateway": "gateway",
    "token": "token",
    "user": "user",
    "project": "project",
    "allowPlainHttp": "allow_plain_http",
}


@dataclass(frozen=True, slots=True)
class Context:
    """One control plane as one person reaches it.

    Attributes:
        server: base URL of the control plane.
        gateway: base URL of the gateway that ``mcplocal`` bridges to.
        token: the raw session or McpToken. Valid for ``server`` only.
        user: whose log-in it is, for display.
        project: the project commands mean when none is given.
        allow_plain_http: credentials may cross a network unencrypted.
    """

    server: str
    gateway: str | None = None
    token: str | None = field(default=None, repr=False)
    user: str | None = None
    project: str | None = None
    allow_plain_http: bool = False

    def as_json(self) -> dict[str, Any]:
        """The members that say something, as they stand in the file."""
        found = {member: getattr(self, name) for member, name in _MEMBERS.items()}
        return {member: value for member, value in found.items() if value}

    def with_(self, **changes: Any) -> Context:
        """A copy with ``changes``. A log-in never moves to another server: changing ``server`` drops token and user."""
        if "server" in changes and changes["server"] != self.server:
            changes = {"token": None, "user": None} | changes
        return replace(self, **changes)


@dataclass(slots=True)
class Contexts:
    """What the file says."""

    path: Path
    by_name: dict[str, Context] = field(default_factory=dict)
    current: str | None = None

    def named(self, name: str) -> Context:
        """The context called ``name``.

        Raises:
            InvalidSetting: there is none; the sentence names the nearest.
        """
        if found := self.by_name.get(name):
            return found
        close = nearest(name, sorted(self.by_name))
        hint = f"; did you mean {close!r}?" if close else "; 'mcpctl config get-contexts' lists what there is"
        raise InvalidSetting(f"there is no context {name!a} in {self.path}{hint}")


def config_path(environ: Mapping[str, str] | None = None) -> Path:
    """Where the file is: ``MCPCTL_CONFIG``, else ``mcpctl/config.json`` in the user's configuration directory."""
    environ = os.environ if environ is None else environ
    if chosen := environ.get("MCPCTL_CONFIG"):
        return Path(chosen).expanduser()
    from platformdirs import user_config_dir

    return Path(user_config_dir("mcpctl")) / "config.json"


def load(path: Path) -> Contexts:
    """What the file at ``path`` says; nothing if there is no such file.

    Raises:
        InvalidSetting: it cannot be read or understood. It is left as it is.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return Contexts(path)
    except OSError as error:
        raise InvalidSetting(f"the configuration {path} cannot be read: {error.strerror}") from None
    try:
        return _read(path, json.loads(text, object_pairs_hook=_no_duplicates))
    except (ValueError, InvalidInput, RecursionError) as error:
        said = error.detail if isinstance(error, InvalidInput) else str(error)
        raise InvalidSetting(
            f"the configuration {path} is damaged: {said}. It was left as it is; repair it, or move it away and log in again"
        ) from None


@contextmanager
def changing(path: Path) -> Iterator[Contexts]:
    """Read the file, let the caller change what it says, write it back. Other processes wait meanwhile.

    Nothing is written if the caller raises.

    Raises:
        InvalidSetting: the file is damaged, or cannot be written.
    """
    path = path.resolve()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path.with_name(path.name + ".lock")):
            contexts = load(path)
            yield contexts
            _save(contexts)
    except OSError as error:
        raise InvalidSetting(f"the configuration {path} cannot be written: {error.strerror or error}") from error


def readable_by_others(path: Path) -> bool:
    """Whether somebody else on this machine may read the log-ins in the file."""
    try:
        return os.name == "posix" and bool(path.stat().st_mode & 0o077)
    except OSError:
        return False


def _save(contexts: Contexts) -> None:
    body = {
        "currentContext": contexts.current,
        "contexts": {name: context.as_json() for name, context in sorted(contexts.by_name.items())},
    }
    # mkstemp creates with mode 0600; the directory is the file's own, so the replacement is one step.
    handle, temporary = tempfile.mkstemp(dir=contexts.path.parent, prefix=".config-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(body, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(contexts.path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows: the last writer wins there
        yield
        return
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _read(path: Path, body: object) -> Contexts:
    members = _object(body, "the file", ("currentContext", "contexts"))
    current = members.get("currentContext")
    if current is not None and not isinstance(current, str):
        raise ValueError("currentContext is not a string")
    found = _object(members.get("contexts", {}), "contexts", None)
    return Contexts(path, {check_name(name, "context name"): _context(name, value) for name, value in found.items()}, current)


def _context(name: str, body: object) -> Context:
    members = _object(body, f"the context {name!r}", tuple(_MEMBERS))
    for member, value in members.items():
        wanted = bool if member == "allowPlainHttp" else str
        if not isinstance(value, wanted):
            raise ValueError(f"{member} of the context {name!r} is not a {wanted.__name__}")
    if "server" not in members:
        raise ValueError(f"the context {name!r} has no server")
    for member in ("server", "gateway"):
        if member in members:
            members[member] = check_address(members[member], member)
    return Context(**{_MEMBERS[member]: value for member, value in members.items()})


def _object(body: object, what: str, known: tuple[str, ...] | None) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise ValueError(f"{what} is not a JSON object")
    for member in body:
        if known is not None and member not in known:
            close = nearest(member, known)
            raise ValueError(f"{what} has an unknown member {member!r}" + (f"; did you mean {close!r}?" if close else ""))
    return dict(body)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member stands in it twice")
    return found
