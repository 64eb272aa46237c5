"""Files that ship with the program: ``policies/`` and ``migrations/``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def shipped(what: Literal["policies", "migrations"]) -> Path:
    """Where the shipped directory is: inside the installed wheel, or at the top of a checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "shipped" / what
    return installed if installed.is_dir() else here.parent.parent / what
