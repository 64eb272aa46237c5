"""The two guards: which addresses are connected to, and which commands are started."""

from __future__ import annotations

import sys
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpctl.errors import Forbidden
from mcplocal.catalog import ServerSpec
from mcplocal.settings import DEMO_SERVERS
from mcplocal.upstream.network_guard import NetworkGuard
from mcplocal.upstream.stdio_guard import StdioGuard, matches

EVERYTHING = [ip_network("0.0.0.0/0"), ip_network("::/0")]
NEVER = {
    "169.254.169.254": "link-local",
    "169.254.0.1": "link-local",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "::ffff:169.254.169.254": "link-local",
    "::ffff:a9fe:a9fe": "link-local",
    "2002:a9fe:a9fe::1": "link-local",
    "64:ff9b::a9fe:a9fe": "link-local",
    "64:ff9b:1::a9fe:a9fe": "link-local",
    "::169.254.169.254": "link-local",
    "fd00::5efe:a9fe:a9fe": "link-local",
    "2001:0:a9fe:a9fe::1": "link-local",
    "fec0::1": "site-local",
    "fd00:ec2::254": "metadata",
    "fd20:ce::254": "metadata",
    "100.100.100.200": "metadata",
    "168.63.129.16": "metadata",
    "192.0.0.192": "metadata",
    "0.0.0.0": "unspecified",
    "::": "unspecified",
    "224.0.0.1": "multicast",
    "ff02::1": "multicast",
    "255.255.255.255": "reserved",
    "240.0.0.1": "reserved",
    "localhost": "not an address",
}
PRIVATE = ["127.0.0.1", "::1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12::1", "198.18.0.1", "192.0.2.1"]
PUBLIC = ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]


@pytest.mark.requirement("R26")
@pytest.mark.parametrize(("address", "what"), NEVER.items())
def test_some_addresses_are_refused_whatever_is_allowed(address: str, what: str) -> None:
    objection = NetworkGuard(EVERYTHING).objection(address)
    assert objection is not None
    assert what in objection


@pytest.mark.parametrize(
    "address", [*PRIVATE, "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::a00:1", "::127.0.0.1"]
)
def test_private_addresses_are_refused_unless_they_are_allowed_by_name(address: str) -> None:
    assert "MCPLOCAL_UPSTREAM_NETWORKS" in (NetworkGuard().objection(address) or "")
    assert NetworkGuard(EVERYTHING).objection(address) is None
    assert NetworkGuard([ip_network("203.0.113.0/24")]).objection(address) is not None


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_fine(address: str) -> None:
    assert NetworkGuard().objection(address) is None


@given(st.integers(0, 2**32 - 1).map(IPv4Address), st.sampled_from(["::ffff:{}", "64:ff9b::{}", "::{}", ""]))
def test_wrapping_an_address_never_makes_it_more_reachable(inner: IPv4Address, form: str) -> None:
    outer = IPv6Address(form.format(inner)) if form else IPv6Address((0x2002 << 112) | (int(inner) << 80))
    for guard in (NetworkGuard(), NetworkGuard([ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8")])):
        if guard.objection(str(inner)) is not None:
            assert guard.objection(str(outer)) is not None


@given(st.integers(0, 2**128 - 1).map(IPv6Address) | st.integers(0, 2**32 - 1).map(IPv4Address))
def test_an_address_that_is_not_public_needs_a_network(address: Any) -> None:
    if not address.is_global and getattr(address, "teredo", None) is None and NetworkGuard().objection(str(address)) is None:
        # Only an address that carries a public IPv4 one may look private by its prefix.
        assert address.version == 6
        assert (
            address.ipv4_mapped
            or address.sixtofour
            or str(address).startswith(("64:ff9b", "::", "fd", "fc"))
            or "5efe" in str(address)
        )


WORDS = st.text(st.characters(exclude_characters="*"), max_size=6)


@pytest.mark.requirement("R27")
@given(st.lists(WORDS, min_size=1, max_size=5))
def test_a_pattern_without_stars_is_itself_and_nothing_else(argv: list[str]) -> None:
    assert matches(argv, argv)
    assert not matches(argv, [*argv, ""])
    assert not matches(argv, argv[:-1])
    assert not matches(argv, [*argv[:-1], argv[-1] + "x"])


@given(st.lists(WORDS, min_size=1, max_size=3), st.lists(WORDS, max_size=4))
def test_two_stars_at_the_end_stand_for_any_words_that_follow(head: list[str], rest: list[str]) -> None:
    assert matches([*head, "**"], [*head, *rest])
    assert not matches([*head, "**"], head[:-1])


PLAIN = st.text("abcXYZ019._-", max_size=6)


@given(WORDS, PLAIN, WORDS)
def test_a_star_stands_for_plain_characters_of_its_own_word(before: str, middle: str, after: str) -> None:
    assert matches(["x", f"{before}*{after}"], ["x", before + middle + after])
    assert not matches(["x", f"{before}*{after}"], ["x", before, after])
    assert not matches(["x", "*"], ["x"])


@pytest.mark.parametrize(
    "package", ["@acme/x@file:/tmp/evil", "@acme/x@npm:evil", "@acme/../../evil", "@acme/x @ https://evil/x.whl"]
)
def test_a_star_never_lets_a_package_name_become_another_place(package: str) -> None:
    assert matches(["npx", "-y", "@acme/*"], ["npx", "-y", "@acme/server-1.0"])
    assert not matches(["npx", "-y", "@acme/*"], ["npx", "-y", package])


def spec(command: str, *args: str, **env: str) -> ServerSpec:
    return ServerSpec("s", "stdio", command=command, args=args, env=env)


def test_by_default_only_the_shipped_servers_are_started_and_by_this_very_python() -> None:
    guard = StdioGuard(DEMO_SERVERS)
    started = guard.command(spec("python", "-m", "mcpctl.demo.notes_server"))
    assert [sys.executable, "-I", "-m", "mcpctl.demo.notes_server"] == started
    for argv in (
        ("sh", "-c", "x"),
        ("python", "-m", "mcpctl.demo.notes_server", "extra"),
        ("python", "-m", "mcpctl.demo"),
        ("python", "-c", "x"),
        ("/tmp/python", "-m", "mcpctl.demo.notes_server"),
        ("python", "-m", "mcpctl.demo.notes_server\0"),
        ("",),
    ):
        with pytest.raises(Forbidden, match="MCPLOCAL_STDIO_ALLOW"):
            guard.command(spec(*argv))


def test_a_command_that_is_allowed_and_not_there_is_said_to_be_missing() -> None:
    with pytest.raises(Forbidden, match="no such command"):
        StdioGuard([["no-such-command-here", "**"]]).command(spec("no-such-command-here", "x"))


STEERING = [
    "LD_PRELOAD",
    "ld_library_path",
    "PATH",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "NODE_OPTIONS",
    "BASH_ENV",
    "GIT_SSH_COMMAND",
    "HOME",
]
STEERING += [
    "npm_config_registry",
    "JAVA_TOOL_OPTIONS",
    "MCPLOCAL_CREDENTIAL",
    "MCPCTL_TOKEN",
    "UV_INDEX_URL",
    "PERL5OPT",
    "DYLD_INSERT_LIBRARIES",
]


@pytest.mark.parametrize("name", STEERING)
def test_a_variable_that_would_change_what_runs_is_refused(name: str) -> None:
    with pytest.raises(Forbidden, match=name):
        StdioGuard([]).environment(spec("x", **{name: "y"}))


@pytest.mark.parametrize("name", ["GITHUB_TOKEN", "API_KEY", "PYTHONUNBUFFERED", "NOTES_FILE", "NODE_ENV", "DATABASE_URL"])
def test_other_variables_are_the_operators_affair(name: str) -> None:
    own = {"PATH": "/bin", "SECRET": "s", "MCPLOCAL_CREDENTIAL": "c", "LC_ALL": "C"}
    assert {"PATH": "/bin", "LC_ALL": "C", name: "y"} == StdioGuard([]).environment(spec("x", **{name: "y"}), own)


def test_nothing_about_reaching_a_server_is_printed() -> None:
    secret = ServerSpec("s", "stdio", "http://u", {"Authorization": "hidden"}, "hidden", ("hidden",), {"K": "hidden"})
    assert "hidden" not in repr(secret)
    assert "http" not in repr(secret)
