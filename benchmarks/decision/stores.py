"""Databases that hold such a policy and grow with it.

The tables, the indexes and all reading are the product's. Only filling goes past it, in bulk: a million lines through any
program's front door would be another benchmark.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, insert
from sqlalchemy.orm import DeclarativeBase

from benchmarks.decision import policies
from benchmarks.decision.policies import BLOCK, PROJECTS, SERVERS, Household
from mcpctl.policy.slices import Rule
from mcpctl.store.database import Database
from mcpctl.store.migrate import migrate
from mcpctl.store.schema import Attachment, Group, Membership, PolicyRow, Project, Server, Token, TokenSecret, User

BATCH: Final = 10_000
INTO: Final = "casbin_rule (ptype, v0, v1, v2, v3, v4, v5)"


class Store:
    """One database, migrated, with the first ``size`` lines of the policy and everybody they are about."""

    def __init__(self, kind: str, url: str) -> None:
        """Open an empty database and put in what does not grow: servers, projects."""
        self.kind = kind
        self.url = url
        self.database = Database(url)
        self.size = 0
        self._rules = policies.rules()
        self._people = 0
        migrate(self.database)
        with self._writing() as connection:
            _put(connection, Server, map(_server, SERVERS))
            _put(connection, Project, map(_project, PROJECTS))
            _put(
                connection,
                Attachment,
                (
                    {"project_id": project, "server_id": server, "position": position}
                    for number, project in enumerate(PROJECTS)
                    for position, server in enumerate(policies.attached(number))
                ),
            )

    @property
    def version(self) -> str:
        """The database and its version."""
        with self.database.engine.connect() as connection:
            asked = "select sqlite_version()" if self.database.is_sqlite else "show server_version"
            return f"{self.kind} {connection.exec_driver_sql(asked).scalar_one()}"

    def grow(self, size: int) -> None:
        """Add lines until there are ``size``."""
        indexes = sorted(PolicyRow.metadata.tables[PolicyRow.__tablename__].indexes, key=str) if size > BATCH else []
        with self._writing() as connection:
            for index in indexes:  # sorting a million entries once is much faster than a million insertions
                index.drop(connection)
            while missing := size - self.size:
                batch = list(islice(self._rules, min(missing, BATCH)))
                self._put_rules(connection, batch)
                self.size += len(batch)
            for index in indexes:
                index.create(connection)
            while self._people * BLOCK < policies.complete(size):
                _put_people(connection, policies.households(self._people))
                self._people += 1
        with self.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")  # as either database does by itself before long

    def _writing(self) -> Any:
        return self.database.engine.execution_options(mcpctl_write=True).begin()

    def _put_rules(self, connection: Connection, rules: list[Rule]) -> None:
        cursor: Any = connection.connection.cursor()
        if self.database.is_sqlite:
            cursor.executemany(f"INSERT INTO {INTO} VALUES ('p', ?, ?, ?, ?, ?, ?)", rules)
        else:
            with cursor.copy(f"COPY {INTO} FROM STDIN") as copy:
                for rule in rules:
                    copy.write_row(("p", *rule))
        cursor.close()

    def close(self) -> None:
        """Close every connection."""
        self.database.close()


def _put(connection: Connection, table: type[DeclarativeBase], rows: Iterator[dict[str, Any]]) -> None:
    connection.execute(insert(table), list(rows))


def _put_people(connection: Connection, homes: list[Household]) -> None:
    named = {"created_at": 0.0}
    _put(connection, Group, ({"id": group, "name": group, **named} for group in homes[0].groups))
    _put(
        connection,
        User,
        ({"id": home.user, "name": home.user, "service": False, "disabled": False, **named} for home in homes),
    )
    _put(connection, Membership, ({"group_id": group, "user_id": home.user} for home in homes for group in home.groups))
    _put(connection, Token, map(_token, homes))
    _put(connection, TokenSecret, ({"sha": home.sha, "token_id": f"token-{home.number}", **named} for home in homes))


def _token(home: Household) -> dict[str, Any]:
    return {
        "id": f"token-{home.number}",
        "name": f"token-{home.number}",
        "project_id": PROJECTS[home.project],
        "owner_id": home.user,
        "sha": home.sha,
        "rbac_mode": "empty",
        "description": "",
        "created_at": 0.0,
    }


def _server(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "transport": "streamable-http",
        "url": "http://127.0.0.1:9/mcp",
        "headers": {},
        "args": [],
        "env": {},
        "stateful": False,
        "created_at": 0.0,
        "updated_at": 0.0,
    }


def _project(name: str) -> dict[str, Any]:
    return {"id": name, "name": name, "tool_names": "prefixed", "created_at": 0.0, "updated_at": 0.0}
