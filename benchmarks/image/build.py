"""Building the image from the Containerfile, and what is in it."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
import zlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.image.tools import LIMITS, Bases, run, say
from benchmarks.provenance import ROOT

PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME: Final = f"localhost/mcpctl:{PROJECT['version']}"
AUTHORITIES: Final = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class Built:
    """An image: its name, its digest, and how large it is: on a disk, of that above the base, and packed as it travels."""

    name: str
    digest: str
    size: int
    above_base: int
    packed: int


def build(bases: Bases) -> Built:
    """Build it. Dated as the commit is, so that the same sources give the same files.

    Whom this machine trusts, and the package index it was told to use, are lent to the build and are not in the image.
    """
    say("building the image")
    commit = run(["git", "rev-parse", "HEAD"], cwd=ROOT)
    dated = run(["git", "log", "-1", "--format=%ct"], cwd=ROOT)
    with TemporaryDirectory(prefix="image") as directory:
        lent = Path(directory) / "pip.conf"
        index = os.environ.get("PIP_INDEX_URL", "")
        lent.write_text("[global]\n" + (f"index-url = {index}\n" if index else "") + "cert = /run/secrets/ca.crt\n")
        secrets = ["--secret", f"id=pip.conf,src={lent}", "--secret", f"id=ca.crt,src={AUTHORITIES}"]
        given = [f"BUILD_BASE={bases.build}", f"BASE={bases.run}", f"VERSION={PROJECT['version']}", f"REVISION={commit}"]
        arguments = [word for one in given for word in ("--build-arg", one)]
        # The form of docker holds a HEALTHCHECK, that of the OCI does not.
        how = ["--isolation=chroot", "--format=docker", "--no-cache", f"--timestamp={dated}", *LIMITS]
        run(["buildah", "build", *how, *secrets, *arguments, "--tag", NAME, str(ROOT)])
    about = json.loads(run(["podman", "image", "inspect", NAME]))[0]
    base = json.loads(run(["podman", "image", "inspect", bases.run]))[0]
    return Built(NAME, about["Id"][:12], about["Size"], about["Size"] - base["Size"], _packed())


def _packed() -> int:
    """Bytes of the image as a registry would send it, about: its layers compressed as gzip does."""
    packing, size = zlib.compressobj(6), 0
    with subprocess.Popen(["podman", "save", "--quiet", NAME], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as saving:
        assert saving.stdout is not None
        while chunk := saving.stdout.read(1 << 20):
            size += len(packing.compress(chunk))
    return size + len(packing.flush())
