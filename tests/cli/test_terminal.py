"""On a terminal: questions, hidden passwords, colour; seen through a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

from mcpctl.client.contexts import load
from tests.cli.conftest import Mcpctl
from tests.cli.recording import Recording
from tests.cli.test_output import DEFINITIONS
from tests.cli.test_requests import LOGGED_IN


@dataclass
class Session:
    """One command on a pseudo-terminal."""

    process: subprocess.Popen[bytes]
    terminal: int
    seen: str = ""
    past: int = 0

    def until(self, text: str) -> Session:
        """Read until ``text`` has appeared after what was waited for before."""
        deadline = time.monotonic() + 20
        while (found := self.seen.find(text, self.past)) < 0:
            assert time.monotonic() < deadline, self.seen
            if not self._read():
                raise AssertionError(self.seen)
        self.past = found + len(text)
        return self

    def type(self, text: str) -> Session:
        """Type a line."""
        os.write(self.terminal, text.encode() + b"\n")
        return self

    def end(self) -> int:
        """Read to the end and give the exit code."""
        while self._read():
            pass
        os.close(self.terminal)
        return self.process.wait(20)

    def _read(self) -> bool:
        ready, _, _ = select.select([self.terminal], [], [], 20)
        try:
            found = os.read(self.terminal, 65536) if ready else b""
        except OSError:
            return False
        self.seen += found.decode()
        return bool(found)


def on_terminal(mcpctl: Mcpctl, *arguments: str, **environ: str) -> Session:
    """Start ``mcpctl`` with all three streams on a new terminal."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MCPCTL_") and name != "NO_COLOR"}
    process = subprocess.Popen(
        [sys.executable, "-c", "from mcpctl.main import main; main()", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env=kept | {"TERM": "xterm-256color"} | environ,
    )
    os.close(theirs)
    return Session(process, ours)


def test_login_asks_for_name_and_password_and_shows_no_password(mcpctl: Mcpctl, recording: Recording) -> None:
    recording.say(LOGGED_IN | {"user": "alice"})
    session = on_terminal(mcpctl, "login", "--server", recording.address)
    session.until("User name at").type("alice").until("Password of alice at").type("hunter2hunter2")
    assert 0 == session.end(), session.seen
    assert "hunter2" not in session.seen
    assert {"username": "alice", "password": "hunter2hunter2"} == recording.asked[0].body
    assert "mcpctl_ses_new" == load(mcpctl.config).by_name["default"].token


def test_a_new_password_is_asked_for_until_both_agree(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    recording.say({"name": "bob"})
    session = on_terminal(mcpctl, "create", "user", "bob")
    session.until("Password for bob").type("one password").until("Again").type("another")
    session.until("These differ").until("Password for bob").type("one password").until("Again").type("one password")
    assert 0 == session.end(), session.seen
    assert "one password" == recording.asked[0].body["password"]


@pytest.mark.parametrize(("answer", "code", "sent"), [("y", 0, ["DELETE"]), ("n", 1, []), ("", 1, [])])
def test_deleting_asks_first_and_says_what_goes_with_it(
    answer: str, code: int, sent: list[str], mcpctl: Mcpctl, recording: Recording
) -> None:
    mcpctl.use(recording.address)
    recording.say({"items": DEFINITIONS, "nextCursor": None}, {})
    session = on_terminal(mcpctl, "delete", "user", "alice").until("its tokens")
    session.until("rbac/no-run goes with it; it denies role:run,resource:servers,effect:deny")
    session.until("rbac/ops stays, without User:alice").until("Delete for good?").type(answer)
    assert code == session.end()
    assert "rbac/others" not in session.seen
    assert ["GET", *sent] == [asked.method for asked in recording.asked]
    assert ("Nothing was deleted." in session.seen) == (code == 1)


def test_ctrl_c_at_a_question_ends_with_130_and_deletes_nothing(mcpctl: Mcpctl, recording: Recording) -> None:
    mcpctl.use(recording.address)
    recording.say({"items": [], "nextCursor": None})
    session = on_terminal(mcpctl, "delete", "user", "alice").until("Delete for good?")
    while session.process.poll() is None:
        # A signal between the question and the wait for its answer is seen only with the next one.
        session.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    assert 130 == session.end()
    assert ["GET"] == [asked.method for asked in recording.asked]


def test_colour_is_for_terminals_that_want_it(mcpctl: Mcpctl) -> None:
    for environ, expected in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        session = on_terminal(mcpctl, "config", "current-context", **environ)
        assert 6 == session.end()
        assert expected == ("\x1b[31m" in session.seen)


@pytest.mark.parametrize("environ", [{}, {"NO_COLOR": "1"}])
def test_a_table_on_a_narrow_terminal_wraps_inside_its_columns(
    environ: dict[str, str], mcpctl: Mcpctl, recording: Recording
) -> None:
    mcpctl.use(recording.address)
    bindings = [f"role:view,resource:servers,name:server-{number}" for number in range(5)]
    item = {
        "name": "readers",
        "subjects": ["User:alice"],
        "roleBindings": bindings,
        "origin": "rbac:readers",
        "readOnly": False,
    }
    recording.say({"items": [item], "nextCursor": None})
    session = on_terminal(mcpctl, "get", "rbac", COLUMNS="70", **environ)
    assert 0 == session.end()
    assert [] == [line for line in session.seen.splitlines() if len(line.replace("\x1b[1m", "").replace("\x1b[0m", "")) > 70]
    assert ("\x1b[" in session.seen) == (not environ)
    assert [] == [binding for binding in bindings if binding not in session.seen]


def test_help_on_a_terminal_is_coloured_only_if_wanted(mcpctl: Mcpctl) -> None:
    for environ, expected in (({}, True), ({"NO_COLOR": "1"}, False)):
        session = on_terminal(mcpctl, "--help", **environ)
        assert 0 == session.end()
        assert expected == ("\x1b[3" in session.seen or "\x1b[1;3" in session.seen)
