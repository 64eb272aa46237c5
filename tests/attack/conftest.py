"""Passwords that cost nothing: what is attacked here is what they open. And the shared control planes of ``tests/api``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from mcpctl.services import passwords
from tests.api.conftest import _actor_holds_nothing, actor, shared

__all__ = ["_actor_holds_nothing", "actor", "shared"]


@pytest.fixture(scope="module", autouse=True)
def _quick_passwords() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
        yield
