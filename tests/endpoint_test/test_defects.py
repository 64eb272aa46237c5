"""Each single defect turns its own check, and no other one that does not wait for it."""

from __future__ import annotations

import pytest

from mcpctl.endpoint_test.catalog import BY_ID, CHECKS
from mcpctl.endpoint_test.check import Level
from mcpctl.endpoint_test.runner import Report
from tests.endpoint_test.conftest import fully
from tests.endpoint_test.defects import DEFECTS, NOT_HERE


@pytest.fixture(scope="session")
def faultless(reference: str) -> Report:
    return fully(reference)


def levels(report: Report) -> dict[str, Level]:
    return {one.check.id: one.level for one in report.outcomes}


def test_the_reference_without_a_defect_passes_every_check(faultless: Report) -> None:
    wrong = {one.check.id: one.said for one in faultless.outcomes if one.level in (Level.FAIL, Level.WARN)}
    assert {} == wrong
    assert 0 == faultless.exit_code


def test_every_check_has_a_defect_or_a_reason_to_have_none() -> None:
    assert len(DEFECTS) >= 60
    assert len(set(DEFECTS.values())) == len(DEFECTS)
    assert {check.id for check in CHECKS} == {*DEFECTS.values(), *NOT_HERE}
    assert set() == {*DEFECTS.values()} & {*NOT_HERE}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_turns_its_own_check_and_others_only_where_they_wait_for_it(
    defect: str, reference: str, faultless: Report
) -> None:
    own, before, after = DEFECTS[defect], levels(faultless), fully(reference, defect)
    turned = {one.check.id: one for one in after.outcomes if one.level is not before[one.check.id]}
    told = {name: (str(one.level), one.said) for name, one in turned.items()}
    assert own in turned, told
    assert turned[own].level in (Level.FAIL, Level.WARN), told
    others = {name: one for name, one in turned.items() if name != own and one.level is not Level.PASS}
    assert {} == {name: told[name] for name, one in others.items() if one.level is not Level.SKIP or not waits(name, own)}


def waits(name: str, own: str) -> bool:
    """Whether the check lists the other under ``depends``, itself or by way of one that does."""
    return any(one == own or waits(one, own) for one in BY_ID[name].depends)
