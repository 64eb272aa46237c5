"""What somebody reads when something is wrong, and the exit code a script sees."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mcpctl import errors
from mcpctl.errors import CeilingExceeded, FieldError, InvalidInput, Problem
from tests.cli.conftest import Mcpctl
from tests.cli.recording import Recording
from tests.cli.test_requests import ULID

USAGE = (
    ("edit mcptoken x", "'mcpctl edit mcptoken' does not exist: it is one of group, project"),
    ("create instance x", "'mcpctl create instance' does not exist: it is one of group, mcptoken"),
    ("gte users", "No such command 'gte'. Did you mean 'get'?"),
    ("create rbca x", "Did you mean 'rbac'?"),
    ("get users --no-header", "Did you mean '--no-headers'?"),
    ("get users -o jsn", "'jsn' is not one of table, wide, json, yaml, name; did you mean 'json'?"),
    ("get usres", "did you mean 'users'?"),
    ("get", "Missing argument"),
    ("describe sessions x", "it is one of users"),
    ("describe user", "which user?"),
    ("delete instance x --yes", "is not a kind of thing here"),
    ("delete users --yes", "nothing is deleted without one"),
    ("get users --user alice", "--user: it goes with 'mcpctl get audit' only"),
    ("get users -p demo", "--project: it goes with 'mcptokens' and 'audit' only"),
    ("get mcptokens -p demo -A", "--all-projects: it does not go with --project"),
    ("get session x", "'x' cannot be the id of a session; 'mcpctl get sessions' lists them"),
    (f"get session {ULID}", "sessions are only listed"),
    ("get secretz", "did you mean 'secrets'?"),
    ("get server secret/github", "'secret/github' cannot be a server name"),
    ("get secret ../users", "'../users' cannot be a secret name"),
    ("get secret/../users", "'../users' cannot be a secret name"),
    ("describe instance inj", "'inj' cannot be the name of an instance: that is SERVER/GATEWAY"),
    ("delete server gh gh2 secret/github --yes", "'secret/github' cannot be a server name"),
    ("delete server gh gh2 secret/github --yes", "to name several kinds, write KIND/NAME for each"),
    ("delete mcptoken demo/a/b --yes", "'a/b' cannot be a token name"),
    ("disable user alice a/b", "'a/b' cannot be a user name"),
    ("set password a/b", "'a/b' cannot be a user name"),
    ("set rbac x/y --subject User:a", "'x/y' cannot be a name of a definition"),
    ("set project x/y --tool-names plain", "'x/y' cannot be a project name"),
    ("set group x/y --no-members", "'x/y' cannot be a group name"),
    ("set server x/y --stateless", "'x/y' cannot be a server name"),
    ("attach server a --project demo/x", "cannot be a project name"),
    ("attach user a --group x/y", "cannot be a name"),
    ("revoke mcptoken a b/c/d -p demo", "'c/d' cannot be a token name"),
    ("get audit --limit 0", "'--limit': it is 0; it must be at least 1"),
    ("get audit --limit abc", "'--limit': 'abc' is not a whole number"),
    ("logs time --tail 1001", "'--tail': it is 1001; it must be from 1 to 1000"),
    ("create rbac x --subject User:a --roleBindings role:view,resource:servers,effect:dny", "--roleBindings: column"),
    ("create rbac x --subject User:a --roleBindings role:view,resource:servers,effect:dny", "That is not a role binding"),
    ("get audit --decision alowed", "did you mean 'allowed'?"),
    ("create user Alice", "Invalid value for 'NAME': 'Alice' cannot be a user name: a user name is 1 to 126 of"),
    ("create user al/ice", "cannot be a user name"),
    ("create server a__b --url https://x", "without '__'"),
    ("create server mcplocal --url https://x", "not 'mcplocal'"),
    ("create server x", "--url: give --url URL, or a command after '--'"),
    ("create server x --url https://x -- run", "--url: leave it out, or the command after '--'"),
    ("create server x --", "no command follows '--'"),
    ("create server x --url https://x --env A=b", "--env: a server reached over HTTP takes --header"),
    ("create server x --header A=b -- run", "--header: a server reached over stdio takes --env"),
    ("create server x --url https://x --header A", "'A' has no '=': write KEY=VALUE, or KEY=secret:NAME/KEY"),
    ("create server x --url https://x --header A=secret:b", "'secret:b' names no secret: write A=secret:NAME/KEY"),
    ("create server x --url https://x --header A=secret:B/c", "cannot be a secret name"),
    ("create server x run y", "unexpected extra argument"),
    ("create group ops --member alice", "'alice' is not a subject: User:<name>"),
    ("create group ops --member user:alice", "did you mean 'User:alice'?"),
    ("create rbac x --roleBindings role:view,resource:servers", "Missing option '--subject'"),
    ("create rbac x --subject User:a", "Missing option '--roleBindings'"),
    ("create rbac x --subject User:a --roleBindings role:view,resorce:servers", "column 11"),
    ("create rbac x --subject User:a --roleBindings role:view,resorce:servers", "did you mean 'resource'?"),
    ("create rbac x --subject User:a --roleBindings edit:servers", "write 'role:edit,resource:servers'"),
    ("create mcptoken x --rbac clon", "did you mean 'clone'?"),
    ("create mcptoken x", "--project: give -p PROJECT, or keep one: mcpctl config set-context test --project PROJECT"),
    ("create mcptoken x -p Demo", "cannot be a project name"),
    ("create mcptoken x -p demo --bind run:servers", "write 'role:run,resource:servers'"),
    ("create mcptoken x -p demo -o name", "-o token"),
    ("create user x --service --password -", "a service user has no password"),
    ("create user x --password hunter2hunter2", "can be read by others: use --password-file FILE"),
    ("create user x", "--password-file: name a file that holds it, or - for standard input"),
    ("create user x --password-file /nowhere", "--password-file: /nowhere cannot be read: No such file or directory"),
    ("rotate mcptoken ci", "--project: names of tokens are unique within a project: give -p PROJECT, or write PROJECT/ci"),
    ("set group ops", "--member: give it at least once, or --no-members"),
    ("set group ops --no-members --member User:a", "--member: give it at least once, or --no-members"),
    ("set rbac x", "nothing to change"),
    ("set project x", "nothing to change"),
    ("attach user alice", "Missing option '--group'"),
    ("auth can-i ran servers", "ACTION: 'ran' is not an action; did you mean 'run'?"),
    ("auth can-i run severs", "RESOURCE: 'severs' is not a resource; did you mean 'servers'?"),
    ("auth can-i logs servers", "ask about it on the resource 'operations'"),
    ("auth can-i run servers --as alice", "is not a subject"),
    ("delete user alice", "--yes: add it"),
    ("login --server localhost:8470", "did you mean 'http://localhost:8470'?"),
    ("login -u alice --password secret", "can be read by others"),
    ("login --password -", "User name"),
    ("--server mcp.example.com whoami", "did you mean 'https://mcp.example.com'?"),
    ("whoami --context tset", "did you mean 'test'?"),
    ("config set-context A --server https://x", "cannot be a context name"),
    ("completion pwsh", "is not one of bash, zsh, fish"),
    ("help crate", "'create'"),
    ("help whoami x", "has no commands below it"),
)


@pytest.mark.parametrize(("command", "said"), USAGE)
def test_bad_input_is_named_with_its_rule_before_anything_is_sent(
    command: str, said: str, mcpctl: Mcpctl, recording: Recording
) -> None:
    mcpctl.use(recording.address)
    recording.say({})
    if command == "login --password -":
        said = "--username: say who logs in"
        mcpctl.patch.setenv("MCPCTL_CONTEXT", "new")
    ran = mcpctl(*shlex.split(command))
    assert (2, "") == (ran.code, ran.out)
    assert said in ran.err
    assert ran.err.startswith("error: ")
    assert [] == recording.asked
    assert "hunter2" not in ran.err


OLD_BINDINGS = (
    ("edit:servers", "'role:edit,resource:servers'"),
    ("view:servers:github", "'role:view,resource:servers,name:github'"),
    ("run:server", "'role:run,resource:servers'"),
    ("logs:demo", "'action:logs,name:demo'"),
    ("logs", "'action:logs'"),
    ("triage:servers", "'role:triage,resource:servers'"),
    ("edit:*", "'role:edit,resource:*'"),
    ("role:view,resource:servers", "'role:view,resource:servers'"),
    ("nonsense", "BINDING; but column 1 of 'nonsense'"),
)


@pytest.mark.parametrize("command", ["create rbac x --subject User:alice", "create mcptoken x -p demo", "set rbac x"])
@pytest.mark.parametrize(("old", "new"), OLD_BINDINGS)
def test_the_old_binding_flag_prints_the_new_form_of_that_very_binding(
    command: str, old: str, new: str, mcpctl: Mcpctl
) -> None:
    ran = mcpctl(*command.split(), "--binding", old)
    assert (2, "") == (ran.code, ran.out)
    flag = "--bind" if "mcptoken" in command else "--roleBindings"
    assert f"  {flag} {new}" in ran.err


def test_several_old_bindings_are_answered_at_once(mcpctl: Mcpctl) -> None:
    ran = mcpctl("create", "mcptoken", "x", "--binding", "edit:servers", "--binding", "view:projects")
    assert "--bind 'role:edit,resource:servers'\n  --bind 'role:view,resource:projects'\n" in ran.err


EXITS = (
    (Problem("x"), 1),
    (errors.TooManyRequests("x", headers={"Retry-After": "3"}), 1),
    (errors.InvalidName("x"), 2),
    (errors.InvalidCredential("x"), 3),
    (errors.StoreUnavailable("x"), 4),
    (errors.Forbidden("x"), 5),
    (errors.CeilingExceeded("x"), 5),
    (errors.NotFound("x"), 6),
    (errors.Duplicate("x"), 7),
    (errors.LastAdmin("x"), 7),
)


@pytest.mark.parametrize(("problem", "code"), EXITS, ids=lambda value: getattr(value, "code", ""))
def test_the_exit_code_is_that_of_the_error(problem: Problem, code: int, mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    recording.say(problem)
    ran = mcpctl("create", "group", "ops")
    assert (code, "") == (ran.code, ran.out)
    assert ran.err.startswith(f"error: {problem.title}\n")


def test_every_missing_right_stands_on_its_own_line_once(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    lines = ["run servers github", "view servers *"]
    recording.say(CeilingExceeded("minting 'ci' would give what User:alice does not hold: " + "; ".join(lines), missing=lines))
    expected = """\
error: You cannot give what you do not hold
  minting 'ci' would give what User:alice does not hold:
    run servers github
    view servers *
"""
    assert expected == mcpctl("create", "mcptoken", "ci", "-p", "demo").err


def test_fields_are_called_by_the_flags_they_came_from(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    found = [
        FieldError("ttl", "'30x' is not a duration"),
        FieldError("bindings.1", "unknown role 'rnu'", "run"),
        FieldError("rbacMode", "what"),
        FieldError("name", "taken"),
        FieldError("elsewhere", "odd"),
    ]
    recording.say(InvalidInput("; ".join(f"{error.field}: {error.message}" for error in found), errors=found))
    expected = """\
error: The request is not valid
  --ttl: '30x' is not a duration
  --bind: unknown role 'rnu'; did you mean 'run'?
  --rbac: what
  NAME: taken
  elsewhere: odd
"""
    ran = mcpctl("create", "mcptoken", "ci", "-p", "demo", "--ttl", "30x")
    assert expected == ran.err


def test_when_to_ask_again_is_said(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    recording.say(errors.TooManyRequests("slowed down after failures", headers={"Retry-After": "3"}))
    assert "Try again in 3 s." in mcpctl("whoami").err


def test_a_credential_that_is_not_valid_says_how_to_get_another(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    recording.say(errors.InvalidCredential("the bearer is not valid"))
    ran = mcpctl("whoami")
    assert 3 == ran.code
    assert "mcpctl login" in ran.err
    recording.say(errors.InvalidCredential("the bearer is not valid: log in again, or use another token"))
    expected = """\
error: The credential is not valid
  the bearer is not valid
  Log in again with 'mcpctl login', or check MCPCTL_TOKEN if it is set.
"""
    assert expected == mcpctl("whoami").err


def test_with_o_json_the_problem_document_goes_to_standard_error(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    sent = CeilingExceeded("no", missing=["run servers *"])
    recording.say(sent)
    ran = mcpctl("create", "mcptoken", "ci", "-p", "demo", "-o", "json")
    assert (5, "", sent.as_json()) == (ran.code, ran.out, json.loads(ran.err))


@pytest.mark.parametrize("command", ["get nonsense -o json", "get -o json users --nonsense", "create group A -o json"])
def test_wrong_usage_is_json_too_where_json_was_asked_for(command: str, mcpctl: Mcpctl) -> None:
    ran = mcpctl(*command.split())
    assert (2, "") == (ran.code, ran.out)
    assert "invalid" == json.loads(ran.err)["code"]


def test_an_error_text_cannot_steer_the_terminal(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    recording.say(errors.NotFound("there is no \x1b]0;owned\x07"))
    assert "\x1b" not in mcpctl("get", "user", "x").err


def test_a_second_attempt_leaves_no_trace_in_the_output(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    recording.say(errors.StoreUnavailable("later"), {"items": [], "nextCursor": None})
    ran = mcpctl("get", "users", "-o", "json")
    assert (0, {"kind": "list", "items": []}, "") == (ran.code, json.loads(ran.out), ran.err)
    assert 2 == len(recording.asked)


def test_of_several_things_those_that_are_found_are_printed(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    group = {"id": "G", "name": "ops", "members": [], "createdAt": "2030-01-01T00:00:00Z"}
    recording.say(errors.NotFound("there is no group 'a'"), group)
    ran = mcpctl("get", "groups", "a", "ops", "-o", "name")
    assert (6, "group/ops\n") == (ran.code, ran.out)
    assert "there is no group 'a'" in ran.err


def test_deleting_goes_on_after_a_failure_and_ends_with_its_code(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    recording.say(errors.NotFound("no"), {}, errors.InUse("still used"))
    ran = mcpctl("delete", "server", "a", "b", "c", "--yes")
    assert (6, "server/b deleted\n") == (ran.code, ran.out)
    assert "Something still uses it" in ran.err


def test_what_is_not_there_can_count_as_deleted(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    recording.say(errors.NotFound("no"))
    assert 0 == mcpctl("delete", "server", "a", "--yes", "--ignore-not-found").code


def test_can_i_answers_with_its_exit_code(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    verdict = {"allowed": False, "reason": "denied by x (rbac:no)", "rule": "x", "origin": "rbac:no", "revision": 1, "id": "d"}
    recording.say(verdict)
    ran = mcpctl("auth", "can-i", "run", "servers")
    assert (1, "no\ndenied by x (rbac:no)\nrevision 1\n", "") == (ran.code, ran.out, ran.err)
    ran = mcpctl("auth", "can-i", "run", "servers", "-q")
    assert (1, "") == (ran.code, ran.out)
    recording.say(verdict | {"allowed": "true"})
    assert 1 == mcpctl("auth", "can-i", "run", "servers").code


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MCPCTL_")}
    return kept | {"XDG_CONFIG_HOME": str(home), "HOME": str(home)}


def test_a_reader_that_goes_away_is_no_drama(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    users = [{"id": "U", "name": f"user-{n}", "createdAt": "2030-01-01T00:00:00Z"} for n in range(20_000)]
    recording.say({"items": users, "nextCursor": None})
    with subprocess.Popen(
        [sys.executable, "-c", "from mcpctl.main import main; main()", "get", "users"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment(mcpctl.home),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert b"" == process.stderr.read()
        assert 141 == process.wait(20)


def test_ctrl_c_ends_quietly_with_130(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    recording.slow = 5.0
    recording.say({"items": [], "nextCursor": None})
    with subprocess.Popen(
        [sys.executable, "-c", "from mcpctl.main import main; main()", "get", "users"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment(mcpctl.home),
    ) as process:  # fmt: skip
        for _ in range(500):
            if recording.asked or process.poll() is not None:
                break
            _pause()
        _pause(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    recording.slow = 0.0
    assert (130, b"", b"") == (process.returncode, out, err.strip())


def _pause(seconds: float = 0.02) -> None:
    import threading

    threading.Event().wait(seconds)
