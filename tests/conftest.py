"""What every test may ask for: a database of each kind, a control plane on it, and that served by a real uvicorn."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import serving
from tests.serving import Served

settings.register_profile("default", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("soak", max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

POLICIES = Path(__file__).parent.parent / "policies"
BACKENDS = ("sqlite", "postgresql")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever Hypothesis attacks is marked so, for ``make soak`` to run it for longer."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.property)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, which is what the programs run on."""
    return "asyncio"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    return serving.migrated_sqlite(tmp_path_factory.mktemp("sqlite") / "template.db")


@pytest.fixture(scope="session")
def postgres() -> Iterator[serving.Postgres]:
    """A real PostgreSQL server of this test process, with a migrated template."""
    with serving.Postgres() as server:
        yield server


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh, migrated, empty database of each kind."""
    if request.param == "sqlite":
        path = tmp_path / "mcpctl.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
    else:
        with request.getfixturevalue("postgres").fresh() as url:
            yield url


@pytest.fixture
def policy_directory(tmp_path: Path) -> Path:
    """A copy of the shipped policies that a test may edit before it starts a control plane."""
    return Path(shutil.copytree(POLICIES, tmp_path / "policies"))


@pytest.fixture
def served(database_url: str, policy_directory: Path) -> Iterator[Served]:
    """A control plane on each kind of database, behind a real uvicorn, with ``admin`` logged in."""
    with serving.serve(database_url, policy_directory) as running:
        yield running


@pytest.fixture
def served_on_sqlite(tmp_path: Path, sqlite_template: Path, policy_directory: Path) -> Iterator[Served]:
    """The same on SQLite alone, for what no database can change."""
    path = tmp_path / "mcpctl.db"
    shutil.copy(sqlite_template, path)
    with serving.serve(f"sqlite:///{path}", policy_directory) as running:
        yield running
