"""The reference, served; and runs of the validator in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from mcpctl.endpoint_test.catalog import CHECKS, chosen
from mcpctl.endpoint_test.check import Check
from mcpctl.endpoint_test.options import Options
from mcpctl.endpoint_test.runner import Report, run
from tests.cli.conftest import mcpctl  # noqa: F401 - fixture
from tests.endpoint_test.hostile import hostile_server
from tests.endpoint_test.messages import EXPIRED, GOOD, SECOND, slug
from tests.endpoint_test.serving import Reference
from tests.gateway.conftest import gateway_control_plane, gateway_credential, time_url, world  # noqa: F401 - fixtures
from tests.gateway.upstreams import served

CALLS: dict[str, dict[str, Any]] = {"echo": {"region": "eu"}, "ask": {}}


def judge(url: str, only: tuple[str, ...] = (), skip: tuple[str, ...] = (), **options: Any) -> Report:
    """A run of the validator."""
    return asyncio.run(run(Options(url, **options), chosen(only, skip)))


def everything() -> tuple[Check, ...]:
    """All checks but the one that sends five megabytes."""
    return tuple(check for check in CHECKS if check.id != "C7-large")


def fully(address: str, defect: str = "none", **options: Any) -> Report:
    """A run of every check against the reference with one defect."""
    given = {"token": GOOD, "second_token": SECOND, "refused_tokens": (EXPIRED,), "era": "both", "calls": CALLS}
    return asyncio.run(run(Options(f"{address}/{slug(defect)}/mcp", **{**given, **options}), everything()))


@pytest.fixture(scope="session")
def reference() -> Iterator[str]:
    """The address of the reference."""
    with served(Reference()) as address:
        yield address


@pytest.fixture(scope="session")
def hostile() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The address of the hostile servers, and what they were asked."""
    with hostile_server() as found:
        yield found
