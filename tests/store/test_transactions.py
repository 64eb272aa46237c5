"""Transactions: writes come one after another, fail whole, and what they read is still true when they commit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import time

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import OperationalError

from mcpctl.errors import InvalidSetting, StoreUnavailable
from mcpctl.policy.slices import Rule
from mcpctl.store import policy_rules, revisions
from mcpctl.store.database import Database, ping
from mcpctl.store.schema import AuditRow, Group, Revision, User
from tests.store.rows import audit_row, dump

LINE = Rule("User:alice", "view", "servers", "*", "allow", "rbac:one")


def number(database: Database) -> int:
    with database.read() as session:
        return revisions.current(session)


def add_one(database: Database) -> None:
    with database.write() as transaction:
        row = transaction.session.get_one(Revision, 1)
        row.files_digest = str(int(row.files_digest or "0") + 1)
        transaction.touch("counter")


def test_of_eighty_increments_by_two_processes_none_is_lost(database: Database, other: Database) -> None:
    before = number(database)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add_one, [database, other] * 40))
    with database.read() as session:
        row = session.get_one(Revision, 1)
        assert ("80", before + 80) == (row.files_digest, row.number)


def test_what_a_write_has_read_is_still_true_when_it_commits(database: Database, other: Database) -> None:
    """authz d1: no write of another process comes between a check and what it guards."""
    inside, order = threading.Event(), list[str]()

    def later() -> None:
        inside.wait(10)
        with other.write() as transaction:
            order.append("second begins")
            policy_rules.remove_origin(transaction.session, LINE.origin)
            transaction.touch(LINE.sub)

    with database.write() as transaction:
        policy_rules.add(transaction.session, [LINE])
        transaction.touch(LINE.sub)
    thread = threading.Thread(target=later)
    thread.start()
    with database.write() as transaction:
        assert [LINE] == policy_rules.of_subjects(transaction.session, [LINE.sub])
        inside.set()
        thread.join(0.3)
        transaction.session.expire_all()
        assert [LINE] == policy_rules.of_subjects(transaction.session, [LINE.sub])
        order.append("first ends")
    thread.join(10)
    assert ["first ends", "second begins"] == order


def test_a_read_sees_one_revision_from_beginning_to_end(database: Database, other: Database) -> None:
    with database.read() as session:
        before = revisions.current(session)
        add_one(other)
        session.expire_all()
        assert before == revisions.current(session)
        assert "" == session.get_one(Revision, 1).files_digest
    assert before + 1 == number(database)


def test_a_read_writes_nothing(database: Database) -> None:
    before = dump(database)
    with database.read() as session:
        session.add(Group(name="left-over", created_at=0))
    assert before == dump(database)


def write_everything(database: Database) -> None:
    """What minting a token does to the store: a row, policy lines, an audit row and a revision."""
    with database.write() as transaction:
        transaction.session.add(User(name="alice", service=False, disabled=False, created_at=time()))
        transaction.session.flush()
        policy_rules.add(transaction.session, [LINE, LINE._replace(role="run")])
        transaction.session.add(audit_row("row", at=time()))
        transaction.touch(LINE.sub, "User:alice")


@contextmanager
def failing(database: Database, step: int) -> Iterator[Callable[[], int]]:
    """The ``step``-th statement of a write fails; at the step after the last statement the commit does."""
    seen = 0

    def before(connection: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == step:
            raise OperationalError(statement, {}, Exception("injected"))

    event.listen(database.engine, "before_cursor_execute", before)
    try:
        yield lambda: seen
    finally:
        event.remove(database.engine, "before_cursor_execute", before)


def test_a_write_that_fails_at_any_statement_leaves_nothing(database: Database) -> None:
    """Row, policy lines, audit row and revision commit or vanish together."""
    heard: list[int] = []
    database.on_commit(lambda revision, _topics: heard.append(revision))
    before, step = dump(database), 0
    while True:
        step += 1
        with failing(database, step) as statements:
            try:
                write_everything(database)
            except StoreUnavailable:
                assert before == dump(database)
                assert [] == heard
                continue
            assert statements() == step - 1
            break
    assert step > 7
    after = dump(database)
    assert {"app_user", "audit", "casbin_rule", "change", "revision"} == {name for name in after if after[name] != before[name]}
    assert [2] == heard


def test_a_write_whose_commit_fails_leaves_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    database.on_commit(lambda revision, _topics: heard.append(revision))
    before = dump(database)

    dialect = database.engine.dialect

    def refuse(_connection: object) -> None:
        raise dialect.dbapi.OperationalError("injected")  # type: ignore[union-attr]

    monkeypatch.setattr(dialect, "do_commit", refuse)
    with pytest.raises(StoreUnavailable):
        write_everything(database)
    monkeypatch.undo()
    assert before == dump(database)
    assert [] == heard
    write_everything(database)
    assert [2] == heard


def test_an_error_of_the_caller_rolls_the_policy_lines_back(database: Database) -> None:
    """The adapter commits by itself when it is given an engine; given our connection it joins the transaction."""
    before = dump(database)
    with pytest.raises(ZeroDivisionError), database.write() as transaction:  # noqa: PT012
        policy_rules.add(transaction.session, [LINE])
        assert [LINE] == policy_rules.of_origin(transaction.session, LINE.origin)
        transaction.touch(LINE.sub)
        _ = 1 // 0
    assert before == dump(database)


def test_removed_lines_come_back_when_the_caller_fails(database: Database) -> None:
    with database.write() as transaction:
        policy_rules.add(transaction.session, [LINE])
    before = dump(database)
    with pytest.raises(ZeroDivisionError), database.write() as transaction:  # noqa: PT012
        policy_rules.remove_origin(transaction.session, LINE.origin)
        assert [] == policy_rules.of_origin(transaction.session, LINE.origin)
        _ = 1 // 0
    assert before == dump(database)


def test_nobody_else_sees_policy_lines_before_the_commit(database: Database, other: Database) -> None:
    with database.write() as transaction:
        policy_rules.add(transaction.session, [LINE])
        with other.read() as session:
            assert [] == policy_rules.of_subjects(session, [LINE.sub])
    with other.read() as session:
        assert [LINE] == policy_rules.of_subjects(session, [LINE.sub])


def test_a_write_that_touches_nothing_makes_no_revision(database: Database) -> None:
    heard: list[int] = []
    database.on_commit(lambda revision, _topics: heard.append(revision))
    with database.write() as transaction:
        transaction.session.add(audit_row("row"))
    assert ([], 1) == (heard, number(database))


def test_listeners_hear_of_revisions_in_order_and_after_the_commit(database: Database) -> None:
    heard: list[tuple[int, frozenset[str], int]] = []

    def listen(revision: int, topics: frozenset[str]) -> None:
        heard.append((revision, topics, number(database)))

    database.on_commit(listen)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add_one, [database] * 12))
    assert [(n, frozenset({"counter"}), n) for n in range(2, 14)] == heard


def test_a_listener_that_fails_does_not_undo_or_deny_what_was_committed(database: Database) -> None:
    heard: list[int] = []

    def fail(_revision: int, _topics: frozenset[str]) -> None:
        raise StoreUnavailable("a listener cannot read")

    database.on_commit(fail)
    database.on_commit(lambda revision, _topics: heard.append(revision))
    write_everything(database)
    assert [2] == heard


def test_an_append_waits_for_no_writer_of_answers_on_postgresql_and_loses_nothing_on_sqlite(
    database: Database, other: Database
) -> None:
    """Audit of refusals and reports of gateways take no policy lock; SQLite has one writer at a time whoever it is."""
    done = threading.Event()

    def append() -> None:
        with other.append() as session:
            session.add(audit_row("appended"))
        done.set()

    thread = threading.Thread(target=append)
    with database.write() as transaction:
        transaction.touch("x")
        thread.start()
        assert done.wait(0.5) is not database.is_sqlite
    thread.join(10)
    with database.read() as session:
        assert ["appended"] == list(session.scalars(select(AuditRow.id)))
        assert 2 == revisions.current(session)


def test_an_append_makes_no_revision_and_fails_whole(database: Database) -> None:
    before = dump(database)
    with pytest.raises(ZeroDivisionError), database.append() as session:  # noqa: PT012
        session.add(audit_row("one"))
        session.flush()
        _ = 1 // 0
    assert before == dump(database)
    with database.append() as session:
        session.add(audit_row("one"))
    assert 1 == number(database)


def test_a_lost_connection_is_an_answer_and_the_next_request_gets_a_new_one(database: Database, other: Database) -> None:
    """authz d40: the database goes away in the middle; that is never an allow, and passes."""
    if database.is_sqlite:
        pytest.skip("nothing to cut off")
    with pytest.raises(StoreUnavailable), database.read() as session:  # noqa: PT012
        process = session.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with other.engine.connect() as connection:
            connection.exec_driver_sql(f"SELECT pg_terminate_backend({int(process)})")
        revisions.current(session)
    ping(database)


@pytest.mark.parametrize(
    "url", ["mysql://localhost/x", "sqlite://", "sqlite:///:memory:", "not a url", "", "oracle+foo://x", "postgres://x"]
)
def test_only_a_sqlite_file_or_postgresql_is_a_database(url: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        Database(url)
    assert "MCPCTL_DATABASE_URL" in refused.value.detail


def test_a_database_that_does_not_answer_is_said_to_be_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        ping(Database("postgresql://nobody@127.0.0.1:9/nothing"))
    with pytest.raises(StoreUnavailable):
        ping(Database("sqlite:////nowhere/at/all/mcpctl.db"))


def test_a_connection_lost_while_nobody_used_it_is_noticed_before_it_is_used(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database.is_sqlite:
        pytest.skip("nothing to cut off")
    monkeypatch.setattr("mcpctl.store.database.PING_AFTER", 0.0)
    with database.read() as db:
        mine = db.execute(text("SELECT pg_backend_pid()")).scalar_one()
    killer = Database(database.url.render_as_string(hide_password=False))
    with killer.engine.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": mine})
    killer.close()
    with database.read() as db:
        assert mine != db.execute(text("SELECT pg_backend_pid()")).scalar_one()
