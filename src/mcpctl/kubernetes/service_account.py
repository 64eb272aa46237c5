"""Who a pod is to its cluster: the files that Kubernetes mounts into it, and the two variables it sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcpctl.client.address import check_address
from mcpctl.errors import InvalidSetting

MOUNTED: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where ``token``, ``ca.crt`` and ``namespace`` are mounted (kubernetes.io, "Accessing the Kubernetes API from a Pod")."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """One account as a pod has it.

    Attributes:
        api: base URL of the API server, always https.
        directory: holds ``token`` and ``ca.crt``.
        namespace: the pod's own.
    """

    api: str
    directory: Path
    namespace: str

    @property
    def authority(self) -> Path:
        """The certificate authority that vouches for the API server; nobody else does."""
        return self.directory / "ca.crt"

    def token(self) -> str:
        """The bearer, read anew each time: the cluster exchanges it while the pod runs.

        Raises:
            InvalidSetting: it cannot be read.
        """
        return _read(self.directory / "token")


def mounted(directory: Path = MOUNTED, api: str | None = None, environ: Mapping[str, str] | None = None) -> ServiceAccount:
    """The account of this pod.

    Args:
        directory: where its files are mounted.
        api: base URL of the API server; by default the one that the cluster's variables name.
        environ: ``os.environ`` if left out.

    Raises:
        InvalidSetting: this is no pod with a service account, or the API server is not at an https address.
    """
    environ = os.environ if environ is None else environ
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT_HTTPS", "443")
    if api is None and host:
        api = f"https://{f'[{host}]' if ':' in host else host}:{port}"
    if api is None:
        raise InvalidSetting("this is no pod: KUBERNETES_SERVICE_HOST is not set. It runs as a Job of the cluster (k8s/base)")
    api = check_address(api, "API server")
    if not api.startswith("https://"):
        raise InvalidSetting(f"{api} is plain http: the API server is spoken to over https only")
    account = ServiceAccount(api, directory, _read(directory / "namespace"))
    for name in ("token", "ca.crt"):
        _read(directory / name)
    return account


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidSetting(
            f"{path} cannot be read: {why}. The pod needs a service account: automountServiceAccountToken: true"
        ) from None
    if not text:
        raise InvalidSetting(f"{path} is empty")
    return text
