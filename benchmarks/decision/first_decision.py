"""The first decision about somebody: from a bearer, through the database, to an answer. And what is kept of it."""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final

from sqlalchemy import Engine, create_engine

from benchmarks.decision import peers
from benchmarks.decision.policies import Household
from benchmarks.decision.stores import Store
from benchmarks.rounds import Measured
from mcpctl.policy.decision import Authority, decide
from mcpctl.policy.files import PolicyFiles
from mcpctl.services.principals import authenticate

ADAPTER: Final = "stock Enforcer, Casbin's adapter, filtered, our index"
ADAPTER_ALONE: Final = "stock Enforcer, Casbin's adapter, filtered, its own table"


def authority(policy: PolicyFiles, store: Store, home: Household) -> Authority:
    """What a bearer may do, read as the control plane reads it when it does not know the bearer."""
    with store.database.read() as db:
        return authenticate(db, policy, home.bearer).authority


def measure(policy: PolicyFiles, stores: Iterable[Store], homes: Iterable[Household]) -> dict[str, Measured]:
    """Bearer to answer for one token after the other, the databases taking turns."""
    asks = {f"first decision, {store.kind}": _ours(policy, store) for store in stores}
    return _in_turns(asks, homes)


def measure_adapter(policy: PolicyFiles, store: Store, directory: Path, homes: Iterable[Household]) -> dict[str, Measured]:
    """The same lines through Casbin's own adapter (which knows no bearer, owner or project), with and without an index."""
    ours = store.database.path
    alone = directory / "adapter.db"
    with sqlite3.connect(alone) as connection:
        connection.execute("ATTACH ? AS ours", (str(ours),))
        connection.execute("CREATE TABLE casbin_rule AS SELECT * FROM ours.casbin_rule")
    connection.close()
    engines = {ADAPTER: create_engine(f"sqlite:///{ours}"), ADAPTER_ALONE: create_engine(f"sqlite:///{alone}")}
    try:
        return _in_turns({name: partial(_through_adapter, policy, engine) for name, engine in engines.items()}, homes)
    finally:
        for engine in engines.values():
            engine.dispose()
        alone.unlink()


def _through_adapter(policy: PolicyFiles, engine: Engine, home: Household) -> bool:
    return bool(peers.filtered(policy, engine, home).enforce(home.token, *_question(home)))


def kept_bytes(policy: PolicyFiles, store: Store, homes: list[Household], answers: int) -> tuple[float, float]:
    """Bytes of memory for one token's authority: as built, and with so many answers remembered."""
    warm = authority(policy, store, homes[0])
    decide(warm, *_question(homes[0]))
    tracemalloc.start()
    begun = tracemalloc.get_traced_memory()[0]
    kept = [authority(policy, store, home) for home in homes]
    built = tracemalloc.get_traced_memory()[0]
    for one, home in zip(kept, homes, strict=True):
        for question in home.questions(iter(range(answers))):
            decide(one, *question)
    asked = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (built - begun) / len(homes), (asked - begun) / len(homes)


def _question(home: Household) -> tuple[str, str, str]:
    return next(home.questions(iter([home.number * 5])))


def _ours(policy: PolicyFiles, store: Store) -> Callable[[Household], bool]:
    return lambda home: bool(decide(authority(policy, store, home), *_question(home)))


def _in_turns(asks: Mapping[str, Callable[[Household], bool]], homes: Iterable[Household]) -> dict[str, Measured]:
    found = {name: Measured() for name in asks}
    for number, home in enumerate(homes):
        _ = home.sha  # made from a seed here, and not what is measured
        for name, ask in asks.items():
            begun = perf_counter()
            allowed = ask(home)
            took = perf_counter() - begun
            if not allowed:
                raise AssertionError(f"{name}: {home} was refused, and should not have been")
            if number:  # the first warms connections and statements, as any server's first request does
                found[name].seconds.append(took)
    return found
