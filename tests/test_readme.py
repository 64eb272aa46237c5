"""The README's transcripts and examples are run as they stand, against a quickstart of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_quickstart import Running, start

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """Every fenced block of this language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[tuple[str, str]]:
    """Every ``$ command`` of the transcripts with what it prints."""
    found = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def expected(output: str) -> re.Pattern[str]:
    """What is printed, where ``…`` stands for anything."""
    return re.compile(re.sub(r"\\?…", "(?:.|\n)*?", re.escape(output.rstrip()).replace("…", "…")) + r"\s*")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A quickstart for the README alone."""
    quickstart = start(tmp_path_factory.mktemp("readme") / "data")
    yield quickstart
    assert 0 == quickstart.stop()


def adapted(text: str, running: Running) -> str:
    """The README's addresses, which are the default ones, as this quickstart's."""
    return text.replace("http://127.0.0.1:8470", running.first_line["controlPlane"]).replace(
        "http://127.0.0.1:8471", running.gateway
    )


def test_the_story_runs_as_typed_and_prints_what_the_readme_shows(running: Running, tmp_path: Path) -> None:
    script = ["set +e", "exec 2>&1"]
    for command, _ in commands():
        script += [adapted(command, running), "echo '=====8<====='"]
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("MCPCTL_")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "MCPCTL_CONFIG": str(tmp_path / "config.json"),
        "DIR": str(running.directory),
    }
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    printed = done.stdout.split("=====8<=====\n")
    for (command, output), got in zip(commands(), printed, strict=False):
        wanted = adapted(output, running)
        assert expected(wanted).fullmatch(got), f"$ {command}\nthe README shows:\n{wanted}\nit prints:\n{got}"
    assert len(commands()) == len(printed) - 1


def test_the_python_example_runs(running: Running) -> None:
    (example,) = blocks("python")
    environment = {**os.environ, "MCPCTL_TOKEN": running.first_line["token"]}
    done = subprocess.run(
        [sys.executable, "-c", adapted(example, running)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert "time__now" in done.stdout
    assert "Europe/Rome" in done.stdout
