"""Packages of other makers that the tests run, from npm and from PyPI by name, kept beside ``.venv`` in ``.interop``.

Each is installed once, at the version named here, whichever of several test processes comes first.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
INSTALLED = HERE.parent.parent / ".interop"

PYTHON_SERVERS = {
    "time": ["mcp-server-time==2026.10.19"],
    "time-legacy": ["mcp-server-time==2026.1.26", "mcp==1.30.0"],
    "git": ["mcp-server-git==2026.10.19"],
}
"""Servers from PyPI, first the one whose program is meant. Each has an environment of its own, as its users give it; one is
of the time before 2026-07-28, on the SDK of then."""


FASTMCP = ["fastmcp==4.2.3"]
"""A framework whose servers verify bearers by introspection, in an environment of its own."""


def has_npm() -> bool:
    """Whether packages of npm can be installed and run here."""
    return shutil.which("npm") is not None and shutil.which("node") is not None


def npm_packages() -> Path:
    """The ``node_modules`` that holds all that ``package.json`` names."""
    return npm_modules("npm", (HERE / "package.json").read_bytes())


def npm_modules(name: str, manifest: bytes, *, scripts: bool = False) -> Path:
    """The ``node_modules`` that holds all that a ``package.json`` with this text names.

    Args:
        name: of the directory that holds it.
        manifest: the text; each package in it at one exact version.
        scripts: let packages run scripts of their own when they are installed; few need to. Without, what is only optional, for
            other machines, is left out too.
    """

    def install(where: Path) -> None:
        (where / "package.json").write_bytes(manifest)
        careful = [] if scripts else ["--ignore-scripts", "--omit=optional"]
        run(["npm", "install", "--no-package-lock", *careful, "--no-audit", "--no-fund"], where)

    return once(name, manifest, install) / "node_modules"


def client_scripts() -> Path:
    """A directory with the scripts of ``clients/``, where node finds the packages they import."""
    scripts, modules = sorted((HERE / "clients").glob("*.mjs")), npm_packages()

    def install(where: Path) -> None:
        (where / "node_modules").symlink_to(modules)
        for script in scripts:
            shutil.copy(script, where)

    return once("clients", b"".join(script.read_bytes() for script in scripts) + bytes(modules), install)


def python_server(kind: str) -> Path:
    """The program of one of ``PYTHON_SERVERS``."""
    requirements = PYTHON_SERVERS[kind]
    return python_environment(kind, requirements) / "bin" / requirements[0].partition("==")[0]


def python_environment(kind: str, requirements: list[str]) -> Path:
    """An environment that has these."""

    def install(where: Path) -> None:
        venv.create(where, with_pip=False, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", str(where / "bin" / "python"), "--disable-pip-version-check"]
        run([*pip, "install", "--quiet", "--no-compile", *requirements], where)

    return once(kind, f"{requirements} {sys.version}".encode(), install)


def install_all() -> None:
    """Have everything there, all at the same time: downloading leaves the machine idle."""
    with ThreadPoolExecutor() as pool:
        begun = [pool.submit(python_server, kind) for kind in PYTHON_SERVERS]
        if has_npm():
            npm_packages()
        for one in begun:
            one.result()


def once(name: str, wanted: bytes, install: Callable[[Path], None]) -> Path:
    """A directory that ``install`` has filled for exactly ``wanted``; others who ask meanwhile wait."""
    here = bytes(INSTALLED)  # what is installed knows its own place, so a tree that was moved installs anew
    where = INSTALLED / f"{name}-{hashlib.sha256(here + wanted).hexdigest()[:12]}"
    done = where / "installed"
    INSTALLED.mkdir(exist_ok=True)
    with (INSTALLED / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(where, ignore_errors=True)  # what an interrupted attempt left
            where.mkdir()
            install(where)
            done.touch()
    return where


def run(argv: Sequence[str], where: Path) -> None:
    """Run a program to its end; if it fails, what it said is the error."""
    done = subprocess.run(argv, cwd=where, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert 0 == done.returncode, f"{' '.join(argv)}\n{done.stdout}\n{done.stderr}"
