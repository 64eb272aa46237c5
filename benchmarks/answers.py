"""What longer answers cost: ``python -m benchmarks.answers``. Who can, over 10,000 subjects; AuthZEN batches against one.

Who can is timed by the thread's processor time, and by the clock beside it, SQLite included, of subjects that all hold lines:
5,000 people in groups and their 5,000 tokens, 15 lines each. HTTP is one connection to a real control plane, all requests in
turns; ``authorize`` stands beside the empty route that ``benchmarks.decision`` holds it against.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, thread_time, time
from typing import Any, Final

import httpx2

from benchmarks import provenance
from benchmarks.decision import over_http
from benchmarks.decision.policies import LINES_PER_BLOCK, Household
from benchmarks.decision.stores import Store
from mcpctl.policy import files
from mcpctl.policy.slices import Rule
from mcpctl.services import answers
from mcpctl.services.token_secret import generate_session, hash_token
from mcpctl.store import policy_rules
from mcpctl.store.schema import Session

SUBJECTS: Final = 10_000
ROUNDS: Final = 30
QUESTIONS: Final = (
    ("run", "servers", "server-00/get_time"),
    ("view", "servers", "server-00"),
    ("delete", "servers", "server-00"),
)


def who_can(store: Store) -> list[tuple[str, int, list[float], float]]:
    """Of some questions: how many subjects each found, the processor's seconds, and the least the clock said."""
    policy, found = files.read(provenance.ROOT / "policies"), list[tuple[str, int, list[float], float]]()
    for question in QUESTIONS:
        took, by_clock, able = list[float](), list[float](), 0
        for _ in range(5):
            begun, cpu = perf_counter(), thread_time()
            with store.database.read() as db:
                able = sum(1 for _ in answers.who_can(db, policy, question, time()))
            took.append(thread_time() - cpu)
            by_clock.append(perf_counter() - begun)
        found.append((" ".join(question), able, took, min(by_clock)))
    return found


def evaluation(tool: int, subject: str) -> dict[str, Any]:
    """One evaluation about a token."""
    resource = {"type": "servers", "id": f"server-00/get_{tool}"}
    return {"subject": {"type": "mcptoken", "id": subject}, "action": {"name": "run"}, "resource": resource}


def _client(address: str) -> httpx2.Client:
    return httpx2.Client(base_url=f"http://{address}", trust_env=False, timeout=30)


def over_the_wire(store: Store) -> dict[str, list[float]]:
    """Seconds of one request of each kind, in turns."""
    me, others = Household(0), [Household(number).sha for number in range(1, 101)]
    asker = Household(101)
    with store.database.write() as transaction:
        lines = [Rule(asker.owner, "impersonate", "operations", "*", "allow", "rbac:asker")]
        policy_rules.add(transaction.session, lines)
        raw = generate_session()
        row = Session(id="asker", user_id=asker.user, sha=hash_token(raw), created_at=0.0)
        transaction.session.add(row)
    with over_http.served(store.url, provenance.ROOT / "policies") as running, _client(running.address) as http:
        admin = {"Authorization": f"Bearer {raw}"}
        mine = {"Authorization": f"Bearer {me.bearer}"}
        one_path, many_path = "/access/v1/evaluation", "/access/v1/evaluations"
        requests: dict[str, tuple[str, dict[str, str], Any]] = {
            "empty route": ("/empty", mine, json.loads(over_http.QUESTION)),
            "authorize, about oneself": ("/api/v1/authorize", mine, json.loads(over_http.QUESTION)),
            "one evaluation, about oneself": (one_path, mine, evaluation(1, me.sha)),
            "100 evaluations, about oneself": (
                many_path,
                mine,
                {"evaluations": [evaluation(n, me.sha) for n in range(100)]},
            ),
            "one evaluation, about another": (one_path, admin, evaluation(1, others[0])),
            "100 evaluations, about another": (
                many_path,
                admin,
                {"evaluations": [evaluation(n, others[0]) for n in range(100)]},
            ),
            "100 evaluations, about 100 others": (
                many_path,
                admin,
                {"evaluations": [evaluation(1, sha) for sha in others]},
            ),
        }
        took: dict[str, list[float]] = {name: [] for name in requests}
        for turn in range(ROUNDS + 3):
            for name, (path, headers, body) in requests.items():
                begun = perf_counter()
                http.post(path, json=body, headers=headers).raise_for_status()
                if turn >= 3:
                    took[name].append(perf_counter() - begun)
        return took


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="answers") as directory:
        store = Store("SQLite", f"sqlite:///{Path(directory) / 'mcpctl.db'}")
        store.grow(SUBJECTS // 100 * LINES_PER_BLOCK)
        for question, able, seconds, clock in who_can(store):
            print(
                f"who-can {question}: {median(seconds):.2f} s of the processor, {clock:.2f} s by the clock, {able:,} may (1 s)"
            )
        took = over_the_wire(store)
        store.close()
    middle = {name: median(seconds) for name, seconds in took.items()}
    for name, seconds in middle.items():
        print(f"{name}: {seconds * 1e3:.2f} ms")
    for many, one in (
        ("100 evaluations, about oneself", "one evaluation, about oneself"),
        ("100 evaluations, about another", "one evaluation, about another"),
        ("100 evaluations, about 100 others", "one evaluation, about another"),
    ):
        print(f"{many}: {middle[many] / middle[one]:.1f} times {one}; budget 5")


if __name__ == "__main__":
    main()
