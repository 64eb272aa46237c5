"""Raw tokens leave once, on standard output or into a file; passwords come in from files, standard input or a terminal."""

from __future__ import annotations

import json
import stat
from typing import Any

import pytest

from mcpctl import errors
from mcpctl.client.contexts import load
from tests.cli.conftest import Mcpctl
from tests.cli.recording import Recording
from tests.cli.test_requests import LOGGED_IN, MINTED

RAW = "mcpctl_pat_4xnqf9xKz0aDnM1bQeWlPpT3yVZr7uHcJgS2oLiXwEk"
TOKEN: dict[str, Any] = MINTED | {"token": RAW}
SESSION: dict[str, Any] = LOGGED_IN | {"token": RAW}

MAKING = (
    ("create mcptoken ci -p demo", TOKEN, "mcptoken/demo/ci"),
    ("rotate mcptoken ci -p demo", TOKEN, "mcptoken/demo/ci"),
    ("create session gateway-1", SESSION, "session/S"),
)


@pytest.fixture
def logged_in(mcpctl: Mcpctl, recording: Recording) -> Mcpctl:
    mcpctl.use(recording.address)
    return mcpctl


@pytest.mark.parametrize(("command", "answer", "reference"), MAKING)
def test_standard_output_is_the_raw_token_and_nothing_else(
    command: str, answer: dict[str, Any], reference: str, logged_in: Mcpctl, recording: Recording
) -> None:
    recording.say(answer)
    ran = logged_in(*command.split())
    assert (0, RAW + "\n") == (ran.code, ran.out)
    assert reference in ran.err
    assert RAW not in ran.err


@pytest.mark.parametrize(("command", "answer", "reference"), MAKING)
def test_json_is_the_whole_answer_with_the_token_in_it_once(
    command: str, answer: dict[str, Any], reference: str, logged_in: Mcpctl, recording: Recording
) -> None:
    recording.say(answer)
    ran = logged_in(*command.split(), "-o", "json")
    assert answer == json.loads(ran.out)
    assert 1 == (ran.out + ran.err).count(RAW)


@pytest.mark.parametrize(("command", "answer", "reference"), MAKING)
@pytest.mark.parametrize("form", ["token", "name", "json", "yaml"])
def test_saved_to_a_file_the_token_is_printed_nowhere(
    command: str, answer: dict[str, Any], reference: str, form: str, logged_in: Mcpctl, recording: Recording
) -> None:
    recording.say(answer)
    path = logged_in.home / "token"
    ran = logged_in(*command.split(), "--save-token", str(path), "-o", form)
    assert (0, False) == (ran.code, RAW in ran.out + ran.err)
    assert "shown this once" not in ran.err
    assert (RAW + "\n", 0o600) == (path.read_text(), stat.S_IMODE(path.stat().st_mode))
    if form in ("token", "name"):
        assert reference + "\n" == ran.out
    if form == "json":
        assert {member: value for member, value in answer.items() if member != "token"} == json.loads(ran.out)


def test_nothing_is_minted_when_the_token_could_not_be_kept(logged_in: Mcpctl, recording: Recording) -> None:
    taken = logged_in.file("token", "precious")
    for flags in (["--save-token", taken], ["--save-token", "/nowhere/token"], ["-o", "name"]):
        ran = logged_in("create", "mcptoken", "ci", "-p", "demo", *flags)
        assert (2, "") == (ran.code, ran.out)
    assert [] == recording.asked
    assert "precious" == (logged_in.home / "token").read_text()


def test_a_refused_mint_leaves_no_file_behind(logged_in: Mcpctl, recording: Recording) -> None:
    recording.say(errors.CeilingExceeded("no", missing=["run servers *"]))
    path = logged_in.home / "token"
    assert 5 == logged_in("create", "mcptoken", "ci", "-p", "demo", "--save-token", str(path)).code
    assert not path.exists()


def test_a_token_without_bindings_says_what_it_can_do_and_which_flag_changes_that(
    logged_in: Mcpctl, recording: Recording
) -> None:
    recording.say(TOKEN | {"bindings": []})
    said = logged_in("create", "mcptoken", "ci", "-p", "demo").err
    assert "it can connect and will see no tools" in said
    assert "--bind role:run,resource:servers,name:SERVER" in said


def test_a_clone_says_what_it_will_nevertheless_never_do(logged_in: Mcpctl, recording: Recording) -> None:
    recording.say(TOKEN | {"never": ["read or write secrets", "open or end sessions"]})
    said = logged_in("create", "mcptoken", "ci", "-p", "demo", "--rbac", "clone").err
    assert "it will never:\n  - read or write secrets\n  - open or end sessions\n" in said


PASSWORDS = (
    (["--password", "-"], "pass word 1\n", "pass word 1"),
    (["--password", "-"], "pass word 1\r\n", "pass word 1"),
    (["--password", "-"], " spaces \n\n", " spaces \n"),
    (["--password-file", "-"], "pässwörd", "pässwörd"),
)


@pytest.mark.parametrize(("flags", "stdin", "expected"), PASSWORDS)
def test_a_password_is_what_stands_before_the_line_end(
    flags: list[str], stdin: str, expected: str, logged_in: Mcpctl, recording: Recording
) -> None:
    recording.say({"name": "alice"})
    logged_in.ok("create", "user", "alice", *flags, stdin=stdin)
    assert expected == recording.asked[0].body["password"]


@pytest.mark.parametrize(("text", "said"), [("", "is empty"), ("\n", "is empty"), ("x" * 70_000, "is that the right file?")])
def test_a_file_that_holds_no_password_is_refused(text: str, said: str, logged_in: Mcpctl, recording: Recording) -> None:
    ran = logged_in("create", "user", "alice", "--password-file", logged_in.file("pw", text))
    assert 2 == ran.code
    assert said in ran.err
    assert [] == recording.asked


def test_login_keeps_the_session_and_shows_it_to_nobody(mcpctl: Mcpctl, recording: Recording) -> None:
    recording.say(SESSION | {"user": "alice"})
    ran = mcpctl("login", "--server", recording.address, "-u", "alice", "--password", "-", stdin="hunter2hunter2\n")
    assert 0 == ran.code
    assert (False, False) == (RAW in ran.out + ran.err, "hunter2" in ran.out + ran.err)
    assert {"username": "alice", "password": "hunter2hunter2"} == recording.asked[0].body
    assert recording.asked[0].bearer is None
    contexts = load(mcpctl.config)
    assert ("default", RAW, "alice") == (contexts.current, contexts.by_name["default"].token, contexts.by_name["default"].user)
    assert "hunter2" not in mcpctl.config.read_text()


def test_a_failed_login_keeps_what_there_was(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    before = mcpctl.config.read_bytes()
    recording.say(errors.WrongPassword("wrong user name or password"))
    ran = mcpctl("login", "-u", "admin", "--password", "-", stdin="wrong password")
    assert 3 == ran.code
    assert before == mcpctl.config.read_bytes()
    assert "mcpctl login" not in ran.err


LOGINS: tuple[tuple[list[str], str], ...] = (
    ([], "test"),
    (["--server", "SAME"], "test"),
    (["--context", "other"], "other"),
    (["--server", "http://localhost:PORT"], "localhost-PORT"),
)


@pytest.mark.parametrize(("flags", "context"), LOGINS)
def test_a_login_goes_to_the_context_of_its_server(
    flags: list[str], context: str, mcpctl: Mcpctl, recording: Recording
) -> None:
    mcpctl.use(recording.address, project="demo")
    port = recording.address.rpartition(":")[2]
    said = [flag.replace("SAME", recording.address).replace("PORT", port) for flag in flags]
    recording.say(SESSION)
    mcpctl.ok("login", *said, "-u", "alice", "--password", "-", stdin="a long password")
    contexts = load(mcpctl.config)
    name = context.replace("PORT", port)
    assert (name, RAW) == (contexts.current, contexts.by_name[name].token)
    if name != "test":
        assert "mcpctl_ses_test" == contexts.by_name["test"].token
    assert "demo" == contexts.by_name["test"].project


def test_logout_forgets_the_token_even_of_a_session_that_had_ended(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    recording.say(errors.InvalidCredential("the bearer is not valid"))
    assert 0 == mcpctl("logout").code
    assert load(mcpctl.config).by_name["test"].token is None
    assert 3 == mcpctl("logout").code


def test_logout_leaves_a_credential_from_the_environment_alone(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    mcpctl.patch.setenv("MCPCTL_TOKEN", "mcpctl_pat_x")
    assert 2 == mcpctl("logout").code
    assert [] == recording.asked


def test_a_saved_bearer_is_not_sent_to_the_server_a_variable_names(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use("https://work.example.com")
    mcpctl.patch.setenv("MCPCTL_SERVER", recording.address)
    ran = mcpctl("whoami")
    assert 3 == ran.code
    assert [] == recording.asked


def test_the_values_of_a_secret_come_from_files_input_and_variables_and_are_shown_nowhere(
    logged_in: Mcpctl, recording: Recording
) -> None:
    recording.say({"name": "github", "keys": ["a", "b", "c"]})
    logged_in.patch.setenv("GITHUB_TOKEN", "from a variable")
    path = logged_in.file("bearer", "-----BEGIN KEY-----\nx\n-----END KEY-----\n")
    flags = ("--from-file", f"a={path}", "--from-file", "b=-", "--from-env", "c=GITHUB_TOKEN")
    ran = logged_in("create", "secret", "github", *flags, stdin="from input\n")
    values = {"a": "-----BEGIN KEY-----\nx\n-----END KEY-----", "b": "from input", "c": "from a variable"}
    assert (0, {"name": "github", "values": values}) == (ran.code, recording.asked[0].body)
    assert [] == [value for value in values.values() if value in ran.out + ran.err]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "--from-file: a secret needs a value"),
        (["--from-file", "bearer"], "--from-file: 'bearer' is not KEY=FILE"),
        (["--from-file", "bearer=/nowhere"], "--from-file: /nowhere cannot be read"),
        (["--from-env", "bearer=NOT_SET_ANYWHERE"], "--from-env: the variable 'NOT_SET_ANYWHERE' is not set"),
        (["--from-env", "a=HOME", "--from-env", "a=HOME"], "--from-env: the key 'a' stands there twice"),
    ],
)
def test_a_secret_without_values_is_refused(flags: list[str], said: str, logged_in: Mcpctl, recording: Recording) -> None:
    ran = logged_in("create", "secret", "github", *flags)
    assert 2 == ran.code
    assert said in ran.err
    assert [] == recording.asked


def test_a_value_that_sounds_secret_is_warned_of(logged_in: Mcpctl, recording: Recording) -> None:
    recording.say({"name": "x"})
    command = ["create", "server", "x", "--url", "https://x"]
    assert "secret:NAME/KEY" in logged_in(*command, "--header", "Authorization=Bearer x").err
    assert "" == logged_in(*command, "--header", "Authorization=secret:x/bearer").err
    assert "" == logged_in(*command, "--header", "X-Team=ops").err


def test_changing_ones_own_password_needs_the_present_one(logged_in: Mcpctl, recording: Recording) -> None:
    me = {"subject": "User:alice", "kind": "session", "user": "alice"}
    recording.say(me, {})
    old, new = logged_in.file("old", "old password"), logged_in.file("new", "new password")
    assert 2 == logged_in("set", "password", "--password-file", new).code
    recording.say(me, {})
    ran = logged_in("set", "password", "--password-file", new, "--old-password-file", old)
    assert 0 == ran.code
    assert {"oldPassword": "old password", "password": "new password"} == recording.asked[-1].body
    assert "Log in again" in ran.err
