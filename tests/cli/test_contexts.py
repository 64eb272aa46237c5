"""The file of contexts: private, replaced as a whole, never overwritten when it cannot be understood."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest

from mcpctl.client.contexts import Context, changing, config_path, load, readable_by_others
from mcpctl.errors import InvalidSetting
from tests.cli.conftest import Mcpctl

DAMAGED = (
    ("", "Expecting value"),
    ("{", "Expecting"),
    ("[]", "not a JSON object"),
    ("\xff", "damaged"),
    ('{"contexts": {}, "contexts": {}}', "twice"),
    ('{"contxts": {}}', "did you mean 'contexts'?"),
    ('{"contexts": []}', "not a JSON object"),
    ('{"currentContext": 3}', "currentContext"),
    ('{"contexts": {"a": {}}}', "has no server"),
    ('{"contexts": {"a": {"server": 3}}}', "server"),
    ('{"contexts": {"a": {"server": "ftp://x"}}}', "http://"),
    ('{"contexts": {"a": {"server": "http://x", "tokn": "t"}}}', "did you mean 'token'?"),
    ('{"contexts": {"A B": {"server": "http://x"}}}', "context name"),
    ('{"contexts": {"a": {"server": "http://x", "allowPlainHttp": "yes"}}}', "allowPlainHttp"),
)


@pytest.mark.parametrize(("text", "said"), DAMAGED)
def test_a_damaged_file_is_reported_and_left_as_it_is(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidSetting, match="damaged") as refused:
        load(path)
    assert said in refused.value.detail
    assert str(path) in refused.value.detail
    with pytest.raises(InvalidSetting), changing(path) as contexts:
        contexts.current = "other"
    assert text.encode("latin-1") == path.read_bytes()


def test_what_was_saved_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "config.json"
    full = Context("https://mcp.example.com/base", "https://gw.example.com", "mcpctl_ses_x", "alice", "demo", True)
    with changing(path) as contexts:
        contexts.by_name["work"] = full
        contexts.by_name["bare"] = Context("http://127.0.0.1:8470")
        contexts.current = "work"
    again = load(path)
    assert (full, "work") == (again.by_name["work"], again.current)
    assert {"server": "http://127.0.0.1:8470"} == again.by_name["bare"].as_json()


def test_nobody_else_may_read_the_file_or_look_into_its_directory(tmp_path: Path) -> None:
    path = tmp_path / "mcpctl" / "config.json"
    with changing(path) as contexts:
        contexts.by_name["a"] = Context("http://127.0.0.1:1", token="t")
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert 0o700 == stat.S_IMODE(path.parent.stat().st_mode)
    assert not readable_by_others(path)


def test_a_file_opened_to_others_is_warned_of_and_closed_by_the_next_change(mcpctl: Mcpctl) -> None:
    mcpctl.use("http://127.0.0.1:1")
    mcpctl.config.chmod(0o644)
    assert "chmod 600" in mcpctl("whoami").err
    mcpctl.ok("config", "set-context", "test", "--project", "demo")
    assert 0o600 == stat.S_IMODE(mcpctl.config.stat().st_mode)


def test_nothing_is_written_when_the_change_fails(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with changing(path) as contexts:
        contexts.by_name["a"] = Context("http://127.0.0.1:1")
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), changing(path) as contexts:
        contexts.current = str(1 // 0)
    assert before == path.read_bytes()
    assert {"config.json", "config.json.lock"} == {entry.name for entry in tmp_path.iterdir()}


def test_changes_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "config.json"

    def add(number: int) -> None:
        with changing(path) as contexts:
            contexts.by_name[f"c{number}"] = Context("http://127.0.0.1:1")

    threads = [threading.Thread(target=add, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f"c{number}" for number in range(16)} == load(path).by_name.keys()


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles" / "config.json", tmp_path / "config.json"
    real.parent.mkdir()
    link.symlink_to(real)
    with changing(link) as contexts:
        contexts.by_name["a"] = Context("http://127.0.0.1:1")
    assert link.is_symlink()
    assert {"a"} == load(real).by_name.keys()


def test_a_log_in_does_not_follow_its_context_to_another_server() -> None:
    here = Context("https://one.example.com", token="t", user="alice", project="demo")
    there = here.with_(server="https://two.example.com")
    assert (None, None, "demo") == (there.token, there.user, there.project)
    assert "t" == here.with_(server="https://one.example.com", project="x").token


def test_a_raw_token_is_not_in_the_representation_of_a_context() -> None:
    assert "mcpctl_ses_x" not in repr(Context("https://one.example.com", token="mcpctl_ses_x"))


def test_the_file_is_where_the_variable_says(tmp_path: Path) -> None:
    assert tmp_path / "c.json" == config_path({"MCPCTL_CONFIG": str(tmp_path / "c.json")})


def test_config_commands_tell_one_story(mcpctl: Mcpctl) -> None:
    assert 6 == mcpctl("config", "current-context").code
    mcpctl.ok("config", "set-context", "work", "--server", "https://mcp.example.com/", "--project", "demo")
    mcpctl.ok("config", "set-context", "home", "--server", "http://127.0.0.1:8470", "--gateway", "http://127.0.0.1:8471")
    assert "work\n" == mcpctl.ok("config", "current-context")
    mcpctl.ok("config", "use-context", "home")
    assert "home\nwork\n" == mcpctl.ok("config", "get-contexts", "-o", "name")
    listed = json.loads(mcpctl.ok("config", "get-contexts", "-o", "json"))["items"]
    assert {"name": "work", "current": False, "server": "https://mcp.example.com", "project": "demo"} == listed[1]
    ran = mcpctl("config", "use-context", "wrok")
    assert (2, True) == (ran.code, "did you mean 'work'?" in ran.err)
    mcpctl.ok("config", "delete-context", "home")
    assert 6 == mcpctl("config", "current-context").code
    assert "work\n" == mcpctl.ok("config", "get-contexts", "-o", "name")


def test_a_new_context_needs_a_server(mcpctl: Mcpctl) -> None:
    ran = mcpctl("config", "set-context", "work", "--project", "demo")
    assert 2 == ran.code
    assert "--server" in ran.err


def test_no_config_command_shows_a_token(mcpctl: Mcpctl) -> None:
    token = mcpctl.file("token", "mcpctl_pat_verysecret\n")
    said = mcpctl.ok("config", "set-context", "ci", "--server", "https://mcp.example.com", "--token-file", token)
    for command in ("view", "get-contexts"):
        for form in ("json", "yaml"):
            said += mcpctl.ok("config", command, "-o", form)
    said += mcpctl.ok("config", "get-contexts")
    assert "verysecret" not in said
    assert "mcpctl_pat_verysecret" == load(mcpctl.config).by_name["ci"].token


def test_moving_a_context_to_another_server_drops_its_log_in_and_says_so(mcpctl: Mcpctl) -> None:
    mcpctl.use("https://one.example.com")
    ran = mcpctl("config", "set-context", "test", "--server", "https://two.example.com")
    assert 0 == ran.code
    assert "log-in was dropped" in ran.err
    assert load(mcpctl.config).by_name["test"].token is None


def test_a_file_that_holds_no_bearer_is_refused_without_repeating_it(mcpctl: Mcpctl) -> None:
    token = mcpctl.file("token", "two words")
    ran = mcpctl("config", "set-context", "ci", "--server", "https://mcp.example.com", "--token-file", token)
    assert 2 == ran.code
    assert "two words" not in ran.err
