"""TLS, with certificates made for the test."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.endpoint_test.messages import GOOD
from tests.endpoint_test.serving import Reference


def certificate(directory: Path, name: str, days: int) -> Path:
    """A certificate that is its own authority, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days, hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / f"{name}-{days}.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@contextmanager
def served_with(pem: Path) -> Iterator[int]:
    """The reference over TLS; its port."""
    config = uvicorn.Config(Reference(), "127.0.0.1", 0, log_level="critical", lifespan="off", ssl_certfile=pem)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        threading.Event().wait(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(timeout=10)


CASES = (
    ("localhost", 90, True, (), "A1-certificate", "pass", "valid for 90 days"),
    ("localhost", 3, True, (), "A1-certificate", "warn", "it ends in 3 days"),
    ("localhost", 90, False, (), "A1-connect", "fail", "its certificate is not trusted"),
    ("other.example", 90, True, (), "A1-connect", "fail", "its certificate is not trusted"),
    ("localhost", 90, False, ("--insecure",), "A1-certificate", "warn", "not verified"),
)


@pytest.mark.parametrize(("name", "days", "trusted", "flags", "check", "level", "said"), CASES)
def test_a_certificate_is_trusted_for_its_name_and_its_time(
    name: str, days: int, trusted: bool, flags: tuple[str, ...], check: str, level: str, said: str, tmp_path: Path
) -> None:
    pem = certificate(tmp_path, name, days)
    environ = {**os.environ, "MCPCTL_TEST_TOKEN": GOOD, **({"SSL_CERT_FILE": str(pem)} if trusted else {})}
    with served_with(pem) as port:
        url = f"https://localhost:{port}/none/mcp"
        argv = [sys.executable, "-m", "mcpctl", "test", "mcp", url, "--only", "A", "-o", "json", *flags]
        ran = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60)
    found = {one["id"]: one for one in json.loads(ran.stdout)["checks"]}
    assert level == found[check]["level"], ran.stdout
    assert said in found[check]["said"]
