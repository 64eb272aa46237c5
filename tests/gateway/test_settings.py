"""The gateway's settings: what beats what, and what is refused."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from mcpctl.errors import InvalidSetting
from mcplocal.settings import DEMO_SERVERS, Settings, load


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"MCPLOCAL_{name.upper()}", raising=False)


def test_a_flag_beats_a_variable_beats_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "mcplocal.toml"
    file.write_text('project = "file"\nname = "file"\ngateway = "http://file"\n')
    monkeypatch.setenv("MCPLOCAL_CONFIG_FILE", str(file))
    monkeypatch.setenv("MCPLOCAL_PROJECT", "variable")
    monkeypatch.setenv("MCPLOCAL_NAME", "variable")
    found = load(project="flag", listen=None)
    assert ("flag", "variable", "http://file", "127.0.0.1:8471") == (found.project, found.name, found.gateway, found.listen)


def test_the_defaults_guard() -> None:
    found = load({})
    assert ((), DEMO_SERVERS, 30.0) == (found.upstream_networks, found.stdio_allow, found.trust_for)
    assert () == found.trusted_proxies
    assert found.address == ("127.0.0.1", 8471)


READ = {
    ("trust_for", "0"): 0,
    ("trust_for", "500ms"): 0.5,
    ("trust_for", "2m"): 120,
    ("trust_for", " 7 "): 7,
    ("upstream_networks", "127.0.0.0/8, ::1/128"): (ip_network("127.0.0.0/8"), ip_network("::1/128")),
    ("trusted_proxies", "10.244.0.0/16"): (ip_network("10.244.0.0/16"),),
    ("allowed_hosts", "a.example, b.example"): ("a.example", "b.example"),
    ("stdio_allow", '[["npx","-y","@acme/*","**"]]'): (("npx", "-y", "@acme/*", "**"),),
    ("stdio_allow", "[]"): (),
}


def test_variables_are_read_as_they_are_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    for (name, text), value in READ.items():
        monkeypatch.setenv(f"MCPLOCAL_{name.upper()}", text)
        assert getattr(load(), name) == value, (name, text)
        monkeypatch.delenv(f"MCPLOCAL_{name.upper()}")


REFUSED = {
    ("trust_for", "soon"): "duration",
    ("trust_for", "-1"): "MCPLOCAL_TRUST_FOR",
    ("upstream_networks", "10.0.0.1/8"): "CIDR",
    ("trusted_proxies", "ingress"): "CIDR",
    ("stdio_allow", "npx"): "JSON",
    ("stdio_allow", '["npx"]'): "list of argument vectors",
    ("stdio_allow", "[[]]"): "list of argument vectors",
    ("stdio_allow", '[["npx","**","x"]]'): "last word",
    ("stdio_allow", '[["*","x"]]'): "command itself",
    ("name", "Not A Name"): "MCPLOCAL_NAME",
    ("log_level", "loud"): "MCPLOCAL_LOG_LEVEL",
}


def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for (name, text), said in REFUSED.items():
        monkeypatch.setenv(f"MCPLOCAL_{name.upper()}", text)
        with pytest.raises(InvalidSetting, match=said) as refused:
            load()
        assert f"MCPLOCAL_{name.upper()}" in refused.value.detail
        monkeypatch.delenv(f"MCPLOCAL_{name.upper()}")
    with pytest.raises(InvalidSetting, match="HOST:PORT"):
        _ = load({}, listen="nowhere").address


def test_a_misspelt_variable_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(InvalidSetting, match="did you mean MCPLOCAL_UPSTREAM_NETWORKS"):
        load({"MCPLOCAL_UPSTREAM_NETWORK": "10.0.0.0/8"})


def test_what_kubernetes_makes_for_a_service_is_no_setting() -> None:
    links = (
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_HTTP",
        "PORT",
        "PORT_8471_TCP",
        "PORT_8471_TCP_ADDR",
        "X_SERVICE_HOST",
    )
    load({f"MCPLOCAL_{name}": "tcp://10.0.0.1:8471" for name in links})


def test_an_unknown_member_of_the_file_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "mcplocal.toml"
    file.write_text('projcet = "x"\n')
    with pytest.raises(InvalidSetting, match="did you mean 'project'"):
        load({"MCPLOCAL_CONFIG_FILE": str(file)})


def test_every_setting_says_what_it_means() -> None:
    assert [] == [name for name, field in Settings.model_fields.items() if not field.description]


def test_a_credential_is_never_shown() -> None:
    assert "hidden" not in repr(load({}, credential="hidden"))
