"""Who is told when a server says that a resource has changed: who wants to hear of it, or of what it is below."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcplocal.json_text import Member
from mcplocal.offers.uris import askable
from mcplocal.upstream import wishes as under_test
from mcplocal.upstream.answers import UpstreamFailed
from mcplocal.upstream.wishes import NOT_TOLD, Wishes

PARTS = st.lists(st.sampled_from(["a", "b", "ab", "%61", "%2F", ""]), max_size=4).map("/".join)
URIS = st.builds(lambda scheme, rest: f"{scheme}:{rest}", st.sampled_from(["x", "y"]), PARTS)


def updated(wishes: Wishes, uri: str) -> None:
    wishes.updated({"uri": Member(f'"{uri}"')})


def name(uri: str) -> str:
    return askable(uri) or uri


@given(st.lists(URIS, max_size=6, unique_by=name), URIS)
def test_an_update_is_of_the_nearest_resource_that_is_wanted_and_of_no_sibling(wanted: list[str], said: str) -> None:
    def covers(one: str) -> bool:
        return name(said) == name(one) or name(said).startswith(name(one).rstrip("/") + "/")

    expected = max((one for one in wanted if covers(one)), key=lambda one: len(name(one)), default=None)
    told: list[str] = []

    async def run() -> None:
        wishes = Wishes(lambda: None)
        for one in wanted:
            wishes.add(one, lambda one=one: told.append(one))  # type: ignore[misc]
        updated(wishes, said)

    asyncio.run(run())
    assert ([expected] if expected is not None else []) == told


STEPS = st.lists(st.tuples(st.sampled_from(["add", "remove", "update", "lost", "back"]), st.integers(0, 2), st.integers(0, 1)))


@given(STEPS)
def test_nobody_is_told_who_does_not_want_to_hear_and_everybody_is_who_does(steps: list[tuple[str, int, int]]) -> None:
    """Whatever comes and goes in whatever order; three clients, two resources."""
    told: Counter[tuple[int, int]] = Counter()

    async def run() -> None:
        wishes = Wishes(lambda: None)
        tells = {(who, what): lambda key=(who, what): told.update([key]) for who in range(3) for what in range(2)}
        held = {}
        for step, who, what in steps:
            key = (who, what)
            if step == "add" and key not in held:
                held[key] = wishes.add(f"x:{what}", tells[key])
            elif step == "remove" and key in held:
                wishes.remove(held.pop(key), tells[key])
            elif step == "lost":
                wishes.failed(UpstreamFailed("away"))
            elif step in ("back", "update"):
                for wish in wishes.by_uri.values():
                    wish.told_at = -1e9  # as if it had been long ago
                before = Counter(told)
                if step == "update":
                    updated(wishes, f"x:{what}")
                else:
                    for wish in list(wishes.by_uri.values()):
                        wishes.honoured(wish)
                assert set(told - before) <= set(held)
                if step == "update":
                    assert {one for one in held if one[1] == what} <= set(told - before)
        assert {f"x:{what}" for _, what in held} == set(wishes.by_uri)

    asyncio.run(run())


def test_what_comes_too_fast_is_told_at_once_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "AT_MOST_EVERY", 0.05)
    told: list[int] = []

    async def run() -> None:
        wishes = Wishes(lambda: None)
        wishes.add("x:a", lambda: told.append(1))
        for _ in range(1000):
            updated(wishes, "x:a")
        assert 1 == len(told)
        await asyncio.sleep(0.2)

    asyncio.run(run())
    assert 2 == len(told)


def test_what_a_server_does_not_tell_of_any_more_is_told_once_and_forgotten() -> None:
    told: list[int] = []

    async def run() -> None:
        wishes = Wishes(lambda: None)
        wish = wishes.add("x:a", lambda: told.append(1))
        wishes.honoured(wish)
        assert [] == told
        wishes.refused(wish, NOT_TOLD)
        assert {} == wishes.by_uri

    asyncio.run(run())
    assert 1 == len(told)
