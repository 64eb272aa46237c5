"""Takes out of a base image what installs Python packages: whoever gets in shall find nothing to install more with."""

from __future__ import annotations

import importlib.util
import shutil
import sysconfig
from pathlib import Path
from typing import Final

INSTALLERS: Final = ("pip", "setuptools", "wheel", "ensurepip", "pkg_resources", "_distutils_hack")


def main() -> None:
    """Remove their packages, what is known about these, and their programs."""
    for name in INSTALLERS:
        spec = importlib.util.find_spec(name)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            shutil.rmtree(place)
    for key in ("purelib", "platlib"):
        for name in INSTALLERS:
            for place in Path(sysconfig.get_path(key)).glob(f"{name}-*.dist-info"):
                shutil.rmtree(place, ignore_errors=True)
    for name in ("pip*", "wheel", "easy_install*"):
        for program in Path(sysconfig.get_path("scripts")).glob(name):
            program.unlink()


if __name__ == "__main__":
    main()
