"""Decision tables: what they may say, what is wrong with one, and what a policy makes of it. The shipped ones hold here too."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpctl.cli import decision_tables
from mcpctl.cli.terminal import printable
from mcpctl.errors import FieldError, InvalidTable, NotFound
from mcpctl.policy import tables, trials
from mcpctl.policy.trials import Outcome
from tests.policy import oracle
from tests.policy.test_comparison import SUBJECTS, Line, counted, lines, members, policy
from tests.policy.test_files import directory
from tests.policy.worlds import POLICIES, SHA, SHIPPED

SHIPPED_OUTCOMES, _ = decision_tables.outcomes(POLICIES)


@pytest.mark.parametrize("outcome", SHIPPED_OUTCOMES, ids=lambda one: one.what)
def test_the_shipped_policy_answers_as_its_tables_say(outcome: Outcome) -> None:
    assert "" == outcome.failure, outcome.where


def test_the_shipped_tables_ask_about_every_resource_action_and_role() -> None:
    (table,) = decision_tables.read([POLICIES / "tests"], SHIPPED.roles.names).tables
    assert 662 == len(table.unlisted())
    assert 42 == len(table.containments)
    assert table.unlisted_denied


LINES = "p, User:alice, run, servers, github, allow\np, User:alice, run, servers, github/delete_*, deny\n"
HEAD = "subject,action,resource,name,expected,by\n"


def outcomes(tmp_path: Path, table: str, name: str = "a.csv") -> list[tuple[int, str, str]]:
    """What becomes of each expectation of one table, put to ``LINES``."""
    (directory(tmp_path, {"lines.csv": LINES}) / "tests").mkdir()
    (tmp_path / "tests" / name).write_text(table)
    found, read = decision_tables.outcomes(tmp_path)
    read.require_all()
    return [(one.line, one.what, one.failure) for one in found]


@pytest.mark.parametrize(
    ("case", "failure"),
    [
        ("User:alice,run,servers,github/get,allow,", ""),
        ("User:alice,run,servers,github/get,allow,lines.csv:1", ""),
        ("User:alice,run,servers,github/get,allow,lines.csv", ""),
        ("User:alice,run,servers,github/get,allow,role:run,resource:servers,name:github", ""),
        ("User:alice,run,servers,github/delete_x,deny,lines.csv:2", ""),
        ("User:bob,run,servers,github,deny,nothing", ""),
        ("User:alice,run,servers,github/*,deny,lines.csv:2", ""),
        (
            "User:alice,run,servers,github/get,allow,lines.csv:2",
            "it is decided by lines.csv:1; 'by' may say lines.csv:1, or lines.csv, or role:run,resource:servers,name:github",
        ),
        ("User:bob,run,servers,github,allow,", "nothing allows User:bob to run servers github"),
        (
            "User:alice,run,servers,github,deny,",
            "allowed by role:run,resource:servers,name:github (lines.csv:1)",
        ),
    ],
)
def test_a_case_holds_or_says_what_decided_otherwise(tmp_path: Path, case: str, failure: str) -> None:
    assert [failure] == [found for _, _, found in outcomes(tmp_path, HEAD + case)]


def test_several_words_in_a_field_are_a_case_each(tmp_path: Path) -> None:
    found = outcomes(tmp_path, HEAD + "# notes\nUser:alice,view run,servers,github github/x,allow,\n")
    assert [(3, "User:alice view servers github: allow", ""), (3, "User:alice view servers github/x: allow", "")] == found[:2]
    assert 4 == len(found)


def test_what_a_table_does_not_list_is_denied_where_it_says_so(tmp_path: Path) -> None:
    table = HEAD + "User:alice,run,servers,github,allow,\nUser:bob,view,servers,github/x,deny,\n"
    (unlisted,) = outcomes(tmp_path, "# unlisted: deny\n" + table)[2:]
    assert (0, "6 questions that no case lists: deny") == unlisted[:2]
    assert [
        "User:alice run servers github/x is allowed by lines.csv:1",
        "User:alice view servers github is allowed by lines.csv:1",
        "User:alice view servers github/x is allowed by lines.csv:1",
    ] == sorted(unlisted[2].split("; "))


WORLD = """
memberships:
  User:alice: [Group:ops]
bindings:
  Group:ops: ["role:view,resource:projects"]
projects:
  demo: [github]
tokens:
  ci: {owner: User:alice, project: demo, bindings: ["role:run,resource:servers", "role:admin,resource:secrets"]}
"""


@pytest.mark.parametrize(
    ("case", "failure"),
    [
        ("{subject: User:alice, action: view, resource: projects, name: demo, expected: allow}", ""),
        ("{subject: User:alice, action: view, resource: projects, expected: allow, by: 'role:view,resource:projects'}", ""),
        ("{subject: User:bob, action: view, resource: projects, expected: deny}", ""),
        ("{subject: McpToken:ci, action: run, resource: servers, name: github/x, expected: allow, by: lines.csv:1}", ""),
        ("{subject: McpToken:ci, action: run, resource: servers, name: github/delete_x, expected: deny, by: owner}", ""),
        ("{subject: McpToken:ci, action: run, resource: servers, name: other, expected: deny, by: project}", ""),
        ("{subject: McpToken:ci, action: edit, resource: servers, name: github, expected: deny, by: token}", ""),
        ("{subject: McpToken:ci, action: view, resource: secrets, name: key, expected: deny, by: never}", ""),
        (
            "{subject: McpToken:ci, action: view, resource: secrets, name: key, expected: deny, by: owner}",
            "it is decided by never",
        ),
    ],
)
def test_a_table_may_say_what_stands_in_the_database(tmp_path: Path, case: str, failure: str) -> None:
    assert [failure] == [found for _, _, found in outcomes(tmp_path, f"{WORLD}cases:\n  - {case}\n", "a.yaml")]


def test_which_roles_contain_which_is_said_in_full_and_proven_with_the_ceiling(tmp_path: Path) -> None:
    found = {what: failure for _, what, failure in outcomes(tmp_path, "roles: {run: [view, edit], edit: []}", "a.yaml")}
    assert "" == found["the role run contains view"]
    assert "it lacks create * *, delete * *, edit * *, expose * *" == found["the role run contains edit"]
    assert "" == found["the role run does not contain admin"]
    assert "it does" == found["the role edit does not contain view"]
    assert 12 == len(found)


@pytest.mark.parametrize(
    ("name", "table", "expected"),
    [
        ("a.csv", "", "a.csv: it expects nothing; write cases, or roles and what they contain"),
        ("a.csv", "User:a,view\n", f"a.csv:1: the first line is not the one of titles; write {HEAD.strip()!r}"),
        ("a.csv", f"{HEAD}User:a,view\n", f"a.csv:2: 2 fields where at least 5 belong; write {HEAD.strip()!r}"),
        ("a.csv", f"{HEAD}User:a,,servers,a,allow\n", "a.csv:2: the case has no action; add it"),
        ("a.csv", f"{HEAD}User:a,view,servers,a,yes\n", "a.csv:2: expected is 'yes'; write 'allow' or 'deny'"),
        (
            "a.csv",
            f"{HEAD}User:a,view,servers,a,allow\nUser:a,view,server,a,deny\n",
            "a.csv:3: the question 'User:a view servers a' is asked twice; delete one of the two",
        ),
        ("a.yaml", "[]", "a.yaml: it is not a map; write the members about, unlisted,"),
        ("a.yaml", "about: x\ncase: []", "a.yaml:2: nothing reads 'case'; did you mean 'cases'?"),
        ("a.yaml", "unlisted: denied", "a.yaml:1: unlisted is 'denied'; write 'unlisted: deny', or leave it out"),
        ("a.yaml", "memberships: [a]", "a.yaml:1: memberships is not a map; write 'memberships:' and a member for each"),
        ("a.yaml", "projects:\n  demo: 1", "a.yaml:2: '1' is neither a word nor a list of words; quote what YAML takes for"),
        ("a.yaml", "axes:\n  subjects: []\n  resources:\n    veiw: a", "a.yaml:4: 'veiw' is not a resource"),
        ("a.yaml", "axes:\n  subjects: [alice]", "a.yaml:2: 'alice' is not a subject"),
        ("a.yaml", "cases: {a: 1}", "a.yaml:1: cases is not a list; write 'cases:' and below it a line that begins with '-'"),
        ("a.yaml", "cases: [a]", "a.yaml:1: the case is not a map; write subject, action,"),
        ("a.yaml", "cases:\n  - {subjet: a}", "a.yaml:2: nothing reads 'subjet'; did you mean 'subject'?"),
        ("a.yaml", "roles:\n  view: []\n  veiw: []", "a.yaml:3: unknown role 'veiw'; it is one of admin, create,"),
        ("a.yaml", "roles:\n  view: [veiw]", "a.yaml:2: unknown role 'veiw'; it is one of admin, create,"),
        (
            "a.yaml",
            "tokens: {ci: {owner: User:a}}",
            "a.yaml:1: the token 'ci' has no owner or no project; write owner, project",
        ),
        (
            "a.yaml",
            "tokens: {ci: {owner: User:a, project: demo}}",
            "a.yaml:1: the project 'demo' of the token 'ci' is not among 'projects'; add it",
        ),
        ("a.yaml", "cases: [", "a.yaml:1: it is not YAML: "),
        ("a.yaml", "cases: []\ncases: []", "a.yaml:2: it is not YAML: "),
        ("a.yaml", "cases: []\n---\ncases: []", "a.yaml: it holds more than one document"),
        ("a.yaml", "bindings:\n  User:a: ['role:veiw,resource:servers']", "a.yaml:2: column 6 of "),
        # Written by somebody who wishes no good.
        ("a.yaml", "cases:\n  " + "[" * 3000, "a.yaml:2: it is nested more than 100 deep"),
        ("a.yaml", "cases: &a\n  - *a", "a.yaml:1: the anchor &a is not read"),
        (
            "a.csv",
            f"{HEAD}{' '.join(f'User:u{n}' for n in range(3000))},view run edit create delete,servers secrets users,"
            f"{' '.join(f'n{n}' for n in range(1000))},deny,\n",
            "a.csv:2: with this case the table asks more than 100000 questions; make several tables of it",
        ),
        (
            "a.yaml",
            f"unlisted: deny\naxes:\n  subjects: [{', '.join(f'User:u{n}' for n in range(3000))}]\n"
            f"  actions: [view, run]\n  resources: {{servers: [{', '.join(f's{n}' for n in range(3000))}]}}\n"
            "cases:\n  - {subject: User:a, action: view, resource: servers, expected: deny}",
            "a.yaml: its axes make 18012002 questions, and 100000 are the most; make several tables of it",
        ),
    ],
)
def test_a_table_that_cannot_be_read_says_where_and_why(tmp_path: Path, name: str, table: str, expected: str) -> None:
    with pytest.raises(InvalidTable) as refusal:
        outcomes(tmp_path, table, name)
    said = refusal.value.detail.splitlines()
    assert any(line.startswith(expected) for line in said), refusal.value.detail
    assert len(said) == len({*said})


def test_a_table_asks_as_many_questions_as_are_allowed_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_QUESTIONS", 12)
    for name in ("all", "more", "unlisted", "axes"):
        (tmp_path / name).mkdir()
    case, more = "User:alice User:bob,view run,servers,a b c,deny,\n", "User:carol,view,servers,a,deny,\n"
    assert 12 == len(outcomes(tmp_path / "all", HEAD + case))
    with pytest.raises(InvalidTable, match=r"a\.csv:3: with this case the table asks more than 12 questions"):
        outcomes(tmp_path / "more", HEAD + case + more)
    assert 13 == len(outcomes(tmp_path / "unlisted", "# unlisted: deny\n" + HEAD + case))
    unlisted = "# unlisted: deny\n" + HEAD + "User:alice,view,servers,a b c,deny,\nUser:bob,run edit,servers,a b c,deny,\n"
    with pytest.raises(InvalidTable, match="its axes make 18 questions, and 12 are the most"):
        outcomes(tmp_path / "axes", unlisted)


@pytest.mark.parametrize("word", ["User:Alice", "alice", "McpToken:unknown", "Group:"])
def test_a_subject_of_a_case_is_one_of_the_policy_or_a_token_of_the_table(tmp_path: Path, word: str) -> None:
    with pytest.raises(InvalidTable, match=r"a\.csv:2: "):
        outcomes(tmp_path, f"{HEAD}{word},view,servers,a,deny\n")


def test_a_token_of_a_policy_file_is_asked_about_by_its_subject_once_the_table_says_whose_it_is() -> None:
    world = {"projects": {"demo": ["a"]}, "tokens": {SHA: {"owner": "User:root", "project": "demo"}}}
    case = {"subject": f"McpToken:{SHA}", "action": "view", "resource": "servers", "name": "a", "expected": "allow"}
    table = tables.of_document("a.yaml", world | {"memberships": {"User:root": ["Group:admins"]}, "cases": [case]}, {}, [])
    line: Line = (f"McpToken:{SHA}", "view", "servers", "*", "allow")
    admins: Line = ("Group:admins", "admin", "*", "*", "allow")
    assert [True] == [one.passed for one in trials.run(policy([line, admins]), table)]
    assert [False] == [one.passed for one in trials.run(policy([line]), table)]
    with pytest.raises(InvalidTable, match="is not among 'tokens'; write a YAML table with its owner and its project"):
        tables.of_csv("a.csv", f"{HEAD}McpToken:{SHA},view,servers,a,deny\n")


def test_without_a_table_nothing_is_proven(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"there is no .*/tests: name a decision table or a directory of them"):
        decision_tables.outcomes(directory(tmp_path))
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "README.md").write_text("none yet")
    with pytest.raises(NotFound, match="there are no decision tables in "):
        decision_tables.outcomes(tmp_path)


def test_junit_counts_each_table_and_names_each_failure(tmp_path: Path) -> None:
    (directory(tmp_path, {"lines.csv": LINES}) / "tests").mkdir()
    (tmp_path / "tests" / "a.csv").write_text(f"{HEAD}User:alice,run,servers,github,allow\n")
    (tmp_path / "tests" / "b.csv").write_text(f"{HEAD}User:bob,run,servers,github,allow\n")
    root = ElementTree.fromstring(decision_tables.junit(decision_tables.outcomes(tmp_path)[0]))
    suites = root.findall("testsuite")
    assert ["a.csv", "b.csv"] == [suite.get("name") for suite in suites]
    assert ["0", "1"] == [suite.get("failures") for suite in suites]
    assert "nothing allows User:bob to run servers github" == suites[1].findall("testcase/failure")[0].get("message")


def test_every_broken_table_is_told_of_and_the_others_are_put_to_the_policy(tmp_path: Path) -> None:
    (directory(tmp_path, {"lines.csv": LINES}) / "tests").mkdir()
    (tmp_path / "tests" / "a.csv").write_text(f"{HEAD}alice,run,servers,github,allow\n")
    (tmp_path / "tests" / "b.yaml").write_bytes(b"\xff")
    (tmp_path / "tests" / "c.csv").mkdir()
    (tmp_path / "tests" / "d.csv").write_text(f"{HEAD}User:alice,run,servers,github,allow\n")
    found, read = decision_tables.outcomes(tmp_path)
    assert [("d.csv", True)] == [(one.file, one.passed) for one in found]
    with pytest.raises(InvalidTable) as refusal:
        read.require_all()
    assert ["a.csv:2", "b.yaml", "c.csv"] == [error.field for error in refusal.value.errors]
    root = ElementTree.fromstring(decision_tables.junit(found, read.broken))
    assert ("4", "0", "3") == (root.get("tests"), root.get("failures"), root.get("errors"))
    assert ["d.csv", "a.csv", "b.yaml", "c.csv"] == [suite.get("name") for suite in root]
    said = [str(error.get("message")) for error in root.iter("error")]
    assert ["a.csv:2", "b.yaml", "c.csv"] == [one.partition(": ")[0] for one in said]
    assert "c.csv: it is not a file; write a table, or call it otherwise" == said[2]


@given(text=st.text(st.characters() | st.sampled_from("\x00\x1b\x85\u202e\ufffe\uffff\udc80"), min_size=1))
def test_junit_is_well_formed_and_steers_no_terminal_whatever_a_table_says_and_is_called(text: str) -> None:
    failed, broken = Outcome(text, 1, text, text), InvalidTable(text, errors=[FieldError(text, text)])
    written = decision_tables.junit([failed], [(text, broken)])
    assert ["1"] * 2 == [ElementTree.fromstring(written).get(count) for count in ("failures", "errors")]
    assert printable(written.replace("\n", "")) == written.replace("\n", "")


@given(found=lines(), belongs=members(), atoms=st.lists(st.sampled_from(oracle.ATOMS), min_size=1, max_size=12, unique=True))
def test_exactly_the_cases_that_counting_contradicts_fail(
    found: list[Line], belongs: list[tuple[str, str]], atoms: list[tuple[str, str, str]]
) -> None:
    asked = [(s, *atom) for s in SUBJECTS for atom in atoms]
    table = tables.Table("t", [tables.Case(1, question, True) for question in asked])
    answers = {subject: counted(found, belongs, oracle.ROLES, subject) for subject in SUBJECTS}
    expected = [answers[question[0]][question[1:]] == "allow" for question in asked]
    assert expected == [one.passed for one in trials.run(policy(found, belongs), table)]
