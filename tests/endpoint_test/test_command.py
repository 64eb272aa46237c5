"""``mcpctl test mcp`` as it is typed, and as CI configures it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

from mcpctl.endpoint_test.catalog import CHECKS
from tests.cli.conftest import Mcpctl
from tests.endpoint_test.hostile import hostile_server
from tests.endpoint_test.messages import GOOD

USAGE = (
    ("", "which endpoint?"),
    ("mcp.example.com", "did you mean 'https://mcp.example.com'?"),
    ("http://127.0.0.1:9/mcp --only M33", "there is no check 'M33'"),
    ("http://127.0.0.1:9/mcp --skip M3-nam-wrong", "did you mean M3-name-wrong?"),
    ("--explain K2-cal", "did you mean K2-call?"),
    ("http://127.0.0.1:9/mcp --token abc", "can be read by others"),
    ("http://127.0.0.1:9/mcp --token-file nowhere", "nowhere cannot be read"),
    ("http://127.0.0.1:9/mcp --call add=[1]", "names no tool with its arguments"),
    ("http://127.0.0.1:9/mcp --call add={", "are not JSON"),
    ("http://127.0.0.1:9/mcp --load many", "is not N,C"),
    ("http://127.0.0.1:9/mcp --load 10,99", "up to 32 at once"),
    ("http://127.0.0.1:9/mcp --era old", "'old' is not one of auto, legacy, modern, both"),
    ("http://127.0.0.1:9/mcp -o xml", "'xml' is not one of table, json, junit, sarif"),
    ("http://127.0.0.1:9/mcp --timeout 0", "0"),
    ("http://127.0.0.1:9/mcp --header nothing", "is no header"),
    ("http://127.0.0.1:9/mcp --header X-Key:env:NOWHERE", "the variable that holds X-Key is not set"),
    ("http://127.0.0.1:9/mcp --header Host:x", "is set by the checks themselves"),
    ("http://127.0.0.1:9/mcp --config nowhere.toml", "nowhere.toml cannot be read"),
    ("http://192.0.2.1/mcp --header X-Key:abc", "plain http to another machine"),
    ("http://127.0.0.1:9/mcp --no-such-flag", "No such option"),
    ('http://127.0.0.1:9/mcp --call x={"z":"\\ud800"}', "the arguments of 'x' are not JSON"),
    ('http://127.0.0.1:9/mcp --call x={"z":NaN}', "the arguments of 'x' are not JSON"),
    ("http://127.0.0.1:9/mcp --call x=" + '{"a":' * 90 + "1" + "}" * 90, "nested deeper than 50 levels"),
    ("http://127.0.0.1:9/mcp --call x=" + '{"a":' * 5000 + "1" + "}" * 5000, "the arguments of 'x' are not JSON"),
    ("http://127.0.0.1:9/mcp#part", "without '?' and '#'"),
)


@pytest.mark.parametrize(("line", "said"), USAGE)
def test_wrong_usage_is_told_and_has_the_exit_code_1(line: str, said: str, mcpctl: Mcpctl) -> None:
    ran = mcpctl("test", "mcp", *line.split())
    assert 1 == ran.code, ran
    assert said in ran.err
    assert "" == ran.out


def test_wrong_usage_is_a_problem_document_where_json_is_asked_for(mcpctl: Mcpctl) -> None:
    ran = mcpctl("test", "mcp", "-o", "json")
    assert 1 == ran.code
    assert "invalid" == json.loads(ran.err)["code"]


def test_the_bearer_comes_from_a_file_from_standard_input_or_from_the_environment(
    reference: str,
    mcpctl: Mcpctl,
) -> None:
    url, file = f"{reference}/none/mcp", mcpctl.file("token", GOOD + "\n")
    ways = [(("--token-file", file), ""), (("--token", "-"), GOOD), (("--token-file", "-"), GOOD)]
    assert [0, 0, 0] == [mcpctl("test", "mcp", url, "--only", "B", *flags, stdin=text).code for flags, text in ways]
    assert 3 == mcpctl("test", "mcp", url, "--only", "B").code
    mcpctl.patch.setenv("MCPCTL_TEST_TOKEN", GOOD)
    assert 0 == mcpctl("test", "mcp", url, "--only", "B").code


def test_the_bearer_for_the_control_plane_is_never_sent_to_an_endpoint(reference: str, mcpctl: Mcpctl) -> None:
    mcpctl.patch.setenv("MCPCTL_TOKEN", GOOD)
    mcpctl.use(reference, GOOD)
    assert 3 == mcpctl("test", "mcp", f"{reference}/none/mcp", "--only", "B0").code


TOML = """
url = "{url}"
token-file = "{token}"
era = "both"
only = ["M", "K2"]
skip = ["M7"]
timeout = 5
output = "junit"
[calls]
echo = {{ region = "eu" }}
"""
YAML = """
url: "{url}"
token-file: "{token}"
era: both
only: [M, K2]
skip: [M7]
timeout: 5
output: junit
calls:
  echo: {{region: eu}}
"""


@pytest.mark.parametrize(("name", "text"), [("endpoint.toml", TOML), ("endpoint.yaml", YAML)])
def test_a_file_says_what_flags_say_and_flags_beat_it(
    name: str,
    text: str,
    reference: str,
    mcpctl: Mcpctl,
) -> None:
    config = mcpctl.file(name, text.format(url=f"{reference}/none/mcp", token=mcpctl.file("token", GOOD)))
    assert mcpctl.ok("test", "mcp", "--config", config).startswith("<?xml")
    found = json.loads(mcpctl.ok("test", "mcp", "--config", config, "-o", "json"))["checks"]
    assert {"M", "K"} == {one["id"][0] for one in found}
    assert {"pass"} == {one["level"] for one in found if one["id"].startswith("K2")}
    assert not [one for one in found if one["id"].startswith("M7")]
    narrowed = json.loads(mcpctl.ok("test", "mcp", "--config", config, "-o", "json", "--only", "D1-era"))["checks"]
    assert ["D1-era"] == [one["id"] for one in narrowed]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tokn-file = 'x'", "'tokn-file' is no option; did you mean 'token-file'?"),
        ("timeout = 'long'", "timeout is 'long', and should be of type int or float"),
        ("strict = 1", "should be of type bool"),
        ("url = ", "is not TOML"),
        ("era = 'old'", "era is one of auto"),
        ("load = '0,1'", "up to 32 at once"),
        ("load = '5,9'", "at least as many as at once"),
        ("timeout = 0", "should be from 0.1 to 600 seconds"),
        ("timeout = -1", "should be from 0.1 to 600 seconds"),
        ("timeout = nan", "should be from 0.1 to 600 seconds"),
        ("timeout = 1e9", "should be from 0.1 to 600 seconds"),
        ("refused-token-files = [1]", "refused-token-files holds 1, and should hold texts only"),
        ("only = [3]", "only holds 3, and should hold texts only"),
        ("[calls]\na = { day = 2026-01-01 }", "the arguments of 'a' are not JSON"),
        ("[calls]\na = 3", "names no tool with its arguments"),
        ("[calls]\na = { x = nan }", "the arguments of 'a' are not JSON"),
    ],
)
def test_what_a_file_says_wrongly_is_told(text: str, said: str, mcpctl: Mcpctl) -> None:
    ran = mcpctl("test", "mcp", "http://127.0.0.1:9/mcp", "--config", mcpctl.file("c.toml", text))
    assert 1 == ran.code
    assert said in ran.err


def test_an_address_is_tested_as_it_was_given_and_its_query_is_masked(mcpctl: Mcpctl) -> None:
    with hostile_server() as (address, heard):
        ran = mcpctl("test", "mcp", f"{address}/closes/mcp/?key=very-secret-key", "--only", "A1-connect")
    assert {"/closes/mcp/?key=very-secret-key"} == {path for _, path in heard}
    assert 4 == ran.code
    assert "very-secret-key" not in ran.out
    assert "/closes/mcp/?" in ran.out


def test_all_checks_are_listed_and_each_is_explained(mcpctl: Mcpctl) -> None:
    listed = mcpctl.ok("test", "mcp", "--list")
    assert [] == [check.id for check in CHECKS if check.id not in listed]
    assert [check.id for check in CHECKS] == [one["id"] for one in json.loads(mcpctl.ok("test", "mcp", "--list", "-o", "json"))]
    explained = mcpctl.ok("test", "mcp", "--explain", "M3-name-wrong")
    assert [] == [word for word in ("-32020", "§Server Validation", "D1-modern", "severity  fail") if word not in explained]


def test_a_pipe_gets_the_report_and_no_progress(reference: str, mcpctl: Mcpctl) -> None:
    mcpctl.patch.setenv("MCPCTL_TEST_TOKEN", GOOD)
    ran = mcpctl("test", "mcp", f"{reference}/none/mcp", "--only", "D1")
    assert "" == ran.err
    assert "\x1b" not in ran.out
    assert "ok    D1-modern" in ran.out


def test_a_report_can_be_written_in_any_encoding(reference: str) -> None:
    argv = [sys.executable, "-m", "mcpctl", "test", "mcp", f"{reference}/echoes-the-bearer/mcp", "--only", "D1"]
    environ = {**os.environ, "MCPCTL_TEST_TOKEN": GOOD, "PYTHONIOENCODING": "ascii"}
    ran = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60)
    assert ran.returncode in (2, 3)
    assert "" == ran.stderr
    assert "Bearer \\u2022" in ran.stdout


def test_a_narrow_terminal_sees_one_line(reference: str) -> None:
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 20, 0, 0))
    argv = [sys.executable, "-m", "mcpctl", "test", "mcp", f"{reference}/none/mcp", "--only", "D1", "-o", "junit"]
    subprocess.run(argv, env={**os.environ, "MCPCTL_TEST_TOKEN": GOOD}, stdout=subprocess.PIPE, stderr=end, timeout=60)
    os.close(end)
    seen = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert max(map(len, seen.split("\r\x1b[K"))) < 20


def test_a_terminal_sees_which_check_is_running_and_the_line_is_gone_afterwards(reference: str) -> None:
    terminal, end = pty.openpty()
    argv = [sys.executable, "-m", "mcpctl", "test", "mcp", f"{reference}/none/mcp", "--only", "D1", "-o", "junit"]
    environ = {**os.environ, "MCPCTL_TEST_TOKEN": GOOD}
    ran = subprocess.run(argv, env=environ, stdout=subprocess.PIPE, stderr=end, text=True, timeout=60)
    os.close(end)
    seen = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert 0 == ran.returncode
    assert "\x1b" not in ran.stdout
    assert "[3/3] D1-legacy" in seen
    assert seen.endswith("\r\x1b[K")
