"""What builds and runs images, from the machine's own distribution; and the base images, made of its packages."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

PROGRAMS: Final = {"buildah": "buildah", "podman": "podman", "mmdebstrap": "mmdebstrap", "runc": "runc"}
"""What is needed, and the Debian package it comes in. ``runc`` also runs where control groups are of both kinds at once."""

SPARED: Final = (
    "usr/share/doc usr/share/man usr/share/info usr/share/locale usr/share/perl usr/lib/*-linux-gnu/perl "
    "usr/lib/*-linux-gnu/libperl.so.* usr/bin/perl5* usr/lib/*-linux-gnu/gconv usr/lib/python3*/pydoc_data "
    "usr/lib/python3*/lib2to3 usr/lib/python3*/idlelib var/cache/* var/log/*"
)
"""What no program here reads."""

LIMITS: Final = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
"""Asked for where the machine does not let root raise its own."""


class NotHere(Exception):
    """This machine cannot do it; the sentence says what is missing."""


class Failed(Exception):
    """It can be done here and went wrong; the sentence says how."""


@dataclass(frozen=True)
class Bases:
    """The images to build in and to build upon."""

    build: str
    run: str


def say(what: str) -> None:
    """A step, on standard error."""
    print(f"… {what}", file=sys.stderr, flush=True)


def run(words: Sequence[str], environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """The standard output of a program that must succeed.

    Raises:
        Failed: it did not, with the end of what it said.
    """
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environ, cwd=cwd)
    if done.returncode:
        raise Failed(f"{' '.join(words[:3])} … ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout.strip()


def require() -> None:
    """Have every program; from the distribution, where one is missing.

    Raises:
        NotHere: one is missing and cannot be installed here.
    """
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if not missing:
        return
    if os.getuid() or shutil.which("apt-get") is None:
        raise NotHere(f"{', '.join(missing)} are missing, and only root on a Debian system can install them")
    say(f"installing {', '.join(missing)}")
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        run(["apt-get", "update"], environ)
        run(["apt-get", "install", "--yes", "--no-install-recommends", *missing], environ)
    except Failed as failed:
        raise NotHere(f"{', '.join(missing)} cannot be installed: {failed}") from None


def bases() -> Bases:
    """Debian of this machine's release with Python, twice: with what makes environments, and with as little as it runs on.

    Made once for each recipe and day; the packages come from where this machine has its own from.

    Raises:
        NotHere: this is no Debian, its Python is too old, or its packages are not to be had.
    """
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    sources = _sources(codename)
    if not sources:
        raise NotHere("no package source of this machine is for its own release: name images with --base and --build-base")
    build = _base(codename, "python3-venv,ca-certificates", "", sources)
    return Bases(build, _base(codename, "python3,ca-certificates", f'cd "$1" && rm -rf {SPARED}', sources))


def _base(codename: str, packages: str, hook: str, sources: Sequence[Path]) -> str:
    made = sha256(f"{codename} {packages} {hook} {run(['date', '+%F'])}".encode()).hexdigest()[:12]
    name = f"localhost/mcpctl-base:{codename}-{made}"
    if subprocess.run(["podman", "image", "exists", name], check=False).returncode == 0:
        return name
    say(f"making a base image of {packages}")
    hooks = ["--customize-hook", hook] if hook else []
    tar = ["mmdebstrap", "--quiet", "--variant=essential", f"--include={packages}", *hooks, codename, "-", *map(str, sources)]
    with subprocess.Popen(tar, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as making:
        imported = subprocess.run(
            ["podman", "import", "--quiet", "-", name], stdin=making.stdout, capture_output=True, check=False
        )
        _, said = making.communicate()
    if making.returncode or imported.returncode:
        subprocess.run(["podman", "image", "rm", "--ignore", name], capture_output=True, check=False)
        raise NotHere(f"no base image could be made: {(said + imported.stderr).decode(errors='replace').strip()[-2000:]}")
    return name


def _sources(codename: str) -> list[Path]:
    """The files that say where this machine has the packages of its release from."""
    there = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    files = [path for path in there if path.suffix in (".list", ".sources") and path.is_file()]
    ours = {codename, f"{codename}-updates", f"{codename}-security"}
    return [path for path in files if ours & set(path.read_text(encoding="utf-8").split())]


def working_podman(image: str) -> tuple[list[str], list[str]]:
    """How containers run on this machine: words after ``podman``, and after ``run``.

    Raises:
        NotHere: none of the ways works.
    """
    tried = []
    for before in ([], ["--runtime", "runc"]):
        for after in ([], [*LIMITS]):
            words = ["podman", *before, "run", "--rm", "--network=host", *after, image, "true"]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return before, after
            tried.append(f"{' '.join([*before, *after]) or 'as it is'}: {done.stderr.strip()[-300:]}")
    raise NotHere("no container can be started here:\n" + "\n".join(tried))
