"""One project token in a file that only its owner can read; it is read anew each time, so a new one counts at once."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

from mcpctl.errors import InvalidSetting

TOKEN: Final = re.compile(r"mcpctl_pat_[A-Za-z0-9_-]{16,200}")
"""A person's session is none: what it may do changes with the person, and nobody would expect a listener to be one."""

LARGEST: Final = 1024


class TokenFile:
    """A file with a token and nothing else."""

    def __init__(self, path: Path, setting: str) -> None:
        """The file at ``path``, which the variable ``setting`` names."""
        self._path = path
        self._setting = setting

    def read(self) -> str:
        """The token that is in it now.

        Raises:
            InvalidSetting: there is no such file, others may read it, or it holds no token. The sentence says what to do.
        """
        try:
            # Judged by what is open, so that nothing can be put in its place; and no pipe is waited for.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
            try:
                self._check(os.fstat(descriptor))
                text = os.read(descriptor, LARGEST).decode("ascii").strip()
            finally:
                os.close(descriptor)
        except UnicodeDecodeError:
            text = ""
        except OSError as error:
            raise InvalidSetting(f"{self._setting}: {self._path} cannot be read: {error.strerror or error}") from None
        if not TOKEN.fullmatch(text):
            raise InvalidSetting(f"{self._setting}: {self._path} holds something else than one project token (mcpctl_pat_…)")
        return text

    def _check(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise InvalidSetting(f"{self._setting}: {self._path} is not a file")
        if os.name != "posix":
            return
        if status.st_mode & 0o077:
            raise InvalidSetting(f"{self._setting}: others may read {self._path}: run 'chmod 600 {self._path}'")
        if status.st_uid not in (0, os.geteuid()):
            raise InvalidSetting(f"{self._setting}: {self._path} belongs to somebody else, who could put another token in it")
