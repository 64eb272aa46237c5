"""A cluster's API server, and ``mcpctl`` as a pod with a service account there."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import Mcpctl, Ran, mcpctl
from tests.endpoint_test.test_certificates import certificate
from tests.kubernetes.api_server import BEARER, NAMESPACE, Cluster, serve
from tests.serving import ADMIN_PASSWORD, Served

__all__ = ["mcpctl"]

GATEWAY_USER = "kubernetes-gateway"


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The API server's certificate, which is its own authority."""
    return certificate(tmp_path_factory.mktemp("cluster"), "localhost", 90)


@pytest.fixture
def cluster(pem: Path) -> Iterator[Cluster]:
    """An API server without any Secret."""
    with serve(Cluster(), pem) as running:
        yield running


@pytest.fixture
def account(tmp_path: Path, pem: Path) -> Path:
    """What is mounted into a pod."""
    directory = tmp_path / "serviceaccount"
    directory.mkdir()
    (directory / "token").write_text(BEARER)
    (directory / "namespace").write_text(NAMESPACE)
    (directory / "ca.crt").write_bytes(pem.read_bytes())
    return directory


def command(cluster: Cluster, account: Path, control_plane: str) -> list[str]:
    """The Job's command, in this cluster."""
    where = ["--control-plane", control_plane, "--api-server", cluster.address, "--service-account", str(account)]
    return ["bootstrap", "kubernetes", "--wait", "20", *where]


@dataclass
class Job:
    """``mcpctl bootstrap kubernetes`` in this cluster, for this control plane, which it believes it has just made."""

    cluster: Cluster
    served: Served
    account: Path
    mcpctl: Mcpctl

    def run(self, *flags: str) -> Ran:
        """Run it once."""
        return self.mcpctl(*command(self.cluster, self.account, self.served.address), *flags)

    def ok(self, *flags: str) -> str:
        """What it says where it must succeed."""
        ran = self.run(*flags)
        assert 0 == ran.code, ran
        return ran.out + ran.err

    def credential(self) -> str:
        """The gateways' credential as it is kept."""
        return self.cluster.value("mcpctl-gateway", "credential")

    def sessions(self) -> list[str]:
        """The ids of the gateways' sessions."""
        items = self.served.admin.get("/sessions").json()["items"]
        return [one["id"] for one in items if one["user"] == GATEWAY_USER]

    def is_good(self, raw: str) -> bool:
        """Whether a gateway that presents this is served."""
        return self.served.nobody.as_(raw).get("/gateway/upstreams", params={"project": "nothing"}).status_code == 404


@pytest.fixture
def job(cluster: Cluster, served_on_sqlite: Served, account: Path, mcpctl: Mcpctl) -> Job:
    """The Job, where the control plane was started with the password that its Secret holds."""
    data = {"admin-password": ADMIN_PASSWORD, "secret-key": "not looked at"}
    cluster.put("mcpctl", {key: b64encode(value.encode()).decode() for key, value in data.items()})
    return Job(cluster, served_on_sqlite, account, mcpctl)
