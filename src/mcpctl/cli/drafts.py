"""A text on its way through somebody's editor, in a file that outlives whatever goes wrong with it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import rich_click as click

from mcpctl.cli.terminal import say
from mcpctl.errors import InvalidInput


class Draft:
    """What is being written, and the file it is in. The directory is its owner's alone, whatever an editor does to the file."""

    def __init__(self, text: str) -> None:
        """Begin with ``text``, which is worth nothing as long as nobody changes it."""
        self.path = Path(mkdtemp(prefix="mcpctl-edit-")) / "edited.yaml"
        self._first = self._last = text

    def edit(self, text: str) -> str:
        """Open ``text`` in the editor; what is saved, and nothing if it is saved empty or the file is removed.

        Raises:
            InvalidInput: what was saved is not text.
            ClickException: the editor could not be run, or says that it failed.
        """
        self._last = text
        self.path.write_bytes(text.encode())
        click.edit(filename=str(self.path))
        try:
            found = self._saved().decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError:
            raise InvalidInput("what you saved is not UTF-8 text: save it as UTF-8") from None
        if found.strip():
            self._last = found
        return found

    def keep(self) -> None:
        """Leave what was written where it is and say so; where the editor took it away, what it was before."""
        saved = self._saved()
        if not saved.strip():
            saved = self._last.encode()
            self.path.write_bytes(saved)
        if without_comments(saved.decode(errors="replace")) == without_comments(self._first):
            self.discard()
        else:
            say(f"What you wrote is in {self.path}; 'mcpctl apply -f' takes it.")

    def discard(self) -> None:
        """Remove the file, and what an editor put beside it."""
        shutil.rmtree(self.path.parent, ignore_errors=True)

    def _saved(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""


@contextmanager
def draft(text: str) -> Iterator[Draft]:
    """A draft that is gone afterwards; whoever leaves with an error, or interrupted, finds it in a file whose path is said."""
    found = Draft(text)
    try:
        yield found
    except BaseException:
        found.keep()
        raise
    found.discard()


def without_comments(text: str) -> str:
    """The lines of ``text`` that are no comment as a whole."""
    return "".join(f"{line}\n" for line in text.splitlines() if not line.startswith("#"))
