"""``mcplocal cache``: what is kept of results on this machine, and away with it. Needs no gateway to run, and no credential."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final

import rich_click as click

from mcplocal.results.private_directory import Content, PrivateDirectory
from mcplocal.results.shaping import cache_directory
from mcplocal.settings import load

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


@click.group()
def cache() -> None:
    """Look at, or empty, the cache of results and pages (MCPLOCAL_CACHE_DIR)."""


_output = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to show it."
)


@cache.command()
@_output
def stats(output: str) -> None:
    """Show how much is kept, and how much may be.

    Example: mcplocal cache stats -o json
    """
    directory = cache_directory(load())
    found, limits = directory.content(), directory.limits
    oldest = datetime.fromtimestamp(found.oldest_at, UTC) if found.oldest_at is not None else None
    if output == "json":
        told = {
            "directory": str(directory.path),
            "entries": found.entries,
            "maxEntries": limits.most_entries,
            "bytes": found.size,
            "maxBytes": limits.most_bytes,
            "oldest": oldest.isoformat(timespec="seconds").replace("+00:00", "Z") if oldest is not None else None,
            "maxAgeSeconds": limits.most_age,
            "unusable": directory.unusable,
        }
        click.echo(json.dumps(told, indent=2))
        return
    rows = [
        ("Directory", str(directory.path)),
        ("Entries", f"{found.entries:,} of at most {limits.most_entries:,}"),
        ("Size", f"{_shown(found.size)} of at most {_shown(limits.most_bytes)}"),
        ("Oldest", oldest.strftime("%Y-%m-%d %H:%M:%S UTC") if oldest is not None else "nothing is kept"),
    ]
    for name, value in rows:
        click.echo(f"{name + ':':<11}{value}")
    _say_if_unusable(directory)


@cache.command()
@_output
def clear(output: str) -> None:
    """Remove everything that is kept. Gateways may go on meanwhile: what they miss they fetch anew.

    Example: mcplocal cache clear
    """
    directory = cache_directory(load())
    if (why := directory.unusable) is not None:
        raise click.ClickException(f"nothing was removed: {why}")
    found: Content = directory.clear()
    if output == "json":
        click.echo(json.dumps({"directory": str(directory.path), "removedEntries": found.entries, "removedBytes": found.size}))
        return
    click.echo(f"Removed {found.entries:,} entries ({_shown(found.size)}) from {directory.path}")


def _say_if_unusable(directory: PrivateDirectory) -> None:
    if (why := directory.unusable) is not None:
        click.echo(f"It is not used: {why}", err=True)


def _shown(size: int) -> str:
    number = float(size)
    for unit in _UNITS:
        if number < 1024 or unit == _UNITS[-1]:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError
