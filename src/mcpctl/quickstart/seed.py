"""What quickstart puts into an empty control plane, over its own HTTP interface, as anybody else would.

Every step may find its work done already: the same directory can be started again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from mcpctl.client.http import ControlPlane, path_of
from mcpctl.client.server_files import Imported
from mcpctl.errors import InvalidSetting, WrongPassword
from mcpctl.server.command import private_file

PROJECT: Final = "demo"
TOKEN: Final = "agent"  # noqa: S105 - its name
GATEWAY_USER: Final = "gateway"
MODEL: Final = {
    "name": "short",
    "description": "Results that fit a context window: Markdown for HTML, nothing secret, at most 8000 characters of a text.",
    "stages": [
        {"stage": "html-to-markdown"},
        {"stage": "redact"},
        {"stage": "truncate", "options": {"maxChars": 8000}},
    ],
}
NOTES: Final = {"name": "notes", "transport": "stdio", "command": "python", "args": ["-m", "mcpctl.demo.notes_server"]}


class Seeded(NamedTuple):
    """What is there now: the demo token's raw form, and the file with the gateway's credential."""

    token: str
    credential_file: Path
    servers: list[str]


def seed(address: str, password: str, directory: Path, time_url: str, imported: Sequence[Imported]) -> Seeded:
    """Make the project, its servers, a token, and the gateway's own user and session.

    Args:
        address: base URL of the control plane.
        password: of ``admin``.
        directory: where raw credentials are kept, each in a file nobody else may read.
        time_url: where the demo server over HTTP listens this time.
        imported: more servers, from a file.

    Raises:
        InvalidSetting: the password of ``admin`` is not the one in the directory any more.
        Problem: as the control plane says.
    """
    with ControlPlane(address) as anonymous:
        try:
            session = anonymous.post(path_of("auth", "login"), {"username": "admin", "password": password})
        except WrongPassword:
            raise InvalidSetting(
                f"the password of admin was changed: write it to {directory / 'admin-password'}, or start with another --dir"
            ) from None
    with ControlPlane(address, session["token"]) as admin:
        servers: list[dict[str, Any]] = [
            {"name": "time", "transport": "streamable-http", "url": time_url},
            NOTES,
            *(one.body for one in imported),
        ]
        # Looked at before it is written: a refusal would be the first thing the audit shows.
        there = _names(admin, "servers")
        for body in servers:
            if body["name"] in there:
                admin.put(path_of("servers", body["name"]), body)
            else:
                admin.post(path_of("servers"), body)
        names = [str(body["name"]) for body in servers]
        if PROJECT not in _names(admin, "projects"):
            # What somebody changed since is theirs: neither the model nor who names it is touched a second time.
            if MODEL["name"] not in _names(admin, "proxymodels"):
                admin.post(path_of("proxymodels"), MODEL)
            admin.post(path_of("projects"), {"name": PROJECT, "servers": names, "proxyModel": MODEL["name"]})
        else:
            attached = admin.get(path_of("projects", PROJECT))["servers"]
            for name in names:
                if name not in attached:
                    admin.put(path_of("projects", PROJECT, "servers", name))
        seeded = Seeded(_token(address, admin, directory, names), _gateway(address, admin, directory), names)
        admin.post(path_of("auth", "logout"))
        return seeded


def _names(admin: ControlPlane, kind: str) -> set[str]:
    return {str(one["name"]) for one in admin.items(path_of(kind))}


def _token(address: str, admin: ControlPlane, directory: Path, servers: Sequence[str]) -> str:
    kept = directory / "token"
    if (raw := _still_good(address, kept)) is not None:
        return raw
    for old in admin.items(path_of("mcptokens"), {"project": PROJECT}):
        if old["name"] == TOKEN:
            admin.delete(path_of("mcptokens", old["id"]))
    body = {
        "name": TOKEN,
        "project": PROJECT,
        "bindings": [f"role:run,resource:servers,name:{name}" for name in servers],
        "description": "made by quickstart",
    }
    raw = str(admin.post(path_of("mcptokens"), body)["token"])
    private_file(kept, raw + "\n")
    return raw


def _gateway(address: str, admin: ControlPlane, directory: Path) -> Path:
    kept = directory / "gateway-credential"
    if _still_good(address, kept) is None:
        if GATEWAY_USER not in _names(admin, "users"):
            admin.post(path_of("users"), {"name": GATEWAY_USER, "service": True})
        admin.put(path_of("groups", "gateways", "members", GATEWAY_USER))
        session = admin.post(path_of("sessions"), {"user": GATEWAY_USER, "ttl": "never"})
        private_file(kept, str(session["token"]) + "\n")
    return kept


def _still_good(address: str, kept: Path) -> str | None:
    """The raw bearer in ``kept`` if it is still valid."""
    if not kept.is_file():
        return None
    raw = kept.read_text().strip()
    with ControlPlane(address, raw) as itself:
        return raw if itself.get(path_of("mcptokens", "introspect"))["active"] else None
