"""Exposed names and the way back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcplocal.names import EXPOSED, NameTable, Ref, ToolNames, exposed_name, may_be_of

SERVERS = st.text("ab0._-", min_size=1, max_size=63).filter(
    lambda name: "__" not in name and name[0].isalnum() and name[-1].isalnum()
)
TOOLS = st.text("abAB0._:/-", min_size=1, max_size=90)
REFS = st.builds(Ref, SERVERS, TOOLS, st.just(""))
MODES = st.sampled_from(["prefixed", "plain"])


def test_a_name_that_agents_accept_is_left_as_it_is() -> None:
    assert exposed_name(Ref("github", "create_issue"), "prefixed") == "github__create_issue"
    assert exposed_name(Ref("github", "create_issue"), "plain") == "create_issue"


def test_a_name_that_agents_do_not_accept_ends_in_a_digest_of_what_it_stands_for() -> None:
    assert exposed_name(Ref("my.files", "read/all"), "prefixed") == "my_files__read_all_d0435d81"
    long = exposed_name(Ref("s" * 63, "t" * 64), "prefixed")
    assert len(long) == 64
    assert long.startswith("s" * 55 + "_")


@pytest.mark.requirement("R20")
@given(REFS, MODES)
def test_every_tool_has_a_name_that_agents_accept_and_its_server_is_among_the_candidates(ref: Ref, mode: ToolNames) -> None:
    name = exposed_name(ref, mode)
    assert EXPOSED.fullmatch(name)
    assert may_be_of(name, ref.server, mode)
    assert name == exposed_name(ref, mode)


@pytest.mark.requirement("R20")
@given(st.lists(REFS, unique=True, max_size=20), MODES)
def test_the_way_back_is_exact_and_nobody_takes_anothers_name(refs: list[Ref], mode: ToolNames) -> None:
    table = NameTable(mode, refs)
    names = [exposed_name(ref, mode) for ref in refs]
    for name, ref in table.items():
        assert name == exposed_name(ref, mode)
        assert names.count(name) == 1
    assert {refused.ref for refused in table.refused} == {ref for ref in refs if names.count(exposed_name(ref, mode)) > 1}
    assert len(table) + len(table.refused) == len(refs)
    assert [ref for ref in refs if ref in set(table.values())] == list(table.values())


@pytest.mark.requirement("R20")
@given(st.lists(REFS, unique=True, min_size=2, max_size=20))
def test_with_prefixes_two_tools_never_share_a_name(refs: list[Ref]) -> None:
    assert NameTable("prefixed", refs).refused == []
