"""``apply``, ``diff`` and ``edit``: what files say, made so on a real control plane."""

# ruff: noqa: E501 - a case is a row
from __future__ import annotations

import io
import json
import re
import sys
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from mcpctl.cli import delete, plain_yaml
from mcpctl.cli import drafts as drafts_of_editors
from mcpctl.cli.documents import APPLIED, READ_ONLY
from mcpctl.cli.output import yaml_text
from mcpctl.client.http import ControlPlane
from mcpctl.errors import PolicyUnavailable
from mcpctl.main import program
from mcpctl.wire import apply as wire
from mcpctl.wire import catalog, people, proxy_models, rbac, secrets
from tests.cli.conftest import Mcpctl, Ran
from tests.cli.recording import Recording
from tests.cli.test_story import login
from tests.serving import ADMIN_PASSWORD, Served
from tests.store.rows import dump

ALL = """\
kind: rbac
name: readers
subjects: [Group:ops]
roleBindings: ["role:view,resource:servers", "role:run,resource:servers,name:time/now,effect:deny"]
---
kind: project
name: demo
servers: [time, docs]
proxyModel: short
---
kind: proxymodel
name: short
stages: [{stage: redact, options: {patterns: [{name: ticket, pattern: 'TICKET-\\d+'}]}}, {stage: truncate}]
cache: {ttlSeconds: 300, tools: [time/get_*]}
---
kind: list
items:
- {kind: server, name: time, transport: stdio, command: uvx, args: [mcp-server-time], env: {TOKEN: {secret: docs, key: bearer}}}
- kind: servers          # the plural, too
  name: docs
  transport: streamable-http
  url: https://docs.example.com/mcp
  healthCheck: {tool: ping, arguments: {deep: true}}
- {kind: secret, name: docs, values: {bearer: hush}}
- {kind: group, name: ops, members: [User:bot]}
---
{"kind": "user", "name": "bot", "service": true}
"""


@pytest.fixture
def admin(mcpctl: Mcpctl, served: Served) -> Mcpctl:
    """``mcpctl`` logged in as admin, on each kind of database."""
    login(mcpctl, served, "admin", ADMIN_PASSWORD)
    return mcpctl


@pytest.fixture
def editor(mcpctl: Mcpctl, tmp_path: Path) -> Any:
    """Say what the editor does, in Python, with ``text`` and the number of the time it was opened; it keeps what it saw."""

    def does(code: str) -> list[str]:
        script = tmp_path / "editor.py"
        script.write_text(
            f"import sys, pathlib\nfile = pathlib.Path(sys.argv[1])\ntext = file.read_text()\nseen = pathlib.Path({str(tmp_path)!r}) / 'seen'\n"
            f"time = len(list(seen.parent.glob('seen*')))\n(seen.parent / f'seen{{time}}').write_text(text)\n{code}\nfile.write_text(text)\n"
        )
        mcpctl.patch.setenv("VISUAL", f"{sys.executable} {script}")
        return [str(tmp_path / f"seen{number}") for number in range(5)]

    return does


def lines(text: str) -> list[str]:
    return text.splitlines()


def test_whatever_get_prints_is_taken_back_and_changes_nothing(admin: Mcpctl, served: Served) -> None:
    made = lines(admin.ok("apply", "-f", "-", stdin=ALL))
    assert ["rbac/readers created", "project/demo created", "proxymodel/short created", "server/time created", "server/docs created", "secret/docs created", "group/ops created", "user/bot created"] == made  # fmt: skip
    before = dump(served.control.database)
    kinds = ",".join(kind.plural for kind in APPLIED)
    for form in ("yaml", "json"):
        everything = admin.ok("get", kinds, "-o", form)
        assert {"unchanged"} == {line.split()[1] for line in lines(admin.ok("apply", "-f", "-", stdin=everything))}
        assert (0, "") == (admin("diff", "-f", "-", stdin=everything).code, admin.ok("diff", "-f", "-", stdin=everything))
        for reference in made:
            one = admin.ok("get", reference.split()[0], "-o", form)
            assert f"{reference.split()[0]} unchanged\n" == admin.ok("apply", "-f", "-", stdin=one)
    assert before == dump(served.control.database)


def test_what_nobody_sets_is_what_the_answers_have_and_the_items_have_not() -> None:
    answers: dict[str, type[BaseModel]] = {"user": people.User, "group": people.Group, "secret": secrets.Secret, "proxymodel": proxy_models.ProxyModel, "server": catalog.Server, "project": catalog.Project, "rbac": rbac.Definition}  # fmt: skip
    items: dict[str, type[BaseModel]] = {"user": wire.UserItem, "group": wire.GroupItem, "secret": wire.SecretItem, "proxymodel": wire.ProxyModelItem, "server": wire.ServerItem, "project": wire.ProjectItem, "rbac": wire.DefinitionItem}  # fmt: skip
    found = {
        kind: {one.alias for one in answers[kind].model_fields.values()}
        - {one.alias for one in items[kind].model_fields.values()}
        for kind in answers
    }
    assert READ_ONLY == found


def test_a_directory_is_one_batch_and_a_dry_run_changes_nothing(admin: Mcpctl, served: Served) -> None:
    place = admin.home / "access"
    place.mkdir()
    (place / "b.yaml").write_text("kind: group\nname: ops\nmembers: [User:bot]\n")
    (place / "a.json").write_text('{"kind": "user", "name": "bot", "service": true}')
    (place / "notes.txt").write_text("not: read")
    before = dump(served.control.database)
    assert ["user/bot created (dry run)", "group/ops created (dry run)"] == lines(
        admin.ok("apply", "-f", str(place), "--dry-run")
    )
    assert before == dump(served.control.database)
    assert "user/bot\ngroup/ops\n" == admin.ok("apply", "-f", str(place), "-o", "name")
    said = json.loads(admin.ok("apply", "-f", str(place), "-o", "json"))
    assert ["unchanged", "unchanged"] == [one["result"] for one in said["items"]]


def test_a_difference_is_shown_line_by_line_and_exits_as_diff_does(admin: Mcpctl, served: Served) -> None:
    admin.ok("apply", "-f", "-", stdin=ALL)
    before = dump(served.control.database)
    changed = "kind: group\nname: ops\nmembers: []\n---\nkind: user\nname: new\nservice: true\n---\nkind: secret\nname: docs\nvalues: {bearer: other}\n"
    ran = admin("diff", "-f", "-", stdin=changed)
    assert 1 == ran.code
    assert ["--- a/group/ops", "+++ b/group/ops", "@@ -1,4 +1,3 @@", " kind: group", " name: ops", "-members:", "-- User:bot", "+members: []"] == lines(ran.out)[:8]  # fmt: skip
    assert ["--- /dev/null", "+++ b/user/new"] == lines(ran.out)[8:10]
    assert ["--- a/secret/docs", "+++ b/secret/docs", "# values.bearer is set"] == lines(ran.out)[-3:]
    assert "other" not in ran.out
    assert before == dump(served.control.database)


def test_a_refusal_lists_all_that_is_missing_and_nothing_is_done(admin: Mcpctl, served: Served) -> None:
    served.user("alice", "role:edit,resource:groups")
    login(admin, served, "alice", "a long password")
    before = dump(served.control.database, without=frozenset({"audit"}))
    ran = admin(
        "apply",
        "-f",
        "-",
        stdin="kind: group\nname: ops\n---\n{kind: user, name: bot, service: true}\n---\n{kind: project, name: p}\n",
    )
    assert 5 == ran.code
    assert ["    create users bot", "    create projects p"] == lines(ran.err)[-2:]
    assert before == dump(served.control.database, without=frozenset({"audit"}))


WRONG = [
    ("kind: user\n", "x.yaml, document 1, line 1: it has no name"),
    ("name: x\n", "document 1, line 1: it has no kind; that is one of user, group"),
    ("kind: usr\nname: x\n", "'usr' is not a kind of thing here; did you mean 'user'?"),
    ("kind: session\nname: x\n", "line 1: session is nothing that can be applied; that is user, group, secret, proxymodel, server, project, rbac"),
    ("kind: instances\nname: x\n", "line 1: instances is nothing that can be applied"),
    ("kind: list\nitems:\n" + "- {kind: audit, id: x}\n" * 57, "line 3: audit is nothing that can be applied; that is user, group, secret, proxymodel, server, project, rbac (and 56 more like it)\n"),
    ("kind: server\nname: x\ncommand: uvx\n", "line 1: a server has a transport: stdio, with a command, or streamable-http, with a url"),
    ("kind: mcptoken\nname: x\n", "a token cannot be applied: its secret is shown once"),
    ("kind: group\nname: a\n---\nkind: group\nname: b\nname: c\n", "document 2, line 6: it is not YAML: found duplicate key \"name\""),
    ("kind: group\nname: a\n---\nkind: [group\n", "document 2, line"),
    ("a\n", "it must be an object with a kind and a name"),
    ("kind: group\nname: 2026-01-01\n", "name: 2026-01-01 is a date: put it in quotes"),
    ("kind: group\nname: x\n1: 2\n", "a member that is not text: put 1 in quotes"),
    ("kind: list\nitems:\n- {kind: group, name: x}\n- {kind: group}\n", "document 1, line 4: it has no name"),
    ("!!python/object/apply:os.system [id]\n", "document 1, line 1: the tag tag:yaml.org,2002:python/object/apply:os.system is not read"),
    ("kind: group\nname: x\n---\n&a {kind: group, name: x, members: *a}\n", "document 2, line 4: the anchor &a is not read"),
    ("kind: group\nname: x\nmembers: *gone\n", "document 1, line 3: the alias *gone is not read: write out what it stands for"),
    ("kind: list\n<<: {items: [{kind: group, name: x}]}\n", "document 1, line 2: the merge key << is not read"),
    ("kind: group\nname: x\nmembers: " + "[" * 20_000, "document 1, line 3: it is nested more than 100 deep"),
    ("kind: server\nname: x\n" + "".join(f"{' ' * n}a:\n" for n in range(200)), "it is nested more than 100 deep"),
    (f"kind: group\nname: x\nnumber: 0x{'f' * 5000}\n", "document 1, line 1: number: it is a number of more than 1024 bits: put it in quotes"),
    (f"kind: group\nname: x\nnumber: {'9' * 5000}\n", "document 1: it cannot be read: Exceeds the limit"),
    ("kind: group\nname: {[[1]]: 2}\n", "document 1: it cannot be read: "),
    ('kind: group\nname: "\\UFFFFFFFF"\n', "document 1: it cannot be read: "),
    ('kind: group\nname: "\\uD800"\n', "document 1, line 1: name: it holds half of a character"),
    ("", "there is nothing in"),
    ("kind: group\nname: ok\n---\n\nkind: group\nname: Not\nmembers: [x]\n", "x.yaml, document 2, line 5: group/Not: name: "),
    ("kind: group\nname: ok\nmembres: []\n", "x.yaml, document 1, line 1: group/ok: membres: unknown member; did you mean 'members'?"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says"), WRONG, ids=range(len(WRONG)))
def test_what_cannot_be_read_is_named_with_file_document_and_line(text: str, says: str, admin: Mcpctl) -> None:
    ran = admin("apply", "-f", admin.file("x.yaml", text))
    assert (2, "") == (ran.code, ran.out)
    assert says in ran.err


HOSTILE = {
    "few aliases for many values": "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)),
    "an alias of itself": "a: &a {members: *a}\n",
    "merge keys within each other": "a0: &m0 {x: 1}\n" + "".join(f"a{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}\n" for n in range(1, 12)),
}  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("command", ["apply", "diff"])
def test_what_grows_when_it_is_read_is_refused_where_it_stands(command: str, text: str, mcpctl: Mcpctl) -> None:
    ran = mcpctl(command, "-f", "-", stdin="kind: group\nname: x\n" + text)
    assert (2, "") == (ran.code, ran.out)
    assert "standard input, document 1, line 3: the anchor &" in ran.err


@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("<&*!|>-#:=~%@`'\"ab0x1_., \n\t\u2028é"), lambda inner: st.lists(inner) | st.dictionaries(st.text("<&*!a0x ~=", min_size=1), inner)))  # fmt: skip
def test_whatever_is_printed_as_yaml_is_plain_and_is_read_back(value: Any) -> None:
    body = {"kind": "server", "name": "x", "healthCheck": value}
    assert [body] == [*plain_yaml.values(yaml_text(body))]


def test_pruning_shows_what_goes_and_asks(admin: Mcpctl, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    admin.ok(
        "apply",
        "-f",
        "-",
        stdin=ALL + "---\n{kind: rbac, name: old, subjects: [Group:ops], roleBindings: ['role:view,resource:servers']}\n",
    )
    kept = admin.file("kept.yaml", admin.ok("get", "rbac", "readers", "-o", "yaml"))
    ran = admin("apply", "-f", kept, "--prune", "rbac")
    assert (2, True) == (ran.code, "there is no terminal to ask on" in ran.err)
    monkeypatch.setattr(delete, "can_ask", lambda: True)
    for said, code in (("n\n", 1), ("y\n", 0)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(said))
        assert code == program(["apply", "-f", kept, "--prune", "rbac"])
        assert (404 if code == 0 else 200) == served.admin.get("/rbac/old").status_code
    assert ["group/ops changed (dry run)"] == lines(
        admin.ok("apply", "-f", "-", "--dry-run", "--prune", "groups", stdin="{kind: group, name: ops, members: []}")
    )
    assert ["group/ops changed"] == lines(
        admin.ok("apply", "-f", "-", "--yes", "--prune", "groups", stdin="{kind: group, name: ops, members: []}")
    )


def test_what_cannot_be_pruned_is_said_by_its_flag(admin: Mcpctl) -> None:
    admin.ok("apply", "-f", "-", stdin=ALL)
    ran = admin("apply", "-f", "-", "--yes", "--prune", "group,user", "--prune", "projects", stdin="{kind: group, name: ops}")
    assert 2 == ran.code
    assert [
        "  --prune user: there is no user among the items, so pruning would delete every one",
        "  --prune project: there is no project among the items, so pruning would delete every one",
    ] == lines(ran.err)[1:]


def test_what_is_saved_in_the_editor_is_applied(admin: Mcpctl, served: Served, editor: Any) -> None:
    admin.ok("apply", "-f", "-", stdin=ALL + "---\n{kind: user, name: cat, service: true}\n")
    seen = editor("text = text.replace('toolNames: prefixed', 'toolNames: plain').replace('- time\\n', '')")
    assert "project/demo changed\n" == admin.ok("edit", "project", "demo")
    assert (
        "kind: project\nname: demo\nservers:\n- time\n- docs\nproxyModel: short\ntoolNames: prefixed\n"
        == Path(seen[0]).read_text()
    )
    assert (["docs"], "plain") == (
        served.admin.get("/projects/demo").json()["servers"],
        served.admin.get("/projects/demo").json()["toolNames"],
    )
    for kind, name, old, new in [
        ("user", "bot", "disabled: false", "disabled: true"),
        ("group", "ops", "- User:bot", "- User:cat"),
        ("server", "docs", "docs.example", "more.example"),
        ("rbac", "readers", "view,", "run,"),
        ("proxymodel", "short", "ttlSeconds: 300", "ttlSeconds: 60"),
        ("project", "demo", "proxyModel: short", "proxyModel:"),
    ]:
        editor(f"text = text.replace({old!r}, {new!r})")
        assert f"{kind}/{name} changed\n" == admin.ok("edit", kind, name)
        assert new in admin.ok("get", kind, name, "-o", "yaml")


def test_what_is_not_changed_is_not_sent(admin: Mcpctl, served: Served, editor: Any) -> None:
    before = dump(served.control.database)
    editor("text = '# a remark\\n' + text")
    assert "group/admins unchanged\n" == admin.ok("edit", "group", "admins")
    assert before == dump(served.control.database)


def test_an_edit_that_cannot_be_applied_opens_again_with_the_reason(admin: Mcpctl, served: Served, editor: Any) -> None:
    admin.ok("apply", "-f", "-", stdin=ALL + "---\n{kind: user, name: cat, service: true}\n")
    seen = editor("text = text.replace('User:bot', 'User:nobody') if time == 0 else text.replace('User:nobody', 'User:cat')")
    assert "group/ops changed\n" == admin.ok("edit", "group", "ops")
    second = Path(seen[1]).read_text()
    assert second.startswith("# The request is not valid\n")
    assert "there is no User:nobody" in second
    assert "- User:nobody\n" in second
    Path(seen[0]).unlink()
    Path(seen[1]).unlink()
    editor("text = text.replace('name: ops', 'name: others')")
    ran = admin("edit", "group", "ops")
    assert (2, True) == (ran.code, "it must be group/ops, and only that: nothing is renamed" in ran.err)
    assert 404 == served.admin.get("/groups/others").status_code


def put_members(served: Served, members: list[str]) -> str:
    """What an editor runs so that somebody else says who is in the group ops, just then."""
    return f"""
import json, urllib.request
body = json.dumps({{"members": {members!r}}}).encode()
headers = {{"Authorization": "Bearer {served.admin.bearer}", "Content-Type": "application/json"}}
urllib.request.urlopen(urllib.request.Request("{served.address}/api/v1/groups/ops", body, headers, method="PUT")).close()
"""


def kept(ran: Ran) -> Path:
    """The file that is said to hold what was written."""
    (path,) = re.findall(r"^What you wrote is in (\S+); 'mcpctl apply -f' takes it\.$", ran.err, re.MULTILINE)
    return Path(path)


@pytest.fixture(autouse=True)
def drafts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files of editors go, so that whatever is left there is seen."""
    place = tmp_path / "drafts"
    place.mkdir()
    monkeypatch.setattr(drafts_of_editors, "mkdtemp", partial(mkdtemp, dir=place))
    return place


def test_what_somebody_else_changed_meanwhile_is_not_undone_unseen(admin: Mcpctl, served: Served, editor: Any) -> None:
    admin.ok("apply", "-f", "-", stdin=ALL + "---\n{kind: user, name: cat, service: true}\n")
    change = put_members(served, ["User:cat"]).replace("\n", "\n    ")
    seen = editor(f"if time == 0:{change}\n    text = text.replace('- User:bot', '[]').replace('members:\\n', 'members: ')")
    ran = admin("edit", "group", "ops")
    assert (7, True) == (ran.code, "somebody changed it meanwhile" in ran.err)
    assert "# " in Path(seen[1]).read_text()
    assert "- User:cat" in Path(seen[1]).read_text()
    assert ["User:cat"] == served.admin.get("/groups/ops").json()["members"]
    assert "members: []" in kept(ran).read_text()


def test_what_somebody_else_changes_at_the_last_moment_is_not_undone(
    admin: Mcpctl, served: Served, editor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last look at it and the writing: whatever was looked at, the revision is what counts."""
    admin.ok("apply", "-f", "-", stdin=ALL + "---\n{kind: user, name: cat, service: true}\n")
    sent = []

    def post(plane: ControlPlane, path: str, body: Any = None, query: Any = None) -> Any:
        sent.append(body)
        if not body.get("dryRun") and len([one for one in sent if not one.get("dryRun")]) == 1:
            assert 200 == served.admin.put("/groups/ops", {"members": ["User:cat"]}).status_code
        return asked(plane, path, body, query)

    asked = ControlPlane.post
    monkeypatch.setattr(ControlPlane, "post", post)
    editor("text = text.replace('- User:bot', '[]').replace('members:\\n', 'members: ')")
    ran = admin("edit", "group", "ops")
    assert (7, True) == (ran.code, "somebody changed it meanwhile" in ran.err)
    assert ["User:cat"] == served.admin.get("/groups/ops").json()["members"]
    assert "members: []" in kept(ran).read_text()


def test_what_changes_elsewhere_at_the_last_moment_is_in_the_way_of_nothing(
    admin: Mcpctl, served: Served, editor: Any, monkeypatch: pytest.MonkeyPatch, drafts: Path
) -> None:
    admin.ok("apply", "-f", "-", stdin=ALL)
    sent = []

    def post(plane: ControlPlane, path: str, body: Any = None, query: Any = None) -> Any:
        sent.append(body)
        if len(sent) == 2:
            assert 201 == served.admin.post("/groups", {"name": "other"}).status_code
        return asked(plane, path, body, query)

    asked = ControlPlane.post
    monkeypatch.setattr(ControlPlane, "post", post)
    editor("text = text.replace('- User:bot', '[]').replace('members:\\n', 'members: ')")
    assert "group/ops changed\n" == admin.ok("edit", "group", "ops")
    assert [True, None, True, None] == [one.get("dryRun") for one in sent]
    assert [] == list(drafts.iterdir())


def test_what_is_deleted_meanwhile_is_not_made_anew(admin: Mcpctl, served: Served, editor: Any) -> None:
    admin.ok("apply", "-f", "-", stdin=ALL)
    gone = put_members(served, []).replace('/groups/ops", body', '/rbac/readers", None').replace("PUT", "DELETE")
    editor(gone + "text = text.replace('view,', 'run,')")
    ran = admin("edit", "rbac", "readers")
    assert (6, True) == (ran.code, "rbac/readers is gone: somebody deleted it meanwhile" in ran.err)
    assert 404 == served.admin.get("/rbac/readers").status_code
    assert "role:run," in kept(ran).read_text()


CLEARED = ["text = ''", "text = '# all of it a remark\\n'", "file.unlink(); sys.exit()", "text = ' \\n\\n'"]


@pytest.mark.parametrize("does", CLEARED)
def test_saving_nothing_changes_nothing(does: str, admin: Mcpctl, served: Served, editor: Any, drafts: Path) -> None:
    before = dump(served.control.database)
    editor(does)
    ran = admin("edit", "group", "admins")
    assert (0, "group/admins unchanged\n", "") == (ran.code, ran.out, ran.err)
    assert before == dump(served.control.database)
    assert [] == list(drafts.iterdir())


LOST = {
    "not UTF-8": ("file.write_bytes(b'kind: group # caf\\xe9'); sys.exit()", 2, "what you saved is not UTF-8 text", b"caf\xe9"),
    "the editor fails": ("file.write_text(text + '# caf'); file.write_text(text + 'x: 1'); sys.exit(3)", 1, "Editing failed", b"x: 1"),
    "not applied, and given up": ("text = text.replace('name: admins', 'name: others')", 2, "nothing is renamed", b"name: others"),
    "not applied, and then removed": ("if time: file.unlink(); sys.exit()\ntext = text.replace('name: admins', 'name: others')", 2, "nothing is renamed", b"name: others"),
}  # fmt: skip


@pytest.mark.parametrize(("does", "code", "says", "holds"), LOST.values(), ids=LOST)
def test_what_was_written_is_not_lost_with_what_went_wrong(
    does: str, code: int, says: str, holds: bytes, admin: Mcpctl, editor: Any, drafts: Path
) -> None:
    editor(does)
    ran = admin("edit", "group", "admins")
    assert (code, True) == (ran.code, says in ran.err)
    assert holds in kept(ran).read_bytes()
    assert [kept(ran).parent] == list(drafts.iterdir())
    assert 0o700 == kept(ran).parent.stat().st_mode & 0o777


def test_what_was_written_is_not_lost_when_the_control_plane_is_away(mcpctl: Mcpctl, recording: Recording, editor: Any) -> None:
    mcpctl.use(recording.address)
    recording.say({"name": "ops", "members": []}, PolicyUnavailable("not now"))
    editor("text = text.replace('[]', '[User:bot]')")
    ran = mcpctl("edit", "group", "ops")
    assert (4, True) == (ran.code, "members: [User:bot]" in kept(ran).read_text())
