"""One command, from its arguments to its exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping, Sequence
from errno import ENOSPC
from typing import Any

import rich_click as click
from click.exceptions import Exit, NoArgsIsHelpError

from mcpctl.cli import failures
from mcpctl.cli.exit_codes import INTERRUPTED, READER_GONE
from mcpctl.cli.flags import OUTPUT
from mcpctl.errors import Problem


def run(group: click.Group, arguments: Sequence[str], name: str = "mcpctl") -> int:
    """Carry out ``arguments`` and return the exit code, one of ``EXIT_CODES``.

    Every ``Problem`` and every wrong usage ends here as lines on standard error. What was not foreseen leaves as it came.
    """
    meta: MutableMapping[str, Any] = {}
    try:
        code = _carry_out(group, list(arguments), name, meta)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at exit; that must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except OSError as error:
        if error.errno != ENOSPC:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print("error: the output could not be written: no space left", file=sys.stderr)
        return 1
    except (click.Abort, KeyboardInterrupt, EOFError):
        print(file=sys.stderr)
        return INTERRUPTED
    return code


def _carry_out(group: click.Group, arguments: list[str], name: str, meta: MutableMapping[str, Any]) -> int:
    try:
        with group.make_context(name, arguments) as ctx:
            meta = ctx.meta
            result = group.invoke(ctx)
    except Exit as end:
        return end.exit_code
    except NoArgsIsHelpError as error:
        top = error.ctx.parent is None
        print(error.message.rstrip(), file=sys.stdout if top else sys.stderr)
        return 0 if top else error.exit_code
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            meta = error.ctx.meta
        if OUTPUT not in meta and _asks_for_json(arguments):
            meta[OUTPUT] = "json"
        failures.show_usage(error, meta)
        return error.exit_code
    except Problem as problem:
        failures.show(problem, meta)
        return problem.exit_code
    return result if isinstance(result, int) and not isinstance(result, bool) else 0


def _asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether ``-o json`` stands there; an unknown flag is reported before click has read the known ones."""
    words = list(arguments)[: arguments.index("--")] if "--" in arguments else list(arguments)
    return any(
        word in ("-ojson", "--output=json") or (word in ("-o", "--output") and following == "json")
        for word, following in zip(words, [*words[1:], ""], strict=True)
    )
