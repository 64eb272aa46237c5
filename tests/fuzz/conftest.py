"""Control planes to throw things at: one of each kind of database for a module, with a world in it that requests can name."""

from __future__ import annotations

from tests.api.conftest import _quick_passwords, shared

__all__ = ["_quick_passwords", "shared"]
