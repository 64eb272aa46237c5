"""Build the image and try it: ``python -m benchmarks.image [--base IMAGE --build-base IMAGE] [--dry]``.

Exits with 1 if anything that must be so is not, and with 2 if this machine can neither build nor run images.
"""

from __future__ import annotations

import argparse
import os
import sys
from time import perf_counter
from typing import Final

from benchmarks import provenance
from benchmarks.image import tools
from benchmarks.image.build import Built, build
from benchmarks.image.containers import Podman
from benchmarks.image.tools import Bases, Failed, NotHere
from benchmarks.image.trial import Findings, middle, trial, version

PAGE: Final = """# The image: built, started read-only and not as root, judged

{about}

One image, `{name}` ({digest}), holds both programs. It is **{size} MB** on a disk, of which {above} MB lie above its base
(Debian with Python, {base} MB), and about **{packed} MB** packed, as a registry sends it.

| | control plane | gateway | a container that does nothing |
|---|---|---|---|
| from `podman run` to the first 200 on `/readyz`, {times} first starts | {plane} | {gateway} | {nothing} |
| memory (RSS) once ready | {plane_memory} MB | {gateway_memory} MB | |

| what must be so | | seen |
|---|---|---|
{rows}

How: the base images are made of Debian's packages (`mmdebstrap`), as this machine reaches no registry of images; `buildah build
--isolation=chroot`; `podman{runtime} run` with {flags}, on loopback.
"""


def page(built: Built, found: Findings, about: str, podman: Podman) -> str:
    """The results as Markdown."""
    mb = 1_000_000
    return PAGE.format(
        about=about,
        name=built.name.removeprefix("localhost/"),
        digest=built.digest,
        size=built.size // mb,
        above=built.above_base // mb,
        base=(built.size - built.above_base) // mb,
        packed=built.packed // mb,
        times=len(found.nothing),
        plane=middle(found.starts["control plane"]),
        gateway=middle(found.starts["gateway"]),
        nothing=middle(found.nothing),
        plane_memory=found.resident["control plane"] // mb,
        gateway_memory=found.resident["gateway"] // mb,
        rows="\n".join(f"| {what} | {'yes' if good else '**NO**'} | {seen} |" for what, good, seen in found.rows),
        runtime=" ".join(["", *podman.before]),
        flags=" ".join(f"`{word}`" for word in podman.words()[1 + len(podman.before) + 1 : -1]),
    )


def main() -> int:
    """Install, build, try, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.image", description=__doc__)
    parser.add_argument("--base", metavar="IMAGE", help="build upon this image instead of one made here")
    parser.add_argument("--build-base", metavar="IMAGE", help="build in this image")
    parser.add_argument("--dry", action="store_true", help="print only, write nothing")
    options = parser.parse_args()
    if bool(options.base) != bool(options.build_base):
        parser.error("--base and --build-base go together")
    load, begun = os.getloadavg()[0], perf_counter()
    try:
        tools.require()
        built = build(Bases(options.build_base, options.base) if options.base else tools.bases())
        podman = Podman(built.name, *tools.working_podman(built.name))
        found = trial(podman)
    except NotHere as missing:
        print(f"THE IMAGE WAS NOT TRIED: {missing}", file=sys.stderr)
        return 2
    except Failed as failed:
        print(f"the image is not as it must be: {failed}", file=sys.stderr)
        return 1
    also = [version(["podman", "--version"]), version(["buildah", "--version"]), version(["runc", "--version"])]
    about = provenance.lines("make image", perf_counter() - begun, ("mcpctl", "mcp", "uvicorn", "sqlalchemy"), also, load)
    text = page(built, found, about, podman)
    print(text)
    if not options.dry:
        provenance.RESULTS.mkdir(exist_ok=True)
        (provenance.RESULTS / "image.md").write_text(text)
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
