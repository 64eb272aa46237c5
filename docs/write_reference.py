"""Writes the reference pages beside this file from the code itself: ``make docs``. A test fails when they are out of date."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import click

from mcpctl import errors, settings
from mcpctl.api.app import OPERATIONS
from mcpctl.cli import explain
from mcpctl.cli.stage_flags import as_flag
from mcpctl.endpoint_test.catalog import CHECKS
from mcpctl.main import cli
from mcpctl.metrics import MOST_SERIES, OTHER, SECONDS, Metric
from mcpctl.policy import files, vocabulary
from mcpctl.policy.decision import TOKEN_NEVER_IN_WORDS
from mcpctl.proxy_models.detectors import DETECTORS
from mcpctl.proxy_models.stages import StageDescription, builtin_stages
from mcpctl.server.settings import ServerSettings
from mcpctl.services import metrics as control_plane_metrics
from mcpctl.shipped import shipped
from mcplocal import metrics_page as gateway_metrics
from mcplocal.settings import Settings as GatewaySettings

HERE = Path(__file__).parent
TESTS = HERE.parent / "tests"
NOTE = "<!-- written by docs/write_reference.py; change the code and run `make docs` -->\n"


def errors_page() -> str:
    """Every error class."""

    def rows(kind: type[errors.Problem]) -> Iterator[str]:
        meaning = " ".join((kind.__doc__ or "").split())
        yield f"| `{kind.code}` | {kind.status} | {kind.exit_code} | {kind.jsonrpc_code} | {meaning} |"
        for below in kind.__subclasses__():
            if below.__module__ == errors.__name__:
                yield from rows(below)

    lines = "\n".join(rows(errors.Problem))
    return f"""# Errors

Every answer that is not a success is `application/problem+json` (RFC 9457): `type`, `title`, `status`, `code`, `detail`, and
where they apply `missing` (each right that is lacking, as `mcpctl auth can-i` takes it) and `errors` (`field`, `message`,
`nearest`). `code` is stable. The command line turns the same error into its exit code, the gateway into a JSON-RPC code.

| code | HTTP status | exit code | JSON-RPC | meaning |
|---|---|---|---|---|
{lines}
"""


def settings_page() -> str:
    """Every variable of both programs."""
    ours = "\n".join(f"| `{s.name}` | {s.side} | {_default_of_ours(s)} | {s.meaning} |" for s in settings.SETTINGS)
    gateway = "\n".join(
        f"| `MCPLOCAL_{name.upper()}` | {_default(field.default)} | {field.description} |"
        for name, field in GatewaySettings.model_fields.items()
    )
    return f"""# Settings

Flags beat variables, variables beat a TOML file. An unknown variable with one of these prefixes stops the start and is named;
names that Kubernetes' service links make are passed over.

## `mcpctl`

The file is the one `--config-file` or `MCPCTL_CONFIG_FILE` names; its members are these names without `MCPCTL_`, in lower case.

| variable | read by | default | meaning |
|---|---|---|---|
{ours}

## `mcplocal`

The file (TOML) is the one `MCPLOCAL_CONFIG_FILE` names; its members are the names below without `MCPLOCAL_`, in lower case.

| variable | default | meaning |
|---|---|---|
{gateway}
"""


_MADE: Final = {
    "MCPCTL_CONFIG": "`mcpctl/config.json` in your configuration directory",
    "MCPCTL_DATABASE_URL": "SQLite in the data directory",
    "MCPCTL_DATA_DIR": "your data directory",
    "MCPCTL_POLICY_DIR": "the policies shipped with it",
}
"""Defaults that depend on the machine."""


def _default_of_ours(setting: settings.Setting) -> str:
    field = ServerSettings.model_fields.get(setting.name.removeprefix(settings.PREFIX).lower())
    found = _default(field.default) if field is not None and setting.side == "server" else ""
    return _MADE.get(setting.name, found)


def _default(value: object) -> str:
    if value is None or "PydanticUndefined" in repr(value):
        return ""
    return f"`{value}`" if isinstance(value, str | int | float) and value != "" else ""


def vocabulary_page() -> str:
    """Actions, operations, resources and the shipped roles."""
    policy = files.read(shipped("policies"))
    roles = "\n".join(
        f"| `{role}` | {', '.join(policy.roles.actions(role))} |" for role in policy.roles.names if role != "admin"
    )
    never = "\n".join(f"- {words}" for words in TOKEN_NEVER_IN_WORDS)
    return f"""# Words of the policy

**Actions**: {", ".join(f"`{action}`" for action in vocabulary.ACTIONS)}.

**Operations** (actions on the resource `operations`): {", ".join(f"`{name}`" for name in vocabulary.OPERATIONS)};
of these {", ".join(f"`{name}`" for name in sorted(vocabulary.PROJECT_OPERATIONS))} may be limited to a project.

**Resources**: {", ".join(f"`{name}`" for name in vocabulary.RESOURCES)}; singular names are accepted.

| role | actions |
|---|---|
{roles}
| `admin` | every action, those not yet invented too |

Whatever its bindings say, a token will never:

{never}
"""


def api_page() -> str:
    """Every route with its guard."""
    lines = "\n".join(f"| {op.method} | `{op.path}` | {op.summary} | {op.guard} |" for op in OPERATIONS)
    return f"""# HTTP interface

The shapes are in `/openapi.json` of a running control plane.

| method | path | what | guard |
|---|---|---|---|
{lines}
"""


def commands_page() -> str:
    """The help of every command."""

    def sections(command: click.Command, path: str, parent: click.Context | None) -> Iterator[str]:
        context = click.Context(command, info_name=path.split()[-1], parent=parent, max_content_width=100, terminal_width=100)
        yield f"## `{path}`\n\n```\n{_plain(command, context)}\n```\n"
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                if below is not None and not below.hidden:
                    yield from sections(below, f"{path} {name}", context)

    return "# Commands\n\n" + "\n".join(sections(cli, "mcpctl", None))


def _plain(command: click.Command, context: click.Context) -> str:
    formatter = click.HelpFormatter(width=100, max_width=100)
    click.Command.format_usage(command, context, formatter)
    click.Command.format_help_text(command, context, formatter)
    arguments = [
        (one.make_metavar(context), getattr(one, "help", None) or "")
        for one in command.params
        if isinstance(one, click.Argument)
    ]
    if arguments:
        with formatter.section("Arguments"):
            formatter.write_dl(arguments)
    if isinstance(command, click.Group):
        click.Group.format_commands(command, context, formatter)
    click.Command.format_options(command, context, formatter) if not isinstance(command, click.Group) else None
    return re.sub(r"\x1b\[[0-9;]*m", "", formatter.getvalue()).rstrip()


def checks_page() -> str:
    """Every check of ``mcpctl test mcp``."""

    def cell(text: str) -> str:
        return text.replace("|", "\\|").replace("<", "&lt;")

    rows = "\n".join(
        f"| `{one.id}` | {one.severity} | {cell(one.title)} | {cell(one.clause)} | {', '.join(one.depends)} |" for one in CHECKS
    )
    return f"""# Checks of `mcpctl test mcp`

{len(CHECKS)} checks, in the order they are reported. Severity is the worst a check comes to. One is skipped when a check
it depends on does not pass. `mcpctl test mcp --explain CHECK` adds what to do. [How to use it](test-mcp.md).

| check | severity | what is true when it passes | clause | depends on |
|---|---|---|---|---|
{rows}
"""


def metrics_page() -> str:
    """Every metric of both programs."""

    def table(metrics: Iterable[Metric]) -> str:
        rows = [
            f"| `{one.name}` | {one.kind} | "
            f"{'; '.join(f'`{label}`: {values}' for label, values in one.labels.items())} | {one.meaning} |"
            for one in metrics
        ]
        return "\n".join(["| metric | kind | labels | meaning |", "|---|---|---|---|", *rows])

    buckets = ", ".join(f"{bound:g}" for bound in SECONDS)
    return rf"""# Metrics

`/metrics` of each program is on a listener of its own: `MCPCTL_METRICS_LISTEN` and `MCPLOCAL_METRICS_LISTEN`
(`mcpctl quickstart`: the first, for both programs). Without it nothing is shown. Anybody who reaches that listener may read it:
there is no name in it but those of servers and of stages, and nothing that a client sent. Counters are of one process and start
at zero with it; sum over replicas. Both programs also show `process_…` (memory, CPU time, open files).

Histograms have the buckets {buckets} s, and `+Inf`. Of one metric {MOST_SERIES} combinations of label values are kept apart;
further ones are counted as `{OTHER}`.

## `mcpctl server`

{table(control_plane_metrics.METRICS)}

## `mcplocal serve`

{table(gateway_metrics.METRICS)}

## What to be woken up by

| expression | what is wrong |
|---|---|
| `mcplocal_policy_feed_age_seconds > 5` | the gateway does not hear from the control plane: soon it refuses everything |
| `mcpctl_policy_feed_age_seconds > 5` | this control plane does not reach its database |
| `mcpctl_policy_files_behind == 1` for 1 min | this replica has other policy files than the others, and answers nothing |
| `mcpctl_policy_files_current == 0` | an edit of the policy files has findings; the last good ones are in force |
| `max(mcpctl_policy_revision) - min(mcpctl_policy_revision) > 0` for 10 s | a replica no longer follows the database |
| `mcplocal_upstream_status{{status=~"UNREACHABLE\|ERROR"}} == 1` for 2 min | a server cannot be used |
| `increase(mcplocal_audit_events_lost_total[5m]) > 0` | calls are missing in the audit |
| `increase(mcplocal_result_stage_duration_seconds_count{{stage="redact",outcome!~".*changed"}}[5m]) > 0` | nothing is given |
| `increase(mcplocal_result_stage_duration_seconds_count{{outcome!~".*changed"}}[10m]) > 10` | stages fail: see the log |
| `increase(mcplocal_result_cache_writes_total{{outcome="unavailable"}}[10m]) > 0` | the cache's disk is full or broken |
| `mcplocal_audit_spool_bytes > 1e8` | the control plane has not taken audit events for long |
| `increase(mcplocal_stdio_starts_total[10m]) > 5` | a stdio server keeps ending |
"""


def stages_page() -> str:
    """Every builtin stage of proxy models, with its options."""
    detectors = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in DETECTORS.items())
    return f"""# Stages of proxy models

`mcpctl explain proxymodel STAGE` prints the same on the command line, with an example as a document, also of stages of
installed packages. [How to use them](proxy-models.md).

{"".join(_stage(stage) for stage in builtin_stages())}
## Detectors

What the option `detectors` of `redact` may hold.

| detector | looks for |
|---|---|
{detectors}
"""


def _stage(stage: StageDescription) -> str:
    schema = stage.options_schema
    note = f" {schema['description']}" if "description" in schema else ""
    rows = [f"| `{name}` | {what} | {default} | {meaning} |\n" for name, what, default, meaning in explain.options(stage)]
    table = "| option | value | default | meaning |\n|---|---|---|---|\n" + "".join(rows) if rows else "It takes no options.\n"
    examples = "".join(f"--stage '{as_flag({'stage': stage.name, 'options': one})}'\n" for one in schema["examples"])
    return f"## `{stage.name}`\n\n{stage.summary}{note}\n\n{table}\n```\n{examples}```\n\n"


def requirements() -> dict[str, dict[str, str]]:
    """What a gateway must do: by section, the title and each numbered sentence."""
    found: dict[str, dict[str, str]] = tomllib.loads((TESTS / "requirements.toml").read_text(encoding="utf-8"))
    return found


def proofs() -> dict[str, list[str]]:
    """The tests that carry each number, in order; read, not imported."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for number in _numbers(node):
                    found.setdefault(number, []).append(f"{path.relative_to(TESTS.parent).as_posix()}::{node.name}")
    return found


def _numbers(test: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for decorator in test.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.requirement":
            yield ast.literal_eval(decorator.args[0])


def requirements_page() -> str:
    """Every requirement with its tests."""
    proving = proofs()

    def section(sentences: dict[str, str]) -> str:
        rows = "\n".join(
            f"| {number} | {sentence} | {'<br>'.join(f'`{test}`' for test in proving.get(number, []))} |"
            for number, sentence in sentences.items()
            if number != "title"
        )
        return f"## {sentences['title']}\n\n| number | what is true | the tests that attack it |\n|---|---|---|\n{rows}"

    sections = "\n\n".join(section(sentences) for sentences in requirements().values())
    return f"""# What the gateway is held to

Learnt from what other gateways, SDKs and clients were reported to get wrong. Each sentence has tests that carry its number:
`pytest -m requirement` runs them all. The sentences stand in `tests/requirements.toml`.

{sections}
"""


PAGES = {
    "errors.md": errors_page,
    "settings.md": settings_page,
    "vocabulary.md": vocabulary_page,
    "api.md": api_page,
    "commands.md": commands_page,
    "checks.md": checks_page,
    "metrics.md": metrics_page,
    "stages.md": stages_page,
    "requirements.md": requirements_page,
}


def rendered(page: str) -> str:
    """What the page should say now."""
    return NOTE + PAGES[page]().rstrip() + "\n"


if __name__ == "__main__":
    for page in PAGES:
        (HERE / page).write_text(rendered(page))
        sys.stdout.write(f"docs/{page}\n")
