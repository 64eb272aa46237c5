"""Policy files that people edit while everybody is being served: whole, at once, and only if nothing is wrong with them."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from sqlalchemy.orm import Session as Db

from mcpctl.api.control_plane import ControlPlane
from mcpctl.errors import Forbidden, InvalidPolicy
from mcpctl.policy import files
from mcpctl.policy.files import PolicyFiles
from mcpctl.server.metrics import series
from mcpctl.services.metrics import POLICY_RELOADS, SHADOW_DECISIONS
from mcpctl.store.database import Database
from tests import serving
from tests.scrapes import Scrape
from tests.serving import Served, made

LINE = "p, User:alice, view, users, *, allow\n"
NARROWER = "p, User:alice, view, groups, *, allow\n"


def until(holds: Callable[[], bool], seconds: float = 10) -> float:
    begun = monotonic()
    while not holds():
        assert monotonic() - begun < seconds, "it did not come about"
        sleep(0.02)
    return monotonic() - begun


def may(served: Served, action: str, resource: str, subject: str = "User:alice", name: str = "*") -> bool:
    question = {"subject": subject, "action": action, "resource": resource, "name": name}
    answer = made(served.admin.post("/authorize", question), 200)
    return bool(answer["allowed"])


@pytest.fixture
def alice(served: Served) -> Served:
    made(served.admin.post("/users", {"name": "alice", "service": True}))
    return served


def test_an_edit_is_in_force_by_itself_and_names_its_line(alice: Served, policy_directory: Path) -> None:
    assert not may(alice, "view", "users")
    (policy_directory / "alice.csv").write_text(LINE)
    until(lambda: may(alice, "view", "users"))
    answer = made(alice.admin.post("/authorize", {"subject": "User:alice", "action": "view", "resource": "users"}), 200)
    assert "alice.csv:1" == answer["origin"]
    (policy_directory / "alice.csv").unlink()
    until(lambda: not may(alice, "view", "users"))


def test_a_link_that_is_turned_to_another_directory_is_an_edit(database_url: str, policy_directory: Path) -> None:
    """As Kubernetes changes a mounted ConfigMap: every file is a link through ``..data``, which is replaced as one."""
    mounted = policy_directory.parent / "mounted"
    mounted.mkdir()
    for version, line in (("..one", LINE), ("..two", NARROWER)):
        (mounted / version).mkdir()
        for path in policy_directory.glob("*.*"):
            if path.is_file():
                (mounted / version / path.name).write_text(path.read_text())
        (mounted / version / "alice.csv").write_text(line)
    (mounted / "..data").symlink_to("..one")
    for path in (mounted / "..one").iterdir():
        (mounted / path.name).symlink_to(Path("..data") / path.name)
    with serving.serve(database_url, mounted) as served:
        made(served.admin.post("/users", {"name": "alice", "service": True}))
        assert may(served, "view", "users")
        (mounted / "..data_tmp").symlink_to("..two")
        (mounted / "..data_tmp").replace(mounted / "..data")
        until(lambda: may(served, "view", "groups") and not may(served, "view", "users"))


def test_a_bad_edit_leaves_the_last_good_policy_in_force_and_says_so_everywhere(
    alice: Served, policy_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (policy_directory / "alice.csv").write_text(LINE)
    until(lambda: may(alice, "view", "users"))
    counted = POLICY_RELOADS.value("refused")
    (policy_directory / "alice.csv").write_text("p, User:alice, veiw, users, *, allow\n")
    until(lambda: alice.nobody.get("//readyz").json().get("policy") == "last-good")
    assert may(alice, "view", "users"), "the last good one is in force"
    assert {"status": "ready", "policy": "last-good"} == alice.nobody.get("//readyz").json()
    assert "alice.csv:1" in alice.admin.get("//readyz").json()["reason"]
    assert "alice.csv:1: unknown role 'veiw'" in caplog.text
    until(lambda: POLICY_RELOADS.value("refused") == counted + 1)
    assert 0.0 == Scrape.of(series(alice.control)).value("mcpctl_policy_files_current")

    def refusals() -> list[dict[str, Any]]:
        rows = made(alice.admin.get("/audit?limit=50"), 200)["items"]
        return [one for one in rows if one["outcome"] == "invalid_policy"]

    until(lambda: len(refusals()) == 1)
    (row,) = refusals()
    assert (False, "policy", "files") == (row["allowed"], row["resource"], row["name"])
    (policy_directory / "alice.csv").write_text(NARROWER)
    until(lambda: may(alice, "view", "groups"))
    until(lambda: {"status": "ready", "policy": "current"} == alice.nobody.get("//readyz").json())
    assert 1.0 == Scrape.of(series(alice.control)).value("mcpctl_policy_files_current")


def test_a_file_that_is_written_slowly_is_never_in_force_by_half(alice: Served, policy_directory: Path) -> None:
    """What is lost by it may be a deny: what was refused before and after must be refused in between."""
    path, deny = policy_directory / "alice.csv", "p, User:alice, view, users, admin, deny\n"
    path.write_text(LINE + deny)
    until(lambda: may(alice, "view", "users", name="alice") and not may(alice, "view", "users", name="admin"))
    with path.open("w") as file:
        file.write(LINE)
        file.flush()
        begun = monotonic()
        while monotonic() - begun < 0.6:
            assert not may(alice, "view", "users", name="admin")
        file.write(deny)
    begun = monotonic()
    while monotonic() - begun < 1.5:
        assert not may(alice, "view", "users", name="admin")


def refused_because(served: Served, words: str) -> None:
    until(lambda: words in str(served.admin.get("//readyz").json().get("reason")))
    assert "last-good" == served.nobody.get("//readyz").json()["policy"]


def test_an_edit_by_which_nobody_would_be_admin_is_refused(alice: Served, policy_directory: Path) -> None:
    """As every call that would bring it about is: there would be nobody to repair it."""
    bindings = policy_directory / "bindings.csv"
    good = bindings.read_text()
    bindings.write_text("# nothing\n")
    refused_because(alice, "nobody enabled would be admin of everything")
    assert may(alice, "edit", "users", "User:admin")
    bindings.write_text(good + LINE)
    until(lambda: may(alice, "view", "users"))


def test_an_edit_that_takes_a_role_from_lines_in_the_database_is_refused_until_they_are_gone(
    alice: Served, policy_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A role without actions gives nothing, and a deny of it denies nothing."""
    caplog.set_level("INFO")
    roles = policy_directory / "operator.csv"
    roles.write_text("g2, operator, view\n")
    body = {"name": "opr", "subjects": ["User:alice"], "roleBindings": ["role:operator,resource:servers"]}
    until(lambda: alice.admin.post("/rbac", body).status_code in (201, 409))
    roles.unlink()
    refused_because(alice, "rbac:opr names the role 'operator'")
    assert may(alice, "view", "servers")
    assert 204 == alice.admin.delete("/rbac/opr").status_code
    until(lambda: "current" == alice.nobody.get("//readyz").json()["policy"], 20)
    rows = made(alice.admin.get("/audit?limit=50"), 200)["items"]
    assert 1 == len([one for one in rows if one["outcome"] == "invalid_policy"]), "said once, not at every look"


def test_a_change_of_rights_or_one_that_hides_its_time_is_a_change(alice: Served, policy_directory: Path) -> None:
    path = policy_directory / "alice.csv"
    path.write_text("p, User:alice, view, users, *, allow\n")
    until(lambda: may(alice, "view", "users"))
    about = path.stat()
    path.write_text("p, User:alice, view, users, *, deny \n")
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert about.st_size == path.stat().st_size
    until(lambda: not may(alice, "view", "users"))


def test_a_file_that_never_rests_does_not_keep_an_edit_of_another_from_being_read(
    alice: Served, policy_directory: Path
) -> None:
    stop = threading.Event()

    def touch() -> None:
        while not stop.wait(0.05):
            (policy_directory / "restless.csv").write_text(f"# {monotonic()}\n")

    thread = threading.Thread(target=touch)
    thread.start()
    try:
        (policy_directory / "alice.csv").write_text(LINE)
        until(lambda: may(alice, "view", "users"), 20)
        (policy_directory / "alice.csv").unlink()
        until(lambda: not may(alice, "view", "users"), 20)
    finally:
        stop.set()
        thread.join()


def test_a_probe_whose_token_has_expired_is_still_a_probe(alice: Served, policy_directory: Path) -> None:
    (policy_directory / "alice.csv").write_text("p, User:alice, veiw, users, *, allow\n")
    until(lambda: "last-good" == alice.nobody.get("//readyz").json()["policy"])
    answer = alice.nobody.as_("mcpctl_ses_" + "x" * 43).get("//readyz")
    assert (200, {"status": "ready", "policy": "last-good"}) == (answer.status_code, answer.json())


def test_going_back_to_what_is_in_force_is_told_in_the_log(
    alice: Served, policy_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (policy_directory / "alice.csv").write_text("p, User:alice, veiw, users, *, allow\n")
    until(lambda: "last-good" == alice.nobody.get("//readyz").json()["policy"])
    (policy_directory / "alice.csv").unlink()
    until(lambda: "current" == alice.nobody.get("//readyz").json()["policy"])
    assert f"the policy files of {policy_directory} are as they are in force again" in caplog.text


def test_a_server_does_not_start_with_files_that_take_a_role_from_lines_in_the_database(
    database_url: str, policy_directory: Path
) -> None:
    roles = policy_directory / "operator.csv"
    roles.write_text("g2, operator, view\n")
    with serving.serve(database_url, policy_directory) as served:
        body = {"name": "opr", "subjects": ["User:admin"], "roleBindings": ["role:operator,resource:servers"]}
        made(served.admin.post("/rbac", body))
    roles.unlink()
    database = Database(database_url)
    try:
        with pytest.raises(InvalidPolicy, match="rbac:opr names the role 'operator'"):
            ControlPlane.prepare(database, policy_directory)
    finally:
        database.close()


def test_a_directory_that_is_gone_for_a_while_changes_nothing(alice: Served, policy_directory: Path) -> None:
    (policy_directory / "alice.csv").write_text(LINE)
    until(lambda: may(alice, "view", "users"))
    away = policy_directory.with_name("away")
    policy_directory.rename(away)
    until(lambda: alice.nobody.get("//readyz").json().get("policy") == "last-good")
    assert may(alice, "view", "users")
    (away / "alice.csv").write_text(NARROWER)
    away.rename(policy_directory)
    until(lambda: may(alice, "view", "groups"))


def test_a_swap_is_never_seen_half_done(database_url: str, policy_directory: Path) -> None:
    """Two lines change places with two others at once; whoever asks sees both of one version, never one of each."""
    versions = ["view, users|view, groups", "view, servers|view, projects"]

    def write(version: str) -> None:
        fresh = policy_directory / ".alice.new"
        fresh.write_text("".join(f"p, User:alice, {line}, *, allow\n" for line in version.split("|")))
        fresh.replace(policy_directory / "alice.csv")

    write(versions[0])
    with serving.serve(database_url, policy_directory) as served:
        made(served.admin.post("/users", {"name": "alice", "service": True}))
        questions = [
            {"subject": "User:alice", "action": "view", "resource": resource}
            for resource in ("users", "groups", "servers", "projects")
        ]
        seen, stop = set[tuple[bool, ...]](), threading.Event()

        def ask() -> None:
            while not stop.is_set():
                answers: Any = made(served.admin.post("/authorize", questions), 200)
                seen.add(tuple(one["allowed"] for one in answers))

        asking = [threading.Thread(target=ask) for _ in range(3)]
        for thread in asking:
            thread.start()
        for number in range(1, 7):
            write(versions[number % 2])
            until(lambda: may(served, "view", "users" if number % 2 == 0 else "servers"))  # noqa: B023 - asked at once
        stop.set()
        for thread in asking:
            thread.join()
    assert {(True, True, False, False), (False, False, True, True)} == seen


@pytest.mark.parametrize("refused", [False, True], ids=["answered", "refused"])
def test_what_was_read_while_the_files_were_exchanged_is_read_again(
    refused: bool, alice: Served, policy_directory: Path, tmp_path: Path
) -> None:
    """The snapshot may be of the revision after, the files of the one before: neither a yes nor a no of both is told."""
    changed = tmp_path / "changed"
    shutil.copytree(policy_directory, changed)
    (changed / "alice.csv").write_text(LINE)
    before, after = alice.control.policy, files.read(changed)

    def tell(_db: Db, policy: PolicyFiles) -> PolicyFiles:
        if policy is before:
            alice.control.policy = after
            if refused:
                raise Forbidden("by a line that is gone")
        return policy

    assert after is alice.control.read(tell)


@pytest.fixture
def two(database_url: str, policy_directory: Path) -> Iterator[tuple[Served, Served, Path]]:
    """Two control planes on one database, each with a policy directory of its own; the second one's."""
    other = policy_directory.with_name("other")
    other.mkdir()
    for path in policy_directory.iterdir():
        if path.is_file():
            (other / path.name).write_bytes(path.read_bytes())
    with ExitStack() as stack:
        one = stack.enter_context(serving.serve(database_url, policy_directory))
        yield one, stack.enter_context(serving.serve(database_url, other)), other


def test_who_has_not_the_policy_files_in_force_answers_nothing(
    two: tuple[Served, Served, Path], policy_directory: Path
) -> None:
    """authz d2, d6: nothing is given by lines that are gone, and no door is judged by files that are not in force."""
    one, other, directory = two
    made(one.admin.post("/users", {"name": "alice", "service": True}))
    (directory / "alice.csv").write_text(LINE)
    until(lambda: may(other, "view", "users"))
    until(lambda: one.nobody.get("//readyz").status_code == 503)
    body = {"name": "ops", "members": ["User:alice"]}
    for refused in (one.admin.post("/groups", body), one.admin.get("/users"), one.admin.get("/auth/whoami")):
        assert (503, "policy_unavailable") == (refused.status_code, refused.json()["code"])
    (policy_directory / "alice.csv").write_text(LINE)
    until(lambda: one.nobody.get("//readyz").status_code == 200)
    assert may(one, "view", "users")
    made(one.admin.post("/groups", body))


def test_a_write_is_judged_by_the_files_in_force_before_anybody_has_heard_of_them(
    two: tuple[Served, Served, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, directory = two
    monkeypatch.setattr(one.control, "_compare_files", None)
    other.control.exchange(files.read(_with(directory, LINE)))
    one.control.behind = False
    refused = one.admin.post("/groups", {"name": "ops", "members": []})
    assert (503, "policy_unavailable") == (refused.status_code, refused.json()["code"])


def _with(directory: Path, line: str) -> Path:
    (directory / "alice.csv").write_text(line)
    return directory


def test_a_failed_exchange_leaves_the_files_before_in_force(
    alice: Served, policy_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = alice.control.policy
    changed = files.read(_with(policy_directory, LINE))
    with monkeypatch.context() as patch:
        patch.setattr("mcpctl.store.database._commit", _fail)
        with pytest.raises(RuntimeError):
            alice.control.exchange(changed)
    assert before is alice.control.policy


def _fail(*_: object) -> None:
    raise RuntimeError("the commit failed")


def test_a_candidate_is_asked_what_was_asked_and_enforces_nothing(
    served: Served, policy_directory: Path, tmp_path: Path
) -> None:
    candidate = tmp_path / "candidate"
    candidate.mkdir()
    for path in policy_directory.iterdir():
        if path.is_file():
            (candidate / path.name).write_bytes(path.read_bytes())
    (candidate / "alice.csv").write_text(LINE + "p, Group:admins, delete, users, *, deny\n")
    alice = served.user("alice")
    control: ControlPlane = served.control
    (candidate / "broken.csv").write_text("p, User:alice\n")
    control.ask_beside(candidate)
    assert control.shadow is not None
    assert control.shadow_directory is not None
    assert control.shadow.candidate is None, "a broken one holds nobody up"
    (candidate / "broken.csv").unlink()
    control.shadow_directory.look()
    control.shadow.start()
    assert 403 == alice.get("/users/admin").status_code, "the candidate would allow it"
    made(served.admin.post("/users", {"name": "bob", "service": True}))
    assert 204 == served.admin.delete("/users/bob").status_code, "the candidate would refuse it"
    evaluation = {
        "subject": {"type": "user", "id": "alice"},
        "action": {"name": "view"},
        "resource": {"type": "users", "id": "bob"},
    }
    assert {"decision": False} == {"decision": made(served.admin.post("//access/v1/evaluation", evaluation), 200)["decision"]}
    control.shadow.stop()
    rows = [row for row in made(served.admin.get("/audit?limit=50"), 200)["items"] if row["outcome"] == "shadow"]
    assert {("User:alice", "view", False), ("User:admin", "delete", True)} == {
        (row["subject"], row["action"], row["allowed"]) for row in rows
    }
    assert {"admin", "bob"} == {row["name"] for row in rows}, "AuthZEN is asked by whoever enforces"
    assert 1 <= SHADOW_DECISIONS.value("gained")
    assert 1 <= SHADOW_DECISIONS.value("lost")
    own = [row for row in made(alice.get("/audit?limit=50"), 200)["items"] if row["outcome"] == "shadow"]
    assert [] == own, "what a candidate says of somebody is for those who try it"
    control.shadow = None
