"""The two relations between names, proved on every string of a small alphabet by counting what the strings stand for."""

from __future__ import annotations

from itertools import product

from mcpctl.policy.patterns import covers, overlaps

LONGEST = 4
NAMES = ["".join(letters) for n in range(1, LONGEST + 1) for letters in product("ab/", repeat=n)]
PATTERNS = NAMES + [name + "*" for name in ["", *NAMES] if len(name) < LONGEST]
# Concrete names longer than any pattern: each pattern then has one that no pattern but its own generalizations matches.
UNIVERSE = ["".join(letters) for n in range(1, LONGEST + 3) for letters in product("ab/", repeat=n)]


def as_line(pattern: str) -> frozenset[int]:
    """What a line of this name stands for, found by looking at every name there is."""
    if pattern.endswith("*"):
        return frozenset(i for i, name in enumerate(UNIVERSE) if name[: len(pattern) - 1] == pattern[:-1])
    return frozenset(i for i, name in enumerate(UNIVERSE) if name == pattern or name[: len(pattern) + 1] == pattern + "/")


def as_question(pattern: str) -> frozenset[int]:
    """What is asked about: a plain name is itself and nothing below it."""
    return as_line(pattern) if pattern.endswith("*") else frozenset({UNIVERSE.index(pattern)})


LINES = {pattern: as_line(pattern) for pattern in PATTERNS}
QUESTIONS = {pattern: as_question(pattern) for pattern in PATTERNS}


def test_covers_is_inclusion_of_what_is_asked_in_what_the_line_stands_for() -> None:
    wrong = [
        (line, asked)
        for line, meant in LINES.items()
        for asked, about in QUESTIONS.items()
        if covers(line, asked) != (about <= meant)
    ]
    assert wrong == []


def test_overlaps_is_having_a_name_in_common() -> None:
    wrong = [
        (line, asked)
        for line, meant in LINES.items()
        for asked, about in QUESTIONS.items()
        if overlaps(line, asked) != bool(about & meant)
    ]
    assert wrong == []


def test_for_a_plain_name_overlaps_is_covers() -> None:
    assert [] == [(line, name) for line in PATTERNS for name in NAMES if overlaps(line, name) != covers(line, name)]


def test_covers_is_transitive_over_what_a_name_and_all_below_it_cover() -> None:
    """Whoever covers N and N/* covers everything the line N covers: so the ceiling asks both."""
    wrong = [
        (line, name)
        for line, meant in LINES.items()
        for name in NAMES
        if (covers(line, name) and covers(line, name + "/*")) != (LINES[name] <= meant)
        and len(name) < LONGEST  # of longer names the universe does not hold all that is below
    ]
    assert wrong == []


def test_row_30_the_empty_name_is_covered_by_nothing_and_covers_nothing() -> None:
    """authz d, row 30: the empty string never matches, and never means all."""
    for other in ["", *PATTERNS]:
        assert (False, False) == (covers("", other), covers(other, ""))
        assert (False, False) == (overlaps("", other), overlaps(other, ""))
