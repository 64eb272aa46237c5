"""The strict reader: what is wrong with a policy directory, where, and the cure. Every row of the tables is a finding."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpctl.errors import InvalidPolicy
from mcpctl.policy import files
from mcpctl.policy.bindings import Binding
from mcpctl.policy.decision import decide
from mcpctl.policy.slices import Rule
from mcpctl.policy.vocabulary import ACTIONS, OPERATIONS, RESOURCES
from tests.policy.test_parsers import valid_bindings
from tests.policy.worlds import MODEL_TEXT, POLICIES, SHA, SHIPPED, person

ROLES_TEXT = (POLICIES / "roles.csv").read_text("utf-8")
GOOD = "p, User:alice, view, servers, github, allow"

WRITE_P = "write 'p, SUBJECT, ROLE, RESOURCE, NAME, allow|deny'"
WRITE_G = "write 'g, User:<name>, Group:<name>'"
WRITE_G2 = "write 'g2, ROLE, ACTION'"
OWN_LINE = "give the comment a line of its own"
SERVER_NAME = (
    "cannot be a server name: a server name is 1 to 63 of a-z 0-9 . _ -, beginning and ending with a letter or digit, "
    "without '__', and not 'mcplocal'"
)
SUBJECTS_ARE = "is not a subject: User:<name>, Group:<name> or McpToken:<sha256>"
USER_NAME = "cannot be a user name: a user name is 1 to 126 of a-z 0-9 . _ - @ +, beginning and ending with a letter or digit"
ROLE_NAME = "cannot be a role: a role is 1 to 63 of a-z 0-9 . _ -, beginning and ending with a letter or digit"
NAME_IT = "a policy file of this name is not read; name it with letters, digits, '.', '_' and '-', ending in .csv"
COMPARE = "compare it with the one that ships with the program"
ONLY_USERS = "only a user can be a member, and only of a group"


def directory(tmp_path: Path, more: dict[str, str | bytes | None] | None = None) -> Path:
    """A good policy directory of model and roles, and what a test adds to it, overwrites or (``None``) leaves out."""
    content: dict[str, str | bytes | None] = {"model.conf": MODEL_TEXT, "roles.csv": ROLES_TEXT, **(more or {})}
    for name, text in content.items():
        if text is not None:
            (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return tmp_path


def findings_of(tmp_path: Path, line: str) -> list[tuple[int, str, str]]:
    """What is found in a file whose second line this is."""
    found = files.check(directory(tmp_path, {"lines.csv": f"# one line\n{line}\n"}))
    assert {"lines.csv"} >= {finding.file for finding in found}
    return [(finding.line, finding.cause, finding.cure) for finding in found]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "   ",
        "\t# a comment, p, User:mallory, admin, *, *, allow",
        "# ein Kommentar: Übergröße",
        GOOD,
        "  p ,User:alice,view ,\tserver , github,deny  ",
        "p, User:bob@example.org, admin, *, *, allow",
        "p, Group:ops, logs, operations, demo, allow",
        "p, Group:ops, admin, operations, *, allow",
        f"p, McpToken:{SHA}, run, servers, github/get_*, deny",
        "g, User:alice, Group:ops",
        "g2, auditor, view",
        GOOD + "\r",
    ],
)
def test_a_good_line_has_no_finding(tmp_path: Path, line: str) -> None:
    assert [] == findings_of(tmp_path, line)


@pytest.mark.parametrize(
    ("line", "cause", "cure"),
    [
        ("x, User:alice, view", "unknown line type 'x'", "a line begins with p, g or g2"),
        ("P, User:alice, view, servers, a, allow", "unknown line type 'P'", "did you mean 'p'?"),
        ("p2, User:alice, view, servers, a, allow", "unknown line type 'p2'", "did you mean 'p'?"),
        ("g3, a, b", "unknown line type 'g3'", "did you mean 'g'?"),
        (", p, User:alice", "unknown line type ''", "a line begins with p, g or g2"),
        ("p, User:alice, view, servers, a", "5 fields where 6 belong", WRITE_P),
        ("p, User:alice, view, servers, a, allow, mine", "7 fields where 6 belong", WRITE_P),
        ("g, User:alice", "2 fields where 3 belong", WRITE_G),
        ("g2, a, view, edit", "4 fields where 3 belong", WRITE_G2),
        ("p, User:alice, view, servers, , allow", "an empty field", WRITE_P),
        ("p, User:alice, view, servers, a, allow # mine", "a comment stands behind the line", OWN_LINE),
        ("p, User:alice, view, servers, a#b, allow", "a comment stands behind the line", OWN_LINE),
        ('p, "User:alice", view, servers, a, allow', "a quotation mark", "write fields bare; no name needs quoting"),
        ("p, alice, view, servers, a, allow", f"'alice' {SUBJECTS_ARE}", WRITE_P),
        ("p, user:alice, view, servers, a, allow", f"'user:alice' {SUBJECTS_ARE}; did you mean 'User:alice'?", WRITE_P),
        ("p, User:Alice, view, servers, a, allow", f"'Alice' {USER_NAME}", WRITE_P),
        (
            "p, McpToken:abc, view, servers, a, allow",
            "a token subject is 'McpToken:' and the 64 lower-case hex digits of its SHA-256",
            WRITE_P,
        ),
        ("p, User:alice, veiw, servers, a, allow", "unknown role 'veiw'", "did you mean 'view'?"),
        (
            "p, User:alice, logs, servers, a, allow",
            "unknown role 'logs'",
            "it is one of admin, create, delete, edit, expose, run, view",
        ),
        (
            "p, User:alice, view, operations, *, allow",
            "unknown role 'view'",
            "it is one of admin, audit, backup, gateway, impersonate, logs, restore",
        ),
        ("p, User:alice, view, sevrers, a, allow", "'sevrers' is not a resource; did you mean 'servers'?", WRITE_P),
        ("p, User:alice, view, sever, a, allow", "'sever' is not a resource; did you mean 'servers'?", WRITE_P),
        ("p, User:alice, view, servers, A, allow", f"'A' {SERVER_NAME}", WRITE_P),
        ("p, User:alice, view, servers, mcplocal, allow", f"'mcplocal' {SERVER_NAME}", WRITE_P),
        ("p, User:alice, view, servers, git*, allow", f"'git*' {SERVER_NAME}", WRITE_P),
        (
            "p, User:alice, view, *, a, allow",
            "a binding on every resource has no name: leave name out, or name one resource",
            WRITE_P,
        ),
        (
            "p, User:alice, backup, operations, demo, allow",
            "the operation 'backup' is not limited to a project: leave name out",
            WRITE_P,
        ),
        (
            "p, User:alice, admin, operations, demo, allow",
            "the operation 'admin' is not limited to a project: leave name out",
            WRITE_P,
        ),
        ("p, User:alice, view, servers, a, alow", "unknown effect 'alow'", "did you mean 'allow'?"),
        ("p, User:alice, view, servers, a, ALLOW", "unknown effect 'ALLOW'", "did you mean 'allow'?"),
        ("g, Group:ops, Group:admins", ONLY_USERS, WRITE_G),
        ("g, User:alice, User:bob", ONLY_USERS, WRITE_G),
        (f"g, McpToken:{SHA}, Group:admins", ONLY_USERS, WRITE_G),
        ("g, User:alice, admins", f"'admins' {SUBJECTS_ARE}", WRITE_G),
        ("g2, admin, view", "'admin' cannot be defined", "it is built in; choose another name for the role"),
        ("g2, logs, view", "'logs' cannot be defined", "it is built in; choose another name for the role"),
        ("g2, Auditor, view", f"'Auditor' {ROLE_NAME}", WRITE_G2),
        ("g2, auditor, edti", "unknown action 'edti'", "did you mean 'edit'?"),
        (
            "g2, auditor, admin",
            "'admin' is a role, and a role contains actions only",
            "it is one of view, create, edit, delete, run, expose",
        ),
        ("g2, auditor, logs", "unknown action 'logs'", "it is one of view, create, edit, delete, run, expose"),
        ("p, User:al\0ice, view, servers, a, allow", "a character that cannot be seen, U+0000", "delete it"),
        ("p, User:alice, view, servers, a\u200b, allow", "a character that cannot be seen, U+200B", "delete it"),
        ("p, User:alice, view, servers, a,\u00a0allow", "a character that cannot be seen, U+00A0", "delete it"),
        ("# a comment\rp, User:alice, view, servers, a, deny", "a character that cannot be seen, U+000D", "delete it"),
        ("# a comment\u2028p, User:alice, view, servers, a, deny", "a character that cannot be seen, U+2028", "delete it"),
        ("# a comment\x85p, User:alice, view, servers, a, deny", "a character that cannot be seen, U+0085", "delete it"),
        ("# \u202eyned", "a character that cannot be seen, U+202E", "delete it"),
        ("\ufeff" + GOOD, "a character that cannot be seen, U+FEFF", "delete it"),
        ("# \ufffd", "it is not UTF-8", "save it as UTF-8"),
    ],
)
def test_a_bad_line_is_reported_with_its_line_what_is_wrong_and_the_cure(
    tmp_path: Path, line: str, cause: str, cure: str
) -> None:
    assert [(2, cause, cure)] == findings_of(tmp_path, line)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"model.conf": None}, "model.conf: there is no such file; create it, or mend the link to it"),
        ({"model.conf": ""}, f"model.conf: model.conf does not define 'r' in [request_definition]; {COMPARE}"),
        ({"model.conf": "\ufeff" + MODEL_TEXT}, "model.conf:1: it begins with a byte order mark; save it as UTF-8 without BOM"),
        ({"a.csv": "\ufeff" + GOOD}, "a.csv:1: it begins with a byte order mark; save it as UTF-8 without BOM"),
        ({"a.csv": GOOD.encode("utf-16")}, "a.csv:1: it is not UTF-8 but UTF-16; save it as UTF-8 without BOM"),
        ({"a.csv": f"{GOOD}\n# caf".encode() + b"\xe9\n"}, "a.csv:2: it is not UTF-8; save it as UTF-8"),
        ({"a.CSV": GOOD}, f"'a.CSV': {NAME_IT}"),
        ({"a b.csv": GOOD}, f"'a b.csv': {NAME_IT}"),
        ({"a,b.csv": GOOD}, f"'a,b.csv': {NAME_IT}"),
        ({"a\n.csv": GOOD}, f"'a\\n.csv': {NAME_IT}"),
        ({"z.csv": "g2, edit, view"}, "z.csv:1: it says the same as roles.csv:5; delete one of the two"),
        ({"a.csv": GOOD, "b.csv": GOOD}, "b.csv:1: it says the same as a.csv:1; delete one of the two"),
        (
            {"a.csv": f"{GOOD}\n{GOOD.replace('servers', 'server')}"},
            "a.csv:2: it says the same as a.csv:1; delete one of the two",
        ),
        ({"a.csv": "g, User:a, Group:b\n\ng,User:a,Group:b"}, "a.csv:3: it says the same as a.csv:1; delete one of the two"),
    ],
)
def test_a_bad_file_is_reported_by_name(tmp_path: Path, more: dict[str, str | bytes | None], expected: str) -> None:
    assert [expected] == [str(finding) for finding in files.check(directory(tmp_path, more))]


def test_a_file_that_may_not_be_read_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    directory(tmp_path, {"roles.csv": None})
    monkeypatch.setattr(Path, "read_bytes", refused)
    assert ["model.conf: it cannot be read: Permission denied; mend its rights"] == [str(f) for f in files.check(tmp_path)]


def test_a_directory_in_the_place_of_a_file_is_reported(tmp_path: Path) -> None:
    (directory(tmp_path) / "more.csv").mkdir()
    assert ["more.csv"] == [finding.file for finding in files.check(tmp_path)]


def test_a_link_to_nowhere_is_reported(tmp_path: Path) -> None:
    (directory(tmp_path) / "more.csv").symlink_to("gone.csv")
    assert ["more.csv: there is no such file; create it, or mend the link to it"] == [str(f) for f in files.check(tmp_path)]


def test_a_link_that_leads_out_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    """Else a finding would show the first word of each line of any file that the server can read."""
    where = directory(tmp_path)
    secret = tmp_path.parent / f"{tmp_path.name}-secret-key"
    secret.write_text("v3M5BS6u7w5p\n")
    (where / "s.csv").symlink_to(secret)
    (finding,) = files.check(where)
    cure = "copy the file here, so that only what was put here is read"
    assert f"s.csv: it is a link that leads out of the directory; {cure}" == str(finding)
    (where / "s.csv").unlink()
    (where / "..one").mkdir()
    (where / "..one" / "s.csv").write_text(GOOD + "\n")
    (where / "..data").symlink_to("..one")
    (where / "s.csv").symlink_to(Path("..data") / "s.csv")
    assert [] == files.check(where)


MATCHERS = ["p.eft", "9**9**9 == 1", "r.sub.nosuch == p.sub", "().__class__.__base__.__subclasses__()"]


@pytest.mark.parametrize("matcher", MATCHERS)
def test_a_model_that_cannot_be_evaluated_is_a_finding(tmp_path: Path, matcher: str) -> None:
    """In force it would answer everybody with an error, and there would be no last good one left."""
    head = MODEL_TEXT[: MODEL_TEXT.index("[matchers]")]
    where = directory(tmp_path, {"model.conf": f"{head}[matchers]\nm = {matcher}\n"})
    (finding,) = files.check(where)
    assert ("model.conf", head.count("\n") + 2) == (finding.file, finding.line)
    assert finding.cause.startswith("its matcher cannot be evaluated: ")


def test_a_role_that_is_called_like_an_action_has_a_line_for_it(tmp_path: Path) -> None:
    """Casbin takes a name for linked to itself, so without the line it would be given all the same."""
    where = directory(tmp_path, {"roles.csv": ROLES_TEXT.replace("g2, run, run\n", "")})
    (finding,) = files.check(where)
    assert "g2, run, run" in finding.cure


def test_what_is_no_file_is_said_to_be_what_it_is(tmp_path: Path) -> None:
    (directory(tmp_path) / "a.csv").mkdir()
    os.mkfifo(tmp_path / "b.csv")
    (tmp_path / "model.conf").unlink()
    (tmp_path / "model.conf").mkdir()
    assert [
        "a.csv: it is a directory and no file; put a file in its place, or call it otherwise",
        "b.csv: it is a pipe or a device and no file; put a file in its place, or call it otherwise",
        "model.conf: it is a directory and no file; put a file in its place, or call it otherwise",
    ] == [str(one) for one in files.check(tmp_path)]


def test_a_file_name_that_is_no_text_is_reported(tmp_path: Path) -> None:
    (directory(tmp_path) / "a\udce9.csv").write_text(GOOD)
    assert ["'a\\udce9.csv'"] == [finding.file for finding in files.check(tmp_path)]


@pytest.mark.parametrize("name", ["gone", "file"])
def test_a_directory_that_cannot_be_listed_is_one_finding(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    found = files.check(tmp_path / name)
    assert [str(tmp_path / name)] == [finding.file for finding in found]
    assert "a directory with model.conf" in found[0].cure


def test_row_40_a_listing_that_fails_is_never_an_empty_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """authz d, row 40: half a policy is none; its denies would be missing."""

    def refused(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refused)
    assert ["it cannot be read as a directory: Permission denied"] == [f.cause for f in files.check(directory(tmp_path))]


def test_editors_and_mounted_volumes_may_keep_hidden_files_there(tmp_path: Path) -> None:
    directory(tmp_path, {".#a.csv": "nonsense", "._a.csv": b"\xff\xfe", "a.csv~": "nonsense", "README.md": "# notes"})
    assert [] == files.check(tmp_path)


def test_all_findings_come_at_once_in_one_problem(tmp_path: Path) -> None:
    directory(
        tmp_path,
        {
            "model.conf": MODEL_TEXT.replace("role_definition", "roles"),
            "a.csv": "\ufeff# notes\nx, y\np, alice, veiw, sevrers, A, alow\n",
            "b.csv": f"{GOOD}\n{GOOD}\ng2, auditor, edti\np, User:bob, auditor, servers, *, allow\n{GOOD} # mine\n",
        },
    )
    with pytest.raises(InvalidPolicy) as refusal:
        files.read(tmp_path)
    where = [error.field for error in refusal.value.errors]
    expected = ["a.csv:1", "a.csv:2", *["a.csv:3"] * 4, "b.csv:2", "b.csv:3", "b.csv:5", "model.conf:17"]
    assert expected == where
    assert refusal.value.detail.startswith(f"{len(expected)} finding(s) in ")
    assert all(error.message in refusal.value.detail for error in refusal.value.errors)


def test_every_wrong_field_of_a_line_is_reported(tmp_path: Path) -> None:
    found = findings_of(tmp_path, "p, alice, veiw, servers, A, alow")
    parts = ["is not a subject", "unknown role", "cannot be a server name", "unknown effect"]
    assert parts == [next(part for part in parts if part in cause) for _, cause, _ in found]


def test_a_role_whose_own_line_is_faulty_is_not_reported_again_where_it_is_used(tmp_path: Path) -> None:
    directory(tmp_path, {"a.csv": "g2, auditor, veiw\np, User:a, auditor, servers, *, allow"})
    assert [1] == [finding.line for finding in files.check(tmp_path)]


def test_what_an_unreadable_file_may_define_is_not_reported_where_it_is_used(tmp_path: Path) -> None:
    directory(tmp_path, {"roles.csv": ROLES_TEXT.encode("utf-16"), "a.csv": GOOD})
    assert ["roles.csv"] == [finding.file for finding in files.check(tmp_path)]


def test_a_file_may_use_a_role_that_a_later_one_defines(tmp_path: Path) -> None:
    directory(tmp_path, {"a.csv": "p, User:a, auditor, servers, *, allow", "z.csv": "g2, auditor, view"})
    assert ("view",) == files.read(tmp_path).roles.actions("auditor")


def test_an_allow_and_a_deny_of_the_same_are_two_lines(tmp_path: Path) -> None:
    assert [] == files.check(directory(tmp_path, {"a.csv": f"{GOOD}\n{GOOD.replace('allow', 'deny')}"}))


def test_what_is_read_is_what_is_in_force_line_by_line(tmp_path: Path) -> None:
    text = f"# notes\r\n{GOOD}\r\n\r\np, Group:ops, run, server, time, deny\r\ng, User:alice, Group:ops\r\n"
    read = files.read(directory(tmp_path, {"a.csv": text}))
    assert (
        Rule("User:alice", "view", "servers", "github", "allow", "a.csv:2"),
        Rule("Group:ops", "run", "servers", "time", "deny", "a.csv:4"),
    ) == read.rules
    assert read.rules[:1] == read.rules_of("User:alice")
    assert ("Group:ops",) == read.groups_of("User:alice")
    assert ("a.csv:4", "a.csv:5") == read.naming("Group:ops")
    assert ("a.csv:2", "a.csv:5") == read.naming("User:alice")
    assert () == read.naming("User:nobody")


def test_the_digest_changes_with_every_byte_and_with_nothing_else(tmp_path: Path) -> None:
    first = files.read(directory(tmp_path, {"a.csv": GOOD})).digest
    assert first == files.read(tmp_path).digest
    (tmp_path / "notes.txt").write_text("not policy")
    assert first == files.read(tmp_path).digest
    (tmp_path / "a.csv").write_text(GOOD + "\n")
    second = files.read(tmp_path).digest
    (tmp_path / "a.csv").rename(tmp_path / "b.csv")
    third = files.read(tmp_path).digest
    (tmp_path / "model.conf").write_text(MODEL_TEXT + "\n")
    assert 4 == len({first, second, third, files.read(tmp_path).digest})


def test_the_shipped_files_are_a_good_policy_with_two_lines() -> None:
    assert [] == files.check(POLICIES)
    assert [
        "p, Group:admins, admin, *, *, allow",
        "p, Group:gateways, gateway, operations, *, allow",
    ] == [str(rule) for rule in SHIPPED.rules]


@pytest.mark.parametrize(
    ("role", "actions"),
    {
        "view": "view",
        "create": "create",
        "edit": "create delete edit expose view",
        "delete": "delete",
        "run": "run view",
        "expose": "expose view",
        "admin": "admin",
        "logs": "logs",
        "nobody-defined-it": "",
    }.items(),
)
def test_the_shipped_roles_contain_what_the_vocabulary_says(role: str, actions: str) -> None:
    """authz d, row 5: one table for enforcing, for the ceiling and for display."""
    assert tuple(actions.split()) == SHIPPED.roles.actions(role)


def test_an_empty_policy_allows_nobody_anything(tmp_path: Path) -> None:
    empty = files.read(directory(tmp_path, {"roles.csv": None}))
    assert () == empty.rules
    nobody = person(known=empty.roles, model=empty.model)
    assert [] == [a for a in (*ACTIONS, *OPERATIONS, "admin", "") for r in (*RESOURCES, "*", "") if decide(nobody, a, r, "*")]


# --- made up

SUBJECTS = st.sampled_from(["User:alice", "User:bob@example.org", "Group:ops", f"McpToken:{SHA}"])
BLANKS = st.text(alphabet=" \t", max_size=2)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good policy directory, whose ``a.csv`` each made-up example overwrites."""
    return directory(tmp_path_factory.mktemp("policy"))


@given(rows=st.lists(st.tuples(SUBJECTS, valid_bindings(), BLANKS), unique_by=lambda row: (row[0], row[1]), max_size=8))
def test_row_26_what_is_written_as_a_line_reads_the_same(here: Path, rows: list[tuple[str, Binding, str]]) -> None:
    """authz d, row 26: a stored line means the same after the next load."""
    expected = tuple(
        Rule(subject, b.role, b.resource, b.name, b.effect, f"a.csv:{number}")
        for number, (subject, b, _) in enumerate(rows, start=1)
    )
    lines = [str(rule).replace(",", f"{blank},{blank}") for rule, (_, _, blank) in zip(expected, rows, strict=True)]
    (here / "a.csv").write_text("\n".join(lines))
    read = files.read(here).rules
    assert expected == read
    (here / "a.csv").write_text("\n".join(map(str, read)))
    assert expected == files.read(here).rules


@given(text=st.text() | st.text(alphabet="pg2, \t\n\r#:*\"'User:alicevwsroallow\0\u2028").map(lambda text: f"p, {text}"))
def test_any_text_is_a_policy_or_findings(here: Path, text: str) -> None:
    (here / "a.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    found = files.check(here)
    assert all(finding.cause and finding.cure for finding in found)
    reported = 0
    try:
        files.read(here)
    except InvalidPolicy as refusal:
        reported = len(refusal.errors) or -1
    assert reported == len(found)
