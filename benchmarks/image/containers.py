"""Containers as the manifests run them: a root nobody can write to, not root, no capabilities; on loopback."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx2

from benchmarks.image.tools import Failed, run

CONFINED: Final = (
    "--network=host",
    "--read-only",
    "--read-only-tmpfs=false",
    "--tmpfs=/tmp",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
)
DRAIN: Final = 20
"""Seconds that a container has to end by itself."""


@dataclass(frozen=True)
class Podman:
    """How containers of one image run on this machine."""

    image: str
    before: Sequence[str]
    after: Sequence[str]

    def words(self, *flags: str) -> list[str]:
        """The beginning of a command that runs one."""
        return ["podman", *self.before, "run", *CONFINED, *self.after, *flags, self.image]

    def once(self, *command: str, flags: Sequence[str] = (), stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        words = [*self.words("--rm", "--interactive", *flags), *command]
        return subprocess.run(words, input=stdin, capture_output=True, text=True, check=False, timeout=300)

    @contextmanager
    def running(
        self, command: Sequence[str], environ: Mapping[str, str], mounts: Mapping[str, str], address: str
    ) -> Iterator[Container]:
        """A container that serves at ``address`` until the block ends.

        Args:
            command: what it runs.
            environ: its variables beside those of the image.
            mounts: volumes by the place they are at; a path of this machine is mounted read-only.
            address: HOST:PORT where it answers.
        """
        name = f"mcpctl-{uuid4().hex[:8]}"
        flags = [word for key, value in environ.items() for word in ("--env", f"{key}={value}")]
        for place, source in mounts.items():
            flags += ["--volume", f"{source}:{place}:ro" if source.startswith("/") else f"{source}:{place}"]
        begun = time.perf_counter()
        run([*self.words("--detach", "--name", name, "--no-healthcheck", *flags), *command])
        container = Container(self, name, address)
        try:
            container.await_ready(begun)
            yield container
        finally:
            subprocess.run(["podman", *self.before, "rm", "--force", "--time=1", name], capture_output=True, check=False)


@dataclass
class Container:
    """One that runs; ``seconds`` from ``podman run`` to its first 200 on ``/readyz``."""

    podman: Podman
    name: str
    address: str
    seconds: float = 0.0

    def await_ready(self, begun: float) -> None:
        """Wait until it may be asked.

        Raises:
            Failed: it does not come; with its log.
        """
        while time.perf_counter() < begun + 60:
            try:
                if httpx2.get(f"http://{self.address}/readyz", trust_env=False, timeout=2).status_code == 200:
                    self.seconds = time.perf_counter() - begun
                    return
            except httpx2.TransportError:
                pass
            if not self.state()["Running"]:
                break
            time.sleep(0.02)
        raise Failed(f"{self.name} did not become ready:\n{self.log()[-3000:]}")

    def inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as whoever it runs as."""
        words = ["podman", *self.podman.before, "exec", self.name, *command]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)

    def state(self) -> dict[str, Any]:
        """What podman knows of it."""
        state: dict[str, Any] = json.loads(run(["podman", "inspect", self.name]))[0]["State"]
        return state

    def inspected(self) -> str:
        """All that anybody on the machine can ask podman about it."""
        return run(["podman", "inspect", self.name])

    def log(self) -> str:
        """What it wrote."""
        done = subprocess.run(["podman", "logs", self.name], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def resident(self) -> int:
        """Bytes of memory that its program has."""
        status = Path(f"/proc/{self.state()['Pid']}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    def terminate(self) -> tuple[int, float]:
        """Send SIGTERM, once; its exit code, and the seconds until it had ended.

        Raises:
            Failed: it does not end.
        """
        begun = time.perf_counter()
        run(["podman", *self.podman.before, "kill", "--signal=TERM", self.name])
        while time.perf_counter() < begun + DRAIN:
            state = self.state()
            if not state["Running"]:
                return int(state["ExitCode"]), time.perf_counter() - begun
            time.sleep(0.02)
        raise Failed(f"{self.name} did not end within {DRAIN} s of SIGTERM")
