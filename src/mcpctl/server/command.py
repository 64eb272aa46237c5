"""``mcpctl server``: the control plane alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import rich_click as click
import structlog

from mcpctl.api.app import build_app
from mcpctl.api.control_plane import ControlPlane
from mcpctl.errors import InvalidSetting
from mcpctl.long_life import collect_rarely
from mcpctl.server import logs, metrics
from mcpctl.server.listener import Listener, run, run_until_signalled
from mcpctl.server.settings import ServerSettings, load
from mcpctl.services.keyring import Keyring, generate_key, parse_keys
from mcpctl.store.database import Database

logger = structlog.get_logger(__name__)


@click.command()
@click.option("--listen", metavar="HOST:PORT", help="Where to listen.  [default: 127.0.0.1:8470]")
@click.option("--database-url", metavar="URL", help="SQLite or PostgreSQL.  [default: SQLite in the data directory]")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the SQLite database and generated files are kept.")
@click.option(
    "--policy-dir", type=click.Path(path_type=Path), help="Directory of model.conf and *.csv.  [default: the shipped one]"
)
@click.option("--config-file", type=click.Path(path_type=Path), help="TOML file with settings.")
@click.option(
    "--log-format",
    type=click.Choice(["auto", "json", "text"]),
    help="Form of the log: auto is text on a terminal and JSON elsewhere.  [default: auto]",
)
def server(config_file: Path | None, **flags: object) -> None:
    """Run the control plane.

    Every setting is also an MCPCTL_ variable (MCPCTL_LISTEN, MCPCTL_DATABASE_URL, …); flags beat variables beat the file.

    Example: mcpctl server --listen 127.0.0.1:8470 --data-dir ./data
    """
    settings = load(flags, config_file)
    os.umask(0o077)  # whatever this makes, the database included, is nobody else's
    logs.configure(settings.log_format)
    run(_serve(settings))


async def _serve(settings: ServerSettings) -> None:
    control = prepare(settings)
    listeners = [Listener(build_app(control), *settings.address, settings.client_seconds)]
    if settings.metrics_address is not None:
        listeners.append(Listener(metrics.app(control), *settings.metrics_address, settings.client_seconds))

    def ready() -> None:
        """Say so only now: whoever waits for the line connects at once, and a bound socket takes nobody yet."""
        for shown in listeners[1:]:
            logger.info("showing metrics", address=shown.address + "/metrics")
        logger.info("listening", address=listeners[0].address, database=control.database.url.get_backend_name())
        collect_rarely()

    def leave() -> None:
        logger.info("draining: what is under way is finished, and nobody more is served", seconds=settings.drain_seconds)
        control.leaving = True

    await run_until_signalled(listeners, lambda: drain(control), ready=ready, leave=leave, delay=settings.drain_seconds)


def prepare(settings: ServerSettings) -> ControlPlane:
    """The control plane these settings describe; says where the first admin's password is, if one was made.

    Raises:
        Problem: a setting, the policy directory or the database is not usable.
    """
    private_directory(settings.data_dir)
    control, generated = ControlPlane.prepare(
        Database(settings.url), settings.policy_dir, settings.admin_password, _keyring(settings)
    )
    if own := _own_key_file(settings):
        # Only now: had secrets been kept, their key would be missing, and a new one beside them would look like it.
        if not own.exists():
            private_file(own, generate_key() + "\n", replace=False)
            logger.info("secrets are encrypted with a new key: keep a copy of it, apart from the database", path=str(own))
        control.keyring = _read_keys(own)
    if settings.shadow_policy_dir is not None:
        control.ask_beside(settings.shadow_policy_dir)
    control.session_seconds = settings.session_seconds
    control.max_body_bytes = settings.max_body_bytes
    control.allowed_hosts = frozenset(settings.allowed_hosts)
    control.trusted_proxies = settings.trusted_proxies
    if generated is not None:
        _hand_over(generated, settings.data_dir)
    return control


def _keyring(settings: ServerSettings) -> Keyring:
    """The keys that are set; with SQLite and none set, those in the file of its own beside the database.

    Several replicas on PostgreSQL must share their keys, so there no file is made.
    """
    if settings.secret_key is not None:
        return Keyring(parse_keys(settings.secret_key, "MCPCTL_SECRET_KEY"), "MCPCTL_SECRET_KEY")
    if settings.secret_key_file is not None:
        return _read_keys(settings.secret_key_file)
    own = _own_key_file(settings)
    if own is None:
        return Keyring((), "neither MCPCTL_SECRET_KEY nor MCPCTL_SECRET_KEY_FILE")
    return _read_keys(own) if own.exists() else Keyring((), f"{own}, which is not there,")


def _own_key_file(settings: ServerSettings) -> Path | None:
    set_elsewhere = settings.secret_key is not None or settings.secret_key_file is not None
    return None if set_elsewhere or settings.database_url is not None else settings.data_dir / "secret-key"


def _read_keys(path: Path) -> Keyring:
    try:
        return Keyring(parse_keys(path.read_text(encoding="utf-8"), str(path)), str(path))
    except OSError as error:
        raise InvalidSetting(f"the secret key file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidSetting(f"the secret key file {path} holds no text") from None


def drain(control: ControlPlane) -> None:
    """Tell long answers that this process is about to end."""
    control.draining = True


def private_directory(path: Path) -> None:
    """Make sure the directory exists and nobody else may look into it."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InvalidSetting(f"the directory {path} cannot be made: {error.strerror}") from None
    if path.stat().st_uid == os.getuid() and path.stat().st_mode & 0o077:
        path.chmod(0o700)


def private_file(path: Path, text: str, *, replace: bool = True) -> None:
    """Write a file that nobody else may read, whole or not at all. Without ``replace``, what is there already stays."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    if replace:
        fresh.replace(path)
        return
    try:
        path.hardlink_to(fresh)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()


def _hand_over(password: str, directory: Path) -> None:
    """Show the first admin's password to a person, or leave it in a file only its owner can read."""
    if sys.stdout.isatty():
        click.echo(
            f"First start. User: admin  Password: {password}\nIt is not shown again; change it with 'mcpctl set password'."
        )
    else:
        path = directory / "admin-password"
        private_file(path, password + "\n")
        logger.info("first start: the password of admin is in a file", path=str(path))
