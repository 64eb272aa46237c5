"""Several processes that do the same thing at the same moment."""

from __future__ import annotations

import subprocess
import sys

_AT_ONCE = """
import sys
{imports}
print("ready", flush=True)
sys.stdin.readline()
{does}
"""


def three_at_once(imports: str, does: str, *arguments: str) -> list[str]:
    """What three processes printed that began ``does`` together; all of them must end well."""
    script = _AT_ONCE.format(imports=imports, does=does)
    command = [sys.executable, "-c", script, *arguments]
    pipe = subprocess.PIPE
    started = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(3)]
    for process in started:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=60) for process in started]
    assert [0, 0, 0] == [process.returncode for process in started], [error for _, error in ended]
    return [out.strip() for out, _ in ended]
