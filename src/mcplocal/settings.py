"""The gateway's settings: flags beat ``MCPLOCAL_…`` variables beat the TOML file that ``MCPLOCAL_CONFIG_FILE`` names.

A variable with that prefix that means nothing is an error, because a misspelt one would silently leave a guard at its
default. Names that Kubernetes makes for a Service called ``mcplocal`` are the exception.
"""

from __future__ import annotations

import os
import re
import socket
import tomllib
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

import durationpy
import platformdirs
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mcpctl.errors import FieldError, InvalidInput, InvalidSetting, nearest
from mcpctl.policy.names import check_name
from mcpctl.settings import check_environment
from mcplocal.json_text import NotJson, read

PREFIX: Final = "MCPLOCAL_"
CONFIG_VARIABLE: Final = PREFIX + "CONFIG_FILE"

Network = IPv4Network | IPv6Network


def _seconds(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"\d+(\.\d+)?", value.strip()):
        try:
            return durationpy.from_str(value.strip()).total_seconds()
        except Exception:
            raise ValueError(f"{value!r} is not a duration; write 30s, 500ms or 2m") from None
    return value


def _words(value: Any) -> Any:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _networks(value: Any) -> Any:
    found = []
    for word in _words(value):
        try:
            found.append(word if isinstance(word, IPv4Network | IPv6Network) else ip_network(word))
        except ValueError as error:
            raise ValueError(f"{word!r} is not a network in CIDR form: {error}") from None
    return tuple(found)


def _argv_patterns(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = read(value, unique=True)
        except NotJson as error:
            raise ValueError(f"it is not JSON: {error}") from None
    ok = isinstance(value, list | tuple) and all(
        isinstance(pattern, list | tuple) and pattern and all(isinstance(word, str) for word in pattern) for pattern in value
    )
    if not ok:
        raise ValueError('it is a JSON list of argument vectors: [["npx","-y","@acme/server-*"], …]')
    for pattern in value:
        if "**" in pattern[:-1]:
            raise ValueError(f"'**' may only be the last word of a pattern: {pattern!r}")
        if "*" in pattern[0]:
            raise ValueError(f"the command itself is named, never a pattern: {pattern[0]!r}")
    return tuple(tuple(pattern) for pattern in value)


def _gateway_name(value: str) -> str:
    try:
        return check_name(value, "gateway name")
    except InvalidInput as error:
        raise ValueError(error.detail) from None


def _default_name() -> str:
    name = re.sub(r"[^a-z0-9._-]", "-", socket.gethostname().lower())[:63].strip("._-")
    return name or "gateway"


def _listen(value: str) -> str:
    host_and_port(value)
    return value


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("it is not a base URL: write https://mcp.example.com")
    return value.rstrip("/")


def _issuers(value: tuple[str, ...]) -> tuple[str, ...]:
    for issuer in value:
        _base_url(issuer)
    return value


def host_and_port(value: str, example: str = "127.0.0.1:8471") -> tuple[str, int]:
    """The two parts of HOST:PORT. An empty host means every interface, by its own wish.

    Raises:
        ValueError: it is not so written.
    """
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{value!r}; write HOST:PORT, such as {example}")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104


def _loopback_address(value: str) -> str:
    host, _ = host_and_port(value, "127.0.0.1:8472")
    try:
        loopback = host.lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(f"{host} is not a loopback address: whoever reaches it is let in without a credential")
    return value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=86_400)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]

DEMO_SERVERS: Final = (
    ("python", "-m", "mcpctl.demo.notes_server"),
    ("python", "-m", "mcpctl.demo.time_server", "--stdio"),
)
"""The stdio servers shipped with the project; ``python`` is here the gateway's own interpreter."""


class Settings(BaseSettings):
    """Everything that can be set, with what it means. Durations are seconds, or text such as ``500ms``, ``30s``, ``2m``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    listen: str = Field(default="127.0.0.1:8471", description="HOST:PORT the gateway listens on")
    metrics_listen: Annotated[str, AfterValidator(_listen)] | None = Field(
        default=None, description="HOST:PORT that shows /metrics; without it nothing does"
    )
    sse_listen: Annotated[str, AfterValidator(_loopback_address)] | None = Field(
        default=None,
        description="HOST:PORT on loopback where the deprecated transport HTTP+SSE is served, at /sse, to clients that speak "
        "nothing else; off unless set, and MCPLOCAL_SSE_TOKEN_FILE is needed",
    )
    sse_token_file: Path | None = Field(
        default=None,
        description="file with the one project token that whoever reaches MCPLOCAL_SSE_LISTEN is; nobody but its owner may "
        "read it (chmod 600), and a new token in it counts at once",
    )
    control_plane: str = Field(default="http://127.0.0.1:8470", description="base URL of the control plane")
    credential: SecretStr | None = Field(default=None, description="the gateway's own session (mcpctl_ses_…)")
    credential_file: Path | None = Field(
        default=None, description="file that holds the gateway's own session; read again when the control plane answers 401"
    )
    name: Annotated[str, AfterValidator(_gateway_name)] = Field(
        default_factory=_default_name, description="this gateway's name in instances and audit; by default the host's name"
    )
    project: str | None = Field(
        default=None, description="the project that /mcp is for a person's session, and that the STDIO entry connects to"
    )
    gateway: str | None = Field(
        default=None, description="base URL of the gateway that the STDIO entry speaks to; by default the mcpctl context's"
    )
    trust_for: Seconds = Field(
        default=30.0,
        description="how long what is known serves after the last heartbeat of an unreachable control plane; 0: not at all",
    )
    allowed_hosts: Words = Field(
        default=(),
        description="Host names accepted besides this machine's own, comma separated; addresses need no listing",
    )
    allowed_origins: Words = Field(
        default=(), description="browser origins accepted besides the gateway's own, comma separated: https://app.example"
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = Field(
        default=(),
        description="networks of proxies before the gateway, comma separated: only what these say in X-Forwarded-For counts as "
        "the client's address, in the audit and for who is slowed down",
    )
    public_url: Annotated[str, AfterValidator(_base_url)] | None = Field(
        default=None, description="base URL by which clients know this gateway, such as https://mcp.example.com"
    )
    authorization_servers: Annotated[Words, AfterValidator(_issuers)] = Field(
        default=(),
        description="issuers that give clients a bearer, comma separated; with them, 401 answers point to RFC 9728 metadata, "
        "and MCPLOCAL_PUBLIC_URL is needed",
    )
    upstream_networks: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = Field(
        default=(),
        description="private and loopback networks upstream servers may be in, comma separated: 127.0.0.0/8,10.1.0.0/16; "
        "link-local and metadata addresses are refused even inside",
    )
    stdio_allow: Annotated[tuple[tuple[str, ...], ...], NoDecode, BeforeValidator(_argv_patterns)] = Field(
        default=DEMO_SERVERS,
        description="argument vectors that may be started as stdio servers, as a JSON list of lists: each word matches itself, "
        "* inside a word matches letters, digits, . _ - within that word, ** as the last word matches the rest, options too; "
        "by default the shipped demo servers",
    )
    state_dir: Path = Field(
        default_factory=lambda: platformdirs.user_state_path("mcplocal"),
        description="where audit events wait on disk while the control plane is away",
    )
    cache_dir: Path = Field(
        default_factory=lambda: platformdirs.user_cache_path("mcplocal"), description="where results are cached"
    )
    cache_max_bytes: int = Field(default=1 << 30, ge=1 << 16, description="bytes of results and pages that are kept")
    cache_max_entries: int = Field(default=20_000, ge=10, description="results and texts that are kept")
    cache_max_age: Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=604_800)] = Field(
        default=86_400.0, description="how long anything is kept, whatever a proxy model says"
    )
    summarizer_url: Annotated[str, AfterValidator(_base_url)] | None = Field(
        default=None,
        description="base URL of an OpenAI-compatible endpoint for the stage summarize, such as http://vllm:8000/v1; "
        "results of tools are sent there",
    )
    summarizer_model: str | None = Field(default=None, description="the language model asked for there")
    summarizer_key_file: Path | None = Field(
        default=None, description="file that holds the endpoint's API key; read for each request, so that it can be rotated"
    )
    summarizer_timeout: Seconds = Field(
        default=10.0, description="how long the endpoint may take to connect, and be silent between two pieces of its answer"
    )
    summarizer_concurrency: int = Field(default=4, ge=1, description="summaries made at once")
    summarizer_tokens_per_hour: int = Field(
        default=1_000_000, ge=0, description="tokens this gateway may spend on summaries within an hour, questions and answers"
    )
    list_ttl: Seconds = Field(default=300.0, description="how long a list of a server is used before it is asked again")
    list_retry: Seconds = Field(
        default=5.0, description="how long a server that failed is not asked again; doubles with each failure, up to list_ttl"
    )
    list_timeout: Seconds = Field(default=5.0, description="how long a list waits for one server before it does without")
    connect_timeout: Seconds = Field(default=5.0, description="time to connect to an upstream or the control plane")
    start_timeout: Seconds = Field(default=30.0, description="time for a stdio server to start and shake hands")
    probe_timeout: Seconds = Field(
        default=3.0, description="how long server/discover may go unanswered before a stdio server is taken for an older one"
    )
    call_timeout: Seconds = Field(default=300.0, description="time for one tool call, whatever its progress")
    probe_interval: Seconds = Field(
        default=30.0, description="how often idle upstreams are probed and their status is reported"
    )
    idle_timeout: Seconds = Field(default=1800.0, description="when an unused session or stateful upstream connection ends")
    client_timeout: Seconds = Field(
        default=30.0, description="how long a client may take to send one request, or go without taking any of an answer"
    )
    drain_delay: Seconds = Field(
        default=0.0,
        description="how long after SIGTERM /readyz says no while requests are still served: whoever balances is to hear of it",
    )
    max_request_bytes: int = Field(default=4 << 20, ge=1024, description="largest body accepted from a client")
    max_response_bytes: int = Field(default=64 << 20, ge=1024, description="largest answer accepted from an upstream")
    max_sessions: int = Field(
        default=64,
        ge=1,
        description="handshake-era sessions per principal, the idlest makes room; and streams of subscriptions",
    )
    max_subscriptions: int = Field(
        default=256, ge=1, description="resources that one session, or one subscriptions/listen, may be subscribed to"
    )
    max_subscriptions_in_all: int = Field(
        default=10_000, ge=1, description="resources that all clients of the gateway together may be subscribed to"
    )
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error")
    log_format: str = Field(default="auto", pattern="^(auto|json|text)$", description="json, text, or text on a terminal only")

    @model_validator(mode="after")
    def _metadata_has_an_address(self) -> Self:
        if self.authorization_servers and self.public_url is None:
            raise ValueError("MCPLOCAL_AUTHORIZATION_SERVERS needs MCPLOCAL_PUBLIC_URL: clients must know what they authorize")
        return self

    @model_validator(mode="after")
    def _sse_has_both_or_neither(self) -> Self:
        if (self.sse_listen is None) != (self.sse_token_file is None):
            missing = "LISTEN" if self.sse_listen is None else "TOKEN_FILE"
            raise ValueError(f"MCPLOCAL_SSE_{missing} is not set: MCPLOCAL_SSE_LISTEN and MCPLOCAL_SSE_TOKEN_FILE go together")
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of ``listen``.

        Raises:
            InvalidSetting: it is not HOST:PORT.
        """
        try:
            return host_and_port(self.listen)
        except ValueError as error:
            raise InvalidSetting(f"MCPLOCAL_LISTEN is {error}") from None

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port that ``/metrics`` is shown on, if it is."""
        return None if self.metrics_listen is None else host_and_port(self.metrics_listen)


def load(environ: Mapping[str, str] = os.environ, **flags: Any) -> Settings:
    """The settings in force.

    Args:
        environ: where variables are looked for besides the process's own.
        flags: settings given on the command line; ``None`` means not given.

    Raises:
        InvalidSetting: one is unknown or wrong; the sentence names it, and the nearest valid name.
    """
    check_environment(PREFIX, [*(PREFIX + field.upper() for field in Settings.model_fields), CONFIG_VARIABLE], environ)
    given = {key: value for key, value in flags.items() if value is not None}
    from_file = _read_file(environ.get(CONFIG_VARIABLE))
    fallback = {key: value for key, value in from_file.items() if PREFIX + key.upper() not in environ}
    try:
        return Settings(**{**fallback, **given})
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> InvalidSetting:
    """Pydantic's findings in our words, by variable name."""
    findings = []
    for found in error.errors(include_input=False, include_url=False):
        text = found["msg"].removeprefix("Value error, ")
        # What is about more than one setting begins with the name of the one to change.
        field, text = (PREFIX + str(found["loc"][0]).upper(), text) if found["loc"] else text.split(" ", 1)
        findings.append(FieldError(field, text))
    return InvalidSetting("; ".join(f"{f.field}: {f.message}" for f in findings), errors=findings)


def _read_file(path: str | None) -> dict[str, Any]:
    if not path:
        return {}
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidSetting(f"{CONFIG_VARIABLE}: {path} cannot be read: {error}") from None
    for key in found:
        if key not in Settings.model_fields:
            close = nearest(key, list(Settings.model_fields))
            hint = f"; did you mean {close!r}?" if close else ""
            raise InvalidSetting(f"{path}: {key!r} is not a setting{hint}")
    return found
