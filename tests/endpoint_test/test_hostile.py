"""A server that means harm gets neither time, nor memory, nor a secret."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from time import monotonic
from typing import Final

import pytest

from mcpctl.endpoint_test.check import Level
from mcpctl.endpoint_test.endpoint import Endpoint
from mcpctl.endpoint_test.options import RUN_FACTOR, Options
from mcpctl.endpoint_test.reports import junit, table
from tests.endpoint_test.conftest import judge
from tests.endpoint_test.hostile import WAYS

TIMEOUT = 0.25
GRACE = 4.0
"""Seconds for what is calculated between two answers, on a busy machine."""
MOST_MEMORY: Final = 512 << 20
TOKEN = "a-token-that-must-not-travel"

Hostile = tuple[str, list[tuple[str, str]]]


@pytest.mark.parametrize("way", WAYS)
def test_the_run_ends_in_its_time_and_says_that_something_is_wrong(way: str, hostile: Hostile) -> None:
    began = monotonic()
    report = judge(f"{hostile[0]}/{way}/mcp", token=TOKEN, calls={"a": {}}, timeout=TIMEOUT)
    assert monotonic() - began < RUN_FACTOR * TIMEOUT + GRACE
    assert report.exit_code in (2, 3, 4)
    shown = "\n".join(table.lines(report, verbose=True)) + junit.document(report)
    assert TOKEN not in shown
    assert not [character for character in shown if ord(character) < 32 and character not in "\n\t"]


def test_no_token_reaches_another_host(hostile: Hostile) -> None:
    address, heard = hostile
    heard.clear()
    report = judge(f"{address}/abroad/mcp", token=TOKEN, timeout=TIMEOUT)
    (said,) = [one.said for one in report.outcomes if one.check.id == "A2-redirects" and one.level is Level.FAIL]
    assert said.startswith("it redirects to another host: ")
    assert heard
    assert [] == [host for host, _ in heard if not host.startswith("127.0.0.1")]


def test_a_redirect_with_a_user_or_password_is_not_followed(hostile: Hostile) -> None:
    address, heard = hostile
    heard.clear()
    report = judge(f"{address}/to-a-user/mcp", ("A2",), timeout=TIMEOUT)
    assert ["it redirects to an address with a user or password in it"] == [
        one.said for one in report.outcomes if one.check.id == "A2-redirects"
    ]
    assert {"/to-a-user/mcp"} == {path for _, path in heard}


def test_what_a_schema_refers_to_is_never_fetched(hostile: Hostile) -> None:
    address, heard = hostile
    heard.clear()
    report = judge(f"{address}/ref-to-the-network/mcp", calls={"a": {}}, timeout=TIMEOUT)
    said = {one.check.id: one.said for one in report.outcomes if one.level in (Level.FAIL, Level.WARN)}
    assert "/fetched" in said["T3-references"]
    assert "could not be validated" in said["K2-structured"]
    assert [] == [path for _, path in heard if "fetched" in path]


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("to-metadata-service", "it is not asked over plain http"),
        ("to-a-private-address", "its address is not public"),
        ("to-a-file", "no address of a document"),
    ],
)
def test_metadata_is_not_looked_for_in_private_places(way: str, said: str, hostile: Hostile) -> None:
    report = judge(f"{hostile[0]}/{way}/mcp", timeout=TIMEOUT)
    assert said in {one.check.id: one.said for one in report.outcomes}["B2-metadata"]


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("gigantic", "the answer is larger than 4194304 bytes"),
        ("endless-body", "the answer is larger than 4194304 bytes"),
        ("endless-events", "the stream has more than 1000 events"),
        ("deep-objects", "it is nested deeper than 100 levels"),
        ("many-values", "it holds more than 100000 values"),
        ("bomb", "it is compressed, although that was not accepted"),
    ],
)
def test_what_is_too_much_is_not_read(way: str, said: str, hostile: Hostile) -> None:
    report = judge(f"{hostile[0]}/{way}/mcp", ("D1-era",), timeout=2.0)
    shown = [one.received for outcome in report.outcomes for one in outcome.shown]
    assert any(said in one for one in shown), shown


def test_credentials_are_never_sent_to_another_origin() -> None:
    async def send() -> None:
        endpoint = Endpoint(Options("https://mcp.example.com/mcp", TOKEN))
        try:
            await endpoint.send(None, "GET", url="https://mcp.example.org/mcp")
        finally:
            await endpoint.close()

    with pytest.raises(AssertionError, match="credentials stay"):
        asyncio.run(send())


def test_memory_is_bounded(hostile: Hostile) -> None:
    """In a process of its own: the whole program, one after the other through those that send most."""
    ways = ["gigantic", "many-values", "endless-body", "endless-event", "endless-events", "endless-head", "bomb", "many-names"]
    script = (
        "import re, sys\n"
        "from mcpctl.main import program\n"
        "for url in sys.argv[1:]: program(['test', 'mcp', url, '--timeout', '1', '--only', 'D1', '-o', 'junit'])\n"
        # Not getrusage: over fork and exec that remembers the peak of whoever started this.
        "print('PEAK', int(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1]) * 1024)\n"
    )
    urls = [f"{hostile[0]}/{way}/mcp" for way in ways]
    ran = subprocess.run([sys.executable, "-c", script, *urls], capture_output=True, text=True, timeout=90, check=True)
    assert int(ran.stdout.rpartition("PEAK ")[2]) < MOST_MEMORY
