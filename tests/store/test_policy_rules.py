"""Policy lines: what is written is what is loaded, no line stands twice, and a removal takes exactly what it names."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError

from mcpctl.policy.slices import Rule
from mcpctl.store import policy_rules
from mcpctl.store.database import Database
from mcpctl.store.schema import PolicyRow
from tests.store.rows import dump

HOSTILE = [
    "User:mallory, Group:admins",
    "User:mallory, delete, secrets, *[",
    "User:admin ",
    " User:admin",
    "x)",
    "(",
    '"User:bob"',
    '"',
    "'; DROP TABLE casbin_rule; --",
    "a\nb",
    "a\r\nb",
    "a\tb",
    "#comment",
    "a # b",
    "[a, b]",
    "{}",
    "*",
    "%",
    "_",
    "\\",
    "NULL",
    "None",
    "p",
    "g",
    "g2",
    ",",
    "true",
    "r.sub == 'x' || 1",
    "eval(True)",
    "\u00e4\u00f6",
    "\U0001f600",
    "a\u200bb",
    "ADMIN",
    "Admin",
    "admin",
]
"""What other programs' loaders change on the way (authz d26: I1, I2, I4, I5)."""


def rule(sub: str = "User:alice", origin: str = "rbac:one", **more: str) -> Rule:
    fields = {"role": "view", "res": "servers", "name": "*", "eft": "allow", **more}
    return Rule(sub, fields["role"], fields["res"], fields["name"], fields["eft"], origin)  # type: ignore[arg-type]


def write(database: Database, *rules: Rule) -> None:
    with database.write() as transaction:
        policy_rules.add(transaction.session, rules)


def lines(database: Database) -> list[str]:
    return dump(database)["casbin_rule"]


def test_hostile_strings_are_loaded_as_they_were_written(database: Database, other: Database) -> None:
    """authz d26, d27: the stored value is the loaded value, also for a process that starts afterwards."""
    subjects = [rule(sub=value) for value in HOSTILE]
    names = [rule(sub="User:names", name=value) for value in HOSTILE]
    origins = [rule(sub="User:origins", origin=value) for value in HOSTILE]
    write(database, *subjects, *names, *origins)
    with other.read() as session:
        for one in subjects:
            assert [one] == policy_rules.of_subjects(session, [one.sub])
        assert names == policy_rules.of_subjects(session, ["User:names"])
        assert origins == policy_rules.of_subjects(session, ["User:origins"])
        for one in origins:
            assert [one] == [found for found in policy_rules.of_origin(session, one.origin) if found.sub == "User:origins"]


def test_removing_a_hostile_subject_takes_its_lines_and_no_other(database: Database) -> None:
    """To Casbin's own API '' is a wildcard and '%' might have been one to the database."""
    everything = [rule(sub=value) for value in HOSTILE]
    write(database, *everything)
    left = list(everything)
    for value in HOSTILE:
        with database.write() as transaction:
            policy_rules.remove_subject(transaction.session, value)
        left = [one for one in left if one.sub != value]
        with database.read() as session:
            assert left == policy_rules.of_subjects(session, HOSTILE)


@settings(max_examples=30, suppress_health_check=list(HealthCheck), deadline=None)
@given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=100))
def test_any_text_survives(database: Database, value: str) -> None:
    one = rule(sub=value, name=value, origin=value[:50])
    with database.write() as transaction:
        policy_rules.add(transaction.session, [one])
        assert [one] == policy_rules.of_subjects(transaction.session, [value])
        transaction.session.rollback()


def test_the_same_line_cannot_stand_twice(database: Database, other: Database) -> None:
    """authz d33: a duplicate would make a removal a silent no-op."""
    write(database, rule())
    for again in (database, other):
        with pytest.raises(IntegrityError):
            write(again, rule())
    with pytest.raises(IntegrityError):
        write(database, rule(sub="User:bob"), rule(sub="User:bob"))
    assert 1 == len(lines(database))
    with database.write() as transaction:
        policy_rules.remove_subject(transaction.session, "User:alice")
    assert [] == lines(database)


def test_not_even_with_columns_left_out(database: Database) -> None:
    """A unique index over NULLs would admit duplicates, so no column can be NULL."""
    row = {"ptype": "p", "v0": "User:alice"}
    with database.append() as session:
        session.execute(insert(PolicyRow).values(row))
    with pytest.raises(IntegrityError), database.append() as session:
        session.execute(insert(PolicyRow).values(row))
    for column in ("ptype", "v0", "v1", "v2", "v3", "v4", "v5"):
        with pytest.raises(IntegrityError), database.append() as session:
            session.execute(text(f"UPDATE casbin_rule SET {column} = NULL"))


def test_removing_an_origin_takes_that_one_and_no_other(database: Database) -> None:
    """Not the cross product of its columns, as the adapter's ``remove_policies`` would."""
    kept = [rule(origin="rbac:one-more"), rule(sub="User:bob", origin="rbac:on"), rule(sub="User:rbac:one", origin="rbac:two")]
    write(database, rule(), rule(role="run"), rule(sub="User:bob"), *kept)
    with database.write() as transaction:
        policy_rules.remove_origin(transaction.session, "rbac:one")
    with database.read() as session:
        assert [] == policy_rules.of_origin(session, "rbac:one")
        assert kept == policy_rules.of_subjects(session, ["User:alice", "User:bob", "User:rbac:one"])


def test_removing_a_subject_names_the_origins_that_have_no_line_left(database: Database) -> None:
    write(
        database,
        rule(origin="rbac:alone"),
        rule(origin="rbac:alone", role="run"),
        rule(origin="rbac:shared"),
        rule(sub="User:bob", origin="rbac:shared"),
        rule(sub="User:alice2", origin="rbac:other"),
    )
    with database.write() as transaction:
        assert ["rbac:alone"] == policy_rules.remove_subject(transaction.session, "User:alice")
        assert [] == policy_rules.remove_subject(transaction.session, "User:nobody")
    with database.read() as session:
        found = policy_rules.of_subjects(session, ["User:alice", "User:bob", "User:alice2"])
    assert [("User:bob", "rbac:shared"), ("User:alice2", "rbac:other")] == [(one.sub, one.origin) for one in found]


def test_an_empty_value_is_no_wildcard(database: Database) -> None:
    """authz d30."""
    write(database, rule())
    before = lines(database)
    for remove in (policy_rules.remove_subject, policy_rules.remove_origin):
        with pytest.raises(ValueError, match="empty"), database.write() as transaction:
            remove(transaction.session, "")
    for field in ("sub", "role", "res", "name", "eft", "origin"):
        with pytest.raises(ValueError, match="empty"):
            write(database, Rule(*("" if name == field else value for name, value in rule()._asdict().items())))  # type: ignore[arg-type]
    assert before == lines(database)


def test_a_row_this_program_cannot_have_written_gives_nothing_and_a_deny_is_kept(database: Database) -> None:
    """authz d27: one bad row stops neither loading nor starting."""
    rows = [
        ("p", "User:alice", "view", "servers", "*", "maybe", "rbac:one"),
        ("p", "User:alice", "", "servers", "*", "allow", "rbac:one"),
        ("p", "User:alice", "view", "servers", "", "allow", "rbac:one"),
        ("p", "User:alice", "view", "servers", "*", "ALLOW", "rbac:one"),
        ("g", "User:alice", "Group:admins", "", "", "", ""),
        ("p2", "User:alice", "admin", "*", "*", "allow", "rbac:one"),
        ("p", "User:alice", "view", "servers", "*", "deny", ""),
        ("p", "User:alice", "run", "servers", "*", "allow", "rbac:one"),
    ]
    with database.append() as session:
        for ptype, *fields in rows:
            session.execute(insert(PolicyRow).values(ptype=ptype, **{f"v{n}": field for n, field in enumerate(fields)}))
    with database.read() as session:
        found = policy_rules.of_subjects(session, ["User:alice"])
    assert [("view", "deny"), ("run", "allow")] == [(one.role, one.eft) for one in found]


def test_lines_come_in_the_order_they_were_written(database: Database) -> None:
    wanted = [rule(name=name) for name in ("c", "a", "b", "B", "A", "*", "0")]
    write(database, *wanted)
    with database.read() as session:
        assert wanted == policy_rules.of_subjects(session, ["User:alice"])
        assert wanted == policy_rules.of_origin(session, "rbac:one")


def test_definitions_are_listed_by_byte_order_on_both_databases(database: Database) -> None:
    """A locale would put 'a-b' and 'ab' elsewhere, and a page would lose rows."""
    names = ["a", "a-b", "a.b", "a0", "a_b", "ab", "b", "z9"]
    write(database, *[rule(origin=f"rbac:{name}") for name in reversed(names)], rule(origin="mcptoken:1"), rule(origin="rb:x"))
    with database.read() as session:
        assert [f"rbac:{name}" for name in sorted(names)] == list(policy_rules.origins(session, "rbac:", "", 100))
        assert ["rbac:a-b", "rbac:a.b"] == list(policy_rules.origins(session, "rbac:", "rbac:a", 2))


def test_who_gives_a_role_on_a_resource_is_found_by_index(database: Database) -> None:
    admin = rule(role="admin", res="*")
    write(database, admin, rule(role="admin"), rule(res="*"), rule(sub="User:bob", role="admin", res="*", eft="deny"))
    with database.read() as session:
        found = policy_rules.with_role(session, "admin", "*")
    assert [("User:alice", "allow"), ("User:bob", "deny")] == [(one.sub, one.eft) for one in found]


@pytest.mark.parametrize("column", ["v0", "v5", "v1, v2"])
def test_lines_of_a_subject_an_origin_and_a_role_are_found_without_reading_all(database: Database, column: str) -> None:
    """The adapter makes no index: a decision's cost would grow with the policy."""
    where = {"v0": "v0 = 'x'", "v5": "v5 = 'x'", "v1, v2": "v1 = 'x' AND v2 = 'x'"}[column]
    query = f"SELECT * FROM casbin_rule WHERE {where}"
    with database.engine.connect() as connection:
        if database.is_sqlite:
            plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all())
        else:
            connection.exec_driver_sql("SET enable_seqscan = off")
            plan = str(connection.exec_driver_sql(f"EXPLAIN {query}").all())
    assert f"ix_casbin_rule_{column.replace(', ', '_')}" in plan
