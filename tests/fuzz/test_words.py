"""Durations, times, policy lines and models: a value or a problem that says what is wrong, and never anything by half."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcpctl.errors import InvalidInput, InvalidPolicy
from mcpctl.policy import files
from mcpctl.policy.model import PolicyModel
from mcpctl.services import lifetimes
from tests.policy.worlds import MODEL_TEXT, POLICIES

NOW = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
DURATIONS = st.text("0123456789.wdhms-+ e", max_size=14) | st.lists(
    st.tuples(st.integers(0, 10**9).map(str), st.sampled_from("wdhms")).map("".join), max_size=6
).map("".join)
TIMES = st.datetimes(timezones=st.none() | st.timezones()).map(lambda moment: moment.isoformat()) | st.text(
    "0123456789-:TZ+.W ", max_size=30
).map(lambda text: f"2030-{text}")


@given(DURATIONS | TIMES | st.text(max_size=20) | st.just("never"))
def test_a_lifetime_ends_within_a_century_or_never_or_is_refused(text: str) -> None:
    try:
        ends = lifetimes.expiry(text, NOW)
    except InvalidInput:
        return
    assert (text == "never") == (ends is None)
    assert ends is None or NOW < ends <= NOW + lifetimes.LONGEST.total_seconds()


@given(DURATIONS)
def test_a_grace_is_a_duration_or_none_at_all(text: str) -> None:
    try:
        found = lifetimes.grace(text)
    except InvalidInput:
        return
    assert (found.total_seconds() == 0) == (text in {"0", "0w", "0d", "0h", "0m", "0s"})


@pytest.mark.parametrize("text", ["1h1h", "1s2w", "30m1h", "1d2d", "1h 30m", "1.5.5h", ".5h", "5", "h", "", "+1h", "1H", "１h"])
def test_a_slip_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidInput):
        lifetimes.duration(text, "ttl")


@pytest.mark.parametrize(("text", "seconds"), [("1w2d3h4m5s", 788_645), ("1.5h", 5400), ("1h0.5s", 3600.5), ("90m", 5400)])
def test_each_unit_stands_once_and_the_largest_first(text: str, seconds: float) -> None:
    assert seconds == lifetimes.duration(text, "ttl").total_seconds()


WORDS = ["User:a", "Group:b", "view", "admin", "servers", "operations", "*", "a/b", "allow", "deny", "logs"]
FIELDS = ["p", "g", "g2", *WORDS, "", "#", '"', "\x00", "\u202e", "\u00e9"]
LINES = st.lists(st.sampled_from(FIELDS), max_size=7).map(", ".join) | st.text(max_size=30)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(lines=st.lists(LINES, max_size=4))
def test_a_policy_file_is_read_line_by_line_or_each_fault_has_its_place(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    directory = tmp_path_factory.getbasetemp() / "fuzzed-policy"
    directory.mkdir(exist_ok=True)
    for name in ("model.conf", "roles.csv"):
        (directory / name).write_bytes((POLICIES / name).read_bytes())
    Path(directory / "fuzzed.csv").write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    findings = files.check(directory)
    for finding in findings:
        assert ("fuzzed.csv", True, True) == (finding.file, finding.line > 0, bool(finding.cure))
        assert str(finding).isprintable()
    if findings:
        with pytest.raises(InvalidPolicy):
            files.read(directory)
        return
    read = files.read(directory)
    said = [f"p, {r.sub}, {r.role}, {r.res}, {r.name}, {r.eft}" for r in read.rules]
    said += [f"g, {member.user}, {member.group}" for member in read.memberships]
    assert len(said) <= len([line for line in "\n".join(lines).split("\n") if line.strip(" \t\r") and line.strip()[:1] != "#"])
    (directory / "fuzzed.csv").write_text("\n".join(said))
    again = files.read(directory)
    assert [rule[:-1] for rule in read.rules] == [rule[:-1] for rule in again.rules]
    assert [member[:-1] for member in read.memberships] == [member[:-1] for member in again.memberships]


MODEL_LINES = MODEL_TEXT.split("\n")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_model_with_a_line_lost_doubled_or_spoilt_is_a_model_or_a_problem(data: st.DataObject) -> None:
    lines = list(MODEL_LINES)
    place = data.draw(st.integers(0, len(lines) - 1))
    done = data.draw(st.sampled_from(["lose", "double", "spoil", "swap"]))
    if done == "lose":
        del lines[place]
    elif done == "double":
        lines.insert(place, lines[place])
    elif done == "spoil":
        lines[place] = data.draw(st.text(max_size=30))
    else:
        other = data.draw(st.integers(0, len(lines) - 1))
        lines[place], lines[other] = lines[other], lines[place]
    try:
        model = PolicyModel("\n".join(lines))
    except InvalidPolicy:
        return
    assert model.matcher == PolicyModel("\n".join(lines)).matcher
