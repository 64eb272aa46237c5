"""Which server, with which bearer: flags beat variables beat the context, and a saved bearer stays with its server."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcpctl.client.address import check_address, is_loopback, is_plain
from mcpctl.client.contexts import Context, Contexts
from mcpctl.client.target import resolve
from mcpctl.errors import InvalidSetting, MissingCredential

CONTEXTS = Contexts(
    Path("config.json"),
    {
        "work": Context("https://work.example.com", token="work-token", project="demo"),
        "home": Context("http://127.0.0.1:8470", token="home-token", allow_plain_http=True),
        "out": Context("https://out.example.com"),
    },
    "work",
)
HOME, ELSE = "http://127.0.0.1:8470", "https://else.example.com"

CASES: tuple[tuple[dict[str, str], dict[str, str], tuple[str, str | None, str | None]], ...] = (
    ({}, {}, ("https://work.example.com", "work-token", "demo")),
    ({"context": "home"}, {}, (HOME, "home-token", None)),
    ({}, {"MCPCTL_CONTEXT": "home"}, (HOME, "home-token", None)),
    ({"context": "work"}, {"MCPCTL_CONTEXT": "home"}, ("https://work.example.com", "work-token", "demo")),
    ({}, {"MCPCTL_TOKEN": "t"}, ("https://work.example.com", "t", "demo")),
    ({}, {"MCPCTL_SERVER": ELSE, "MCPCTL_TOKEN": "t"}, (ELSE, "t", "demo")),
    ({"server": ELSE}, {"MCPCTL_SERVER": HOME, "MCPCTL_TOKEN": "t"}, (ELSE, "t", "demo")),
    ({}, {"MCPCTL_SERVER": ELSE}, (ELSE, None, "demo")),
    ({"server": ELSE}, {}, (ELSE, None, "demo")),
    ({"server": "https://WORK.example.com:443/"}, {}, ("https://WORK.example.com:443", "work-token", "demo")),
    ({"server": "http://work.example.com"}, {}, ("http://work.example.com", None, "demo")),
    ({"server": "https://work.example.com:8443"}, {}, ("https://work.example.com:8443", None, "demo")),
    ({}, {"MCPCTL_TOKEN": "  "}, ("https://work.example.com", "work-token", "demo")),
)


@pytest.mark.parametrize(("flags", "environ", "expected"), CASES)
def test_the_target_is(flags: dict[str, str], environ: dict[str, str], expected: tuple[str, str | None, str | None]) -> None:
    found = resolve(CONTEXTS, environ=environ, context=flags.get("context"), server=flags.get("server"))
    assert expected == (found.server, found.token, found.project)


def test_permission_for_plain_http_stays_with_its_server_too() -> None:
    assert resolve(CONTEXTS, context="home", environ={}).allow_plain_http
    assert not resolve(CONTEXTS, context="home", server="http://10.0.0.1", environ={}).allow_plain_http
    assert resolve(CONTEXTS, server="http://10.0.0.1", environ={"MCPCTL_ALLOW_PLAIN_HTTP": "1"}).allow_plain_http


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"MCPCTL_CONTEXT": "wrok"}, "did you mean 'work'?"),
        ({"MCPCTL_SERVER": "work.example.com"}, "MCPCTL_SERVER: .*did you mean 'https://work.example.com'"),
        ({"MCPCTL_ALLOW_PLAIN_HTTP": "perhaps"}, "MCPCTL_ALLOW_PLAIN_HTTP is 1 or 0"),
        ({"MCPCTL_TOKEN": "two words"}, "MCPCTL_TOKEN is not a bearer"),
        ({"MCPCTL_TOKEN": "x\r\nHost: y"}, "MCPCTL_TOKEN is not a bearer"),
    ],
)
def test_a_wrong_variable_is_named(environ: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        resolve(CONTEXTS, environ=environ)


def test_without_a_log_in_the_sentence_says_how_to_come_by_one() -> None:
    with pytest.raises(MissingCredential, match="mcpctl login --server URL"):
        resolve(Contexts(Path("none")), environ={}).require()
    with pytest.raises(MissingCredential, match=r"mcpctl login --server https://out\.example\.com --context out"):
        resolve(CONTEXTS, context="out", environ={}).require()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("localhost:8470", "did you mean 'http://localhost:8470'"),
        ("127.0.0.1", "did you mean 'http://127.0.0.1'"),
        ("mcp.example.com", "did you mean 'https://mcp.example.com'"),
        ("ftp://mcp.example.com", "http:// or https://"),
        ("https://", "a host"),
        ("https://host:port", "not an address"),
        ("https://host:99999", "not an address"),
        ("https://user:pw@host", "mcpctl login"),
        ("https://host/?x=1", "without"),
        ("https://host/#x", "without"),
        ("https://ho st", "blanks"),
        ("https://höst", "ASCII"),
        ("http://[::1", "not an address"),
    ],
)
def test_what_is_no_address_is_refused_with_the_rule(text: str, said: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        check_address(text)
    assert said in refused.value.detail
    assert "pw" not in refused.value.detail


@pytest.mark.parametrize(
    ("address", "loopback", "plain"),
    [
        ("http://localhost:1", True, False),
        ("http://127.0.0.2", True, False),
        ("http://[::1]:1", True, False),
        ("https://mcp.example.com", False, False),
        ("http://mcp.example.com", False, True),
        ("http://10.0.0.1", False, True),
        ("http://localhost.example.com", False, True),
        ("http://127.0.0.1.example.com", False, True),
        ("http://0.0.0.0", False, True),
    ],
)
def test_only_this_very_machine_is_loopback(address: str, loopback: bool, plain: bool) -> None:
    assert (loopback, plain) == (is_loopback(address), is_plain(address))
