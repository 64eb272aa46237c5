"""``mcpctl policy``: policy files checked, tested, compared and shown. None of it needs a server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import rich_click as click

from mcpctl.cli import decision_tables
from mcpctl.cli.connection import control_plane
from mcpctl.cli.flags import connection_flags, output_flag
from mcpctl.cli.output import print_json
from mcpctl.cli.tables import print_table
from mcpctl.cli.terminal import printable, say
from mcpctl.cli.verbs import CommandGroup
from mcpctl.cli.words import SUBJECT
from mcpctl.client.http import ControlPlane, path_of
from mcpctl.errors import Duplicate, FieldError, Forbidden, InvalidInput, NotFound
from mcpctl.policy import checks, comparison, files, grants, names
from mcpctl.policy.checks import Noted
from mcpctl.policy.comparison import Comparison
from mcpctl.policy.grants import Effective
from mcpctl.policy.model import PolicyModel
from mcpctl.policy.vocabulary import ADMIN, ANY
from mcpctl.shipped import shipped

DIRECTORY: Final = click.Path(path_type=Path)
"""Whether it is one is said by whoever reads it, in the words of policy files."""

GRANT_TITLES: Final = ("ON", "NAMED", "BY")
"""After what may be done, or may not."""


@click.group(cls=CommandGroup, short_help="Check, test and compare policy files.")
def policy() -> None:
    """Check, test, compare and show the policy files of a directory: model.conf and *.csv. No server is asked.

    Examples:
      mcpctl policy init ./policies
      mcpctl policy check ./policies --strict
      mcpctl policy diff /etc/mcpctl/policies ./policies
    """


@policy.command("init", short_help="Copy out the policy that ships.")
@click.argument("directory", type=DIRECTORY, metavar="DIR", help="Where to; it is made if need be.")
@output_flag("json")
def init(directory: Path, output: str | None) -> None:
    """Copy out the policy files that ship with the program, with their decision tables. Nothing is overwritten.

    Point the server at them with --policy-dir DIR.

    Examples:
      mcpctl policy init ./policies
    """
    source = shipped("policies")
    paths = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file())
    if there := [str(path) for path in paths if (directory / path).is_symlink() or (directory / path).exists()]:
        raise Duplicate(f"nothing was written, as {directory} has {', '.join(there)} already: name another directory")
    try:
        for path in paths:
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            with (directory / path).open("xb") as file:
                file.write((source / path).read_bytes())
    except OSError as error:
        raise InvalidInput(f"{directory} cannot be written: {error.strerror}") from None
    if output:
        print_json({"directory": str(directory), "files": [str(path) for path in paths]})
        return
    for path in paths:
        print(printable(str(directory / path)))


@policy.command("check", short_help="Find what is wrong with it.")
@click.argument("directory", type=DIRECTORY, metavar="DIR", help="The policy directory.")
@click.option("--strict", is_flag=True, help="Also find what can be read and is probably not meant.")
@click.option("--subjects", metavar="FILE", help="Who exists, one subject per line; '-' for standard input.")
@click.option("--ask-server", is_flag=True, help="Ask the control plane who exists; you must be able to view them all.")
@output_flag("json")
@connection_flags
def check(directory: Path, strict: bool, subjects: str | None, ask_server: bool, output: str | None) -> int:
    """Find everything that is wrong with policy files, each with file, line, cause and cure. Exits with 1 if anything is.

    With --strict also lines that can never matter, grants that are too broad or amount to admin, roles that nobody
    holds or that hold less than they seem to, and subjects that do not exist where it is said who does. A comment
    '# accepted: KIND' right above a line accepts what is found there.

    Examples:
      mcpctl policy check ./policies
      mcpctl policy check ./policies --strict -o json
      mcpctl policy check ./policies --strict --subjects everybody.txt
      mcpctl policy check ./policies --strict --ask-server
    """
    if not strict and (subjects or ask_server):
        raise InvalidInput("who exists is looked at by --strict only: add it")
    found = [Noted("invalid", finding) for finding in files.check(directory)]
    meant: list[Noted] = []
    if strict and not found:
        model = PolicyModel((shipped("policies") / files.MODEL_FILE).read_text("utf-8"))
        known = _known(subjects, ask_server)
        found, meant = checks.accepted(directory, checks.strict(files.read(directory), model, known))
    if output:
        items = [{"kind": one.kind, **one.finding._asdict()} for one in found]
        print_json({"valid": not found, "findings": items, "accepted": len(meant)})
    else:
        for one in found:
            print(printable(str(one.finding if one.kind == "invalid" else one)))
        if not found:
            print(f"No finding in {printable(str(directory))}." + (f" Accepted: {len(meant)}." if meant else ""))
    return 1 if found else 0


def _known(subjects: str | None, ask_server: bool) -> list[str] | None:
    """Who exists, from a list and from the control plane; ``None`` if neither is named."""
    found: list[str] = []
    if subjects:
        found += _listed(subjects)
    if ask_server:
        with control_plane() as plane:
            _require_all_in_sight(plane)
            found += [f"User:{user['name']}" for user in plane.items(path_of("users"))]
            found += [f"Group:{group['name']}" for group in plane.items(path_of("groups"))]
            found += [f"McpToken:{token['tokenSha']}" for token in plane.items(path_of("mcptokens"))]
    return found if subjects or ask_server else None


def _require_all_in_sight(plane: ControlPlane) -> None:
    """Go on only if whoever asks may view everybody: of whom a list leaves out, it would be said that they do not exist.

    Raises:
        Forbidden: naming what is missing.
    """
    missing = [
        f"view {resource} {ANY}"
        for resource in ("users", "groups", "mcptokens")
        if plane.post(path_of("authorize"), {"action": "view", "resource": resource})["allowed"] is not True
    ]
    if missing:
        raise Forbidden(
            f"who exists is for whoever may view everybody; what you lack: {'; '.join(missing)}",
            missing=missing,
        )


def _listed(source: str) -> list[str]:
    """The subjects a file lists, a line each.

    Raises:
        InvalidInput: with one entry of ``errors`` for each line that names none.
    """
    found: list[str] = []
    wrong: list[FieldError] = []
    for number, raw in enumerate(_text(source).splitlines(), start=1):
        line = raw.strip()
        if line and not line.startswith("#"):
            try:
                found.append(str(names.parse_subject(line)))
            except InvalidInput as error:
                where = f"{'standard input' if source == '-' else source}:{number}"
                wrong.append(FieldError(where, error.detail))
    if wrong:
        raise InvalidInput("; ".join(one.message for one in wrong), errors=wrong)
    return found


def _text(source: str) -> str:
    try:
        return (sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()).decode()
    except (OSError, UnicodeDecodeError) as error:
        why = f"{source} cannot be read: {error}"
        raise InvalidInput(why, errors=[FieldError("subjects", why)]) from None


@policy.command("test", short_help="Put its decision tables to it.")
@click.argument("directory", type=DIRECTORY, metavar="DIR", help="The policy directory.")
@click.argument("tables", type=DIRECTORY, nargs=-1, metavar="[TABLE...]", help="Files or directories, else DIR/tests.")
@output_flag("table", "json", "junit", default="table")
def test(directory: Path, tables: tuple[Path, ...], output: str) -> int:
    """Put decision tables to policy files. Exits with 1 if one expectation fails.

    A table is CSV or YAML: subject, action, resource, name, expected (allow or deny), and by what: a line's place
    (bindings.csv:4), its file, its binding, 'nothing', or of a token the side that refuses (never, project, token,
    owner). With 'unlisted: deny' every question of its axes that no case lists must be denied. A YAML table may also
    hold what stands in the database (memberships, bindings, projects, tokens), and which roles contain which.
    'mcpctl policy init' copies one out to start from.

    Examples:
      mcpctl policy test ./policies
      mcpctl policy test ./policies ./more/tables.csv
      mcpctl policy test ./policies -o junit > policy.xml
    """
    found, read = decision_tables.outcomes(directory, tables)
    failed = [one for one in found if not one.passed]
    if output == "junit":
        print(decision_tables.junit(found, read.broken))
    read.require_all()
    if output == "json":
        items = [{"file": one.file, "line": one.line, "what": one.what, "failure": one.failure or None} for one in found]
        print_json({"passed": len(found) - len(failed), "failed": len(failed), "outcomes": items})
    elif output == "table":
        if failed:
            print_table(["WHERE", "EXPECTED", "FOUND"], [[one.where, one.what, one.failure] for one in failed])
        print(f"{len(found) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


@policy.command("diff", short_help="Who gains and who loses what.")
@click.argument("old", type=DIRECTORY, metavar="OLD", help="The policy directory before.")
@click.argument("new", type=DIRECTORY, metavar="NEW", help="The policy directory after.")
@output_flag("json")
def diff(old: Path, new: Path, output: str | None) -> int:
    """Say who gains and who loses what when NEW takes the place of OLD. Like diff it exits with 0 if nobody does, with 1 if
    somebody does, and with 2 if one of them cannot be read.

    Every question that lines can tell apart is asked of both, so other lines that say the same are no difference, and a
    wider role is one for each of its holders. Lines in the database are not looked at; what a role or a deny means for them
    is said.

    Examples:
      mcpctl policy diff /etc/mcpctl/policies ./policies
      mcpctl policy diff old new -o json
    """
    found = comparison.compare(files.read(old), files.read(new))
    if output:
        print_json(found.as_json())
    else:
        _print_comparison(found)
    return 0 if found.equivalent else 1


def _print_comparison(found: Comparison) -> None:
    for role in found.roles:
        held = [f"+ {action}" for action in role.gains] + [f"- {action}" for action in role.loses]
        denied = [f"- {action}" for action in role.gains] + [f"+ {action}" for action in role.loses]
        holders = f"for whoever holds it: {', '.join(held)}; for whoever is denied it: {', '.join(denied)}"
        print(printable(f"The role {role.role}, {holders}"))
    for change in found.changes:
        print(printable(change.subject))
        for kind, listed in change.grants.items():
            print(f"  {comparison.KINDS[kind]}:")
            for grant in listed:
                print(
                    printable(f"    {'+' if kind in ('gains', 'released') else '-'} {grant}   ({', '.join(grant.by) or '-'})")
                )
        for kind, questions in change.whole.items():
            print(f"  {comparison.KINDS[kind]}:")
            for question in questions:
                print(printable(f"    {'+' if kind == 'holdsMore' else '-'} {question}"))
    if found.equivalent:
        print("Nobody gains or loses anything.")
    if found.inexact:
        say(f"There may be more: {found.inexact}, and no finite number of questions tells all of its answers.")


@policy.command("show", short_help="What everybody may do by it.")
@click.argument("directory", type=DIRECTORY, metavar="DIR", help="The policy directory.")
@click.option("--subject", type=SUBJECT, metavar="SUBJECT", help="Of this subject only.")
@output_flag("json")
def show(directory: Path, subject: str | None, output: str | None) -> None:
    """Show what each subject of the policy files may do in effect, and may not whatever else is given to it: groups, roles
    and denies worked out, and by which lines.

    Examples:
      mcpctl policy show ./policies
      mcpctl policy show ./policies --subject Group:admins
    """
    read = files.read(directory)
    everybody = grants.subjects(read)
    if subject is not None and subject not in everybody:
        raise NotFound(f"no line in {directory} names {subject}")
    effective = {one: grants.effective(read, one) for one in ([subject] if subject else everybody)}
    actions = {role: list(read.roles.actions(role)) for role in sorted(read.roles.names)}
    if output:
        body: dict[str, Any] = {"subjects": [{"subject": one, **_grants(read, one, found)} for one, found in effective.items()]}
        print_json(body | ({} if subject else {"roles": actions}))
        return
    if not subject:
        rows = [[role, "every action" if role == ADMIN else ", ".join(listed)] for role, listed in actions.items()]
        print_table(["ROLE", "ACTIONS"], rows)
    for number, (one, found) in enumerate(effective.items()):
        if number or not subject:
            print()
        groups = read.groups_of(one)
        print(printable(f"{one}, of {', '.join(groups)}" if groups else one))
        for title, listed in (("MAY", found.allowed), ("MAY NOT", found.denied)):
            if listed:
                print_table([title, *GRANT_TITLES], [[*grant.columns, ", ".join(grant.by)] for grant in listed])
        if not found.allowed and not found.denied:
            print("nothing")


def _grants(read: files.PolicyFiles, subject: str, found: Effective) -> dict[str, Any]:
    listed = {"grants": found.allowed, "denies": found.denied}
    return {"groups": list(read.groups_of(subject))} | {
        member: [grant.as_json() for grant in all_] for member, all_ in listed.items()
    }
