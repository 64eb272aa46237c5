"""``mcpctl quickstart``: everything in one process on SQLite, to see it work and to work with it on one machine."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from ipaddress import ip_address
from itertools import chain
from pathlib import Path

import platformdirs
import rich_click as click
from anyio import to_thread

from mcpctl import metrics
from mcpctl.api.app import build_app
from mcpctl.client import server_files
from mcpctl.client.server_files import Imported
from mcpctl.demo import time_server
from mcpctl.errors import InvalidSetting
from mcpctl.metrics import Series
from mcpctl.quickstart.screen import DecisionLines, connection_lines
from mcpctl.quickstart.seed import PROJECT, seed
from mcpctl.server import logs
from mcpctl.server import metrics as server_metrics
from mcpctl.server.command import drain, prepare, private_directory, private_file
from mcpctl.server.listener import Listener, run, run_until_signalled
from mcpctl.server.settings import ServerSettings, load
from mcpctl.services.passwords import generate
from mcpctl.shipped import shipped
from mcplocal import metrics_page, serve
from mcplocal import settings as gateway_settings


@click.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(platformdirs.user_data_dir("mcpctl")) / "quickstart",
    show_default="quickstart in your data directory",
    help="Where everything is kept: database, policies, credentials. Only you can read it.",
)
@click.option(
    "--listen", default="127.0.0.1:8470", show_default=True, metavar="HOST:PORT", help="Where the control plane listens."
)
@click.option(
    "--gateway-listen", default="127.0.0.1:8471", show_default=True, metavar="HOST:PORT", help="Where the gateway listens."
)
@click.option("--allow-remote", is_flag=True, help="Needed to listen on anything but loopback: others can then connect.")
@click.option(
    "--import",
    "import_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="An mcpServers JSON (Claude, Cursor, VS Code) whose servers join the project; its commands will be started.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON instead of the connection lines.")
def quickstart(
    directory: Path, listen: str, gateway_listen: str, import_file: Path | None, *, allow_remote: bool, as_json: bool
) -> None:
    """Run everything in one process: control plane, gateway, a project with real MCP servers, and a token.

    Prints how to connect Claude Code, curl and an SDK client, then one line for every call
    through the gateway and how it decided. The audit has all else: mcpctl get audit.

    Example: mcpctl quickstart --dir ./quickstart-data
    """
    os.umask(0o077)
    directory = directory.expanduser().resolve()
    private_directory(directory)
    _take(directory)
    policies = _policies(directory)
    settings = load({"listen": listen, "data_dir": directory, "policy_dir": policies})
    for address in (listen, gateway_listen, *([settings.metrics_listen] if settings.metrics_listen else [])):
        _require_loopback(address, allow_remote=allow_remote)
    imported = server_files.read(import_file) if import_file else []
    logs.configure("text" if settings.log_format == "auto" else settings.log_format, logging.WARNING)
    run(_run(settings, directory, gateway_listen, imported, allow_remote=allow_remote, as_json=as_json))


async def _run(
    settings: ServerSettings,
    directory: Path,
    gateway_listen: str,
    imported: Sequence[Imported],
    *,
    allow_remote: bool,
    as_json: bool,
) -> None:
    hosts = settings.allowed_hosts or (() if allow_remote else ("127.0.0.1", "localhost", "[::1]"))
    password = _admin_password(settings, directory)
    control = prepare(settings.model_copy(update={"admin_password": password, "allowed_hosts": hosts}))
    control_plane = Listener(build_app(control), *settings.address, settings.client_seconds)
    time = Listener(time_server.build_app(), "127.0.0.1", 0)
    shown: list[Callable[[], Iterable[Series]]] = [partial(server_metrics.series, control)]
    showing = []
    if settings.metrics_address is not None:  # of both programs, as they are one process
        app = metrics.app(lambda: chain.from_iterable(each() for each in shown))
        showing = [Listener(app, *settings.metrics_address, settings.client_seconds)]

    async def gateway() -> Sequence[Listener]:
        seeded = await to_thread.run_sync(seed, control_plane.address, password, directory, f"{time.address}/mcp", imported)
        own = _gateway_settings(gateway_listen, control_plane.address, directory, imported, hosts, seeded.credential_file)
        app = serve.build_app(own, on_decision=DecisionLines(quiet=as_json))
        draining.append(app.state.gateway.drain)  # known only now
        shown.append(partial(metrics_page.series, app.state.gateway))
        listener = Listener(app, *_address(gateway_listen), http=serve.http_protocol(app))
        if as_json:
            line = {
                "controlPlane": control_plane.address,
                "gateway": listener.address,
                "project": PROJECT,
                "token": seeded.token,
                "adminPassword": password,
            }
            screen.append(json.dumps(line))
        else:
            screen.append(connection_lines(control_plane.address, listener.address, directory, seeded.servers))
        return [listener]

    screen: list[str] = []
    draining: list[Callable[[], None]] = []

    def drain_gateway() -> None:
        for each in draining:
            each()

    # Said once everything answers, so that whoever reads it can connect at once.
    ready = partial(_say, screen)
    await run_until_signalled([control_plane, time, *showing], lambda: drain(control), gateway, ready, drain_gateway)


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(line)


def _gateway_settings(
    listen: str, control_plane: str, directory: Path, imported: Sequence[Imported], hosts: Sequence[str], credential: Path
) -> gateway_settings.Settings:
    own = gateway_settings.load()
    # Whoever starts quickstart with a file means its commands to run; nobody else's are allowed by that.
    commands = [[one.body["command"], *one.body["args"]] for one in imported if one.body["transport"] == "stdio"]
    return gateway_settings.load(
        listen=listen,
        control_plane=control_plane,
        credential_file=credential,
        name="quickstart",
        project=own.project or PROJECT,
        allowed_hosts=[*own.allowed_hosts, *hosts],
        upstream_networks=own.upstream_networks or "127.0.0.0/8,::1/128",
        stdio_allow=[*own.stdio_allow, *commands],
        state_dir=directory / "gateway",
        cache_dir=directory / "cache",
    )


def _take(directory: Path) -> None:
    """Hold the directory for as long as this process lives: two quickstarts in one would move each other's servers."""
    held = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise InvalidSetting(f"a quickstart already runs in {directory}: stop it, or take another --dir") from None


def _policies(directory: Path) -> Path:
    if "MCPCTL_POLICY_DIR" in os.environ:
        return Path(os.environ["MCPCTL_POLICY_DIR"])
    policies = directory / "policies"
    if not policies.exists():
        shutil.copytree(shipped("policies"), policies)
        for path in [policies, *policies.rglob("*")]:
            path.chmod(0o700 if path.is_dir() else 0o600)
    return policies


def _admin_password(settings: ServerSettings, directory: Path) -> str:
    """The password of ``admin``: of an earlier start, of ``MCPCTL_ADMIN_PASSWORD``, or a new one; kept for the next start."""
    kept = directory / "admin-password"
    if kept.is_file():
        return kept.read_text().strip()
    if (directory / "mcpctl.db").exists():
        raise InvalidSetting(f"{kept} is gone, and only its hash is kept: write the password there again, or use another --dir")
    password = settings.admin_password or generate()
    private_file(kept, password + "\n")
    return password


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


def _require_loopback(listen: str, *, allow_remote: bool) -> None:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise InvalidSetting(f"{listen!r} is not HOST:PORT, such as 127.0.0.1:8470")
    try:
        local = ip_address(host.strip("[]")).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local and not allow_remote:
        raise InvalidSetting(f"{listen} can be reached from other machines: add --allow-remote if that is meant")
