"""Exits with 0 if the program of this container answers: the image's HEALTHCHECK, which needs nothing but Python.

A container runs one of the two programs, each at its own address, so either of them will do. It asks ``/healthz``: a gateway
that has lost its control plane is not ready, and no reason to end it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from http.client import HTTPConnection, HTTPException
from typing import Final

ADDRESSES: Final = (
    os.environ.get("MCPCTL_LISTEN", "0.0.0.0:8470"),
    os.environ.get("MCPLOCAL_LISTEN", "0.0.0.0:8471"),
)


def answers(address: str) -> bool:
    """Whether the process that listens on ``address`` (HOST:PORT) is alive."""
    host, _, port = address.rpartition(":")
    here = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host.strip("[]"), host.strip("[]"))  # noqa: S104
    connection = HTTPConnection(here, int(port), timeout=2)
    try:
        connection.request("GET", "/healthz", headers={"Host": "localhost"})
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def main(addresses: Iterable[str] = ADDRESSES) -> int:
    """The exit code."""
    return 0 if any(map(answers, addresses)) else 1


if __name__ == "__main__":
    sys.exit(main())
