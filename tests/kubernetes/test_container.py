"""What the image has besides the programs: its health check, and what takes things out of its base."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kubernetes.rendering import ROOT
from tests.serving import Served
from tests.test_examples import free_port

CONTAINER = ROOT / "container"


def health(**addresses: str) -> int:
    environ = {**os.environ, "MCPCTL_LISTEN": "127.0.0.1:1", "MCPLOCAL_LISTEN": "127.0.0.1:1", **addresses}
    return subprocess.run([sys.executable, str(CONTAINER / "healthcheck.py")], env=environ, check=False).returncode


@pytest.mark.parametrize("variable", ["MCPCTL_LISTEN", "MCPLOCAL_LISTEN"])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", ""])
def test_whichever_program_runs_it_is_healthy_while_it_answers(served_on_sqlite: Served, variable: str, host: str) -> None:
    port = served_on_sqlite.address.rpartition(":")[2]
    assert (0, 1) == (health(**{variable: f"{host}:{port}"}), health(**{variable: f"{host}:{free_port()}"}))


def test_no_file_of_the_image_makes_its_caller_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name, mode in (("su", 0o4755), ("wall", 0o2755), ("ls", 0o755)):
        (tmp_path / "bin" / name).touch()
        (tmp_path / "bin" / name).chmod(mode)
    (tmp_path / "bin" / "link").symlink_to("su")
    script = f"import sys; sys.path.insert(0, {str(CONTAINER)!r}); import harden; harden.remove_set_id({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert {0o755} == {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "bin").iterdir()}


def test_the_image_runs_by_number_and_nothing_but_its_parts_goes_to_the_builder() -> None:
    recipe, ignored = (ROOT / "Containerfile").read_text(), (ROOT / ".containerignore").read_text().splitlines()
    final = recipe.rpartition("\nFROM ")[2]
    assert "USER 10001:10001\n" in final
    assert [] == [word for word in ("pip", "apt-get", "ADD ") if word in final]
    assert "*" == next(line for line in ignored if line and not line.startswith("#"))
    assert {"!src", "!policies", "!migrations", "!container"} <= set(ignored)
