"""Reading the ``mcpServers`` JSON that Claude, Cursor and VS Code write, as servers of ours."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

from mcpctl.errors import FieldError, InvalidInput
from mcpctl.policy.names import check_server_name

_MEMBERS: Final = ("mcpServers", "servers")
"""The member the servers stand in: Claude and Cursor write the first, VS Code the second."""


class Imported(NamedTuple):
    """One server of such a file, as the body of ``POST /api/v1/servers``; ``renamed_from`` if its name is not one of ours."""

    body: dict[str, Any]
    renamed_from: str | None


def read(path: Path) -> list[Imported]:
    """Every server in the file.

    Raises:
        InvalidInput: the file cannot be read, is not of that form, or two servers get the same name; all findings at once.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON: {error}") from None
    found = next((document[m] for m in _MEMBERS if isinstance(document, dict) and isinstance(document.get(m), dict)), None)
    if found is None:
        raise InvalidInput(f"{path} has no object 'mcpServers' (Claude, Cursor) or 'servers' (VS Code)")
    errors: list[FieldError] = []
    imported: dict[str, Imported] = {}
    for given, entry in found.items():
        name = _name(given)
        try:
            check_server_name(name)
            body = {"name": name, **_body(entry)}
        except InvalidInput as error:
            errors.append(FieldError(given, error.detail))
            continue
        if name in imported:
            errors.append(FieldError(given, f"it would be called {name!r} like another one"))
        imported[name] = Imported(body, given if given != name else None)
    if errors:
        raise InvalidInput("; ".join(f"{error.field}: {error.message}" for error in errors), errors=errors)
    return list(imported.values())


def _name(given: str) -> str:
    return re.sub(r"_{2,}", "_", re.sub(r"[^a-z0-9._-]+", "-", given.lower())).strip("._-")[:63]


def _body(entry: object) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise InvalidInput("it is not an object")
    if "url" in entry:
        if entry.get("type") == "sse":
            raise InvalidInput("it speaks the deprecated HTTP+SSE transport, which has no place here; use its /mcp address")
        body: dict[str, Any] = {"transport": "streamable-http", "url": entry["url"]}
        return body | ({"headers": entry["headers"]} if entry.get("headers") else {})
    if "command" in entry:
        body = {"transport": "stdio", "command": entry["command"], "args": entry.get("args", [])}
        return body | ({"env": entry["env"]} if entry.get("env") else {})
    raise InvalidInput("it has neither 'url' nor 'command'")
