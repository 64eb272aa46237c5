"""Settings of ``mcpctl server``: flags beat ``MCPCTL_…`` variables beat a TOML file."""

from __future__ import annotations

import os
import tomllib
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import platformdirs
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mcpctl.errors import FieldError, InvalidInput, InvalidSetting, nearest
from mcpctl.services.lifetimes import duration, grace
from mcpctl.settings import PREFIX, SETTINGS, check_environment
from mcpctl.shipped import shipped

FROM_FILES: Final = ("database_url", "admin_password")
"""What a file may hold instead of a variable, so that it stands in no process's environment. Keys are read elsewhere."""


def _listen(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8470")
    return text


def _span(text: str) -> str:
    try:
        duration(text, "value")
    except InvalidInput as error:
        raise ValueError(error.errors[0].message) from None
    return text


def _span_or_none(text: str) -> str:
    try:
        grace(text, "value")
    except InvalidInput as error:
        raise ValueError(error.errors[0].message) from None
    return text


def _words(value: object) -> object:
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


class ServerSettings(BaseModel):
    """Everything the control plane can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:8470"
    data_dir: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("mcpctl")))
    database_url: str | None = None
    database_url_file: Path | None = None
    policy_dir: Path = Field(default_factory=lambda: shipped("policies"))
    admin_password: Annotated[str, Field(min_length=8, max_length=1024)] | None = None
    admin_password_file: Path | None = None
    secret_key: str | None = None
    secret_key_file: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    max_body_bytes: Annotated[int, Field(ge=1024, le=104_857_600)] = 1_048_576
    session_ttl: Annotated[str, AfterValidator(_span)] = "12h"
    client_timeout: Annotated[str, AfterValidator(_span)] = "30s"
    drain_delay: Annotated[str, AfterValidator(_span_or_none)] = "0s"
    shadow_policy_dir: Path | None = None
    metrics_listen: Annotated[str, AfterValidator(_listen)] | None = None
    log_format: Literal["auto", "json", "text"] = "auto"

    _split = field_validator("trusted_proxies", "allowed_hosts", mode="before")(_words)

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            try:
                ip_network(network, strict=False)
            except ValueError:
                raise ValueError(f"{network!r} is not a network such as 10.0.0.0/8") from None
        return networks

    @model_validator(mode="after")
    def _has_its_keys_from_one_place(self) -> Self:
        if self.secret_key is not None and self.secret_key_file is not None:
            raise ValueError("secret_key and secret_key_file are both set; which of them holds the keys? set one")
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port that ``/metrics`` is shown on, if it is."""
        if self.metrics_listen is None:
            return None
        host, _, port = self.metrics_listen.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def url(self) -> str:
        """The database, SQLite in the data directory unless said otherwise."""
        return self.database_url or f"sqlite:///{self.data_dir / 'mcpctl.db'}"

    @property
    def session_seconds(self) -> float:
        """How long a log-in lasts."""
        return duration(self.session_ttl, "session_ttl").total_seconds()

    @property
    def client_seconds(self) -> float:
        """How long a client may dawdle."""
        return duration(self.client_timeout, "client_timeout").total_seconds()

    @property
    def drain_seconds(self) -> float:
        """How long requests are served after SIGTERM while ``/readyz`` says no."""
        return grace(self.drain_delay, "drain_delay").total_seconds()


def load(flags: dict[str, Any], config_file: Path | None = None) -> ServerSettings:
    """The settings, from flags, environment and file, in this order.

    Raises:
        InvalidSetting: naming every flag, variable or member of the file that is wrong.
    """
    check_environment()
    path = config_file or (Path(os.environ["MCPCTL_CONFIG_FILE"]) if "MCPCTL_CONFIG_FILE" in os.environ else None)
    values: dict[str, Any] = {}
    where: dict[str, str] = {}
    for name, value in (_file(path) if path else {}).items():
        values[name], where[name] = value, f"{name} in {path}"
    for setting in SETTINGS:
        name = setting.name.removeprefix(PREFIX).lower()
        if name in ServerSettings.model_fields and setting.name in os.environ:
            values[name], where[name] = os.environ[setting.name], setting.name
    for name, value in flags.items():
        if value is not None:
            values[name], where[name] = value, "--" + name.replace("_", "-")
    for name in FROM_FILES:
        _take_from_file(name, values, where)
    try:
        return ServerSettings.model_validate(values)
    except ValidationError as error:
        errors = [
            _wrong(detail["loc"], detail["msg"], detail["type"], where)
            for detail in error.errors(include_url=False, include_input=False)
        ]
        raise InvalidSetting("; ".join(f"{one.field}: {one.message}" for one in errors), errors=errors) from None


def _take_from_file(name: str, values: dict[str, Any], where: dict[str, str]) -> None:
    """Let the file that ``<name>_file`` names say what ``name`` is.

    Raises:
        InvalidSetting: both are set, or the file cannot be read or is empty. What stands in it is not shown.
    """
    in_file = f"{name}_file"
    if values.get(in_file) is None:
        return
    told = where[in_file]
    if values.get(name) is not None:
        raise InvalidSetting(f"{told} and {where[name]} are both set; which of them counts? set one")
    try:
        text = Path(values[in_file]).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise InvalidSetting(f"{told}: {values[in_file]} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidSetting(f"{told}: {values[in_file]} is not UTF-8 text") from None
    if not text:
        raise InvalidSetting(f"{told}: {values[in_file]} is empty")
    values[name], where[name] = text, told


def _file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSetting(f"the settings file {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"the settings file {path} is not TOML: {error}") from None


def _wrong(loc: tuple[int | str, ...], message: str, kind: str, where: dict[str, str]) -> FieldError:
    name = str(loc[0]) if loc else "settings"
    if kind == "extra_forbidden":
        return FieldError(where.get(name, name), "there is no such setting", nearest(name, list(ServerSettings.model_fields)))
    message = message.removeprefix("Value error, ")
    return FieldError(where.get(name, name), message[:1].lower() + message[1:])
