"""A notebook: an MCP server over stdio.

    python -m mcpctl.demo.notes_server

Notes live in memory and end with the process, or in the JSON file that the environment variable ``NOTES_FILE`` names.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field, TypeAdapter

READS: Final = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
ADDS: Final = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False)
DELETES: Final = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)

FILE_VARIABLE: Final = "NOTES_FILE"
MOST_NOTES: Final = 10_000

PAGE: Final = """<!doctype html>
<html>
<head><title>Release 4.2</title><style>body { font-family: sans-serif }</style></head>
<body>
<script>track("release-4-2")</script>
<h1>Release 4.2</h1>
<p>Exports are <b>twice as fast</b>. Ask <a href="mailto:ann@example.com">ann@example.com</a> about the rest.</p>
<ul><li>PDF: fixed</li><li>CSV: fixed</li></ul>
<!-- TODO: remove before publishing -->
<p>Built with <code>curl -H "Authorization: Bearer s3cr3t-of-the-build" https://ci.example.com/release/4.2</code></p>
</body>
</html>
"""
"""What a careless tool answers."""

Number = Annotated[int, Field(ge=1, description="the number of a note, as list_notes shows it")]


class Note(BaseModel):
    """One note."""

    number: int
    title: str
    text: str
    created_at: datetime


class NoteTitle(BaseModel):
    """A note as it is listed."""

    number: int
    title: str
    created_at: datetime


class Notebook:
    """The notes, and the file they are kept in if there is one."""

    def __init__(self, file: Path | None = None) -> None:
        """Read ``file`` if it exists."""
        self._file = file
        self._notes: dict[int, Note] = {}
        if file is not None and file.exists():
            for note in TypeAdapter(list[Note]).validate_json(file.read_bytes()):
                self._notes[note.number] = note

    def __iter__(self) -> Iterator[Note]:
        return iter(sorted(self._notes.values(), key=lambda note: note.number))

    def add(self, title: str, text: str) -> Note:
        """A new note."""
        if len(self._notes) >= MOST_NOTES:
            raise ToolError(f"the notebook is full: it holds {MOST_NOTES} notes")
        note = Note(number=max(self._notes, default=0) + 1, title=title, text=text, created_at=datetime.now(UTC))
        self._notes[note.number] = note
        self._keep()
        return note

    def get(self, number: int) -> Note:
        """The note of that number."""
        if number not in self._notes:
            raise ToolError(f"there is no note {number}")
        return self._notes[number]

    def delete(self, number: int) -> Note:
        """Take the note out."""
        note = self.get(number)
        del self._notes[number]
        self._keep()
        return note

    def _keep(self) -> None:
        if self._file is None:
            return
        body = json.dumps([note.model_dump(mode="json") for note in self], indent=1)
        descriptor, temporary = tempfile.mkstemp(dir=self._file.parent, prefix=".notes-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(body)
        Path(temporary).replace(self._file)


def build_server(file: Path | None = None) -> MCPServer[None]:
    """The server with its six tools."""
    notebook = Notebook(file)
    server: MCPServer[None] = MCPServer("notes", instructions="Keeps short notes: add, list, read, search and delete them.")

    @server.tool(title="Add a note", annotations=ADDS)
    def add_note(
        title: Annotated[str, Field(min_length=1, max_length=200)],
        text: Annotated[str, Field(max_length=100_000, description="plain text or Markdown")],
    ) -> Note:
        """Write down a new note. Returns it with its number."""
        return notebook.add(title, text)

    @server.tool(title="List notes", annotations=READS)
    def list_notes() -> list[NoteTitle]:
        """Numbers and titles of all notes, oldest first."""
        return [NoteTitle(**note.model_dump(exclude={"text"})) for note in notebook]

    @server.tool(title="Read a note", annotations=READS)
    def get_note(number: Number) -> Note:
        """One note with its text."""
        return notebook.get(number)

    @server.tool(title="Search notes", annotations=READS)
    def search_notes(
        query: Annotated[str, Field(min_length=1, max_length=200, description="words to look for; case does not matter")],
    ) -> list[Note]:
        """Notes whose title or text holds every word of the query."""
        words = query.lower().split()
        return [note for note in notebook if all(word in f"{note.title}\n{note.text}".lower() for word in words)]

    @server.tool(title="Fetch a page", annotations=READS, structured_output=False)
    def fetch_page() -> str:
        """A web page as careless tools fetch it, scripts and a credential included: see what a proxy model makes of it."""
        return PAGE

    @server.tool(title="Delete a note", annotations=DELETES)
    def delete_note(number: Number) -> Note:
        """Delete a note for good. Returns what it said."""
        return notebook.delete(number)

    return server


def main() -> None:
    """Serve on the pipes of whoever started this."""
    file = os.environ.get(FILE_VARIABLE)
    build_server(Path(file) if file else None).run("stdio")


if __name__ == "__main__":
    main()
