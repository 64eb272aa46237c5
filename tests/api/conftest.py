"""Control planes whose every answer is held against the OpenAPI document; one of each kind may be shared by a module."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from mcpctl.services import passwords
from tests import serving
from tests.api import contract
from tests.api.people import Person
from tests.conftest import BACKENDS, POLICIES
from tests.serving import Served

REAL_HASHER = passwords._HASHER


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> Iterator[None]:
    """Argon2id as always, with parameters that cost a test nothing; one test holds the real ones against RFC 9106."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
        yield


@pytest.fixture
def served(served: Served) -> Served:
    """A control plane of one's own on each kind of database."""
    served.nobody.http.event_hooks = {"response": [contract.check]}
    return served


@pytest.fixture
def served_on_sqlite(served_on_sqlite: Served) -> Served:
    """The same on SQLite alone."""
    served_on_sqlite.nobody.http.event_hooks = {"response": [contract.check]}
    return served_on_sqlite


@pytest.fixture(scope="module", params=BACKENDS)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A control plane of each kind that the tests of a module share: each makes things of names of its own.

    A module may add policy files by ``POLICY_FILES``, a map from names to texts.
    """
    directory = tmp_path_factory.mktemp("shared")
    policies = Path(shutil.copytree(POLICIES, directory / "policies"))
    for name, text in getattr(request.module, "POLICY_FILES", {}).items():
        (policies / name).write_text(text)
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), directory / "mcpctl.db")
        with serving.serve(f"sqlite:///{directory / 'mcpctl.db'}", policies) as running:
            running.nobody.http.event_hooks = {"response": [contract.check]}
            yield running
    else:
        with request.getfixturevalue("postgres").fresh() as url, serving.serve(url, policies) as running:
            running.nobody.http.event_hooks = {"response": [contract.check]}
            yield running


@pytest.fixture(scope="module")
def actor(shared: Served) -> Person:
    """Somebody who holds what a test says, and at first nothing."""
    return Person(shared, "actor")


@pytest.fixture(autouse=True)
def _actor_holds_nothing(request: pytest.FixtureRequest) -> None:
    """Whatever the test before let the actor hold is taken away."""
    if "actor" in request.fixturenames:
        request.getfixturevalue("actor").holds()
