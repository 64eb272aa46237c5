"""``mcpctl policy``: what it prints and how it exits, on real directories and without a server."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.conftest import Mcpctl
from tests.cli.recording import Recording
from tests.cli.test_story import login
from tests.conftest import POLICIES
from tests.serving import Served

GOLDEN = Path(__file__).parent.parent / "data" / "policy_show_shipped.txt"


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A copy of the shipped policies to edit."""
    return Path(shutil.copytree(POLICIES, tmp_path / "policies"))


def add(policies: Path, *lines: str, name: str = "more.csv") -> str:
    """Write ``lines`` as a file of the policy directory, whose path it is."""
    (policies / name).write_text("\n".join(lines) + "\n")
    return str(policies)


def test_what_the_shipped_policy_gives_in_effect_is_the_golden_rendering(mcpctl: Mcpctl) -> None:
    assert GOLDEN.read_text() == mcpctl.ok("policy", "show", str(POLICIES))


def test_init_copies_out_every_file_that_ships_for_its_owner_to_edit(mcpctl: Mcpctl, tmp_path: Path) -> None:
    there = tmp_path / "new" / "policies"
    said = mcpctl.ok("policy", "init", str(there)).splitlines()
    shipped = {path.relative_to(POLICIES): path.read_bytes() for path in POLICIES.rglob("*") if path.is_file()}
    assert shipped == {path.relative_to(there): path.read_bytes() for path in there.rglob("*") if path.is_file()}
    assert sorted(str(there / path) for path in shipped) == said
    assert Path("tests/shipped.yaml") in shipped
    assert {True} == {bool(path.stat().st_mode & stat.S_IWUSR) for path in there.rglob("*")}


def test_what_init_copied_out_is_checked_tested_and_the_same(mcpctl: Mcpctl, tmp_path: Path) -> None:
    there = str(tmp_path / "policies")
    mcpctl.ok("policy", "init", there)
    assert f"No finding in {there}.\n" == mcpctl.ok("policy", "check", there, "--strict")
    assert "389 passed, 0 failed\n" == mcpctl.ok("policy", "test", there)
    assert "Nobody gains or loses anything.\n" == mcpctl.ok("policy", "diff", str(POLICIES), there)


def test_init_overwrites_nothing_and_then_writes_nothing(mcpctl: Mcpctl, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "roles.csv").symlink_to("gone.csv")
    ran = mcpctl("policy", "init", str(tmp_path / "p"))
    assert (7, "") == (ran.code, ran.out)
    assert "has roles.csv already: name another directory" in ran.err
    assert ["roles.csv"] == [path.name for path in (tmp_path / "p").iterdir()]


def test_init_where_nothing_can_be_written_says_why(mcpctl: Mcpctl, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = mcpctl("policy", "init", str(tmp_path / "file" / "below"))
    assert 2 == ran.code
    assert "cannot be written: Not a directory" in ran.err


def test_check_prints_every_finding_and_exits_with_1(mcpctl: Mcpctl, policies: Path) -> None:
    ran = mcpctl("policy", "check", add(policies, "p, User:alice, veiw, servers, a, allow", "x"))
    assert 1 == ran.code
    assert [
        "more.csv:1: unknown role 'veiw'; did you mean 'view'?",
        "more.csv:2: unknown line type 'x'; a line begins with p, g or g2",
    ] == ran.out.splitlines()


def test_only_strict_looks_at_what_is_probably_not_meant(mcpctl: Mcpctl, policies: Path) -> None:
    directory = add(policies, "p, User:alice, admin, *, *, allow", "# accepted: over-broad", "p, User:bob, admin, *, *, allow")
    assert 0 == mcpctl("policy", "check", directory).code
    ran = mcpctl("policy", "check", directory, "--strict", "-o", "json")
    assert 1 == ran.code
    found = json.loads(ran.out)
    assert (False, 1, [("over-broad", "more.csv", 1)]) == (
        found["valid"],
        found["accepted"],
        [(one["kind"], one["file"], one["line"]) for one in found["findings"]],
    )
    assert all(one["cause"] and one["cure"] for one in found["findings"])


def test_check_knows_who_exists_from_a_list(mcpctl: Mcpctl, policies: Path) -> None:
    directory = add(policies, "g, User:alice, Group:ops", "p, Group:ops, view, servers, a, allow")
    everybody = mcpctl.file("everybody.txt", "# all of us\nUser:alice\nGroup:admins\nGroup:gateways\n")
    ran = mcpctl("policy", "check", directory, "--strict", "--subjects", everybody)
    assert (1, ["more.csv:1", "more.csv:2"]) == (ran.code, [line.partition(": ")[0] for line in ran.out.splitlines()])
    assert (
        0
        == mcpctl(
            "policy", "check", directory, "--strict", "--subjects", "-", stdin=Path(everybody).read_text() + "Group:ops"
        ).code
    )


def test_check_asks_the_control_plane_who_exists(mcpctl: Mcpctl, policies: Path, recording: Recording) -> None:
    mcpctl.use(recording.address)
    everybody = {"items": [{"name": "admins", "tokenSha": "ab" * 32}, {"name": "gateways", "tokenSha": "cd" * 32}]}
    recording.say(*[{"allowed": True}] * 3, everybody)
    assert 0 == mcpctl("policy", "check", str(policies), "--strict", "--ask-server").code
    asked = [request.path for request in recording.asked]
    assert ["/api/v1/users", "/api/v1/groups", "/api/v1/mcptokens"] == [path.partition("?")[0] for path in asked[3:]]


def test_who_may_not_view_everybody_is_not_told_that_somebody_does_not_exist(mcpctl: Mcpctl, served_on_sqlite: Served) -> None:
    served_on_sqlite.user("alice", "role:view,resource:users", "role:view,resource:groups", "role:view,resource:mcptokens")
    served_on_sqlite.user("bob", "role:view,resource:users", "role:view,resource:groups,name:ops")
    login(mcpctl, served_on_sqlite, "alice", "a long password")
    assert 0 == mcpctl("policy", "check", str(POLICIES), "--strict", "--ask-server").code
    login(mcpctl, served_on_sqlite, "bob", "a long password")
    ran = mcpctl("policy", "check", str(POLICIES), "--strict", "--ask-server")
    assert (5, "") == (ran.code, ran.out)
    assert ["    view groups *", "    view mcptokens *"] == ran.err.splitlines()[-2:]


def test_a_list_of_subjects_is_told_by_its_lines(mcpctl: Mcpctl, policies: Path) -> None:
    listed = mcpctl.file("everybody.txt", "User:alice\nalice\n\nUser:Bob\n")
    ran = mcpctl("policy", "check", str(policies), "--strict", "--subjects", listed)
    assert (2, "") == (ran.code, ran.out)
    first, *lines = ran.err.splitlines()
    assert "error: The request is not valid" == first
    assert [f"  {listed}:2: 'alice' is not a subject", f"  {listed}:4: 'Bob' cannot be a user name"] == [
        line[: line.rindex(": ")] for line in lines
    ]
    ran = mcpctl("policy", "check", str(policies), "--strict", "--subjects", "-", stdin="x")
    assert "  standard input:1: 'x' is not a subject" in ran.err


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--subjects", "everybody.txt"), "who exists is looked at by --strict only"),
        (("--ask-server",), "who exists is looked at by --strict only"),
        (("--strict", "--subjects", "no-such-file"), "no-such-file cannot be read"),
    ],
)
def test_check_refuses_what_it_would_not_look_at(mcpctl: Mcpctl, policies: Path, flags: tuple[str, ...], expected: str) -> None:
    ran = mcpctl("policy", "check", str(policies), *flags)
    assert 2 == ran.code
    assert expected in ran.err


def test_a_failing_table_is_told_in_every_form_and_exits_with_1(mcpctl: Mcpctl, policies: Path) -> None:
    table = mcpctl.file(
        "mine.csv", "subject,action,resource,name,expected\nUser:bob,view,servers,a,allow\nUser:bob,run,servers,a,deny\n"
    )
    ran = mcpctl("policy", "test", str(policies), table)
    assert 1 == ran.code
    assert [
        "WHERE        EXPECTED                          FOUND",
        "mine.csv:2   User:bob view servers a: allow   nothing allows User:bob to view servers a",
        "1 passed, 1 failed",
    ][1:] == ran.out.splitlines()[1:]
    ran = mcpctl("policy", "test", str(policies), table, "-o", "json")
    assert (1, 1, 1) == (ran.code, json.loads(ran.out)["passed"], json.loads(ran.out)["failed"])
    ran = mcpctl("policy", "test", str(policies), table, "-o", "junit")
    assert (1, "1") == (ran.code, ElementTree.fromstring(ran.out).get("failures"))


def test_without_tables_or_with_a_bad_policy_a_test_never_passes(mcpctl: Mcpctl, policies: Path) -> None:
    assert 2 == mcpctl("policy", "test", add(policies, "x")).code
    shutil.rmtree(policies / "tests")
    (policies / "more.csv").unlink()
    ran = mcpctl("policy", "test", str(policies))
    assert 6 == ran.code
    assert f"there is no {policies}/tests: name a decision table or a directory of them" in ran.err


def test_a_table_that_cannot_be_read_is_told_as_what_it_is_with_its_line_and_exits_with_2(
    mcpctl: Mcpctl, policies: Path
) -> None:
    good = mcpctl.file("good.csv", "subject,action,resource,name,expected\nUser:bob,run,servers,a,deny\n")
    broken = mcpctl.file("tables.csv", "subject,action,resource,name,expected\nUser:bob,run,server,a,yes\n")
    other = mcpctl.file("other.yaml", "about: nothing\nroles:\n  veiw: [view]\n")
    ran = mcpctl("policy", "test", str(policies), broken, good, other)
    assert (2, "") == (ran.code, ran.out)
    assert [
        "error: The decision tables have errors",
        "  tables.csv:2: expected is 'yes'; write 'allow' or 'deny'",
        "  other.yaml:3: unknown role 'veiw'; it is one of admin, create, delete, edit, expose, run, view",
    ] == ran.err.splitlines()
    ran = mcpctl("policy", "test", str(policies), broken, good, other, "-o", "junit")
    root = ElementTree.fromstring(ran.out)
    assert (2, "3", "0", "2") == (ran.code, root.get("tests"), root.get("failures"), root.get("errors"))
    assert "tables.csv:2: expected is 'yes'; write 'allow' or 'deny'" == root.findall("testsuite/testcase/error")[0].get(
        "message"
    )
    ran = mcpctl("policy", "test", str(policies), "no-such.csv")
    assert (6, True) == (ran.code, "there is no no-such.csv: name a decision table or a directory" in ran.err)


def test_diff_says_who_gains_and_who_loses_what_and_exits_like_diff(mcpctl: Mcpctl, policies: Path) -> None:
    add(policies, "g2, auditor, view", "p, User:alice, auditor, servers, a, allow", "p, Group:admins, run, secrets, key, deny")
    (policies / "roles.csv").write_text((policies / "roles.csv").read_text() + "g2, delete, view\n")
    ran = mcpctl("policy", "diff", str(POLICIES), str(policies))
    assert 1 == ran.code
    assert (
        """\
The role auditor, for whoever holds it: + view; for whoever is denied it: - view
The role delete, for whoever holds it: + view; for whoever is denied it: - view
Group:admins
  may no longer:
    - view, run secrets key   (more.csv:3 of NEW)
User:alice
  may now:
    + view servers a   (more.csv:2 of NEW)
"""
        == ran.out
    )
    found = json.loads(mcpctl("policy", "diff", str(POLICIES), str(policies), "-o", "json").out)
    assert (False, ["auditor", "delete"], ["Group:admins", "User:alice"]) == (
        found["equivalent"],
        [one["role"] for one in found["roles"]],
        [one["subject"] for one in found["subjects"]],
    )
    assert 2 == mcpctl("policy", "diff", str(POLICIES), add(policies, "x")).code


def test_a_difference_that_no_question_can_rule_out_is_no_equality(mcpctl: Mcpctl, policies: Path) -> None:
    text = (policies / "model.conf").read_text()
    (policies / "model.conf").write_text(
        text.replace("covers(p.name, r.name)", 'covers(p.name, r.name) && !regexMatch(r.name, "z")')
    )
    ran = mcpctl("policy", "diff", str(policies), str(POLICIES))
    assert 1 == ran.code
    assert "There may be more: the matcher of model.conf asks" in ran.err


def test_show_tells_of_one_subject_alone(mcpctl: Mcpctl, policies: Path) -> None:
    directory = add(
        policies, "g, User:alice, Group:gateways", "p, User:alice, run, servers, a, allow", "g, User:bob, Group:ops"
    )
    assert """\
User:alice, of Group:gateways
MAY         ON           NAMED   BY
gateway     operations   *       bindings.csv:5, more.csv:1
view, run   servers      a       more.csv:2
""" == mcpctl.ok("policy", "show", directory, "--subject", "User:alice")
    found = json.loads(mcpctl.ok("policy", "show", directory, "--subject", "User:bob", "-o", "json"))
    assert {"subjects": [{"subject": "User:bob", "groups": ["Group:ops"], "grants": [], "denies": []}]} == found
    add(policies, "p, User:dora, run, secrets, key, deny", name="denies.csv")
    assert """\
User:dora
MAY NOT     ON        NAMED   BY
view, run   secrets   key     denies.csv:1
""" == mcpctl.ok("policy", "show", directory, "--subject", "User:dora")
    ran = mcpctl("policy", "show", directory, "--subject", "User:carol")
    assert (6, True) == (ran.code, f"no line in {directory} names User:carol" in ran.err)
