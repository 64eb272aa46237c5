"""Which commands the gateway starts, and with what surroundings.

What to run comes from the control plane, so a person who may edit a server there must not thereby run commands here. The
gateway's own ``MCPLOCAL_STDIO_ALLOW`` names whole argument vectors; the child gets an allow-list of this process's
variables and what is configured for the server, except variables that would change what the allowed command runs.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from mcpctl.errors import Forbidden
from mcplocal.catalog import ServerSpec

INHERITED: Final = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "SYSTEMROOT", "XDG_RUNTIME_DIR"),
)
"""Variables of the gateway that a child sees, besides ``LC_…``."""

_STEERING: Final = re.compile(
    r"PATH|HOME|SHELL|ENV|BASH_ENV|BASH_FUNC_.*|IFS|.*_PRELOAD|LD_.*|DYLD_.*|GCONV_PATH|GLIBC_.*|MALLOC_.*"
    r"|PYTHON(?!UNBUFFERED$|UTF8$|IOENCODING$).*|UV_.*|PIP_.*|PERL5.*|PERLLIB|RUBYOPT|RUBYLIB|LUA_.*|PHP_INI_SCAN_DIR|PHPRC"
    r"|NODE_OPTIONS|NODE_PATH|NPM_CONFIG_.*|BUN_.*|DENO_.*|CLASSPATH|JAVA_TOOL_OPTIONS|JDK_JAVA_OPTIONS|_JAVA_OPTIONS"
    r"|GIT_(SSH|EXEC|CONFIG|ASKPASS|EDITOR|PAGER|EXTERNAL|PROXY).*|EDITOR|PAGER|VISUAL|MCPCTL_.*|MCPLOCAL_.*",
    re.IGNORECASE,
)
"""Configured variables that are refused: with them, an allowed command would run something else."""

DEMO_MODULE: Final = re.compile(r"mcpctl\.demo\.[a-z_]+")


def matches(pattern: Sequence[str], argv: Sequence[str]) -> bool:
    """Whether the whole of ``argv`` is what ``pattern`` says.

    Each word matches the word at its place; ``*`` inside a word stands for any run of letters, digits, ``.``, ``_`` and
    ``-`` of that one word, never for more words or fewer; ``**`` as the last word stands for any words that follow, also none.
    """
    if pattern and pattern[-1] == "**":
        pattern, argv = pattern[:-1], (argv[: len(pattern) - 1] if len(argv) >= len(pattern) - 1 else argv)
    return len(pattern) == len(argv) and all(_word(word).fullmatch(asked) for word, asked in zip(pattern, argv, strict=True))


@lru_cache(maxsize=1024)
def _word(pattern: str) -> re.Pattern[str]:
    # Not "anything": "@acme/x@file:/tmp/evil" and "x @ https://…" would be packages of @acme to npx and uvx.
    return re.compile("[A-Za-z0-9._-]*".join(re.escape(part) for part in pattern.split("*")))


class StdioGuard:
    """Decides what may be started on this machine."""

    def __init__(self, allowed: Sequence[Sequence[str]]) -> None:
        self.allowed = allowed

    def command(self, spec: ServerSpec) -> list[str]:
        """The argument vector to run for ``spec``, its command resolved to a file.

        Raises:
            Forbidden: nothing on this gateway allows it, or there is no such command.
        """
        argv = [spec.command or "", *spec.args]
        if any("\0" in word for word in argv) or not any(matches(pattern, argv) for pattern in self.allowed):
            raise Forbidden("its command is not in MCPLOCAL_STDIO_ALLOW of this gateway")
        if argv[:2] == ["python", "-m"] and len(argv) > 2 and DEMO_MODULE.fullmatch(argv[2]):
            # Isolated: neither PYTHON… variables nor the working directory can put another module in the place of ours.
            return [sys.executable, "-I", *argv[1:]]
        found = shutil.which(argv[0])
        if found is None:
            raise Forbidden("its command is allowed, but there is no such command on this gateway")
        return [found, *argv[1:]]

    def environment(self, spec: ServerSpec, own: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The variables the child of ``spec`` sees.

        Raises:
            Forbidden: one configured for it would change what the allowed command runs.
        """
        steering = sorted(name for name in spec.env if _STEERING.fullmatch(name))
        if steering:
            raise Forbidden(f"a server's configured environment may not hold {', '.join(steering)}")
        inherited = {name: value for name, value in own.items() if name in INHERITED or name.startswith("LC_")}
        return inherited | dict(spec.env)
