"""What answers look like: ages, tables, documents, references."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ruamel.yaml import YAML

from mcpctl.cli.ages import ago, in_words, until
from mcpctl.cli.cells import CELLS
from mcpctl.cli.resources import KINDS, kind_called, targets
from mcpctl.cli.tables import plain_lines, wrapped_lines
from mcpctl.cli.terminal import printable
from mcpctl.errors import InvalidInput, NotFound
from tests.cli.conftest import Mcpctl
from tests.cli.recording import Recording

SECOND, MINUTE, HOUR, DAY, YEAR = 1, 60, 3600, 86_400, 365 * 86_400

LENGTHS = (
    (0, "0s"),
    (-5, "0s"),
    (SECOND, "1s"),
    (70 * SECOND, "70s"),
    (2 * MINUTE, "2m"),
    (4 * MINUTE + 50, "4m50s"),
    (10 * MINUTE, "10m"),
    (179 * MINUTE, "179m"),
    (3 * HOUR, "3h"),
    (3 * HOUR + 25 * MINUTE, "3h25m"),
    (8 * HOUR, "8h"),
    (47 * HOUR, "47h"),
    (2 * DAY, "2d"),
    (2 * DAY + 2 * HOUR, "2d2h"),
    (8 * DAY + 2 * HOUR, "8d"),
    (500 * DAY, "500d"),
    (2 * YEAR, "2y"),
    (2 * YEAR + 3 * DAY, "2y3d"),
    (8 * YEAR, "8y"),
)
"""After kubectl's own table, ``k8s.io/apimachinery/pkg/util/duration``."""

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("seconds", "words"), LENGTHS)
def test_lengths_of_time_read_as_in_kubectl(seconds: int, words: str) -> None:
    assert words == in_words(seconds)


@pytest.mark.parametrize(
    ("text", "past", "future"),
    [
        (None, "-", "never"),
        ("2029-12-29T00:00:00.000Z", "3d", "expired"),
        ("2030-01-31T00:00:00.000Z", "0s", "30d"),
        ("not a time", "-", "-"),
        (7, "-", "-"),
    ],
)
def test_times_read_as_ages_and_as_what_is_left(text: Any, past: str, future: str) -> None:
    assert (past, future) == (ago(text, NOW), until(text, NOW))


def test_what_lives_thirty_days_says_so_right_after_it_was_made() -> None:
    assert "30d" == until((NOW + timedelta(days=30)).isoformat(), NOW + timedelta(milliseconds=400))


def test_columns_are_as_wide_as_their_widest_cell_and_nothing_is_cut_off() -> None:
    long = "x" * 300
    assert ["NAME   WHAT", "a      b", f"{long[:4]}   {long}"] == plain_lines([["NAME", "WHAT"], ["a", "b"], [long[:4], long]])


SERVERS = [
    ["NAME", "TRANSPORT", "ENDPOINT", "PROJECTS", "AGE"],
    ["time", "streamable-http", "http://127.0.0.1:34567/mcp", "demo,lab", "5m"],
    ["notes", "stdio", "python -m mcpctl.demo.notes_server", "demo", "5m"],
]


def _words(lines: list[str]) -> set[str]:
    return set(" ".join(lines).split())


@pytest.mark.parametrize("width", range(45, 140, 5))
def test_a_wrapped_table_is_as_wide_as_the_terminal_at_most_and_loses_nothing(width: int) -> None:
    lines = [line for row in wrapped_lines(SERVERS, width) for line in row]
    assert [] == [line for line in lines if len(line) > width]
    assert sorted("".join("".join(row) for row in SERVERS).replace(" ", "")) == sorted("".join(lines).replace(" ", ""))


def test_a_word_is_broken_only_where_there_is_no_room_and_then_between_its_parts() -> None:
    assert _words(["  ".join(row) for row in SERVERS]) == _words([line for row in wrapped_lines(SERVERS, 80) for line in row])
    broken = _words([line for row in wrapped_lines(SERVERS, 60) for line in row])
    assert {"streamable-http", "TRANSPORT", "ENDPOINT", "PROJECTS", "http://127.0.0.1:", "34567/mcp"} <= broken


def test_a_list_is_broken_between_its_members() -> None:
    rows = [["NAME", "SUBJECTS"], ["a", ",".join(f"User:person-{number}" for number in range(9))]]
    assert ["a      User:person-0,", "       User:person-1,"] == wrapped_lines(rows, 26)[1][:2]


CALL = {
    "id": "A", "at": "2030-01-31T12:00:01.234Z", "subject": "McpToken:0", "user": "admin", "tokenName": "agent",
    "action": "tools/call", "resource": "servers", "name": "github/create_issue", "allowed": False, "outcome": "refused",
    "project": "demo", "tool": "create_issue", "rule": None, "origin": None, "source": "127.0.0.1", "durationMs": 1.0,
}  # fmt: skip
AUDITED = [
    CALL,
    CALL | {"action": "read", "resource": "secrets", "name": "github", "allowed": True, "outcome": "ok"},
    CALL | {"tokenName": None, "action": "create", "resource": "mcptokens", "name": "demo/greedy", "outcome": "ceiling"},
    CALL | {"tokenName": None, "action": "attach", "name": "github", "allowed": True, "outcome": "ok"},
    CALL | {"allowed": True, "outcome": "tool_error"},
]


def test_an_audit_row_says_who_did_what_and_how_it_was_decided(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    recording.say({"items": AUDITED, "nextCursor": None})
    expected = """\
AT                WHO                WHAT                                     DECISION
01-31 12:00:01Z   agent (of admin)   tools/call servers github/create_issue   refused
01-31 12:00:01Z   agent (of admin)   read secrets github                      allowed
01-31 12:00:01Z   admin              create mcptokens demo/greedy             refused: ceiling
01-31 12:00:01Z   admin              attach servers github to demo            allowed
01-31 12:00:01Z   agent (of admin)   tools/call servers github/create_issue   allowed: tool_error
"""
    assert expected == mcpctl.ok("get", "audit")
    wide = mcpctl.ok("get", "audit", "-o", "wide").splitlines()
    assert ["AT", "WHO", "ACTION", "RESOURCE", "NAME", "DECISION", "PROJECT"] == wide[0].split()[:7]
    assert wide[4].startswith("2030-01-31T12:00:01.234Z   admin")
    assert "demo" == wide[4][wide[0].index("PROJECT") :].split()[0]


def test_the_audit_on_80_columns_takes_two_lines_a_row_and_breaks_no_word() -> None:
    kind = kind_called("audit")
    rows = [[one.title for one in kind.columns(wide=False)]]
    rows += [[one.cell(item) for one in kind.columns(wide=False)] for item in AUDITED]
    wrapped = wrapped_lines(rows, 80)
    assert [] == [row for row in wrapped if len(row) > 2 or any(len(line) > 80 for line in row)]
    assert _words(["  ".join(row) for row in rows]) == _words([line for row in wrapped for line in row])


def test_what_is_described_ends_with_its_times_and_ids_each_once_and_every_time_in_utc(
    mcpctl: Mcpctl, recording: Recording
) -> None:
    mcpctl.use(recording.address)
    time = "2020-11-26T02:54:25.123Z"
    recording.say({"id": "I", "name": "x", "createdAt": time, "updatedAt": time, "members": ["User:alice"]})
    for kind in ("server", "project", "group", "secret"):
        said = mcpctl.ok("describe", kind, "x").splitlines()
        labels = [line.partition(":")[0] for line in said if not line.startswith(" ")]
        assert ["Created", *([] if kind == "group" else ["Updated"]), "ID"] == labels[labels.index("Created") :]
        assert sorted(set(labels)) == sorted(labels)
        assert 1 == sum("User:alice" in line for line in said) or kind != "group"
        assert " 2020-11-26T02:54:25Z (" in next(line for line in said if line.startswith("Created"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcode", "plain ünïcode"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202eevil", "\\u202eevil"),
        ("\x00", "\\x00"),
    ],
)
def test_nothing_a_server_sends_steers_the_terminal(text: str, shown: str) -> None:
    assert shown == printable(text)


USERS = [
    {
        "id": "01J0000000000000000000000A",
        "name": "alice",
        "service": False,
        "disabled": False,
        "groups": ["Group:ops", "Group:dev"],
        "createdAt": "2020-01-01T00:00:00Z",
    },
    {
        "id": "01J0000000000000000000000B",
        "name": "bot\x1b[2J",
        "service": True,
        "disabled": True,
        "groups": [],
        "createdAt": "2020-01-01T00:00:00Z",
    },
]


@pytest.fixture
def with_users(mcpctl: Mcpctl, recording: Recording) -> Mcpctl:
    mcpctl.use(recording.address)
    recording.say({"items": USERS, "nextCursor": None})
    return mcpctl


def test_a_table_in_a_pipe_is_plain_and_aligned(with_users: Mcpctl) -> None:
    head, alice, bot = with_users.ok("get", "users").splitlines()
    assert ["NAME", "STATUS", "SERVICE", "GROUPS", "AGE"] == head.split()
    assert ["alice", "enabled", "no", "Group:ops,Group:dev"] == alice.split()[:4]
    assert ["bot\\x1b[2J", "disabled", "yes", "-"] == bot.split()[:4]
    assert head.index("STATUS") == alice.index("enabled") == bot.index("disabled")


def test_titles_can_be_left_out(with_users: Mcpctl) -> None:
    assert "NAME" not in with_users.ok("get", "users", "--no-headers")


def test_wide_shows_more_columns(with_users: Mcpctl) -> None:
    assert "01J0000000000000000000000A" in with_users.ok("get", "users", "-o", "wide")


def test_json_and_yaml_hold_the_answer_as_it_came_and_its_kind(with_users: Mcpctl) -> None:
    listed = {"kind": "list", "items": [{"kind": "user"} | user for user in USERS]}
    assert listed == json.loads(with_users.ok("get", "users", "-o", "json"))
    assert listed == YAML(typ="safe", pure=True).load(with_users.ok("get", "users", "-o", "yaml"))


def test_one_thing_is_printed_as_itself_and_not_as_a_list(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    recording.say(USERS[0])
    assert {"kind": "user"} | USERS[0] == json.loads(mcpctl.ok("get", "user", "alice", "-o", "json"))


def test_names_are_references_every_command_takes_back(with_users: Mcpctl, recording: Recording) -> None:
    assert "user/alice" == with_users.ok("get", "users", "-o", "name").splitlines()[0]
    recording.say(USERS[0])
    with_users.ok("get", "user/alice")
    assert ["/api/v1/users/alice"] == [asked.path for asked in recording.asked]


def test_an_empty_list_says_so_beside_the_output(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    recording.say({"items": [], "nextCursor": None})
    ran = mcpctl("get", "rbac")
    assert (0, "", "No RBAC definitions found that you may view.\n") == (ran.code, ran.out, ran.err)
    assert {"kind": "list", "items": []} == json.loads(mcpctl.ok("get", "rbac", "-o", "json"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["users"], [("users", None)]),
        (["USER"], [("users", None)]),
        (["users,groups"], [("users", None), ("groups", None)]),
        (["user", "a", "b"], [("users", "a"), ("users", "b")]),
        (["user/a", "server/b"], [("users", "a"), ("servers", "b")]),
        (["token/demo/ci"], [("mcptokens", "demo/ci")]),
        (["mcptokens", "demo/ci", "x"], [("mcptokens", "demo/ci"), ("mcptokens", "x")]),
        (["instance/time/gw"], [("instances", "time/gw")]),
    ],
)
def test_arguments_name(words: list[str], expected: list[tuple[str, str | None]]) -> None:
    assert expected == [(kind.plural, name) for kind, name in targets(words)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["usres"], "did you mean 'users'?"),
        (["zzz"], "it is one of users, groups"),
        (["users,groups", "a"], "names go with one kind"),
        (["user/a", "b"], "'b' has no kind"),
        (["user/"], "has no kind"),
    ],
)
def test_arguments_that_name_nothing_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        list(targets(words))
    assert said in refused.value.detail


def test_no_word_means_two_kinds() -> None:
    words = [word for kind in KINDS for word in {kind.plural, kind.singular, *kind.aliases}]
    assert sorted(set(words)) == sorted(words)
    assert [kind.plural for kind in KINDS] == [kind_called(kind.singular).plural for kind in KINDS]


LOG = {
    "items": [
        {"number": 1, "at": "2030-01-01T00:00:00.000Z", "stream": "gateway", "text": "started"},
        {"number": 2, "at": "2030-01-01T00:00:01.000Z", "stream": "stderr", "text": "evil\x1b[2J"},
    ]
}


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        ([], "[started]\nevil\\x1b[2J\n"),
        (["--timestamps"], "2030-01-01T00:00:00.000Z [started]\n2030-01-01T00:00:01.000Z evil\\x1b[2J\n"),
    ],
)
def test_a_log_is_shown_line_by_line_and_what_the_gateway_says_in_brackets(
    mcpctl: Mcpctl, recording: Recording, flags: list[str], shown: str
) -> None:
    mcpctl.use(recording.address)
    recording.say(LOG)
    assert shown == mcpctl.ok("logs", "time/gw", *flags)
    assert json.loads(mcpctl.ok("logs", "time/gw", "-o", "json")) == LOG


def test_a_log_that_is_followed_asks_for_what_comes_after_the_last_line(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    mcpctl.patch.setattr("mcpctl.cli.logs.EVERY", 0.0)
    later = {"items": [{"number": 7, "at": "2030-01-01T00:00:02.000Z", "stream": "stderr", "text": "more"}]}
    recording.say(LOG, {"items": []}, later, NotFound("there is no instance time/gw"))
    ran = mcpctl("logs", "time/gw", "-f")
    assert "[started]\nevil\\x1b[2J\nmore\n" == ran.out
    assert [None, "2", "2", "7"] == [asked.query.get("after") for asked in recording.asked]


def test_a_log_is_found_by_the_servers_name_alone_if_only_one_gateway_runs_it(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    on = [{"name": f"time/{gateway}", "server": "time"} for gateway in ("a", "b")]
    for instances, said in (
        (on, "one of time/a, time/b"),
        ([], "no instance of a server 'time'"),
        ([{"name": "other/a", "server": "other"}], "no instance of a server 'time'"),
    ):
        recording.say({"items": instances, "nextCursor": None})
        ran = mcpctl("logs", "time")
        assert ran.code != 0
        assert said in ran.err


DEFINITIONS = [
    {"name": "no-run", "subjects": ["User:alice"], "roleBindings": ["role:run,resource:servers,effect:deny", "action:logs"]},
    {"name": "ops", "subjects": ["User:alice", "Group:ops"], "roleBindings": ["role:run,resource:servers"]},
    {"name": "others", "subjects": ["User:alice2"], "roleBindings": ["role:run,resource:servers"]},
]


def test_what_else_a_deletion_took_is_said_beside_the_output(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    recording.say({"items": DEFINITIONS, "nextCursor": None}, {})
    ran = mcpctl("delete", "user", "alice", "--yes")
    expected = """\
  rbac/no-run went with it; it denied role:run,resource:servers,effect:deny
  rbac/ops stayed, without User:alice
"""
    assert (0, "user/alice deleted\n", expected) == (ran.code, ran.out, ran.err)


def test_of_a_deletion_by_id_the_name_is_looked_up(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    recording.say(USERS[0], {"items": DEFINITIONS, "nextCursor": None}, {})
    assert "rbac/no-run went with it" in mcpctl("delete", "user", str(USERS[0]["id"]), "--yes").err


def test_a_deletion_can_be_read_by_a_program(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    recording.say({"items": DEFINITIONS, "nextCursor": None}, {})
    expected = {"kind": "user", "name": "alice", "deleted": True, "alsoDeleted": ["rbac/no-run"], "changed": ["rbac/ops"]}
    assert expected == json.loads(mcpctl.ok("delete", "user", "alice", "--yes", "-o", "json"))
    recording.say({}, NotFound("no"), NotFound("no"))
    ran = mcpctl("delete", "server", "a", "b", "--yes", "-o", "json")
    assert (6, {"items": [{"kind": "server", "name": "a", "deleted": True}]}) == (ran.code, json.loads(ran.out))
    gone = mcpctl.ok("delete", "server", "b", "--yes", "--ignore-not-found", "-o", "yaml")
    assert {"kind": "server", "name": "b", "deleted": False} == YAML(typ="safe", pure=True).load(gone)
    recording.say({})
    assert "server/a\n" == mcpctl.ok("delete", "server", "a", "--yes", "-o", "name")


def test_a_binding_that_gives_a_token_nothing_is_named_when_it_is_minted(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    dead = "role:view,resource:secrets,name:github"
    minted = {
        "name": "t", "project": "demo", "owner": "User:alice", "expiresAt": None, "bindings": [dead], "token": "mcpctl_pat_x",
        "never": [], "unusable": [dead],
    }  # fmt: skip
    recording.say(minted)
    ran = mcpctl("create", "mcptoken", "t", "-p", "demo", "--bind", dead)
    assert (0, "mcpctl_pat_x\n") == (ran.code, ran.out)
    assert f"warning: {dead} gives it nothing: no token may do that, or it lies outside its project\n" in ran.err
    recording.say(minted | {"unusable": []})
    assert "warning" not in mcpctl("create", "mcptoken", "t", "-p", "demo", "--bind", dead).err


DECISIONS = [
    ({"allowed": True, "outcome": "ok", "details": {}}, "allowed"),
    ({"allowed": True, "outcome": "tool_error", "details": None}, "allowed: tool_error"),
    ({"allowed": False, "outcome": "refused"}, "refused"),
    ({"allowed": True, "outcome": "ok", "details": {"cache": "hit"}}, "allowed, from the cache"),
    ({"allowed": True, "outcome": "ok", "details": {"cache": "page"}}, "allowed, one more page"),
]


@pytest.mark.parametrize(("row", "expected"), DECISIONS, ids=[expected for _, expected in DECISIONS])
def test_an_audit_row_says_what_was_decided_and_whether_the_server_was_asked(row: dict[str, Any], expected: str) -> None:
    assert expected == CELLS["decision"](row, row["outcome"])
