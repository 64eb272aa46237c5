"""Takes out of a base image what a container never needs: what installs Python packages, and what makes somebody root."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import sysconfig
from pathlib import Path
from typing import Final

INSTALLERS: Final = ("pip", "setuptools", "wheel", "ensurepip", "pkg_resources", "_distutils_hack")


def remove_installers() -> None:
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


def remove_set_id(top: str = "/") -> None:
    """Take the set-user-id and set-group-id bits off every file of this file system."""
    device = Path(top).stat().st_dev
    for at, directories, files in os.walk(top):
        directories[:] = [one for one in directories if os.lstat(f"{at}/{one}").st_dev == device]
        for path in (Path(at, one) for one in files):
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                path.chmod(stat.S_IMODE(mode) & ~(stat.S_ISUID | stat.S_ISGID))


if __name__ == "__main__":
    remove_installers()
    remove_set_id()
