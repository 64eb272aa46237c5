"""The bootstrap Job against a real control plane and an API server over TLS: once, again, interrupted, and refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import httpx2
import pytest

from mcpctl.services.keyring import parse_keys
from tests.cli.conftest import Mcpctl
from tests.endpoint_test.test_certificates import certificate
from tests.kubernetes.api_server import Cluster
from tests.kubernetes.conftest import GATEWAY_USER, Job, command
from tests.kubernetes.rendering import one, overlay
from tests.serving import made
from tests.test_examples import free_port

EVERY_SECRET = re.compile(r"mcpctl_(?:pat|ses)_[0-9A-Za-z]{43}")


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def test_from_nothing_each_waits_for_its_secret_and_in_the_end_a_gateway_is_served(
    cluster: Cluster, account: Path, mcpctl: Mcpctl, tmp_path: Path
) -> None:
    """A control plane that starts as a pod does, once what it mounts is there; an account that may what the manifests say."""
    rules = one(overlay("production"), "Role", "mcpctl-bootstrap")["rules"]
    cluster.may = {(verb, name) for rule in rules for verb in rule["verbs"] for name in rule.get("resourceNames", ["*"])}
    address, mount, log = f"127.0.0.1:{free_port()}", tmp_path / "mount", tmp_path / "log"
    started: list[subprocess.Popen[bytes]] = []

    def kubelet() -> None:
        while "mcpctl" not in cluster.secrets:
            threading.Event().wait(0.02)
        mount.mkdir()
        for key in ("admin-password", "secret-key"):
            (mount / key).write_text(cluster.value("mcpctl", key))
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MCPCTL_")},
            "MCPCTL_LISTEN": address,
            "MCPCTL_DATA_DIR": str(tmp_path / "data"),
            "MCPCTL_ADMIN_PASSWORD_FILE": str(mount / "admin-password"),
            "MCPCTL_SECRET_KEY_FILE": str(mount / "secret-key"),
        }
        with log.open("wb") as out:
            started.append(subprocess.Popen([sys.executable, "-m", "mcpctl", "server"], env=environ, stderr=out))

    starting = threading.Thread(target=kubelet)
    starting.start()
    ran = mcpctl(*command(cluster, account, f"http://{address}"), "--wait", "60", "--database", "postgresql:5432/mcpctl")
    starting.join()
    try:
        assert (0, "") == (ran.code, ran.err)
        assert [
            "secret/mcpctl-database created: password, url",
            "secret/mcpctl created: admin-password, secret-key",
            f"waiting for http://{address}",
            "secret/mcpctl-gateway created: credential",
        ] == ran.out.splitlines()
        credential = cluster.value("mcpctl-gateway", "credential")
        headers = {"Authorization": f"Bearer {credential}"}
        whoami = httpx2.get(f"http://{address}/api/v1/auth/whoami", headers=headers, trust_env=False).json()
        assert (f"User:{GATEWAY_USER}", ["Group:gateways"], None) == (whoami["subject"], whoami["groups"], whoami["expiresAt"])
    finally:
        started[0].terminate()
        assert 0 == started[0].wait(timeout=20)
    assert 1 == len(parse_keys(cluster.value("mcpctl", "secret-key"), "the Secret"))
    password = cluster.value("mcpctl-database", "password")
    assert f"postgresql://mcpctl:{password}@postgresql:5432/mcpctl" == cluster.value("mcpctl-database", "url")
    values = [cluster.value(name, key) for name, one in cluster.secrets.items() for key in one["data"]]
    assert 5 == len(set(values))
    said = ran.out + log.read_text()
    assert [] == [value for value in values if value in said]


def test_run_again_it_changes_nothing_and_logs_nobody_in(job: Job) -> None:
    job.ok()
    kept, sessions, audited = deepcopy(job.cluster.secrets), job.sessions(), made(job.served.admin.get("/audit"), 200)
    job.cluster.asked.clear()
    assert "secret/mcpctl unchanged\nsecret/mcpctl-gateway unchanged\n" == job.ok()
    assert kept == job.cluster.secrets
    assert sessions == job.sessions()
    assert {"get"} == {verb for verb, _ in job.cluster.asked}
    assert audited["items"][0] == made(job.served.admin.get("/audit"), 200)["items"][0]


def with_a_user(job: Job) -> None:
    made(job.served.admin.post("/users", {"name": GATEWAY_USER, "service": True}))


def with_a_session_that_nobody_kept(job: Job) -> None:
    with_a_user(job)
    made(job.served.admin.post("/sessions", {"user": GATEWAY_USER, "ttl": "never"}))


def with_a_secret_that_holds(data: dict[str, str]) -> Callable[[Job], None]:
    return lambda job: job.cluster.put("mcpctl-gateway", {key: encoded(value) for key, value in data.items()})


INTERRUPTED = {
    "nothing was done": lambda _: None,
    "the user was made": with_a_user,
    "a session was opened and not kept": with_a_session_that_nobody_kept,
    "the Secret is empty": with_a_secret_that_holds({}),
    "the Secret holds something else": with_a_secret_that_holds({"note": "mine"}),
    "its credential is empty": with_a_secret_that_holds({"credential": ""}),
    "its credential is no bearer": with_a_secret_that_holds({"credential": "zwölf\nZeilen"}),
    "its credential was ended": with_a_secret_that_holds({"credential": "mcpctl_ses_" + "0" * 43}),
}


@pytest.mark.parametrize("before", INTERRUPTED.values(), ids=INTERRUPTED.keys())
def test_what_is_half_done_is_completed_and_leaves_one_session(job: Job, before: Callable[[Job], None]) -> None:
    before(job)
    own = dict(job.cluster.secrets.get("mcpctl-gateway", {}).get("data", {}))
    job.ok()
    assert job.is_good(job.credential())
    assert 1 == len(job.sessions())
    assert {key: value for key, value in own.items() if key != "credential"}.items() <= job.cluster.secrets["mcpctl-gateway"][
        "data"
    ].items()


@pytest.mark.parametrize("there", ["admin-password", "secret-key"])
def test_a_secret_of_the_control_plane_is_completed_and_what_it_holds_stays(job: Job, there: str) -> None:
    full = job.cluster.secrets["mcpctl"]["data"]
    job.cluster.put("mcpctl", {there: full[there]})
    ran = job.run()
    assert full[there] == job.cluster.secrets["mcpctl"]["data"][there]
    assert {"admin-password", "secret-key"} == set(job.cluster.secrets["mcpctl"]["data"])
    # A password that was made after the control plane had its own is none: that is said, not found out by a person later.
    assert (0 if there == "admin-password" else 2) == ran.code
    assert ("is not the password of admin" in ran.err) == (there == "secret-key")


def test_a_database_url_of_ones_own_is_left_alone(job: Job) -> None:
    job.cluster.put("mcpctl-database", {"url": encoded("postgresql://elsewhere/db")})
    kept = deepcopy(job.cluster.secrets["mcpctl-database"])
    job.ok("--database", "postgresql:5432/mcpctl")
    assert kept == job.cluster.secrets["mcpctl-database"]


def test_of_two_that_run_at_once_the_first_to_write_counts_and_no_session_is_left_over(job: Job) -> None:
    with_a_user(job)
    made(job.served.admin.put(f"/groups/gateways/members/{GATEWAY_USER}"), 200)
    theirs = made(job.served.admin.post("/sessions", {"user": GATEWAY_USER, "ttl": "never"}))["token"]
    job.cluster.before_write.append(lambda: job.cluster.put("mcpctl-gateway", {"credential": encoded(theirs)}))
    job.ok()
    assert job.is_good(job.credential())
    assert 1 == len(job.sessions())


def test_what_somebody_else_writes_at_the_same_time_is_not_overwritten(job: Job) -> None:
    """A Secret that lacked a key when it was read, and has it when it is written."""
    full = job.cluster.secrets["mcpctl"]["data"]
    job.cluster.put("mcpctl", {"admin-password": full["admin-password"]})
    job.cluster.before_write.append(lambda: job.cluster.put("mcpctl", {**full, "secret-key": encoded("theirs")}))
    job.ok()
    assert "theirs" == job.cluster.value("mcpctl", "secret-key")


@pytest.mark.parametrize("trouble", ["failing", "lost"])
def test_an_api_server_in_trouble_is_asked_again_and_nothing_is_left_over(job: Job, trouble: str) -> None:
    setattr(job.cluster, trouble, 2 if trouble == "failing" else 1)
    job.ok()
    assert job.is_good(job.credential())
    assert 1 == len(job.sessions())


REFUSED = (
    ("get", "mcpctl", 5, "may not get the Secret mcpctl"),
    ("get", "mcpctl-gateway", 5, "may not get the Secret mcpctl-gateway"),
    ("create", "*", 5, "may not create the Secret mcpctl-gateway"),
)


@pytest.mark.parametrize(("verb", "name", "code", "said"), REFUSED)
def test_what_its_role_does_not_allow_is_said_and_no_session_stays_open(
    job: Job, verb: str, name: str, code: int, said: str
) -> None:
    job.cluster.may.remove((verb, name))
    ran = job.run()
    assert code == ran.code
    assert said in ran.err
    assert "its Role must allow that" in ran.err


def test_an_account_that_the_cluster_does_not_know_is_told_so(job: Job) -> None:
    job.cluster.bearer = "another"
    ran = job.run()
    assert 3 == ran.code
    assert "does not take this pod's service account" in ran.err


def test_the_accounts_token_is_read_anew_for_each_call(job: Job) -> None:
    """The cluster exchanges it while a pod runs."""
    job.cluster.bearer = "the next one"
    (job.account / "token").write_text("the next one\n")
    job.ok()


def test_an_api_server_that_its_authority_does_not_vouch_for_gets_no_bearer(job: Job, tmp_path: Path) -> None:
    other = certificate(tmp_path, "localhost", 80)
    (job.account / "ca.crt").write_bytes(other.read_bytes())
    ran = job.run()
    assert 2 == ran.code
    assert "does not vouch for whoever answers" in ran.err
    assert [] == job.cluster.asked


def test_what_an_api_server_says_about_a_refused_secret_is_not_repeated(job: Job) -> None:
    job.cluster.secrets.clear()
    job.cluster.quoting = True
    ran = job.run()
    assert 2 == ran.code
    assert "the cluster refused to create the Secret mcpctl" in ran.err
    assert "Invalid value" not in ran.out + ran.err


def test_a_password_that_is_not_admins_any_more_is_said_with_what_to_do(job: Job) -> None:
    job.cluster.put("mcpctl", {"admin-password": encoded("an older password"), "secret-key": encoded("x")})
    ran = job.run()
    assert 2 == ran.code
    assert "mcpctl set password admin" in ran.err
    assert "an older password" not in ran.out + ran.err
    assert "mcpctl-gateway" not in job.cluster.secrets


def test_a_person_is_never_made_a_gateway(job: Job) -> None:
    made(job.served.admin.post("/users", {"name": "alice", "password": "a long password"}))
    ran = job.run("--gateway-user", "alice")
    assert 2 == ran.code
    assert "User:alice is a person" in ran.err
    assert [] == made(job.served.admin.get("/groups/gateways"), 200)["members"]


def test_a_rotated_credential_is_new_and_the_one_before_is_good_until_it_is_ended(job: Job) -> None:
    job.ok()
    before, (old,) = job.credential(), job.sessions()
    said = job.ok("--rotate-gateway-credential")
    assert before != job.credential()
    assert (True, True) == (job.is_good(before), job.is_good(job.credential()))
    assert f"  mcpctl delete session {old} --yes" in said.splitlines()
    made_of = job.served.admin.delete(f"/sessions/{old}")
    assert 204 == made_of.status_code
    assert (False, True) == (job.is_good(before), job.is_good(job.credential()))
    assert not EVERY_SECRET.search(said)


def test_there_is_nothing_to_rotate_before_there_is_a_credential(job: Job) -> None:
    ran = job.run("--rotate-gateway-credential")
    assert 7 == ran.code
    assert [] == job.sessions()


WRONG = (
    (["--secret", "Not A Name"], "cannot be the name of a Secret"),
    (["--gateway-secret", "a/b"], "cannot be the name of a Secret"),
    (["--database", "postgresql"], "is not HOST:PORT/NAME"),
    (["--database", "postgresql:0/mcpctl"], "is not HOST:PORT/NAME"),
    (["--database", "postgresql:65536/mcpctl"], "is not HOST:PORT/NAME"),
    (["--database", "user:password@host:5432/db"], "is not HOST:PORT/NAME"),
    (["--api-server", "http://localhost:1"], "plain http"),
    (["--service-account", "nowhere"], "automountServiceAccountToken"),
    (["--control-plane", "http://mcpctl:8470"], "--allow-plain-http"),
    (["--wait", "0"], "--wait"),
)


@pytest.mark.parametrize(("flags", "said"), WRONG)
def test_wrong_flags_are_refused_before_anything_is_asked(
    cluster: Cluster, account: Path, mcpctl: Mcpctl, flags: list[str], said: str
) -> None:
    ran = mcpctl(*command(cluster, account, "http://127.0.0.1:1"), *flags)
    assert 2 == ran.code
    assert [] == cluster.asked
    assert said in " ".join(ran.err.split())


def test_outside_a_cluster_it_says_where_it_belongs(mcpctl: Mcpctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    ran = mcpctl("bootstrap", "kubernetes", "--control-plane", "http://127.0.0.1:1")
    assert 2 == ran.code
    assert "this is no pod" in ran.err


def test_a_control_plane_that_does_not_come_is_waited_for_and_then_named(
    cluster: Cluster, account: Path, mcpctl: Mcpctl
) -> None:
    ran = mcpctl(*command(cluster, account, f"http://127.0.0.1:{free_port()}"), "--wait", "1")
    assert 4 == ran.code
    assert "was not ready within 1 s" in ran.err
