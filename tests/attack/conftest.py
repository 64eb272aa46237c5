"""Passwords that cost nothing: what is attacked here is what they open. And the shared control planes of ``tests/api``."""

from __future__ import annotations

import gc
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


@pytest.fixture(scope="module", autouse=True)
def _few_collections() -> Iterator[None]:
    """As the programs do once they have started: what all tests have imported is not looked at again and again."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
    yield
    gc.set_threshold(*before)
    gc.unfreeze()
