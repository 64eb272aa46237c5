"""Three control planes and two gateways on one PostgreSQL: what is revoked is revoked everywhere, no write is lost, nothing is
given that is no longer held, and whoever is killed at any moment leaves nothing half done."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx2
import pytest
from sqlalchemy import create_engine, text

from tests.attack import nginx
from tests.attack.cluster import CONTROLS, EVERYBODY, GATEWAYS, Cluster, cluster, until
from tests.gateway import asking_server
from tests.gateway.conftest import Endpoint
from tests.gateway.test_back_channel import call, elicited
from tests.gateway.test_kill_and_restart import Caller
from tests.gateway.test_legacy_wire import initialize, open_session, request
from tests.gateway.upstreams import Upstream, served
from tests.serving import made

pytestmark = pytest.mark.timeout(240)
VIEW = "role:view,resource:servers"
A_SECOND = 2.0
"""Within which a revocation is everywhere: a second, and what a machine takes on which five programs and others run."""


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory, postgres: Any) -> Iterator[Cluster]:
    upstream = Upstream(tools=[{"name": "echo", "inputSchema": {"type": "object"}}])
    dripping = Upstream(drip=0.05)
    with (
        served(upstream.app()) as up,
        served(dripping.app()) as drip,
        served(asking_server.build_app("legacy")) as ask,
        postgres.empty() as url,
        cluster(tmp_path_factory.mktemp("five"), url) as found,
    ):
        admin = found.admin()
        for name, address in (("up", up), ("drip", drip), ("ask", ask), ("late", up)):
            body = {"name": name, "transport": "streamable-http", "url": f"{address}/mcp", "stateful": name == "ask"}
            made(admin.post("/servers", body))
        made(admin.post("/projects", {"name": "p", "servers": ["up", "drip", "ask"]}))
        yield found


def at_once(*does: Callable[[], Any]) -> list[Any]:
    """What each gave, begun at the same moment."""
    gate = threading.Barrier(len(does))

    def begin(each: Callable[[], Any]) -> Any:
        gate.wait(20)
        return each()

    with ThreadPoolExecutor(len(does)) as pool:
        return [running.result(60) for running in [pool.submit(begin, each) for each in does]]


def rbac(name: str, subject: str, *bindings: str) -> dict[str, Any]:
    return {"name": name, "subjects": [subject], "roleBindings": list(bindings)}


def test_three_first_starts_at_once_make_one_admin_and_migrate_once(five: Cluster) -> None:
    for name in CONTROLS:
        people = five.admin(name).get("/users").json()["items"]
        assert ["admin"] == [user["name"] for user in people if not user["service"]]
        assert ["User:admin"] == five.admin(name).get("/groups/admins").json()["members"]
    rows = five.admin().get("/audit?limit=1000").json()["items"]
    assert 1 == len([row for row in rows if row["reason"] == "first start"])
    assert 1 == len([row for row in rows if row["name"] == "files" and row["resource"] == "policy"])
    engine = create_engine(five.database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        assert 1 == connection.execute(text("SELECT count(*) FROM alembic_version")).scalar_one()
    engine.dispose()
    assert all("Traceback" not in (five.directory / f"{name}.log").read_text() for name in EVERYBODY)


def test_each_gateway_reports_its_own_instances(five: Cluster) -> None:
    token = five.token("reports", "p", "role:run,resource:servers,name:up")
    for name in GATEWAYS:
        assert ["up__echo"] == five.endpoint(name, token["token"]).tools()

    def reported() -> set[str]:
        found = five.admin(random.choice(CONTROLS)).get("/instances").json()["items"]
        return {one["gateway"] for one in found if one["server"] == "up" and one["status"] == "RUNNING"}

    until(lambda: reported() == set(GATEWAYS), 15, "both reports")


class Watching:
    """One token at one gateway: a call and a stream that never end, and a question again and again."""

    def __init__(self, five: Cluster, gateway: str, bearer: str) -> None:
        self.ended: dict[str, float] = {}
        self._five, self._gateway, self._bearer = five, gateway, bearer
        self.asked = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._ask, self._call, self._listen)]
        self.opened = threading.Barrier(4)
        for thread in self._threads:
            thread.start()
        self.opened.wait(30)

    def _endpoint(self) -> Any:
        return self._five.endpoint(self._gateway, self._bearer)

    def _ask(self) -> None:
        endpoint = self._endpoint()
        assert 200 == endpoint.modern("tools/list").status_code
        self.opened.wait(30)
        while endpoint.modern("tools/list").status_code == 200:
            time.sleep(0.01)
        self.ended["ask"] = time.monotonic()

    def _call(self) -> None:
        headers = {"Authorization": f"Bearer {self._bearer}", "Accept": "application/json, text/event-stream"}
        endpoint = self._endpoint()
        session = open_session(endpoint)
        params = {"name": "drip__echo", "arguments": {}, "_meta": {"progressToken": 1}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        with endpoint.http.stream("POST", endpoint.url, json=body, headers={**headers, **session}) as answer:
            lines = answer.iter_lines()
            next(lines)
            self.opened.wait(30)
            for _ in lines:
                pass
        self.ended["call"] = time.monotonic()

    def _listen(self) -> None:
        headers = {"Authorization": f"Bearer {self._bearer}", "Accept": "text/event-stream"}
        endpoint = self._endpoint()
        session = open_session(endpoint)
        with endpoint.http.stream("GET", endpoint.url, headers={**headers, **session}) as answer:
            assert 200 == answer.status_code
            self.opened.wait(30)
            for _ in answer.iter_lines():
                pass
        self.ended["stream"] = time.monotonic()


def test_what_is_revoked_at_any_of_them_is_revoked_at_all_within_a_second_and_open_streams_end(five: Cluster) -> None:
    taken = []
    for number, control in enumerate(CONTROLS):
        bindings = [f"role:run,resource:servers,name:{server}" for server in ("up", "drip")]
        token = five.token(f"revoked-{number}", "p", *bindings, at=CONTROLS[number - 1])
        watching = [Watching(five, gateway, token["token"]) for gateway in GATEWAYS]
        others = [five.client(name, token["token"]) for name in CONTROLS]
        assert [200] * 3 == [other.get("/auth/whoami").status_code for other in others]
        assert 200 == five.admin(control).post(f"/mcptokens/{token['id']}/revoke").status_code
        begun = time.monotonic()
        until(lambda others=others: all(other.get("/auth/whoami").status_code == 401 for other in others), A_SECOND)  # type: ignore[misc]
        until(lambda watching=watching: all(len(one.ended) == 3 for one in watching), A_SECOND, "the end of all")  # type: ignore[misc]
        taken += [at - begun for one in watching for at in one.ended.values()]
    assert max(taken) < A_SECOND


def test_no_update_is_lost_between_replicas(five: Cluster) -> None:
    admin = five.admin()
    names = [f"member-{number}" for number in range(18)]
    for name in names:
        made(admin.post("/users", {"name": name, "service": True}))
    made(admin.post("/groups", {"name": "many"}))

    def add(control: str, name: str) -> int:
        return five.admin(control).put(f"/groups/many/members/{name}").status_code

    assert [200] * 18 == at_once(*(partial(add, CONTROLS[n % 3], name) for n, name in enumerate(names)))
    assert sorted(f"User:{name}" for name in names) == sorted(admin.get("/groups/many").json()["members"])

    def remove(control: str, name: str) -> int:
        return five.admin(control).delete(f"/groups/many/members/{name}").status_code

    assert [200] * 9 == at_once(*(partial(remove, CONTROLS[n % 3], name) for n, name in enumerate(names[:9])))
    for control in CONTROLS:
        assert sorted(f"User:{name}" for name in names[9:]) == sorted(five.admin(control).get("/groups/many").json()["members"])
    same = at_once(*(partial(five.admin(name).post, "/groups", {"name": "same"}) for name in CONTROLS * 2))
    assert [201, *[409] * 5] == sorted(answer.status_code for answer in same)


def test_nothing_is_given_after_it_was_taken_away_whichever_replica_is_asked(five: Cluster) -> None:
    """Writes come one after another, and each answer tells which one it was: so what came between is known without a clock."""
    admin = five.admin()
    mints = ("role:create,resource:rbac", "role:create,resource:mcptokens", "role:view,resource:projects")
    for name in ("giver", "taker"):
        made(admin.post("/users", {"name": name, "service": True}))
    made(admin.post("/rbac", rbac("mints", "User:giver", *mints)))
    made(admin.post("/rbac", rbac("gives", "User:giver", VIEW)))
    giver = made(admin.post("/sessions", {"user": "giver"}))["token"]
    numbers = itertools.count()

    def revision(answer: httpx2.Response) -> int:
        return int(answer.headers["mcpctl-revision"])

    def take() -> tuple[int, int]:
        time.sleep(random.uniform(0, 0.02))
        taken = five.admin(CONTROLS[0]).put("/rbac/gives", rbac("gives", "User:giver", "role:view,resource:groups"))
        time.sleep(0.05)
        given = five.admin(CONTROLS[0]).put("/rbac/gives", rbac("gives", "User:giver", VIEW))
        return revision(taken), revision(given)

    def give(control: str) -> list[int]:
        client, made_at = five.client(control, giver), []
        for _ in range(3):
            number = next(numbers)
            answers = [
                client.post("/rbac", rbac(f"given-{number}", "User:taker", VIEW)),
                client.post("/mcptokens", {"name": f"given-{number}", "project": "p", "bindings": [VIEW]}),
            ]
            assert {answer.status_code for answer in answers} <= {201, 403}
            made_at += [revision(answer) for answer in answers if answer.status_code == 201]
        return made_at

    passed = 0
    for _ in range(4):
        (taken, given), *given_at = at_once(take, *(partial(give, name) for name in CONTROLS))
        assert [] == [at for at in itertools.chain(*given_at) if taken < at < given]
        passed += sum(map(len, given_at))
    assert passed, "else nothing was tried"


class Writing:
    """Somebody who makes things at one control plane for ever, and remembers what was acknowledged."""

    def __init__(self, five: Cluster, control: str) -> None:
        self.acknowledged: list[str] = []
        self._five, self._control = five, control
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write_for_ever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _write_for_ever(self) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                return
            name = f"{self._control}-{number}"
            body = {"name": name, "project": "p", "bindings": [VIEW, "role:run,resource:servers,name:up"]}
            try:
                answer = self._five.admin(self._control).post("/mcptokens", body)
            except httpx2.TransportError:
                time.sleep(0.02)
                continue
            if answer.status_code == 201:
                self.acknowledged.append(name)
                time.sleep(0.01)
            else:
                assert answer.status_code in (409, 503), answer.text


class _Stage:
    """What a ``Caller`` needs to know of a gateway."""

    def __init__(self, port: int) -> None:
        self.gateway = f"http://127.0.0.1:{port}/mcp"


class Client:
    """A client of the handshake's era that does as the protocol says: at 404 it initializes anew."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint, self.handshakes = endpoint, 0
        self.session: dict[str, str] = {}

    def call(self) -> bool:
        """One call; whether it was answered."""
        if not self.session:
            answer = self.endpoint.post(initialize())
            if answer.status_code != 200:
                return False
            self.session, self.handshakes = {"Mcp-Session-Id": answer.headers["mcp-session-id"]}, self.handshakes + 1
        answer = self.endpoint.post(request("tools/call", {"name": "up__echo", "arguments": {}}), self.session)
        if answer.status_code == 404:
            self.session = {}
            return False
        return answer.status_code == 200 and "isError" not in answer.json()["result"]


@pytest.mark.skipif(nginx.NGINX is None, reason="there is no nginx on this machine (Debian: apt-get install nginx-light)")
def test_two_gateways_behind_one_address_serve_sessions_as_long_as_each_client_comes_to_one(five: Cluster) -> None:
    """Balanced by a hash of Authorization: who comes to the other one, as its own is gone, is told so and initializes anew."""
    bindings = [f"role:run,resource:servers,name:{server}" for server in ("up", "ask", "late")]
    bearers = [five.token(f"client-{number}", "p", *bindings)["token"] for number in range(10)]
    ports = [five.ports[name] for name in GATEWAYS]
    with nginx.before(ports, five.directory) as address, httpx2.Client(timeout=20, trust_env=False) as http:
        until(lambda: _answers(http, address), 10, "nginx")
        clients = [Client(Endpoint(http, f"{address}/mcp", bearer)) for bearer in bearers]
        before = [five.scrape(name).value("mcplocal_sessions") for name in GATEWAYS]
        for _ in range(3):
            assert all(client.call() for client in clients)
        assert [1] * 10 == [client.handshakes for client in clients], "each found its session again, each time"
        opened = [five.scrape(name).value("mcplocal_sessions") - old for name, old in zip(GATEWAYS, before, strict=True)]
        assert 10 == sum(opened)
        assert all(opened), "both are used"
        for client in clients[:3]:
            _what_a_server_asks_comes_back(client.endpoint)
        _changes_are_told_on_the_stream(five, clients[:4])
        five.kill(GATEWAYS[0])
        for client in clients:
            until(client.call, 10, "its recovery")
        handshakes = [client.handshakes for client in clients]
        assert opened[0] == sum(handshakes) - 10, "those of the one that is gone have initialized anew, and no others"
        five.start(GATEWAYS[0])

        def everybody() -> bool:
            answered = [client.call() for client in clients]
            return all(answered) and _sessions(five, GATEWAYS[0]) >= opened[0]

        until(everybody, 20, "the way back")
        assert opened[0] == sum(client.handshakes for client in clients) - sum(handshakes)


@pytest.mark.skipif(nginx.NGINX is None, reason="there is no nginx on this machine (Debian: apt-get install nginx-light)")
def test_behind_nginx_the_audit_says_from_where_the_client_comes(five: Cluster) -> None:
    """Whatever the client says of that itself, and whoever comes without the nginx."""
    bearer = five.token("traced", "p", "role:run,resource:servers,name:up")["token"]
    forged = {"X-Forwarded-For": "6.6.6.6"}
    ports = [five.ports[name] for name in GATEWAYS]
    transport = httpx2.HTTPTransport(local_address="127.0.0.3")
    with (
        nginx.before(ports, five.directory) as address,
        httpx2.Client(timeout=20, transport=transport, headers=forged) as http,
    ):
        until(lambda: _answers(http, address), 10, "nginx")
        assert Client(Endpoint(http, f"{address}/mcp", bearer)).call()
        assert Client(Endpoint(http, f"http://127.0.0.1:{ports[0]}/mcp", bearer)).call()

        def sources() -> list[str]:
            rows = five.admin().get("/audit?project=p&token=p/traced&limit=10").json()["items"]
            return [row["source"] for row in rows if row.get("tool") == "echo"]

        until(lambda: len(sources()) == 2, 10, "the audit")
        assert ["127.0.0.3", "127.0.0.3"] == sources()


def _answers(http: httpx2.Client, address: str) -> bool:
    try:
        return http.get(f"{address}/healthz").status_code == 200
    except httpx2.TransportError:
        return False


def _sessions(five: Cluster, gateway: str) -> float:
    return five.scrape(gateway).value("mcplocal_sessions")


def _what_a_server_asks_comes_back(endpoint: Endpoint) -> None:
    """A question of a stateful server in the middle of a call, and its answer as a request of its own."""
    assert "Ada" in call(endpoint, "legacy", "ask__elicit", elicitation_callback=elicited)


def _changes_are_told_on_the_stream(five: Cluster, clients: list[Client]) -> None:
    heard: list[str] = []
    opened = threading.Barrier(len(clients) + 1)

    def listen(client: Client) -> None:
        headers = {"Authorization": f"Bearer {client.endpoint.bearer}", "Accept": "text/event-stream", **client.session}
        own = client.endpoint.url
        with httpx2.Client(timeout=20, trust_env=False) as http, http.stream("GET", own, headers=headers) as answer:
            opened.wait(20)
            heard.append(next(line for line in answer.iter_lines() if "list_changed" in line))

    threads = [threading.Thread(target=listen, args=(client,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    opened.wait(20)
    time.sleep(0.5)  # what it compares with is read once the stream is open
    assert 200 == five.admin(CONTROLS[2]).put("/projects/p/servers/late").status_code
    for thread in threads:
        thread.join(20)
    assert len(clients) == len(heard)


def test_a_process_that_is_told_to_stop_says_that_it_is_not_ready_finishes_and_exits_with_zero(five: Cluster) -> None:
    token = five.token("drained", "p", "role:run,resource:servers,name:up", "role:run,resource:servers,name:drip")
    for name in (GATEWAYS[1], CONTROLS[2]):
        is_gateway = name in GATEWAYS
        url = f"http://127.0.0.1:{five.ports[name]}" + ("/mcp" if is_gateway else "/api/v1/watch")
        headers = {"Authorization": f"Bearer {token['token']}", "Accept": "text/event-stream"}
        if is_gateway:
            headers |= open_session(five.endpoint(name, token["token"]))
        with httpx2.Client(timeout=20, trust_env=False) as http, http.stream("GET", url, headers=headers) as stream:
            assert 200 == stream.status_code
            process = five.stop(name)
            until(lambda name=name: five.http.get(f"http://127.0.0.1:{five.ports[name]}/readyz").status_code == 503, 5)  # type: ignore[misc]
            if is_gateway:
                assert 200 == five.endpoint(name, token["token"]).modern("tools/list").status_code, "who comes is still served"
            else:
                assert 200 == five.client(name, token["token"]).get("/auth/whoami").status_code, "who comes is still served"
            assert 0 == five.scrape(name).value("mcplocal_ready" if is_gateway else "mcpctl_ready")
            for _ in stream.iter_lines():  # to its end, and not to a broken connection
                pass
        assert 0 == process.wait(15)
        five.start(name)


def test_whoever_is_killed_at_any_moment_leaves_nothing_half_done_and_clients_recover(five: Cluster) -> None:
    """Stands last."""
    token = five.token("used", "p", "role:run,resource:servers,name:up")
    revoked = five.token("out", "p", "role:run,resource:servers,name:up")
    for gateway in GATEWAYS:
        assert 200 == five.endpoint(gateway, revoked["token"]).modern("tools/list").status_code
    assert 200 == five.admin().post(f"/mcptokens/{revoked['id']}/revoke").status_code
    stages = [_Stage(five.ports[name]) for name in GATEWAYS]
    callers = [
        Caller(stage, token["token"], "up__echo", era)  # type: ignore[arg-type]
        for stage in stages
        for era in ("modern", "legacy")
    ]
    writers = [Writing(five, control) for control in CONTROLS]
    try:
        until(lambda: all(caller.succeeded for caller in callers), 20, "a call of each")
        controls, gateways = random.sample(CONTROLS, 3), random.sample(GATEWAYS, 2)
        for names in ((controls[0],), (gateways[0],), (controls[1], controls[2], gateways[1])):
            time.sleep(random.uniform(0.1, 0.5))
            five.kill(*names)
            five.start(*names)
        back = time.monotonic()
        until(lambda: all(caller.succeeded[-1] > back for caller in callers), 20, "everybody's recovery")
    finally:
        for one in (*callers, *writers):
            one.stop()  # type: ignore[attr-defined]
    assert [] == [caller.wrong for caller in callers if caller.wrong]
    for gateway in GATEWAYS:
        assert 401 == five.endpoint(gateway, revoked["token"]).modern("tools/list").status_code
    _nothing_is_half_written(five, {name for writer in writers for name in writer.acknowledged})
    until(lambda: 1 == len({five.scrape(name).value("mcpctl_policy_revision") for name in CONTROLS}), 5, "one revision")


def _nothing_is_half_written(five: Cluster, acknowledged: set[str]) -> None:
    """A token, its secret, its lines and its audit row are there, or none of them; and all that was acknowledged is there."""
    engine = create_engine(five.database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:

        def grouped(statement: str) -> dict[str, Any]:
            return {row[0]: row[1] for row in connection.execute(text(statement))}

        tokens = grouped("SELECT name, id FROM mcp_token WHERE name LIKE 'control-%'")
        lines = grouped("SELECT v5, count(*) FROM casbin_rule WHERE v5 LIKE 'mcptoken:%' GROUP BY v5")
        secrets = grouped("SELECT token_id, count(*) FROM token_secret GROUP BY token_id")
        made = "SELECT name, count(*) FROM audit WHERE action = 'create' AND allowed AND name LIKE 'p/control-%' GROUP BY name"
        rows = grouped(made)
        revision = connection.execute(text("SELECT number FROM revision")).scalar_one()
        newest = connection.execute(text("SELECT max(revision) FROM change")).scalar_one()
    engine.dispose()
    assert acknowledged <= set(tokens)
    assert acknowledged
    assert dict.fromkeys(tokens, 2) == {name: lines.get(f"mcptoken:{identity}") for name, identity in tokens.items()}
    assert dict.fromkeys(tokens, 1) == {name: secrets.get(identity) for name, identity in tokens.items()}
    assert {f"p/{name}": 1 for name in tokens} == rows
    assert revision == newest
