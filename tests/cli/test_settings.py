"""Variables: the ones there are, and what is said about the others."""

from __future__ import annotations

import pytest

from mcpctl.errors import InvalidSetting
from mcpctl.server.settings import ServerSettings
from mcpctl.settings import NAMES, SETTINGS, check_environment
from tests.cli.conftest import Mcpctl

SERVICE_LINKS = (
    "MCPCTL_SERVICE_HOST",
    "MCPCTL_SERVICE_PORT",
    "MCPCTL_SERVICE_PORT_HTTP_METRICS",
    "MCPCTL_PORT",
    "MCPCTL_PORT_8470_TCP",
    "MCPCTL_PORT_8470_TCP_PROTO",
    "MCPCTL_PORT_8470_TCP_PORT",
    "MCPCTL_PORT_8470_TCP_ADDR",
    "MCPCTL_SERVER_SERVICE_HOST",
    "MCPCTL_SERVER_PORT_8470_UDP",
)

UNKNOWN = (
    ("MCPCTL_TOKNE", "MCPCTL_TOKEN"),
    ("MCPCTL_DATABASE", "MCPCTL_DATABASE_URL"),
    ("MCPCTL_SERVICE_HOSTS", None),
    ("MCPCTL_PORTS", None),
    ("MCPCTL_FOO", None),
    ("MCPCTL_", None),
)


@pytest.mark.parametrize("name", SERVICE_LINKS)
def test_what_kubernetes_sets_for_a_service_is_ignored(name: str) -> None:
    check_environment(environ={name: "tcp://10.0.0.1:8470"})


@pytest.mark.parametrize(("name", "close"), UNKNOWN)
def test_an_unknown_variable_is_named_with_the_nearest_there_is(name: str, close: str | None) -> None:
    with pytest.raises(InvalidSetting) as refused:
        check_environment(environ={name: "x"})
    (error,) = refused.value.errors
    assert name == error.field
    assert name in refused.value.detail
    assert close == error.nearest
    assert f"{name} is not a setting" + (f"; did you mean {close}?" if close else "") == refused.value.detail


def test_all_unknown_variables_are_named_at_once() -> None:
    with pytest.raises(InvalidSetting) as refused:
        check_environment("APP_", ["APP_ONE"], {"APP_TWO": "", "APP_ONE": "", "APP_THREE": "", "OTHER": ""})
    assert ["APP_THREE", "APP_TWO"] == [error.field for error in refused.value.errors]


def test_no_value_is_ever_repeated() -> None:
    with pytest.raises(InvalidSetting) as refused:
        check_environment(environ={"MCPCTL_TOKNE": "mcpctl_pat_verysecret"})
    assert "verysecret" not in str(refused.value.as_json())


def test_the_registry_holds_every_setting_of_the_server_and_no_other() -> None:
    fields = {f"MCPCTL_{field.upper()}" for field in ServerSettings.model_fields} | {"MCPCTL_CONFIG_FILE"}
    assert fields == {one.name for one in SETTINGS if one.side == "server"}
    assert len(NAMES) == len(SETTINGS)


def test_a_command_refuses_to_run_beside_an_unknown_variable(mcpctl: Mcpctl) -> None:
    mcpctl.patch.setenv("MCPCTL_PROJEKT", "demo")
    ran = mcpctl("config", "view")
    assert (2, "") == (ran.code, ran.out)
    assert "MCPCTL_PROJEKT is not a setting" in ran.err
    assert 1 == ran.err.count("MCPCTL_PROJEKT")
